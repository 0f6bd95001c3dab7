"""What a sweep will cost: counted, estimated, and timed on one warm step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from paramctl_jax import images, lanes
from paramctl_jax.progress import duration
from paramctl_jax.synthesis import engine, tables
from paramctl_jax.synthesis.budget import (
    Memory,
    array_bytes,
    check_memory,
    step_memory,
)
from paramctl_jax.synthesis.plan import LanePlan, Plan

# Steps that a lane or a path takes at the default settings on the networks of
# docs/numbers.md, means over all of them; hard levels take many more.
TYPICAL_STEPS = {"lanes": 15, "path": 30}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a sweep will cost.

    Attributes:
      name: of the model.
      route: of the settings.
      lanes: sites x seed images x levels.
      rows: lanes or paths that are optimised.
      crops: per step.
      typical_steps, max_steps: per row; typical of the networks measured, at most.
      step_seconds: of one warm step of all slots.
      total_slots: on all devices.
      memory: per device.
      disk: bytes of the PNGs.
      compile_seconds: until the first step was done.
    """

    name: str
    route: str
    lanes: int
    rows: int
    crops: int
    typical_steps: int
    max_steps: int
    step_seconds: float
    total_slots: int
    memory: Memory
    disk: int
    compile_seconds: float

    def seconds(self, steps: int) -> float:
        """Of the whole sweep, at so many steps per row."""
        return steps * self.rows / self.total_slots * self.step_seconds

    def __str__(self) -> str:
        typical = min(self.typical_steps, self.max_steps)
        memory, gib = self.memory, 2**30
        free = "?" if memory.available is None else f"{memory.available / gib:.1f}"
        kind = "lanes" if self.route == "lanes" else "paths"
        passes = self.rows * typical * self.crops
        lines = {
            "lanes": f"{self.lanes:,} in {self.rows:,} {kind}",
            "backbone passes": (
                f"about {passes:,} forward and backward, "
                f"{self.rows * typical:,} forward, at {typical} steps each; at most "
                f"{self.max_steps / typical:.3g} x that"
            ),
            "one step": (
                f"{self.total_slots} slots x {self.crops} crops, "
                f"{memory.flops / 1e9:.4g} GFLOP per device, "
                f"{self.step_seconds:.3g} s (compiled in {self.compile_seconds:.1f} s)"
            ),
            "memory per device": (
                f"about {memory.needed / gib:.2f} GiB of {free} GiB free; "
                f"{memory.fitting} slots would fit"
            ),
            "disk": f"about {self.disk / 2**20:.0f} MiB of PNGs",
            "time": (
                f"about {duration(self.seconds(typical))}, at most "
                f"{duration(self.seconds(self.max_steps))}"
            ),
        }
        width = max(map(len, lines))
        body = (f"  {name:<{width}}  {text}" for name, text in lines.items())
        return "\n".join([self.name, *body])


def estimate(plan: Plan) -> Estimate:
    """Counts the lanes and passes of a sweep and times one warm step; writes nothing.

    Raises:
      InputError: more memory needed than there is, said before anything is compiled.
    """
    memory = memory_of(plan)
    check_memory(memory, plan.devices[0])
    table = _stand_in(plan)
    first, warm = _timed(plan)
    settings = plan.engine.settings
    sites, seeds, levels = plan.grid.shape
    return Estimate(
        name=plan.model.name,
        route=settings.route,
        lanes=sites * seeds * levels,
        rows=len(table["site"]),
        crops=settings.crops,
        typical_steps=TYPICAL_STEPS[settings.route],
        max_steps=settings.max_steps,
        step_seconds=warm,
        total_slots=plan.total_slots,
        memory=memory,
        disk=_disk(plan, sites * seeds * (levels + 1)),
        compile_seconds=max(first - warm, 0.0),
    )


