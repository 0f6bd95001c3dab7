"""A sweep under way as plain arrays, to be saved and gone on with.

Of every lane under way its whole state, of every finished one its outcome. The arrays
go back into any number of slots, and the sweep ends with the bytes that it would have
had without a break.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from paramctl_jax.lanes import Parked
from paramctl_jax.synthesis.results import Recorder, Results
from paramctl_jax.synthesis.state import LaneState

Tree = Mapping[str, Any]


@runtime_checkable
class Keeper(Protocol):
    """Where the snapshots of a sweep go."""

    def load(self) -> Tree | None:
        """The last snapshot; None where there is none."""
        ...

    def due(self) -> bool:
        """Whether one is wanted now; asked after every step."""
        ...

    def save(self, snapshot: Tree) -> None:
        """Keeps it; may raise to end the sweep."""
        ...


def snapshot_of(
    parked: Parked, results: Results, recorder: Recorder, guesses: int
) -> dict[str, Any]:
    """The whole sweep as a tree of arrays."""
    leaves = jax.tree.leaves(parked.states)
    return {
        "rows": parked.rows.astype(np.int64),
        "done": parked.done,
        "states": {f"{index:03d}": leaf for index, leaf in enumerate(leaves)},
        "results": results.to_arrays(),
        "recorder": recorder.to_arrays(),
        "guesses": np.asarray(guesses, np.int64),
    }


def parked_of(snapshot: Tree, blank: LaneState) -> Parked | None:
    """The lanes under way; None where the snapshot is not of this engine."""
    leaves, structure = jax.tree.flatten(blank)
    states = [snapshot["states"].get(f"{i:03d}") for i in range(len(leaves))]
    rows = np.asarray(snapshot["rows"])
    wanted = [((len(rows), *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
    found = [None if x is None else (x.shape, x.dtype) for x in states]
    if found != wanted or len(snapshot["states"]) != len(leaves):
        return None
    done = np.asarray(snapshot["done"], bool)
    return Parked(rows, jax.tree.unflatten(structure, states), done)


def pausing(
    keeper: Keeper | None, take: Callable[[Parked], dict[str, Any]]
) -> Callable[[Callable[[], Parked]], None] | None:
    """What `lanes.run` calls between steps: a snapshot whenever one is due."""
    if keeper is None:
        return None

    def pause(park: Callable[[], Parked]) -> None:
        if keeper.due():
            keeper.save(take(park()))

    return pause
