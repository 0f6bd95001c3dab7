"""What a lane carries from step to step."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt8

Image = Float[Array, "size size 3"]

if TYPE_CHECKING:
    Leaf: TypeAlias = Array
else:
    Leaf = Array | np.ndarray  # on the device and, once collected, on the host


@struct.dataclass
class LaneState:
    """One lane's state (with a leading axis of slots, all slots' states).

    Attributes:
      theta: the parameters, see `parameterisations`.
      previous: those before the last step, kept by a path alone.
      optimiser: its state.
      step: updates made so far.
      done: frozen.
      finite: False once a prediction or gradient was not finite.
      prediction: clean, of the 8-bit image of `theta`.
      before: the same one step earlier.
      best: the 8-bit image nearest the target so far.
      best_prediction: of `best`.
      best_step: when it was found.
      balance: of the locality penalty, NaN until it is measured.
      transparency: accumulated size of the input gradient.
    """

    theta: PyTree
    previous: PyTree
    optimiser: PyTree
    step: Int[Leaf, "*slot"]
    done: Bool[Leaf, "*slot"]
    finite: Bool[Leaf, "*slot"]
    prediction: Float[Leaf, "*slot"]
    before: Float[Leaf, "*slot"]
    best: UInt8[Leaf, "*slot size size 3"]
    best_prediction: Float[Leaf, "*slot"]
    best_step: Int[Leaf, "*slot"]
    balance: Float[Leaf, "*slot"]
    transparency: Float[Leaf, "*slot side side"]


def outcome(state: LaneState) -> LaneState:
    """The state without what only the next step needs, to be fetched."""
    return dataclasses.replace(state, theta=(), previous=(), optimiser=())


@struct.dataclass
class Start:
    """The clean prediction of an un-accentuated seed."""

    prediction: Float[Leaf, "*slot"]
    done: Bool[Leaf, "*slot"]


def to_bytes(image: Image) -> UInt8[Array, "size size 3"]:
    """The 8-bit values of an image, as they will be saved."""
    return jnp.round(image * 255).astype(jnp.uint8)


def select(condition: Bool[Array, ""], yes: PyTree, no: PyTree) -> PyTree:
    """``yes`` where the condition holds, else ``no``, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of every leaf is finite."""
    flags = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(flags).all()
