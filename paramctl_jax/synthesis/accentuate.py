"""Feature accentuation: every (site, seed image, target level) lane of one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax import lanes
from paramctl_jax.synthesis.budget import check_memory
from paramctl_jax.synthesis.dry_run import memory_of
from paramctl_jax.synthesis.plan import make_plan
from paramctl_jax.synthesis.work import counted, sweep_of
from paramctl_jax.types import EncodingModel, ImageSet, Sweep


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
      **settings: see `Settings` (route, crops, noise, learning_rate, ...).

    Returns:
      The sweep: images, what they reached, and why each lane ended. Lanes that missed
      are in it, flagged.

    Raises:
      InputError: levels and sites that do not fit, non-finite or repeated levels,
        seeds of the fit, settings out of range, more memory needed than there is.
    """
    plan = make_plan(
        model,
        seeds,
        levels,
        sites=sites,
        tolerance=tolerance,
        slow=slow,
        slots=slots,
        devices=devices,
        **settings,
    )
    check_memory(memory_of(plan), plan.devices[0])
    shared = lanes.replicate(plan.shared(key), plan.devices)
    with counted(plan, model.name, progress) as finished:
        return sweep_of(plan, shared, finished=finished)
