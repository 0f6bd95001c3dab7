"""All levels of one seed image along one path, each taken as the path passes it.

One lane drives the seed up and one down, at a pace that the levels do not set. Where
two steps bracket a level, ``f(theta_k) < t <= f(theta_k+1)``, the level branches off:
it is finished on the segment between them,

    theta(s) = theta_k + s (theta_k+1 - theta_k),    f(theta(s)) = t,

by false position with the Illinois rule on the clean 8-bit prediction, and never
touches the path. A level more or less therefore changes no other level's bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt8

from paramctl_jax import images, lanes
from paramctl_jax.synthesis.engine import Engine, Lane
from paramctl_jax.synthesis.gradient import Shared
from paramctl_jax.synthesis.state import LaneState, Leaf, select, to_bytes

MOST_FINISHES = 16  # of one level; two are usual
_BATCH = 4  # brackets per slot that are collected before they are finished
_EDGE = 0.02  # of the bracket that every guess keeps from its ends


@struct.dataclass
class FinishState:
    """One level between two steps of its path.

    Attributes:
      low, high: ends of the bracket along the segment, from 0 to 1.
      error_low, error_high: errors there; halved by the Illinois rule.
      side: -1 where the last guess replaced `low`, +1 `high`, 0 neither.
      step: guesses made.
      done: within tolerance, or given up.
      best: the 8-bit image nearest the level.
      best_prediction: of `best`.
    """

    low: Float[Leaf, "*slot"]
    high: Float[Leaf, "*slot"]
    error_low: Float[Leaf, "*slot"]
    error_high: Float[Leaf, "*slot"]
    side: Int[Leaf, "*slot"]
    step: Int[Leaf, "*slot"]
    done: Bool[Leaf, "*slot"]
    best: UInt8[Leaf, "*slot size size 3"]
    best_prediction: Float[Leaf, "*slot"]


def _opened(lane: Lane, canvas: int) -> FinishState:
    return FinishState(
        low=jnp.float32(0),
        high=jnp.float32(1),
        error_low=lane["before"] - lane["target"],
        error_high=lane["after"] - lane["target"],
        side=jnp.int32(0),
        step=jnp.int32(0),
        done=jnp.bool_(False),
        best=jnp.zeros((canvas, canvas, 3), jnp.uint8),
        best_prediction=jnp.float32(jnp.inf),
    )


def _finish(
    engine: Engine, shared: Shared, state: FinishState, lane: Lane
) -> FinishState:
    """One guess: the clean prediction where the chord crosses the level."""
    state = select(lane["fresh"], _opened(lane, engine.canvas), state)
    axis, width = engine.reader.axis(lane), state.high - state.low
    chord = state.error_low / (state.error_low - state.error_high)
    place = state.low + width * jnp.clip(chord, _EDGE, 1 - _EDGE)
    theta = jax.tree.map(
        lambda a, b: a + place * (b - a), lane["theta_before"], lane["theta_after"]
    )
    image = engine.image_of(theta, lane["seed_image"])
    prediction = engine.reader.clean(shared, axis, images.quantise(image))
    checked = _checked(state, lane, to_bytes(image), prediction)
    narrowed = _narrowed(checked, place, prediction - lane["target"])
    return select(state.done, state, narrowed)


def _checked(
    state: FinishState,
    lane: Lane,
    pixels: UInt8[Array, "size size 3"],
    prediction: Float[Array, ""],
) -> FinishState:
    error = jnp.abs(prediction - lane["target"])
    keep = (state.step == 0) | (error < jnp.abs(state.best_prediction - lane["target"]))
    step = state.step + 1
    ended = (error <= lane["tolerance"]) | ~jnp.isfinite(prediction)
    return dataclasses.replace(
        state,
        step=step,
        done=ended | (step >= MOST_FINISHES),
        best=jnp.where(keep, pixels, state.best),
        best_prediction=jnp.where(keep, prediction, state.best_prediction),
    )


def _narrowed(
    state: FinishState, place: Float[Array, ""], error: Float[Array, ""]
) -> FinishState:
    """Puts the guess in the place of the end of its sign; Illinois halves the other."""
    lower = jnp.sign(error) == jnp.sign(state.error_low)
    again_low = lower & (state.side == -1)
    again_high = ~lower & (state.side == 1)
    kept_high = jnp.where(again_low, 0.5, 1.0) * state.error_high
    kept_low = jnp.where(again_high, 0.5, 1.0) * state.error_low
    return dataclasses.replace(
        state,
        low=jnp.where(lower, place, state.low),
        high=jnp.where(lower, state.high, place),
        error_low=jnp.where(lower, error, kept_low),
        error_high=jnp.where(lower, kept_high, error),
        side=jnp.where(lower, jnp.int32(-1), jnp.int32(1)),
    )


@lru_cache(maxsize=32)
def compiled_finish(
    engine: Engine, devices: tuple[Any, ...]
) -> Callable[[Shared, FinishState, Lane], FinishState]:
    """The program of one guess on all slots."""
    return lanes.over_lanes(partial(_finish, engine), devices)


class Crossings:
    """Watches paths, takes the levels that they pass, and finishes them in batches.

    Args:
      engine: of the sweep.
      shared: of the sweep, on the devices.
      devices: that the slots are divided among.
      slots: of all devices together.
      levels: per path, its levels not yet passed, in the order in which they will be:
        ``(column, target)``.
      table: of the paths, one row each.
      expand: puts seed images and axes to rows.
      collect: ``collect(path, column, pixels, prediction, step of the path)``.
    """

    def __init__(
        self,
        engine: Engine,
        shared: Shared,
        devices: tuple[Any, ...],
        slots: int,
        levels: list[list[tuple[int, float]]],
        table: dict[str, np.ndarray],
        expand: Callable[[PyTree], PyTree],
        collect: Callable[[int, int, np.ndarray, float, int], None],
    ):
        self._engine, self._shared = engine, shared
        self._devices, self._slots = devices, slots
        self.waiting = levels
        self._table, self._expand, self._collect = table, expand, collect
        self._brackets: list[dict[str, Any]] = []
        self.guesses = 0

    def watch(self, state: LaneState, occupant: Int[np.ndarray, " slot"]) -> None:
        """After every step: brackets of the levels that it passed."""
        prediction = np.asarray(state.prediction)
        for slot in np.flatnonzero(occupant != lanes.EMPTY):
            path = int(occupant[slot])
            direction = self._table["direction"][path]
            passed = [
                (column, target)
                for column, target in self.waiting[path]
                if direction * (prediction[slot] - np.float32(target)) >= 0
            ]
            if passed:
                self._take(state, int(slot), path, passed)
                self.waiting[path] = self.waiting[path][len(passed) :]
        if len(self._brackets) >= _BATCH * self._slots:
            self.finish()

    def _take(
        self, state: LaneState, slot: int, path: int, passed: list[tuple[int, float]]
    ) -> None:
        ends = jax.tree.map(
            lambda leaf: np.asarray(leaf[slot]),
            {
                "theta_before": state.previous,
                "theta_after": state.theta,
                "before": state.before,
                "after": state.prediction,
            },
        )
        row = {name: self._table[name][path] for name in ("site", "seed", "tolerance")}
        step = int(state.step[slot])
        for column, target in passed:
            lane = {**ends, **row, "target": np.float32(target)}
            self._brackets.append(
                {"lane": lane, "path": path, "column": column, "step": step}
            )

    def restore(self, known: Bool[np.ndarray, "site seed level"], guesses: int) -> None:
        """Leaves out the levels that are known; to be called before the first step."""
        for path, levels in enumerate(self.waiting):
            seen = known[self._table["site"][path], self._table["seed"][path]]
            self.waiting[path] = [level for level in levels if not seen[level[0]]]
        self.guesses = guesses

    def finish(self) -> None:
        """Finishes all brackets that are waiting."""
        if not self._brackets:
            return
        brackets, self._brackets = self._brackets, []
        rows = jax.tree.map(lambda *x: np.stack(x), *(b["lane"] for b in brackets))
        step = compiled_finish(self._engine, self._devices)

        def collect(index: int, state: FinishState, slot: int) -> None:
            bracket = brackets[index]
            self.guesses += int(state.step[slot])
            self._collect(
                bracket["path"],
                bracket["column"],
                np.asarray(state.best[slot]),
                float(state.best_prediction[slot]),
                bracket["step"],
            )

        lanes.run(
            lambda state, lane: step(self._shared, state, lane),
            jax.device_put(self._blank(rows), lanes.lane_sharding(self._devices)),
            rows,
            slots=self._slots,
            done=lambda state: state.done,
            collect=collect,
            expand=self._expand,
            check_every=1,
        )

    def _blank(self, rows: PyTree) -> FinishState:
        lane = {name: jnp.float32(0) for name in ("before", "after", "target")}
        one = _opened(lane, self._engine.canvas)
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (self._slots, *leaf.shape)).copy(), one
        )
