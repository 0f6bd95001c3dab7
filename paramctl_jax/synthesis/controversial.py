"""Controversial stimuli: seed images driven up for one model and down for the others.

A thin caller of the accentuation engine; see `contests` for what is optimised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from paramctl_jax import lanes
from paramctl_jax.synthesis.budget import check_memory
from paramctl_jax.synthesis.dry_run import memory_of
from paramctl_jax.synthesis.rival_plan import rival_plan
from paramctl_jax.synthesis.rivals import RivalPlan, RivalReader
from paramctl_jax.synthesis.work import Work, counted
from paramctl_jax.types import (
    ControversialSweep,
    EncodingModel,
    ImageSet,
    indices_of,
)


def controversial(
    models: Sequence[EncodingModel],
    seeds: ImageSet,
    natural: ImageSet,
    *,
    key: PRNGKeyArray,
    sites: Sequence[str] | None = None,
    levels: Sequence[float] = (1.5,),
    contest: str = "softmin",
    sharpness: float = 10.0,
    tolerance: float = 0.02,
    slow: float = 0.3,
    slots: int = 16,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
    **settings: Any,
) -> ControversialSweep:
    """Drives every seed image up for each model in turn, and down for the others.

    ``z_m = (f_m - mean_m) / sd_m`` over natural images; the commitments are ``z`` of
    the model driven up and ``-z`` of the others. With two models every seed image has
    its two directions, which are each other's control.

    Args:
      models: two or more encoding models of the same sites.
      seeds: natural images, at the canvas size, not among those of any fit.
      natural: images that mean and SD of the predictions are taken over.
      key: the sweep's; a lane's bytes depend on nothing but the lane.
      sites: site ids; None takes those that all models have.
      levels: commitments asked for, in SD of natural predictions, above 0.
      contest: ``"softmin"`` brings the smallest commitment to the level, ``"joint"``
        every one to the same level (route ``"lanes"``), ``"difference"`` the raw
        difference of the predictions, in equivalent units.
      sharpness: of the softmin and of joint levels, per SD, 1 to 100.
      tolerance: of a hit, in SD.
      slow: error in SD below which steps shrink.
      slots: lanes worked on at a time on each device.
      devices: None takes all local ones.
      progress: show a bar.
      **settings: see `Settings`; the objective is the thermostat's.

    Returns:
      Images, what they reached, and why each lane ended; missed ones are in it.

    Raises:
      InputError: fewer than two models, or of one name; no common site; natural
        predictions that are constant; levels or settings out of range; seeds of a fit.

    Example:
      ``sweep = controversial([robust, standard], seeds, images, key=key)``

    Source: Golan et al. 2020 (softmin); Prince et al. 2026 (difference).
    """
    plan = rival_plan(
        models,
        seeds,
        natural,
        sites=sites,
        levels=levels,
        contest=contest,
        sharpness=sharpness,
        tolerance=tolerance,
        slow=slow,
        slots=slots,
        devices=devices,
        **settings,
    )
    check_memory(memory_of(plan), plan.devices[0])
    shared = lanes.replicate(plan.shared(key), plan.devices)
    with counted(plan, "controversial", progress) as finished:
        return _sweep(plan, Work(plan, shared, finished=finished), levels)


def _sweep(plan: RivalPlan, work: Work, levels: Sequence[float]) -> ControversialSweep:
    results, _, passes = work.run()
    _, reason = results.verdict(plan.grid.levels, plan.grid.tolerance)
    reader = plan.engine.reader
    assert isinstance(reader, RivalReader)
    site_ids = tuple(dict.fromkeys(row.site for row in plan.rows))
    shape = (len(site_ids), len(plan.models), -1, len(plan.seeds), reason.shape[2])

    def arranged(values: np.ndarray) -> np.ndarray:
        """Rows to ``[site, high, seed, level]``; a row has all levels, or one."""
        split = values.reshape(*shape, *values.shape[3:])
        moved = np.moveaxis(split, 2, 3)
        return moved.reshape(*moved.shape[:3], len(levels), *values.shape[3:])

    own = [indices_of(site_ids, model.site_ids, "sites") for model in plan.models]
    start = results.start.reshape(*shape[:4])[:, :, 0]
    return ControversialSweep(
        models=plan.models,
        contest=reader.contest,
        site_ids=site_ids,
        seeds=plan.seeds,
        levels=np.asarray(levels, np.float64),
        center=np.stack([c[i] for c, i in zip(plan.center, own, strict=True)]),
        scale=np.stack([s[i] for s, i in zip(plan.scale, own, strict=True)]),
        start=start,
        images=arranged(results.images),
        reached=arranged(results.reached),
        step=arranged(results.step),
        stop_reason=arranged(reason),
        passes=passes,
    )
