"""Shape of the responses over the levels: order, and depth of modulation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.correlation import (
    MIN_LEVELS,
    is_defined,
    mean_defined,
    pearson_r,
)

Sweeps = Float[np.ndarray, "seed level"]
Levels = Float[np.ndarray, " level"]


def rank_correlations(predicted: Sweeps, recorded: Sweeps) -> tuple[float, float]:
    """Spearman's rho and Kendall's tau-b over the levels, means over seeds.

    Args:
      predicted: model predictions; NaN where missing.
      recorded: responses; NaN where missing.

    Returns:
      Means over the seeds with three valid levels and no constant values; NaN without.

    Example:
      >>> p = np.array([[0.0, 1.0, 2.0, 3.0]])
      >>> [round(x, 6) for x in rank_correlations(p, p**3)]
      [1.0, 1.0]
    """
    found = [
        (_spearman(p, y), _kendall(p, y)) for p, y in _defined(predicted, recorded)
    ]
    if not found:
        return float("nan"), float("nan")
    rho, tau = np.mean(np.asarray(found, np.float64), axis=0)
    return float(rho), float(tau)


def _spearman(p: Levels, y: Levels) -> float:
    """R of the ranks, equal values sharing the mean of theirs."""
    import scipy.stats  # slow to import

    return float(pearson_r(scipy.stats.rankdata(p), scipy.stats.rankdata(y)))


def _kendall(p: Levels, y: Levels) -> float:
    """tau-b, ``sum s_p s_y / sqrt(sum s_p^2 sum s_y^2)`` of the signs of all pairs.

    A sweep has few levels: all pairs at once cost a tenth of SciPy's general route.
    """
    s_p, s_y = (np.sign(x[:, None] - x[None, :]) for x in (p, y))
    return float(np.sum(s_p * s_y) / np.sqrt(np.sum(s_p**2) * np.sum(s_y**2)))


def rising_share(predicted: Sweeps, recorded: Sweeps) -> float:
    """Share of neighbouring levels, in the order of predictions, between which y rises.

    Means over seeds; one half is chance, equal responses count half.

    Example:
      >>> rising_share(np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 2.0, 1.0]]))
      0.5
    """
    shares = []
    for p, y in _defined(predicted, recorded):
        step = np.diff(y[np.argsort(p, kind="stable")])
        shares.append(np.mean(step > 0) + np.mean(step == 0) / 2)
    return float(np.mean(shares)) if shares else float("nan")


def modulation_depth(target: Sweeps, recorded: Sweeps) -> float:
    """Response range over the range asked for, between the outermost levels.

    ``mean_i (y_top - y_bottom) / (t_top - t_bottom)``: 1 where the site went as far as
    it was asked to.

    Args:
      target: levels asked for, response units; NaN where unknown.
      recorded: responses; NaN where missing.

    Returns:
      Mean over seeds with two valid levels that differ; NaN without.

    Example:
      >>> modulation_depth(np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 5.0, 1.0]]))
      0.5
    """
    depths = np.full(len(target), np.nan)
    for seed, (t, y) in enumerate(zip(target, recorded, strict=True)):
        valid = np.isfinite(t) & np.isfinite(y)
        if valid.any() and np.ptp(t[valid]) > 0:
            top, bottom = np.argmax(t[valid]), np.argmin(t[valid])
            span = t[valid][top] - t[valid][bottom]
            depths[seed] = (y[valid][top] - y[valid][bottom]) / span
    return float(mean_defined(depths))


def _defined(
    predicted: Sweeps, recorded: Sweeps
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Valid levels of every seed that has three of them and varies in both."""
    found = []
    for p, y in zip(predicted, recorded, strict=True):
        valid = np.isfinite(p) & np.isfinite(y)
        if valid.sum() >= MIN_LEVELS and is_defined(p, valid) and is_defined(y, valid):
            found.append((p[valid], y[valid]))
    return found
