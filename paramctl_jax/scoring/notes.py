"""What was averaged, left out or undefined in a score, counted and in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from paramctl_jax.scoring.correlation import MIN_LEVELS, is_defined, pearson_r
from paramctl_jax.scoring.sweeps import SweepGrid
from paramctl_jax.scoring.table import ControlTable


def table_notes(
    table: ControlTable, grids: Mapping[str, Mapping[str, SweepGrid]]
) -> tuple[str, ...]:
    """Notes on a table, then on each model, then on what one subject's models lack.

    Args:
      table: as read.
      grids: subject -> model -> its sweeps.

    Returns:
      One line each; none where every row is a point with a defined r.
    """
    notes = _empty_levels(table)
    for subject, models in grids.items():
        for model, grid in models.items():
            notes += [f"{named(subject, model)}: {x}" for x in _model_notes(grid)]
        notes += _missing_cells(subject, models)
    return tuple(notes)


def named(subject: str, model: str) -> str:
    """A model in a subject, as notes begin.

    Example:
      >>> named("red", "resnet50"), named("", "resnet50")
      ('red/resnet50', 'resnet50')
    """
    return f"{subject}/{model}" if subject else model


def _empty_levels(table: ControlTable) -> list[str]:
    count = sum(not level for level in table.level)
    if not count:
        return []
    return [
        f"{count} rows without a level (un-accentuated seeds?) are scored as points"
    ]


def _model_notes(grid: SweepGrid) -> list[str]:
    notes = []
    if grid.n_duplicates:
        notes.append(f"{grid.n_duplicates} duplicated rows averaged into their points")
    if grid.n_disagreeing:
        notes.append(f"duplicates disagree on predicted at {grid.n_disagreeing} points")
    if grid.n_other_targets:
        notes.append(f"duplicates disagree on target at {grid.n_other_targets} points")
    if grid.n_invalid:
        total = grid.n_rows - grid.n_duplicates
        notes.append(
            f"{grid.n_invalid} of {total} points left out (no predicted or no recorded "
            "value)"
        )
    return notes + _undefined_sweeps(grid) + _thin_design(grid)


def _undefined_sweeps(grid: SweepGrid) -> list[str]:
    """Why which sweeps have no r, and which sites are left without a control score."""
    valid = np.isfinite(grid.predicted) & np.isfinite(grid.recorded)
    short = grid.shown & (valid.sum(axis=-1) < MIN_LEVELS)
    flat = grid.shown & ~short & ~is_defined(grid.predicted, valid)
    still = grid.shown & ~short & ~flat & ~is_defined(grid.recorded, valid)
    reasons = (
        (short, f"fewer than {MIN_LEVELS} valid levels"),
        (flat, "constant predictions"),
        (still, "constant recorded values"),
    )
    total = int(grid.shown.sum())
    notes = [
        f"{int(cells.sum())} of {total} sweeps have no r ({why}): {_first(grid, cells)}"
        for cells, why in reasons
        if cells.any()
    ]
    undefined = ~(grid.shown & ~short & ~flat & ~still).any(axis=1)
    sites = [site for site, lost in zip(grid.sites, undefined, strict=True) if lost]
    if sites:
        notes.append(
            f"{len(sites)} of {len(grid.sites)} sites have no control score and are "
            f"left out of the mean: {_listed(sites)}"
        )
    return notes


def _thin_design(grid: SweepGrid) -> list[str]:
    defined = np.isfinite(pearson_r(grid.predicted, grid.recorded))
    n_sites, n_seeds = (int(defined.any(axis=axis).sum()) for axis in (1, 0))
    if n_sites == 0:
        return []
    if n_sites == 1 and n_seeds == 1:
        return ["a single sweep has an r: no interval and no SD over sites"]
    if n_sites == 1:
        return ["a single site has an r: the interval speaks about seeds only"]
    if n_seeds == 1:
        return ["a single seed has an r: the interval speaks about sites only"]
    return []


def _missing_cells(subject: str, models: Mapping[str, SweepGrid]) -> list[str]:
    """Sweeps that a model lacks and another one has; comparisons leave them out."""
    cells = {
        model: {
            (site, seed)
            for i, site in enumerate(grid.sites)
            for j, seed in enumerate(grid.seeds)
            if grid.shown[i, j]
        }
        for model, grid in models.items()
    }
    everything = set().union(*cells.values())
    notes = []
    for model, own in cells.items():
        lacking = everything - own
        if not lacking:
            continue
        sites = sorted({site for site, _ in lacking} - {site for site, _ in own})
        which = f"; sites {_listed(sites)} altogether" if sites else ""
        notes.append(
            f"{named(subject, model)}: {len(lacking)} of {len(everything)} sweeps of "
            f"this subject are missing and left out of its comparisons{which}"
        )
    return notes


def _first(grid: SweepGrid, cells: np.ndarray) -> str:
    return _listed(
        [f"site {grid.sites[i]} seed {grid.seeds[j]}" for i, j in np.argwhere(cells)]
    )


def _listed(names: Sequence[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
