"""Correlation and regression over the last axis, vectorised, with missing values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.scoring.sweeps import ROUNDING

MIN_LEVELS = 3


def pearson_r(
    predicted: Float[np.ndarray, "*sweep level"],
    recorded: Float[np.ndarray, "*sweep level"],
) -> Float[np.ndarray, "*sweep"]:
    """Pearson correlation of predicted and recorded over the valid levels.

    ``r = sum(p' y') / sqrt(sum(p'^2) sum(y'^2))`` with ``'`` for deviations from the
    mean over levels where both are finite.

    Args:
      predicted: model predictions, response units; NaN where missing.
      recorded: responses, response units; NaN where missing.

    Returns:
      r in [-1, 1]; NaN with fewer than three valid levels, or where either variable
      is constant to within float32 rounding.

    Example:
      >>> import numpy as np
      >>> predicted = np.array([1.0, 2.0, 3.0, np.nan])
      >>> round(float(pearson_r(predicted, np.array([3.0, 2.0, 1.0, 9.0]))), 6)
      -1.0
    """
    valid = np.isfinite(predicted) & np.isfinite(recorded)
    p, y = unit_deviation(predicted, valid), unit_deviation(recorded, valid)
    return np.asarray(np.clip(np.sum(p * y, axis=-1), -1.0, 1.0))


def ols_slope(
    predicted: Float[np.ndarray, "*sweep level"],
    recorded: Float[np.ndarray, "*sweep level"],
) -> Float[np.ndarray, "*sweep"]:
    """Least-squares slope of recorded on predicted, ``sum(p' y') / sum(p'^2)``.

    The gain, to which r is blind: 1 where responses follow predictions one to one.

    Args:
      predicted: model predictions, response units; NaN where missing.
      recorded: responses, response units; NaN where missing.

    Returns:
      The slope; NaN with fewer than three valid levels or constant predictions.
      Constant responses have slope 0, although they have no r.

    Example:
      >>> import numpy as np
      >>> round(float(ols_slope(np.arange(3.0), np.array([1.0, 1.5, 2.0]))), 6)
      0.5
    """
    valid = np.isfinite(predicted) & np.isfinite(recorded)
    p, y = _deviation(predicted, valid), _deviation(recorded, valid)
    defined = is_defined(predicted, valid)
    power = np.where(defined, np.sum(p * p, axis=-1), 1.0)
    return np.where(defined, np.sum(p * y, axis=-1) / power, np.nan)


def unit_deviation(
    values: Float[np.ndarray, "*sweep level"], valid: Bool[np.ndarray, "*sweep level"]
) -> Float[np.ndarray, "*sweep level"]:
    """Deviations from the mean over valid levels, scaled to norm 1; 0 where not valid.

    The inner product of two such vectors is Pearson's r. All NaN where `is_defined`
    says no.
    """
    deviation = _deviation(values, valid)
    defined = is_defined(values, valid)
    norm = np.where(defined, np.linalg.norm(deviation, axis=-1), np.nan)
    return deviation / norm[..., None]


def is_defined(
    values: Float[np.ndarray, "*sweep level"], valid: Bool[np.ndarray, "*sweep level"]
) -> Bool[np.ndarray, "*sweep"]:
    """Whether at least three valid levels are there and the values are not constant."""
    high = np.max(np.where(valid, values, -np.inf), axis=-1, initial=-np.inf)
    low = np.min(np.where(valid, values, np.inf), axis=-1, initial=np.inf)
    scale = np.max(np.where(valid, np.abs(values), 0.0), axis=-1, initial=0.0)
    enough = np.sum(valid, axis=-1) >= MIN_LEVELS
    return np.asarray(enough & (high - low > ROUNDING * scale))


def mean_defined(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean over the entries that are not NaN; NaN (silently) where there is none."""
    count = np.sum(np.isfinite(values), axis=axis)
    total = np.nansum(values, axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _deviation(
    values: Float[np.ndarray, "*sweep level"], valid: Bool[np.ndarray, "*sweep level"]
) -> Float[np.ndarray, "*sweep level"]:
    count = np.maximum(np.sum(valid, axis=-1, keepdims=True), 1)
    mean = np.sum(np.where(valid, values, 0.0), axis=-1, keepdims=True) / count
    return np.where(valid, values - mean, 0.0)
