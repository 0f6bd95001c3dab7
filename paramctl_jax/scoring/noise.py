"""Trial noise in control scores: what it takes away, and what r would be without it."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.gain import within_deviations, within_sums

MIN_SIGNAL = 0.1  # share of the responses' variance that must be left as signal

Sweeps = Float[np.ndarray, "seed level"]


def within_r(predicted: Sweeps, recorded: Sweeps) -> float:
    """Pearson r of all points about their seed's own mean.

    ``sum p'y' / sqrt(sum p'p' sum y'y')``

    Example:
      >>> p = np.array([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0]])
      >>> round(within_r(p, p + np.array([[3.0], [-3.0]])), 6)
      1.0
    """
    power, product, total = within_sums(predicted, recorded)
    return product / math.sqrt(power * total) if power * total > 0 else math.nan


def noise_variance(recorded_sd: Sweeps, n_repeats: Sweeps) -> float:
    """Variance of a single presentation, pooled over stimuli by degrees of freedom.

    ``sum (n - 1) sd^2 / sum (n - 1)``

    Args:
      recorded_sd: SD over the repeats of each stimulus, ddof 1; NaN where unknown.
      n_repeats: how many there were.

    Returns:
      The variance; NaN where no stimulus has two repeats.

    Example:
      >>> round(noise_variance(np.array([[1.0, 3.0]]), np.array([[2.0, 3.0]])), 3)
      6.333
    """
    known = np.isfinite(recorded_sd) & (n_repeats > 1)
    freedom = np.where(known, n_repeats - 1, 0.0)
    if not freedom.sum():
        return math.nan
    squares = np.where(known, recorded_sd, 0.0) ** 2
    return float(np.sum(freedom * squares) / freedom.sum())


def noise_corrected_r(
    predicted: Sweeps,
    recorded: Sweeps,
    n_repeats: Sweeps,
    variance: float | Float[np.ndarray, "seed 1"],
) -> tuple[float, str]:
    """`within_r` without trial noise, and why it is undefined where it is.

    ``sum p'y' / sqrt(sum p'p' (sum y'y' - sum_il (1 - 1/L_i) variance / n_il))``

    Deviations are from each seed's mean over its L_i valid levels. Never clipped:
    estimates may exceed 1.

    Args:
      predicted: model predictions; NaN where missing.
      recorded: averages over repeats; NaN where missing.
      n_repeats: behind each of them.
      variance: of a single presentation, see `noise_variance`; one per sweep where
        the sweeps are of several sites.

    Returns:
      The estimate and ``""``; or NaN and the reason, where less than a tenth of the
      responses' variance is left as signal, or the noise is not known.

    Example:
      >>> p = np.array([[-1.0, 0.0, 1.0]])
      >>> y = np.array([[-1.0, 1.0, 0.0]])
      >>> r, why = noise_corrected_r(p, y, np.full((1, 3), 4.0), 1.0)
      >>> round(within_r(p, y), 3), round(r, 3), why
      (0.5, 0.577, '')
    """
    power, product, total = within_sums(predicted, recorded)
    if not power * total > 0:
        return math.nan, "no seed with varying predictions and responses"
    used = np.isfinite(within_deviations(predicted, recorded)[0])
    single = np.broadcast_to(variance, used.shape)
    if not (np.isfinite(single) & (n_repeats > 0))[used].all():
        return math.nan, "the trial noise is not known (recorded_sd and n_repeats)"
    levels = used.sum(axis=1, keepdims=True)
    share = 1 - 1 / np.maximum(levels, 1)
    noise = np.sum(np.where(used, share * single / np.maximum(n_repeats, 1), 0.0))
    signal = total - float(noise)
    if signal < MIN_SIGNAL * total:
        return math.nan, f"less than {MIN_SIGNAL:g} of the variance is signal"
    return product / math.sqrt(power * signal), ""


def expected_control(
    gain: float,
    level_sd: float,
    trial_sd: float,
    n_repeats: int | float,
    misfit_sd: float = 0.0,
) -> float:
    """The r that gain, noise and repeats lead to expect; for planning repeats.

    ``g s / sqrt((g s)^2 + misfit_sd^2 + trial_sd^2 / n)``, s the SD of the predictions
    (ddof 1: simulated means of 11 levels lie within .007 of it; with ddof 0, .02 below)

    Args:
      gain: slope of the noise-free response on the prediction.
      level_sd: SD of a sweep's predictions (ddof 1), response units.
      trial_sd: SD of single presentations, response units.
      n_repeats: of each stimulus.
      misfit_sd: SD of what repeats do not average out, response units.

    Example:
      >>> round(expected_control(0.25, 2.5, 1.5, 3), 2)
      0.59
    """
    signal = gain * level_sd
    noise = misfit_sd**2 + trial_sd**2 / n_repeats
    return signal / math.sqrt(signal**2 + noise)
