"""One step of one lane: check the clean 8-bit image, then move towards the target.

The thermostat. With the clean prediction ``f`` of the quantised image and target ``t``,

    e = f - t,   loss = sign(e) * mean_k f(crop_k),
    theta <- theta - eta * min(1, |e| / slow) * adam(d loss / d theta)

until ``|e| <= tolerance``. Only the sign of the error enters the loss, for Adam would
divide any scale out of it; the step is scaled after Adam. The image whose error is
smallest so far is kept as the very bytes that will be saved, and a finished lane is
frozen, its optimiser with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, UInt8

from paramctl_jax import images, lanes
from paramctl_jax.encoding import predict_pixels
from paramctl_jax.synthesis import augmentation
from paramctl_jax.synthesis.parameterisation import (
    decode,
    frequency_prior,
    zero_theta,
)
from paramctl_jax.types import InputError, Network


@dataclasses.dataclass(frozen=True)
class Settings:
    """How lanes are optimised; static, so that equal settings share one program.

    Attributes:
      crops: random crops per step.
      crop_size: range of their sides, as fractions of the canvas.
      noise: added to the crops, in [0, 1] pixel units.
      learning_rate: Adam's, in units of one spectral coefficient.
      gamma: slope of the frequency prior.
      max_steps: steps after which a lane is given up.
    """

    crops: int = 4
    crop_size: tuple[float, float] = (0.9, 0.95)
    noise: float = 0.05
    learning_rate: float = 0.1
    gamma: float = 1.0
    max_steps: int = 400

    def __post_init__(self):
        if not isinstance(self.crop_size, tuple | list) or len(self.crop_size) != 2:
            raise InputError(
                f"synthesis settings: crop_size={self.crop_size}, expected (low, high)"
            )
        low, high = self.crop_size
        object.__setattr__(self, "crop_size", (float(low), float(high)))  # hashable
        checks = {
            f"crops={self.crops}, expected at least 1": self.crops >= 1,
            f"crop_size={self.crop_size}, expected 0 < low <= high <= 1": (
                0 < low <= high <= 1
            ),
            f"noise={self.noise}, expected >= 0": self.noise >= 0,
            f"learning_rate={self.learning_rate}, expected > 0": self.learning_rate > 0,
            f"gamma={self.gamma}, expected between 0 and 2": 0 <= self.gamma <= 2,
            f"max_steps={self.max_steps}, expected at least 1": self.max_steps >= 1,
        }
        for problem, fine in checks.items():
            if not fine:
                raise InputError(f"synthesis settings: {problem}")


if TYPE_CHECKING:
    Leaf: TypeAlias = Array
else:
    Leaf = Array | np.ndarray  # on the device and, once collected, on the host


@struct.dataclass
class Shared:
    """What all lanes of a sweep share; replicated on every device.

    Attributes:
      variables: the network's weights.
      weights: encoding axes in raw features.
      bias: of the read-outs.
      seeds: seed images in [0, 1] at canvas size.
      root: key of the sweep.
    """

    variables: PyTree
    weights: Float[Array, "site feature"]
    bias: Float[Array, " site"]
    seeds: Float[Array, "seed size size 3"]
    root: PRNGKeyArray


@struct.dataclass
class LaneState:
    """One lane's state (with a leading axis of slots, all slots' states).

    Attributes:
      theta: the parameters, see `parameterisation`.
      adam: the optimiser's state.
      step: updates made so far.
      done: frozen.
      finite: False once a prediction or gradient was not finite.
      start: prediction of the un-accentuated seed.
      best: the 8-bit image nearest the target so far.
      best_prediction: of `best`.
      best_step: when it was found.
    """

    theta: Float[Leaf, "*slot 2 size half 3"]
    adam: PyTree
    step: Int[Leaf, "*slot"]
    done: Bool[Leaf, "*slot"]
    finite: Bool[Leaf, "*slot"]
    start: Float[Leaf, "*slot"]
    best: UInt8[Leaf, "*slot size size 3"]
    best_prediction: Float[Leaf, "*slot"]
    best_step: Int[Leaf, "*slot"]


Lane = Mapping[str, Any]
_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


def initial_state(size: int) -> LaneState:
    """A lane before its first step, on a canvas of side `size`."""
    theta = zero_theta(size)
    return LaneState(
        theta=theta,
        adam=_ADAM.init(theta),
        step=jnp.int32(0),
        done=jnp.bool_(False),
        finite=jnp.bool_(True),
        start=jnp.float32(jnp.nan),
        best=jnp.zeros((size, size, 3), jnp.uint8),
        best_prediction=jnp.float32(jnp.inf),
        best_step=jnp.int32(0),
    )


@lru_cache(maxsize=32)
def compiled_step(
    network: Network, readout: str, settings: Settings, devices: tuple[Any, ...]
) -> Callable[[Shared, LaneState, Lane], LaneState]:
    """The program of one step on all slots; made once per shape, network, settings."""
    return lanes.over_lanes(partial(_step, network, readout, settings), devices)


def _step(
    network: Network,
    readout: str,
    settings: Settings,
    shared: Shared,
    state: LaneState,
    lane: Lane,
) -> LaneState:
    """Checks the lane's image against its target; if it misses, moves on one step."""
    seed = shared.seeds[lane["seed"]]
    size = seed.shape[0]
    state = _select(lane["fresh"], initial_state(size), state)
    limit = 0.5 * min(1.0, network.input_size / size)
    prior = jnp.asarray(frequency_prior(size, settings.gamma, limit), jnp.float32)
    axis = shared.weights[lane["site"]][None]
    bias = shared.bias[lane["site"]][None]

    def predict(pixels: Float[Array, "image h w 3"]) -> Float[Array, " image"]:
        predicted = predict_pixels(
            network, shared.variables, axis, bias, pixels, readout
        )
        return predicted[:, 0]

    image = decode(state.theta, seed, prior)
    pixels = jnp.round(image * 255).astype(jnp.uint8)
    prediction = predict(images.quantise(image)[None])[0]
    error = prediction - lane["target"]

    def loss(theta: Array) -> Float[Array, ""]:
        crops = augmentation.random_crops(
            decode(theta, seed, prior),
            lanes.lane_key(shared.root, lane["identity"], state.step),
            crops=settings.crops,
            crop_size=settings.crop_size,
            noise=settings.noise,
            size=network.input_size,
        )
        return jnp.sign(error) * predict(crops).mean()

    gradient = jax.grad(loss)(state.theta)
    checked = _check(settings, state, lane, pixels, prediction, gradient)
    gain = settings.learning_rate * jnp.minimum(1.0, jnp.abs(error) / lane["slow"])
    moved = _move(checked, gradient, gain)
    return _select(state.done, state, _select(checked.done, checked, moved))


