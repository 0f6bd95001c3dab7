"""From the rows of an exchange table to arrays ``[site, seed, level]``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.scoring.table import NUMBERS, ControlTable

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
      target, floor, n_repeats, recorded_sd: of the same points; NaN where unknown.
      labels: levels of the same points, None where there is no point.
      shown: whether the table has any row of this sweep.
      n_rows: rows of the table.
      n_duplicates: rows beyond the first of each point.
      n_invalid: points without a predicted or without a recorded value.
      n_disagreeing: points whose duplicated rows have different predictions.
      n_other_targets: points whose duplicated rows have different targets.
    """

    sites: tuple[str, ...]
    seeds: tuple[str, ...]
    predicted: Float[np.ndarray, "site seed level"]
    recorded: Float[np.ndarray, "site seed level"]
    target: Float[np.ndarray, "site seed level"]
    floor: Float[np.ndarray, "site seed level"]
    n_repeats: Float[np.ndarray, "site seed level"]
    recorded_sd: Float[np.ndarray, "site seed level"]
    labels: np.ndarray
    shown: Bool[np.ndarray, "site seed"]
    n_rows: int
    n_duplicates: int
    n_invalid: int
    n_disagreeing: int
    n_other_targets: int

    @property
    def there(self) -> Bool[np.ndarray, "site seed level"]:
        """Whether the table has such a point, valid or not."""
        return np.not_equal(self.labels, None).astype(bool)


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
        value = as_number(name)
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
    values = {name: np.full(shape, np.nan) for name in NUMBERS}
    labels = np.full(shape, None, dtype=object)
    shown = np.zeros(shape[:2], dtype=bool)
    differing = dict.fromkeys(("predicted", "target"), 0)
    for (site, seed), sweep in sweeps.items():
        cell = sites.index(site), seeds.index(seed)
        shown[cell] = True
        for index, level in enumerate(natural_order(sweep)):
            for name, value in _average(table, sweep[level]).items():
                values[name][cell][index] = value
            labels[cell][index] = level
            for name in differing:
                differing[name] += _disagree(getattr(table, name)[sweep[level]])
    n_points = sum(len(sweep) for sweep in sweeps.values())
    known = np.isfinite(values["predicted"]) & np.isfinite(values["recorded"])
    n_valid = int(np.sum(known))
    return SweepGrid(
        sites,
        seeds,
        **values,
        labels=labels,
        shown=shown,
        n_rows=len(rows),
        n_duplicates=len(rows) - n_points,
        n_invalid=n_points - n_valid,
        n_disagreeing=differing["predicted"],
        n_other_targets=differing["target"],
    )


def _average(table: ControlTable, rows: list[int]) -> dict[str, float]:
    """Weighted means of the point's valid rows; NaN where there is none."""
    chosen = np.asarray(rows)
    valid = np.isfinite(table.predicted[chosen]) & np.isfinite(table.recorded[chosen])
    if not valid.any():
        return dict.fromkeys(NUMBERS, math.nan)
    chosen = chosen[valid]
    repeats = table.n_repeats[chosen]
    weight = repeats if np.isfinite(repeats).all() else np.ones_like(repeats)
    means = {name: _mean(getattr(table, name)[chosen], weight) for name in NUMBERS}
    means["n_repeats"] = float(repeats.sum())
    means["recorded_sd"] = _pooled_sd(table.recorded_sd[chosen], repeats)
    return means


def _mean(
    values: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"]
) -> float:
    """Weighted mean of the rows that have the number; NaN where none has."""
    known = np.isfinite(values)
    if not known.any():
        return math.nan
    return float((weight[known] / weight[known].sum()) @ values[known])


def _pooled_sd(
    sd: Float[np.ndarray, " row"], repeats: Float[np.ndarray, " row"]
) -> float:
    """SD within the rows of one point, by degrees of freedom; NaN where unknown."""
    known = np.isfinite(sd) & (repeats > 1)
    if not known.any():
        return math.nan
    freedom = repeats[known] - 1
    return math.sqrt(float(freedom @ sd[known] ** 2) / float(freedom.sum()))


def _disagree(values: Float[np.ndarray, " row"]) -> bool:
    """Whether the rows of one point have numbers that differ."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return False
    return bool(max(known) - min(known) > ROUNDING * max(map(abs, known)))


def _level_label(text: str) -> str:
    value = as_number(text)
    return text if value is None else repr(value)


def as_number(text: str | None) -> float | None:
    """A label as a finite number; None where it is text, or nothing.

    Example:
      >>> as_number("1.50"), as_number("low")
      (1.5, None)
    """
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
