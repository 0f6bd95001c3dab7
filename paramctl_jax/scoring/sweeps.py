"""From the rows of an exchange table to arrays ``[site, seed, level]``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.scoring.table import ControlTable

# Predictions are made in float32; what differs by less than a few of its units in the
# last place is the same number.
ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class SweepGrid:
    """All sweeps that one model's stimuli drove in one subject.

    Attributes:
      sites, seeds: in natural order (numbers by value, then text).
      predicted, recorded: one value per point. The levels of a sweep are packed in
        ascending order from index 0 and padded with NaN: a level is only a label, so
        equal indices of two sweeps need not mean equal levels.
      shown: whether the table has any row of this sweep.
      n_rows: rows of the table.
      n_duplicates: rows beyond the first of each point.
      n_invalid: points without a predicted or without a recorded value.
      n_disagreeing: points whose duplicated rows have different predictions.
    """

    sites: tuple[str, ...]
    seeds: tuple[str, ...]
    predicted: Float[np.ndarray, "site seed level"]
    recorded: Float[np.ndarray, "site seed level"]
    shown: Bool[np.ndarray, "site seed"]
    n_rows: int
    n_duplicates: int
    n_invalid: int
    n_disagreeing: int


def sweep_grids(table: ControlTable) -> dict[str, dict[str, SweepGrid]]:
    """Sort the rows of a table into sweeps, duplicates averaged.

    Rows with equal (subject, model, site, seed, level) are one point. `predicted` and
    `recorded` are averaged over its valid rows, weighted by `n_repeats` where all of
    them have it and equally otherwise. Levels that are equal as numbers are equal.

    Args:
      table: the exchange table.

    Returns:
      subject -> model -> grid, both in order of first appearance.
    """
    grids: dict[str, dict[str, SweepGrid]] = {}
    for (subject, model), rows in _rows_by_model(table).items():
        grids.setdefault(subject, {})[model] = _grid(table, rows)
    return grids


def natural_order(ids: Iterable[str]) -> tuple[str, ...]:
    """Unique ids, numbers by value before text.

    Example:
      >>> natural_order(["10", "b", "9", "a", "9"])
      ('9', '10', 'a', 'b')
    """

    def key(name: str) -> tuple[bool, float, str]:
        value = _finite(name)
        return value is None, 0.0 if value is None else value, name

    return tuple(sorted(set(ids), key=key))


def _rows_by_model(table: ControlTable) -> Mapping[tuple[str, str], list[int]]:
    rows: dict[tuple[str, str], list[int]] = {}
    for row, name in enumerate(zip(table.subject, table.model, strict=True)):
        rows.setdefault(name, []).append(row)
    return rows


def _grid(table: ControlTable, rows: list[int]) -> SweepGrid:
    sweeps: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row in rows:
        sweep = sweeps.setdefault((table.site[row], table.seed[row]), {})
        sweep.setdefault(_level_label(table.level[row]), []).append(row)
    sites = natural_order(site for site, _ in sweeps)
    seeds = natural_order(seed for _, seed in sweeps)
    shape = (len(sites), len(seeds), max(len(sweep) for sweep in sweeps.values()))
    predicted, recorded = np.full(shape, np.nan), np.full(shape, np.nan)
    shown, n_disagreeing = np.zeros(shape[:2], dtype=bool), 0
    for (site, seed), sweep in sweeps.items():
        cell = sites.index(site), seeds.index(seed)
        shown[cell] = True
        for index, level in enumerate(natural_order(sweep)):
            point = _average(table, sweep[level])
            predicted[cell][index], recorded[cell][index] = point
            n_disagreeing += _disagree(table, sweep[level])
    n_points = sum(len(sweep) for sweep in sweeps.values())
    n_valid = int(np.sum(np.isfinite(predicted) & np.isfinite(recorded)))
    return SweepGrid(
        sites,
        seeds,
        predicted,
        recorded,
        shown,
        n_rows=len(rows),
        n_duplicates=len(rows) - n_points,
        n_invalid=n_points - n_valid,
        n_disagreeing=n_disagreeing,
    )


def _average(table: ControlTable, rows: list[int]) -> tuple[float, float]:
    """Weighted mean of the point's valid rows; NaN, NaN where there is none."""
    chosen = np.asarray(rows)
    predicted, recorded = table.predicted[chosen], table.recorded[chosen]
    valid = np.isfinite(predicted) & np.isfinite(recorded)
    if not valid.any():
        return math.nan, math.nan
    weight = table.n_repeats[chosen][valid]
    if not np.isfinite(weight).all():
        weight = np.ones_like(weight)
    weight = weight / weight.sum()
    return float(weight @ predicted[valid]), float(weight @ recorded[valid])


def _disagree(table: ControlTable, rows: list[int]) -> bool:
    """Whether the rows of one point have predictions that differ."""
    known = [value for value in table.predicted[rows] if math.isfinite(value)]
    if len(known) < 2:
        return False
    return bool(max(known) - min(known) > ROUNDING * max(map(abs, known)))


def _level_label(text: str) -> str:
    value = _finite(text)
    return text if value is None else repr(value)


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
