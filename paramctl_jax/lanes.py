"""Map a pure function over lanes: slots, devices, determinism.

A lane is one (model, site, seed image, target level) combination. Lanes are
independent, so that they fill a fixed number of slots on every device; a finished
lane's slot is given to the next lane, and the compiled program keeps its shape from
the first step to the last. A lane's result depends on nothing but the lane: its
randomness comes from its own identity, and under `vmap` with a fixed number of slots
its arithmetic does not see its neighbours.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Int, PRNGKeyArray, PyTree, UInt32

AXIS = "lane"
EMPTY = -1
Word: TypeAlias = jax.Array | np.ndarray


def lane_identity(*labels: str) -> UInt32[np.ndarray, " 2"]:
    """64 bits of sha256 over a lane's labels, as two words.

    Example:
      >>> lane_identity("site_3", "dog_0001", "1.5").tolist()
      [1502652969, 170533920]
    """
    digest = hashlib.sha256("\0".join(labels).encode()).digest()
    return np.frombuffer(digest[:8], dtype=">u4").astype(np.uint32)


def lane_key(
    root: PRNGKeyArray, identity: UInt32[Word, " 2"], step: Int[Word, ""]
) -> PRNGKeyArray:
    """The key of one step of one lane: the lane's words and the step folded in."""
    lane = jax.random.fold_in(jax.random.fold_in(root, identity[0]), identity[1])
    return jax.random.fold_in(lane, step)


def named_key(root: PRNGKeyArray, *labels: str) -> PRNGKeyArray:
    """A key for one named purpose, e.g. ``named_key(root, "day1")``."""
    words = lane_identity(*labels)
    return jax.random.fold_in(jax.random.fold_in(root, words[0]), words[1])


def lane_sharding(devices: Sequence[Any]) -> NamedSharding:
    """Where a state with a leading axis of slots lies: split over `devices`."""
    return NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec(AXIS))


