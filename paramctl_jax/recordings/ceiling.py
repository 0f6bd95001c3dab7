"""Signal and noise variance of a site, and the best correlation they allow."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.recordings.correlation import is_constant

MIN_REPEATED_IMAGES = 8
"""Fewer images with at least two repeats give no usable estimate of the noise."""


def ncsnr(
    responses: Float[np.ndarray, "image site repeat"],
) -> Float[np.ndarray, " site"]:
    """Noise-ceiling signal-to-noise ratio: SD of the signal over SD of the noise.

    ``noise^2  = mean over images of var(repeats, ddof 1)``, images with two or more;
    ``signal^2 = max(var(repeat averages, ddof 1) - noise^2 mean(1/n), 0)``;
    ``ncsnr = signal / noise``, n the number of repeats of an image.

    Args:
      responses: any units, NaN for a missing repeat.

    Returns:
      ncsnr per site: 0 without signal, inf with signal and no noise, NaN with fewer
      than eight images that have at least two repeats.

    Example:
      >>> import numpy as np
      >>> signal = np.arange(8.0)[:, None, None]    # variance 6
      >>> noise = np.array([-1.0, 1.0])             # variance 2, 1 in the average
      >>> ncsnr(signal + noise)                     # sqrt((6 - 1) / 2)
      array([1.58113883])

    Source: Allen et al. 2022, Nat. Neurosci. 25, 116-126.
    """
    signal, noise, _, enough = _variances(responses)
    ratio = np.sqrt(signal / np.where(noise > 0, noise, 1.0))
    ratio = np.where((noise > 0) | (signal == 0), ratio, np.inf)
    return np.where(enough, ratio, np.nan)


def noise_ceiling(
    responses: Float[np.ndarray, "image site repeat"],
) -> Float[np.ndarray, " site"]:
    """Highest attainable correlation with the repeat average of these very data.

    ``NC = sqrt(ncsnr^2 / (ncsnr^2 + mean(1/n)))`` with n the repeats of an image.
    A ceiling belongs to its own images and repeats and is never carried to others.

    Args:
      responses: any units, NaN for a missing repeat.

    Returns:
      Ceiling of Pearson r per site, in [0, 1]: 0 without signal, 1 without noise, NaN
      where `ncsnr` is NaN, as for data with a single repeat.

    Example:
      >>> import numpy as np
      >>> signal = np.arange(8.0)[:, None, None]
      >>> noise_ceiling(signal + np.array([-1.0, 1.0])) ** 2    # 2.5 / (2.5 + 1/2)
      array([0.83333333])
    """
    signal, noise, inverse_repeats, enough = _variances(responses)
    # The same as above times noise^2 in numerator and denominator: finite throughout.
    total = signal + noise * inverse_repeats
    ceiling = np.sqrt(signal / np.where(total > 0, total, 1.0))
    return np.where(enough, ceiling, np.nan)


def _variances(
    responses: Float[np.ndarray, "image site repeat"],
) -> tuple[
    Float[np.ndarray, " site"],
    Float[np.ndarray, " site"],
    Float[np.ndarray, " site"],
    Bool[np.ndarray, " site"],
]:
    """Signal and noise variance (to a factor), mean 1/n, whether the data suffice."""
    valid = np.isfinite(responses)
    filled = np.where(valid, responses, 0.0).astype(np.float64)
    # Only ratios are used; by a power of two, which is exact, no square overflows.
    largest = np.abs(filled).max(axis=(0, 2), initial=0.0)[:, None]
    filled = np.ldexp(filled, -np.frexp(largest)[1])
    n = valid.sum(axis=-1)
    average = filled.sum(axis=-1) / np.maximum(n, 1)
    noise = _noise_variance(filled, valid, average, n)
    n_shown = np.maximum((n > 0).sum(axis=0), 1)
    inverse_repeats = np.where(n > 0, 1.0 / np.maximum(n, 1), 0.0).sum(axis=0) / n_shown
    total = _variance_of_averages(average, n > 0)
    signal = np.maximum(total - noise * inverse_repeats, 0.0)
    return signal, noise, inverse_repeats, (n >= 2).sum(axis=0) >= MIN_REPEATED_IMAGES


def _noise_variance(filled, valid, average, n):
    """Mean over images with two or more repeats of their variance, ddof 1."""
    deviation = np.where(valid, filled - average[..., None], 0.0)
    # Equal repeats differ from their computed average by rounding only: no noise.
    size = np.abs(filled).max(axis=(0, 2), initial=0.0)[:, None]
    rounding = 8 * np.finfo(np.float64).eps * size
    deviation = np.where(np.abs(deviation) <= rounding, 0.0, deviation)
    within = np.sum(deviation**2, axis=-1) / np.maximum(n - 1, 1)
    return within.sum(axis=0, where=n >= 2) / np.maximum((n >= 2).sum(axis=0), 1)


def _variance_of_averages(average, shown):
    """Variance over the images shown, ddof 1; exactly 0 for a constant site."""
    count = shown.sum(axis=0)
    mean = average.sum(axis=0, where=shown) / np.maximum(count, 1)
    squares = np.sum((average - mean) ** 2, axis=0, where=shown)
    variance = squares / np.maximum(count - 1, 1)
    return np.where(is_constant(average, shown), 0.0, variance)
