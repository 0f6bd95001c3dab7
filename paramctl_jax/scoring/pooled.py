"""The pooled score of the later pipeline, and which points it leaves out.

All levels of all seeds of a site at once, predictions clamped to the site's floor:
``p~ = max(p, floor)``; r, least-squares line, R2 of the identity line. Pooled r also
holds what differs between seeds: it is another quantity than the mean of r per seed.

Source: Prince et al. 2026.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.scoring.correlation import pearson_r
from paramctl_jax.scoring.gain import identity_r2, regression
from paramctl_jax.scoring.sweeps import SweepGrid, as_number
from paramctl_jax.types import PooledScore

MASKS = ("none", "permodel", "drop2", "intersect")
TOLERANCE = 0.05  # of a success, as a fraction of the sweep's range of targets

Mask = Bool[np.ndarray, "site seed level"]
Sweeps = Float[np.ndarray, "seed level"]


def pooled_score(
    predicted: Sweeps,
    recorded: Sweeps,
    floor: Sweeps,
    mask: Bool[np.ndarray, "seed level"],
) -> PooledScore:
    """All points of one site at once, predictions clamped to the floor where known.

    Args:
      predicted: model predictions, response units.
      recorded: responses, response units.
      floor: smallest response the site can give; NaN where unknown: not clamped.
      mask: points that count, of those with both values.

    Returns:
      The score; its numbers are NaN with fewer than three points, or constant ones.

    Example:
      >>> p, y = np.array([[-3.0, 0.0, 1.0]]), np.array([[-1.0, 0.0, 1.0]])
      >>> score = pooled_score(p, y, np.full((1, 3), -1.0), p < 9)
      >>> [round(x, 6) for x in (score.r, score.slope, score.r2_identity)]
      [1.0, 1.0, 1.0]
    """
    clamped = np.where(np.isfinite(floor), np.maximum(predicted, floor), predicted)
    valid = mask & np.isfinite(predicted) & np.isfinite(recorded)
    p, y = (np.where(valid, values, np.nan) for values in (clamped, recorded))
    slope, intercept = regression(clamped, recorded, valid)
    return PooledScore(
        r=float(pearson_r(p.ravel(), y.ravel())),
        slope=slope,
        intercept=intercept,
        r2_identity=identity_r2(clamped, recorded, valid),
        n_points=int(valid.sum()),
    )


def relative_errors(grid: SweepGrid) -> Float[np.ndarray, "site seed level"]:
    """``|target - predicted| / (range of targets)`` of a sweep; NaN without them."""
    high = np.max(np.nan_to_num(grid.target, nan=-np.inf), axis=-1, keepdims=True)
    low = np.min(np.nan_to_num(grid.target, nan=np.inf), axis=-1, keepdims=True)
    span = np.where(high > low, high - low, np.nan)
    return np.abs(grid.target - grid.predicted) / span


def exclusion_masks(
    grids: Mapping[str, SweepGrid], tolerance: float = TOLERANCE
) -> dict[str, dict[str, Mask]]:
    """Which points of every model count under each of `MASKS`.

    ``none``: all. ``permodel``: those whose prediction hit its target. ``drop2``: all
    but the two highest levels of a sweep. ``intersect``: levels of a sweep that every
    model hit; at a site that some model lacks altogether, none, so that a missing model
    is seen and not averaged over.

    Leaving out misses model by model changes the range of levels that is correlated;
    report ``none`` beside it.

    Args:
      grids: of all models of one subject.
      tolerance: of a hit, as a fraction of the sweep's range of targets.

    Returns:
      model -> mask -> points, with ``permodel`` and ``intersect`` only where targets
      are known.
    """
    found: dict[str, dict[str, Mask]] = {}
    for model, grid in grids.items():
        found[model] = {"none": grid.there, "drop2": _all_but_two(grid)}
        if np.isfinite(grid.target).any():
            # a share of the range, compared in float: 1e-9 of it is rounding
            found[model]["permodel"] = relative_errors(grid) <= tolerance + 1e-9
    if all("permodel" in masks for masks in found.values()):
        common = set.intersection(
            *(_cells(grid, found[model]["permodel"]) for model, grid in grids.items())
        )
        for model, grid in grids.items():
            found[model]["intersect"] = _among(grid, common)
    return {
        model: {name: masks[name] for name in MASKS if name in masks}
        for model, masks in found.items()
    }


def _all_but_two(grid: SweepGrid) -> Mask:
    """The two with the highest targets, or labels in a sweep without targets.

    A point without a number (the un-accentuated seed) is not among them; a sweep
    without any number has no order, and no points here.
    """
    labels = np.asarray([as_number(x) for x in grid.labels.flat], np.float64)
    has_target = np.isfinite(grid.target).any(axis=-1, keepdims=True)
    order = np.where(has_target, grid.target, labels.reshape(grid.labels.shape))
    known = grid.there & np.isfinite(order)
    falling = np.argsort(np.where(known, -order, np.inf), axis=-1, kind="stable")
    rank = np.argsort(falling, axis=-1)
    return grid.there & ~(known & (rank < 2)) & known.any(axis=-1, keepdims=True)


def _cells(grid: SweepGrid, mask: Mask) -> set[tuple[str, str, str]]:
    return {
        (grid.sites[s], grid.seeds[i], str(grid.labels[s, i, k]))
        for s, i, k in np.argwhere(mask & grid.there)
    }


def _among(grid: SweepGrid, cells: set[tuple[str, str, str]]) -> Mask:
    mask = np.zeros(grid.labels.shape, bool)
    for s, i, k in np.argwhere(grid.there):
        mask[s, i, k] = (grid.sites[s], grid.seeds[i], grid.labels[s, i, k]) in cells
    return mask
