"""Gain and calibration: what r does not see.

r is the same whether responses follow predictions one to one or by a tenth of that.
These measures compare responses with the predictions themselves. All take the sweeps of
one site, axes ``[seed, level]``, NaN where missing.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.scoring.correlation import is_defined, mean_defined

Sweeps = Float[np.ndarray, "seed level"]


def within_sums(predicted: Sweeps, recorded: Sweeps) -> tuple[float, float, float]:
    """``sum p'p'``, ``sum p'y'``, ``sum y'y'``, deviations from each seed's own mean.

    Seeds with fewer than three valid levels, or constant predictions, are left out.
    """
    p, y = within_deviations(predicted, recorded)
    return float(np.nansum(p * p)), float(np.nansum(p * y)), float(np.nansum(y * y))


def within_deviations(predicted: Sweeps, recorded: Sweeps) -> tuple[Sweeps, Sweeps]:
    """Deviations from the seed's mean over valid levels; NaN where there is none."""
    valid = np.isfinite(predicted) & np.isfinite(recorded)
    used = valid & is_defined(predicted, valid)[:, None]
    p, y = (np.where(used, values, np.nan) for values in (predicted, recorded))
    return p - mean_defined(p, axis=1)[:, None], y - mean_defined(y, axis=1)[:, None]


def within_slope(predicted: Sweeps, recorded: Sweeps) -> float:
    """Gain within seeds, pooled: ``sum_i Cov_l(p, y) / sum_i Var_l(p)``.

    Long sweeps weigh more than in the mean of the slopes of single seeds.

    Args:
      predicted: model predictions, response units.
      recorded: responses, response units.

    Returns:
      The slope; NaN where no seed has three valid levels and varying predictions.

    Example:
      >>> p = np.array([[0.0, 1.0, 2.0], [0.0, 10.0, 20.0]])
      >>> round(within_slope(p, p * np.array([[0.0], [1.0]])), 6)
      0.990099
    """
    power, product, _ = within_sums(predicted, recorded)
    return product / power if power > 0 else float("nan")


def regression(
    predicted: Sweeps, recorded: Sweeps, valid: Bool[np.ndarray, "seed level"]
) -> tuple[float, float]:
    """Least-squares slope and intercept of recorded on predicted, all points at once.

    Args:
      predicted: model predictions, response units.
      recorded: responses, response units.
      valid: points that count.

    Returns:
      Slope, and the response at a prediction of 0; NaN with fewer than three points or
      constant predictions.

    Example:
      >>> p = np.array([[0.0, 1.0, 2.0]])
      >>> regression(p, 0.5 * p + 1, np.isfinite(p))
      (0.5, 1.0)
    """
    p, y = predicted[valid], recorded[valid]
    if not is_defined(p, np.isfinite(p)):
        return float("nan"), float("nan")
    deviation = p - p.mean()
    slope = float(deviation @ (y - y.mean()) / (deviation @ deviation))
    return slope, float(y.mean() - slope * p.mean())


def identity_r2(
    predicted: Sweeps, recorded: Sweeps, valid: Bool[np.ndarray, "seed level"]
) -> float:
    """Variance explained by the predictions as they are, without a fit.

    ``1 - sum (y - p)^2 / sum (y - mean y)^2``: 1 on the identity line, 0 no better than
    the mean response, below 0 worse.

    Args:
      predicted: model predictions, response units.
      recorded: responses, response units.
      valid: points that count.

    Returns:
      R2; NaN with fewer than three points or constant responses.

    Example:
      >>> p = np.array([[0.0, 1.0, 2.0]])
      >>> identity_r2(p, p + 1, np.isfinite(p))
      -0.5
    """
    p, y = predicted[valid], recorded[valid]
    if not is_defined(y, np.isfinite(y)):
        return float("nan")
    return float(1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2))


def calibration_error(
    predicted: Sweeps, recorded: Sweeps, valid: Bool[np.ndarray, "seed level"]
) -> float:
    """Mean absolute difference of recorded and predicted, response units.

    Example:
      >>> p = np.array([[0.0, 1.0, 2.0]])
      >>> calibration_error(p, p + 1, np.isfinite(p))
      1.0
    """
    error = np.abs(recorded[valid] - predicted[valid])
    return float(error.mean()) if len(error) else float("nan")