def memory_of(plan: LanePlan) -> Memory:
    """Memory per device of the plan's step, from its traced program."""
    shared = _abstract(plan.shared, jax.random.key(0))
    lane = _lane_of(plan, plan.slots)
    shapes = _abstract(lambda lane: lane, lane)
    return _memory(plan.engine, plan.slots, plan.devices[0], shared, shapes)


class _Abstract(NamedTuple):
    """Shapes of a tree, flat: its records hold arrays only."""

    leaves: tuple[jax.ShapeDtypeStruct, ...]
    structure: Any


def _abstract(function: Callable[..., PyTree], *arguments: PyTree) -> _Abstract:
    structures = []

    def flat(*arguments: PyTree) -> list[Any]:
        leaves, structure = jax.tree.flatten(function(*arguments))
        structures.append(structure)
        return leaves

    leaves = jax.eval_shape(flat, *arguments)
    return _Abstract(tuple(leaves), structures[0])


@lru_cache(maxsize=32)
def _memory(
    program: engine.Engine,
    slots: int,
    device: Any,
    shared: _Abstract,
    lane: _Abstract,
) -> Memory:
    state = _abstract(lambda: program.blank(slots))
    whole = (shared, state, lane)
    splits = np.cumsum([len(part.leaves) for part in whole])[:-1]

    def step(*leaves: Any) -> PyTree:
        parts = np.split(np.arange(len(leaves)), splits)
        trees = (
            jax.tree.unflatten(part.structure, [leaves[i] for i in chosen])
            for part, chosen in zip(whole, parts, strict=True)
        )
        return jax.vmap(program.step, in_axes=(None, 0, 0))(*trees)

    shapes = [leaf for part in whole for leaf in part.leaves]
    return step_memory(step, shapes, array_bytes(shared.leaves), slots, device)


def _stand_in(plan: LanePlan) -> tables.Table:
    """The rows of a sweep none of whose seeds is at its target yet."""
    low, high = plan.grid.levels.min(axis=1), plan.grid.levels.max(axis=1)
    middle = (low + 1.001 * high) / 2.001  # not on a level
    middle = np.where(high > low, middle, low - 2 * plan.grid.tolerance)
    start = np.repeat(middle[:, None], plan.grid.shape[1], axis=1)
    make = {"lanes": tables.lane_table, "path": tables.path_table}
    return make[plan.engine.settings.route](plan.grid, start)


def _lane_of(plan: LanePlan, slots: int) -> dict[str, np.ndarray]:
    """What a step is given for its slots."""
    table = _stand_in(plan)
    rows = np.arange(slots) % len(table["site"])
    lane = plan.expand({name: column[rows] for name, column in table.items()})
    return {**lane, "fresh": np.ones(slots, bool)}


def _timed(plan: Plan) -> tuple[float, float]:
    """Seconds of the first and of a warm step."""
    shared = lanes.replicate(plan.shared(jax.random.key(0)), plan.devices)
    sharding = lanes.lane_sharding(plan.devices)
    state = jax.device_put(plan.engine.blank(plan.total_slots), sharding)
    lane = jax.device_put(_lane_of(plan, plan.total_slots), sharding)
    step: Any = engine.compiled_step(plan.engine, plan.devices)
    begun = time.perf_counter()
    state = jax.block_until_ready(step(shared, state, lane))
    first = time.perf_counter() - begun
    rest = {**lane, "fresh": np.zeros(plan.total_slots, bool)}
    state = jax.block_until_ready(step(shared, state, rest))
    begun = time.perf_counter()
    state = jax.block_until_ready(step(shared, state, rest))
    warm = time.perf_counter() - begun
    return first, warm


def _disk(plan: Plan, n_stimuli: int) -> int:
    """PNGs of accentuated images are about as large as those of their seeds."""
    sizes = [len(images.encode_png(pixels)) for pixels in plan.seeds.pixels[:8]]
    return int(np.mean(sizes) * n_stimuli)
