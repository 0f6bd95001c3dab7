"""Feature accentuation: every (site, seed image, target level) lane of one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray, PyTree

from paramctl_jax import images, lanes
from paramctl_jax.progress import bar
from paramctl_jax.synthesis.engine import (
    LaneState,
    Settings,
    Shared,
    compiled_step,
    initial_state,
)
from paramctl_jax.types import EncodingModel, ImageSet, InputError, Sweep, indices_of

HIT, MAX_STEPS, NONFINITE = "hit", "max_steps", "nonfinite"


def accentuate(
    model: EncodingModel,
    seeds: ImageSet,
    levels: Float[np.ndarray, "site level"],
    *,
    key: PRNGKeyArray,
    sites: Sequence[str] | None = None,
    tolerance: float = 0.005,
    slow: float = 0.03,
    slots: int = 16,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
    **settings: Any,
) -> Sweep:
    """Moves every seed image along every site's encoding axis to every target level.

    Args:
      model: whose axes are followed; held fixed.
      seeds: natural images, at the canvas size, not among those of the fit.
      levels: target levels in response units, one row per site in `sites`.
      key: the sweep's; with it, a lane's bytes depend on its site, seed image, target
        and the range of its site's levels only, not on the other lanes, their order or
        the number of devices (at a given number of slots).
      sites: site ids of the rows of `levels`; None takes the model's.
      tolerance: of a hit, as a fraction of the site's level range.
      slow: error, as a fraction of the level range, below which steps shrink.
      slots: lanes worked on at a time on each device.
      devices: None takes all local ones.
      progress: show a bar.
      **settings: see `engine.Settings` (crops, noise, learning_rate, ...).

    Returns:
      The sweep: images, what they reached, and why each lane ended. Lanes that missed
      are in it, flagged.

    Raises:
      InputError: levels and sites that do not fit, non-finite or repeated levels,
        seeds of the fit, settings out of range.
    """
    site_ids = tuple(model.site_ids if sites is None else sites)
    rows = indices_of(site_ids, model.site_ids, f"sites of {model.name}")
    levels = np.asarray(levels, np.float64)
    _check(model, seeds, levels, site_ids)
    if slots < 1 or not tolerance > 0 or not slow > 0:
        raise InputError(
            f"synthesis settings: slots={slots}, tolerance={tolerance}, slow={slow}; "
            "expected at least 1 slot, and tolerance and slow above 0"
        )
    devices = tuple(jax.local_devices() if devices is None else devices)
    step = compiled_step(
        model.backbone.network, model.readout, Settings(**settings), devices
    )
    shared = _shared(model, rows, seeds, key)
    extent = levels.max(axis=1) - levels.min(axis=1)
    table = _lane_table(site_ids, seeds, levels, tolerance * extent, slow * extent)
    total = len(devices) * slots
    size = seeds.pixels.shape[1]
    results = _Results(levels.shape[0], len(seeds), levels.shape[1], size)
    with bar(
        total=len(table["target"]), label=f"{model.name}: lanes", show=progress
    ) as progress_bar:

        def collect(lane: int, state: LaneState, slot: int) -> None:
            results.put(lane, state, slot)
            progress_bar.update()

        lanes.run(
            lambda state, lane: step(shared, state, lane),
            # laid out as the step returns it, so that it is compiled once
            jax.device_put(_blank(size, total), lanes.lane_sharding(devices)),
            table,
            slots=total,
            done=lambda state: state.done,
            collect=collect,
        )
    return results.sweep(model, site_ids, seeds, levels, tolerance * extent)


def _check(
    model: EncodingModel,
    seeds: ImageSet,
    levels: Float[np.ndarray, "site level"],
    site_ids: tuple[str, ...],
) -> None:
    if len(set(seeds.stimulus_ids)) < max(1, len(seeds)):
        raise InputError("seeds: expected at least one seed image, each once")
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
    seen = sorted(set(seeds.stimulus_ids) & set(model.evaluation.train_ids))
    if seen:
        raise InputError(
            f"seeds: {len(seen)} of {len(seeds)} were among the fit's training images, "
            f"first {seen[0]!r}; hold them out with images.drop(seeds)"
        )


def _shared(
    model: EncodingModel, rows: np.ndarray, seeds: ImageSet, key: PRNGKeyArray
) -> Shared:
    return Shared(
        variables=model.backbone.variables,
        weights=jnp.asarray(model.weights[rows], jnp.float32),
        bias=jnp.asarray(model.bias[rows], jnp.float32),
        seeds=jnp.asarray(images.to_float(seeds.pixels)),
        root=key,
    )


def _blank(size: int, slots: int) -> PyTree:
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (slots, *leaf.shape)).copy(),
        initial_state(size),
    )


def _lane_table(
    site_ids: tuple[str, ...],
    seeds: ImageSet,
    levels: Float[np.ndarray, "site level"],
    tolerance: Float[np.ndarray, " site"],
    slow: Float[np.ndarray, " site"],
) -> dict[str, np.ndarray]:
    """One row per lane, in the order site, seed, level.

    Models share draws: a lane's identity is its site, seed image and target.
    """
    shape = (len(site_ids), len(seeds), levels.shape[1])
    site, seed, level = (index.ravel() for index in np.indices(shape))
    identities = [
        lanes.lane_identity(
            site_ids[i], seeds.stimulus_ids[j], float(levels[i, k]).hex()
        )
        for i, j, k in zip(site, seed, level, strict=True)
    ]
    return {
        "site": site.astype(np.int32),
        "seed": seed.astype(np.int32),
        "target": levels[site, level].astype(np.float32),
        "tolerance": tolerance[site].astype(np.float32),
        "slow": slow[site].astype(np.float32),
        "identity": np.stack(identities),
    }


class _Results:
    """Collects finished lanes into the arrays of a `Sweep`."""

    def __init__(self, sites: int, seeds: int, levels: int, size: int):
        shape = (sites, seeds, levels)
        self.shape = shape
        self.images = np.zeros((*shape, size, size, 3), np.uint8)
        self.reached = np.full(shape, np.nan)
        self.start = np.full(shape, np.nan)
        self.step = np.zeros(shape, np.int64)
        self.finite = np.ones(shape, bool)

    def put(self, lane: int, state: LaneState, slot: int) -> None:
        """Stores the lane that ended in `slot`."""
        index = np.unravel_index(lane, self.shape)
        self.images[index] = state.best[slot]
        self.reached[index] = state.best_prediction[slot]
        self.start[index] = state.start[slot]
        self.step[index] = state.best_step[slot]
        self.finite[index] = state.finite[slot]

    def sweep(
        self,
        model: EncodingModel,
        site_ids: tuple[str, ...],
        seeds: ImageSet,
        levels: Float[np.ndarray, "site level"],
        tolerance: Float[np.ndarray, " site"],
    ) -> Sweep:
        """The finished sweep."""
        error = np.abs(self.reached - levels[:, None, :])
        # the loop compared in float32; half a float32 step of the level is its doubt
        hit = error <= tolerance[:, None, None] + 1e-6 * np.abs(levels[:, None, :])
        reason = np.where(hit, HIT, np.where(self.finite, MAX_STEPS, NONFINITE))
        return Sweep(
            model=model,
            site_ids=site_ids,
            seeds=seeds,
            targets=levels,
            start=self.start[:, :, 0],
            images=self.images,
            reached=self.reached,
            step=self.step,
            hit=hit,
            stop_reason=reason,
            tolerance=tolerance,
        )