def _check(
    settings: Settings,
    state: LaneState,
    lane: Lane,
    pixels: UInt8[Array, "size size 3"],
    prediction: Float[Array, ""],
    gradient: Array,
) -> LaneState:
    """Keeps the image if it is the nearest so far; decides whether the lane ends."""
    error = jnp.abs(prediction - lane["target"])
    first = state.step == 0
    nearer = error < jnp.abs(state.best_prediction - lane["target"])
    keep = first | nearer  # a non-finite prediction is never nearer
    finite = jnp.isfinite(prediction) & jnp.isfinite(gradient).all()
    hit = error <= lane["tolerance"]
    return dataclasses.replace(
        state,
        start=jnp.where(first, prediction, state.start),
        best=jnp.where(keep, pixels, state.best),
        best_prediction=jnp.where(keep, prediction, state.best_prediction),
        best_step=jnp.where(keep, state.step, state.best_step),
        finite=finite,
        done=hit | ~finite | (state.step >= settings.max_steps),
    )


def _move(state: LaneState, gradient: Array, gain: Float[Array, ""]) -> LaneState:
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to its int32 step
        direction, adam = _ADAM.update(gradient, state.adam)
    theta = state.theta - gain * jnp.asarray(direction)
    return dataclasses.replace(state, theta=theta, adam=adam, step=state.step + 1)


def _select(condition: Bool[Array, ""], yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
