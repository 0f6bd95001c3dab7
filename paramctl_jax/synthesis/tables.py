"""What there is to do: one row per lane, or per path through the levels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from paramctl_jax import lanes
from paramctl_jax.types import InputError

Table = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Grid:
    """The lanes of a sweep.

    Attributes:
      site_ids, seed_ids: their names.
      levels: target levels in response units.
      tolerance: of a hit, in response units.
      slow: error below which steps shrink.
    """

    site_ids: tuple[str, ...]
    seed_ids: tuple[str, ...]
    levels: Float[np.ndarray, "site level"]
    tolerance: Float[np.ndarray, " site"]
    slow: Float[np.ndarray, " site"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sites, seeds, levels."""
        return len(self.site_ids), len(self.seed_ids), self.levels.shape[1]


def check_levels(levels: np.ndarray, site_ids: Sequence[str]) -> None:
    """Refuses levels that no sweep can be made of.

    Raises:
      InputError: not one row per site, non-finite, repeated or fewer than two levels.
    """
    if levels.ndim != 2 or levels.shape[0] != len(site_ids):
        raise InputError(
            f"levels: expected one row per site, {len(site_ids)}, found "
            f"shape {levels.shape}"
        )
    distinct = all(len(set(row)) == len(row) for row in levels.tolist())
    if not np.isfinite(levels).all() or levels.shape[1] < 2 or not distinct:
        raise InputError(
            "levels: expected at least two finite, distinct target levels per site"
        )


def start_table(grid: Grid) -> Table:
    """One row per seed image and site, for the predictions before any step."""
    n_sites, n_seeds, _ = grid.shape
    site, seed = (index.ravel() for index in np.indices((n_sites, n_seeds)))
    return {"site": site.astype(np.int32), "seed": seed.astype(np.int32)}


def lane_table(grid: Grid, start: Float[np.ndarray, "site seed"]) -> Table:
    """One row per lane that the seed image itself does not hit, the farthest first.

    Models share draws: a lane's identity is its site, seed image and target. The order
    is for the sake of time alone: long lanes that start last would keep slots waiting.
    """
    site, seed, level = (index.ravel() for index in np.indices(grid.shape))
    target = grid.levels[site, level]
    error = start[site, seed] - target
    away = np.abs(error) > grid.tolerance[site]  # False where the start is not finite
    rows = _Rows(site, seed, level, target, -np.sign(error))
    names = [float(t).hex() for t in target]
    return _table(grid, start, rows, names, away)


def path_table(grid: Grid, start: Float[np.ndarray, "site seed"]) -> Table:
    """One row per path: a seed image, a site, and a direction that some level needs.

    A path's target is its last level, which ends it and changes nothing before. Its
    identity is its site, seed image and direction.
    """
    site, seed, way = (index.ravel() for index in np.indices((*grid.shape[:2], 2)))
    ends = np.stack([grid.levels.min(axis=1), grid.levels.max(axis=1)], axis=1)
    target, direction = ends[site, way], 2.0 * way - 1
    ahead = direction * (target - start[site, seed]) > grid.tolerance[site]
    rows = _Rows(site, seed, np.full(len(site), -1), target, direction)
    return _table(grid, start, rows, [("down", "up")[k] for k in way], ahead)


class _Rows(NamedTuple):
    site: np.ndarray
    seed: np.ndarray
    level: np.ndarray
    target: np.ndarray
    direction: np.ndarray


def _table(
    grid: Grid,
    start: Float[np.ndarray, "site seed"],
    rows: _Rows,
    names: list[str],
    wanted: np.ndarray,
) -> Table:
    """The wanted rows, the farthest from its start first."""
    begun = start[rows.site, rows.seed]
    distance = np.abs(begun - rows.target) / grid.slow[rows.site]
    order = np.argsort(-distance[wanted], kind="stable")
    chosen = np.flatnonzero(wanted)[order]
    site, seed, level, target, direction = (column[chosen] for column in rows)
    identities = [
        lanes.lane_identity(grid.site_ids[i], grid.seed_ids[j], names[row])
        for i, j, row in zip(site, seed, chosen, strict=True)
    ]
    return {
        "site": site.astype(np.int32),
        "seed": seed.astype(np.int32),
        "level": level.astype(np.int32),
        "start": begun[chosen].astype(np.float32),
        "target": target.astype(np.float32),
        "direction": direction.astype(np.float32),
        "tolerance": grid.tolerance[site].astype(np.float32),
        "slow": grid.slow[site].astype(np.float32),
        "identity": np.asarray(identities, np.uint32).reshape(-1, 2),
    }


def levels_of_paths(
    grid: Grid, start: Float[np.ndarray, "site seed"], table: Table
) -> list[list[tuple[int, float]]]:
    """Per path, the levels that lie on it, nearest first: ``(column, target)``."""
    found = []
    for site, seed, direction in zip(
        table["site"], table["seed"], table["direction"], strict=True
    ):
        ahead = direction * (grid.levels[site] - start[site, seed])
        order = [k for k in np.argsort(ahead) if ahead[k] > grid.tolerance[site]]
        found.append([(int(k), float(grid.levels[site, k])) for k in order])
    return found