def replicate(tree: PyTree, devices: Sequence[Any]) -> PyTree:
    """Puts a whole copy of every leaf on each device."""
    mesh = Mesh(np.asarray(devices), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def over_lanes(
    function: Callable[..., PyTree], devices: Sequence[Any]
) -> Callable[..., PyTree]:
    """Compiles ``function(shared, state, lane) -> state`` for all slots of all devices.

    Args:
      function: of one lane.
      devices: the slots are divided evenly among them.

    Returns:
      ``advance(shared, state, lane) -> state``; `state` and `lane` have a leading axis
      of slots, `shared` is replicated, and the state's buffers are re-used.
    """
    mesh = Mesh(np.asarray(devices), (AXIS,))
    split, whole = PartitionSpec(AXIS), PartitionSpec()
    mapped = jax.shard_map(
        jax.vmap(function, in_axes=(None, 0, 0)),
        mesh=mesh,
        in_specs=(whole, split, split),
        out_specs=split,
        check_vma=False,  # nothing is exchanged between devices: nothing to check
    )
    # left to itself the compiler lays the state out anew, and then compiles twice
    return jax.jit(mapped, donate_argnums=1, out_shardings=lane_sharding(devices))


class Parked(NamedTuple):
    """Lanes under way, taken out of their slots: to be saved, or gone on with.

    A lane's state fits into any slot, so that another number of slots may go on.

    Attributes:
      rows: indices of the lanes under way.
      states: of these lanes, on the host.
      done: the lanes that were collected before.
    """

    rows: Int[np.ndarray, " parked"]
    states: PyTree
    done: Bool[np.ndarray, " lane"]


def run(
    advance: Callable[[PyTree, PyTree], PyTree],
    state: PyTree,
    lanes: PyTree,
    *,
    slots: int,
    done: Callable[[PyTree], Any],
    collect: Callable[[int, PyTree, int], None],
    check_every: int = 4,
    expand: Callable[[PyTree], PyTree] = lambda lane: lane,
    take: Callable[[PyTree], PyTree] = lambda state: state,
    watch: Callable[[PyTree, Int[np.ndarray, " slot"]], None] | None = None,
    begun: Parked | None = None,
    pause: Callable[[Callable[[], Parked]], None] | None = None,
) -> None:
    """Runs every lane to its end, refilling slots as lanes finish.

    Args:
      advance: ``advance(state, lane) -> state`` on all slots; ``lane["fresh"]`` marks
        the slots whose state must be started anew.
      state: of all slots; its content is never read before a slot is fresh.
      lanes: mapping of arrays (or trees of them) with one row per lane.
      slots: number of lanes worked on at a time.
      done: the finished flags of a state, ``[slot]``.
      collect: ``collect(lane index, state on the host, slot)`` for a finished lane.
      check_every: steps between two looks at the flags; a finished lane is frozen
        meanwhile, so that this changes the cost and not the result.
      expand: adds to the rows in the slots what would be too large for all lanes.
      take: the part of a state that `collect` is given, fetched from the devices.
      watch: ``watch(state, occupant)`` after every step; `occupant` is the lane index
        of each slot, `EMPTY` where there is none.
      begun: lanes under way to go on with; lanes done before are left out.
      pause: ``pause(park)`` after every look at the flags, finished lanes collected;
        ``park()`` gives the lanes under way. It may raise to end the run.
    """
    total = len(jax.tree.leaves(lanes)[0])
    bench = _Bench(state, slots, total, begun)
    while not bench.over:
        bench.fill()
        rows = np.maximum(bench.occupant, 0)  # an empty slot idles, uncollected
        lane = jax.tree.map(lambda values, rows=rows: values[rows], lanes)
        lane = jax.device_put(expand(lane), bench.place)
        ended = np.zeros(0, int)
        while not ended.size:
            for _ in range(check_every):
                bench.state = advance(bench.state, {**lane, "fresh": bench.fresh})
                bench.fresh = np.zeros(slots, bool)
                if watch is not None:
                    watch(bench.state, bench.occupant)
            ended = bench.ended(done)
            if ended.size:
                host = jax.device_get(take(bench.state))
                for slot in ended:
                    collect(int(bench.occupant[slot]), host, int(slot))
                bench.clear(ended)
            if pause is not None:
                pause(bench.park)


class _Bench:
    """The slots, who is in them, and who waits."""

    def __init__(self, state: PyTree, slots: int, total: int, begun: Parked | None):
        self.state = state
        self.place = getattr(jax.tree.leaves(state)[0], "sharding", None)
        self.occupant = np.full(slots, EMPTY)
        self.fresh = np.zeros(slots, bool)
        self._done = np.zeros(total, bool) if begun is None else begun.done.copy()
        self._states = None if begun is None else begun.states
        rows = () if begun is None else begun.rows
        self._parked = {int(row): index for index, row in enumerate(rows)}
        rest = [i for i in np.flatnonzero(~self._done) if i not in self._parked]
        self._waiting = deque([*self._parked, *rest])

    @property
    def over(self) -> bool:
        """Whether every lane was collected."""
        return bool(self._done.all())

    def fill(self) -> None:
        """Gives empty slots to the next lanes, those under way first."""
        going_on = {}
        for slot in np.flatnonzero(self.occupant == EMPTY):
            row = int(self._waiting.popleft()) if self._waiting else EMPTY
            self.occupant[slot] = row
            self.fresh[slot] = row != EMPTY and row not in self._parked
            if row in self._parked:
                going_on[int(slot)] = self._parked.pop(row)
        if going_on:
            self._seat(list(going_on), list(going_on.values()))

    def _seat(self, slots: list[int], parked: list[int]) -> None:
        """Puts the states of lanes under way into their slots."""

        def put(leaf: Any, states: Any) -> np.ndarray:
            leaf = np.array(leaf)
            leaf[slots] = np.asarray(states)[parked]
            return leaf

        host = jax.device_get(self.state)
        self.state = jax.device_put(jax.tree.map(put, host, self._states), self.place)

    def ended(self, done: Callable[[PyTree], Any]) -> Int[np.ndarray, " ended"]:
        """Slots with a lane that is finished."""
        return np.flatnonzero(np.asarray(done(self.state)) & (self.occupant != EMPTY))

    def clear(self, ended: Int[np.ndarray, " ended"]) -> None:
        """Frees the slots of lanes that were collected."""
        self._done[self.occupant[ended]] = True
        self.occupant[ended] = EMPTY

    def park(self) -> Parked:
        """The lanes in the slots, and those that have waited to go on."""
        slots = np.flatnonzero(self.occupant != EMPTY)
        states = jax.tree.map(lambda leaf: leaf[slots], jax.device_get(self.state))
        rows = self.occupant[slots]
        if self._parked:
            rest = list(self._parked.values())
            rows = np.concatenate([rows, list(self._parked)])
            states = jax.tree.map(
                lambda leaf, old: np.concatenate([leaf, np.asarray(old)[rest]]),
                states,
                self._states,
            )
        return Parked(rows, states, self._done.copy())
