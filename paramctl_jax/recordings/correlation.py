"""Pearson correlation per site, in float64, undefined (NaN) rather than invented."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

MIN_PAIRS = 3
"""Two points always correlate perfectly; fewer than three say nothing."""


def is_constant(
    values: Float[np.ndarray, "image site"], mask: Bool[np.ndarray, "image site"]
) -> Bool[np.ndarray, " site"]:
    """Whether the masked values of a site differ by no more than rounding.

    The test is ``sum (v - mean)^2 <= n (8 eps max|v|)^2``: the mean of n equal numbers
    is off by a few units in the last place, so their variance is tiny but not zero.
    Values are scaled to at most 1, so that their squares neither vanish nor overflow.

    Args:
      values: any units; entries outside `mask` are ignored.
      mask: which entries count.

    Returns:
      One flag per site; True where no entry counts.
    """
    count = mask.sum(axis=0)
    kept = scaled_to_one(np.where(mask, values, 0.0))
    centred = np.where(mask, kept - kept.sum(axis=0) / np.maximum(count, 1), 0.0)
    rounding = 8 * np.finfo(np.float64).eps * np.abs(kept).max(axis=0, initial=0.0)
    return np.sum(centred**2, axis=0) <= count * rounding**2


def scaled_to_one(
    values: Float[np.ndarray, "image site"],
) -> Float[np.ndarray, "image site"]:
    """Each site divided by the power of two above its largest value: exact.

    Example:
      >>> scaled_to_one(np.array([[6.0], [-2.0]])).tolist()
      [[0.75], [-0.25]]
    """
    largest = np.abs(values).max(axis=0, initial=0.0)
    return np.ldexp(values, -np.frexp(largest)[1])


def pearson(
    a: Float[np.ndarray, "image site"],
    b: Float[np.ndarray, "image site"],
    mask: Bool[np.ndarray, "image site"] | None = None,
) -> Float[np.ndarray, " site"]:
    """Pearson correlation over images, per site.

    ``r = sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)^2 sum (b - mean b)^2)``

    Args:
      a: for example predictions.
      b: for example recorded responses.
      mask: images that count at each site; all of them if None.

    Returns:
      r per site; NaN for fewer than three images or a constant side.

    Example:
      >>> import numpy as np
      >>> a = np.array([[0.0], [1.0], [2.0]])
      >>> pearson(a, 3 - 2 * a)
      array([-1.])
    """
    mask = np.ones(a.shape, dtype=bool) if mask is None else mask
    count = mask.sum(axis=0)
    a, b = (_centre(np.asarray(side, np.float64), mask, count) for side in (a, b))
    scale = np.sqrt(np.sum(a**2, axis=0) * np.sum(b**2, axis=0))
    defined = (count >= MIN_PAIRS) & ~np.isnan(scale) & (scale > 0)
    r = np.sum(a * b, axis=0) / np.where(defined, scale, 1.0)
    return np.where(defined, np.clip(r, -1.0, 1.0), np.nan)


def _centre(values, mask, count):
    """Values minus their masked mean, zero outside; all zero for a constant site."""
    kept = scaled_to_one(np.where(mask, values, 0.0))
    centred = np.where(mask, kept - kept.sum(axis=0) / np.maximum(count, 1), 0.0)
    return np.where(is_constant(values, mask)[None], 0.0, centred)
