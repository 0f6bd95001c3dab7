"""One step of one lane: move towards the target, then check the clean 8-bit image.

With the clean prediction ``f`` of the quantised image, target ``t`` and ``e = f - t``,
a lane on its own follows the thermostat

    loss = sign(e) * mean_k f(crop_k),
    theta <- theta - eta * min(1, |e| / slow) * adam(d loss / d theta)

until ``|e| <= tolerance``. Only the sign of the error enters the loss, for Adam would
divide any scale out of it; the step is scaled after Adam. A path through the levels
takes steps of full size in one direction, whatever the levels are, until it has passed
the last one. The image nearest the target so far is kept as the very bytes that will be
saved; a finished lane is frozen, its optimiser with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree, UInt8

from paramctl_jax import images, lanes
from paramctl_jax.synthesis import locality, objectives
from paramctl_jax.synthesis.gradient import (
    CropGradient,
    LaneReader,
    Shared,
)
from paramctl_jax.synthesis.optimisers import make_optimiser
from paramctl_jax.synthesis.parameterisations import (
    Parameterisation,
    make_parameterisation,
)
from paramctl_jax.synthesis.settings import Settings
from paramctl_jax.synthesis.state import (
    LaneState,
    Start,
    all_finite,
    select,
    to_bytes,
)

Lane = Mapping[str, Any]
Image = Float[Array, "size size 3"]
Scalar = Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class Engine:
    """The programs of one network, readout and setting; static.

    Attributes:
      reader: predictions.
      canvas: side of the images in pixels.
    """

    reader: LaneReader
    canvas: int

    @property
    def settings(self) -> Settings:
        """The static settings."""
        return self.reader.settings

    @property
    def parameterisation(self) -> Parameterisation:
        """Of the image; silent above the network's own Nyquist limit."""
        limit = 0.5 * min(1.0, self.reader.input_size / self.canvas)
        return make_parameterisation(
            self.settings.parameterisation, gamma=self.settings.gamma, limit=limit
        )

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """With unit learning rate."""
        settings = self.settings
        return make_optimiser(settings.optimiser, settings.optimiser_options)

    def image_of(self, theta: PyTree, seed: Image) -> Image:
        """The image of the parameters, inside the ball."""
        image = self.parameterisation.decode(theta, seed)
        return locality.within_ball(
            image, seed, self.settings.ball, self.settings.radius
        )

    def begin(self, seed: Image, start: Scalar) -> LaneState:
        """A lane before its first step: the seed image itself."""
        theta = self.parameterisation.initial(seed)
        path = self.settings.route == "path"
        side = self.canvas if self.settings.transparency else 0
        return LaneState(
            theta=theta,
            previous=theta if path else (),
            optimiser=self.optimiser.init(theta),
            step=jnp.int32(0),
            done=jnp.bool_(False),
            finite=jnp.bool_(True),
            prediction=start,
            before=start,
            best=to_bytes(seed),
            best_prediction=start,
            best_step=jnp.int32(0),
            balance=jnp.float32(jnp.nan),
            transparency=jnp.zeros((side, side), jnp.float32),
        )

    def blank(self, slots: int) -> LaneState:
        """The state of all slots before any lane is in them."""
        seed = jnp.zeros((self.canvas, self.canvas, 3), jnp.float32)
        one = self.begin(seed, jnp.float32(0))
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (slots, *leaf.shape)).copy(), one
        )

    def step(self, shared: Shared, state: LaneState, lane: Lane) -> LaneState:
        """Moves the lane one step and checks its new image; a finished lane rests."""
        seed, axis = lane["seed_image"], self.reader.axis(lane)
        state = select(lane["fresh"], self.begin(seed, lane["start"]), state)
        gradient, gain, balance = self._gradient(shared, state, lane, seed, axis)
        moved = self._move(state, gradient.theta, gain)
        moved = dataclasses.replace(
            moved, balance=balance, transparency=self._seen(state, gradient.image)
        )
        image = self.image_of(moved.theta, seed)
        prediction = self.reader.clean(shared, axis, images.quantise(image))
        finite = jnp.isfinite(prediction) & all_finite(gradient.theta)
        checked = self._check(moved, lane, to_bytes(image), prediction, finite)
        return select(state.done, state, checked)

    def _gradient(
        self, shared: Shared, state: LaneState, lane: Lane, seed: Image, axis: Any
    ) -> tuple[_Gradient, Scalar, Scalar]:
        """Descent gradient of image and parameters, the step's gain, the balance."""
        settings = self.settings
        image, pull = jax.vjp(lambda theta: self.image_of(theta, seed), state.theta)
        if objectives.uses_crops(settings.objective):
            key = lanes.lane_key(shared.root, lane["identity"], state.step)
            crops = self.reader.gradient(shared, axis, image, seed, key)
        else:
            crops = CropGradient(state.prediction, image * 0, image * 0)
        direction = self._direction(state, lane, crops.prediction)
        total = direction.crop * crops.objective
        if not objectives.uses_crops(settings.objective):
            total = direction.clean * self._clean_gradient(shared, axis, image)
        total, balance = self._localised(state, total, crops, image, seed)
        return _Gradient(total, pull(total)[0]), direction.gain, balance

    def _direction(
        self, state: LaneState, lane: Lane, crop_prediction: Scalar
    ) -> objectives.Direction:
        if self.settings.route == "path":
            full, none = jnp.float32(1), jnp.float32(0)
            return objectives.Direction(-lane["direction"], none, full)
        return objectives.direction_of(
            self.settings.objective,
            prediction=state.prediction,
            crop_prediction=crop_prediction,
            target=lane["target"],
            slow=lane["slow"],
        )

    def _clean_gradient(self, shared: Shared, axis: Any, image: Image) -> Image:
        return jax.grad(lambda image: self.reader.clean(shared, axis, image))(image)

    def _localised(
        self,
        state: LaneState,
        total: Image,
        crops: CropGradient,
        image: Image,
        seed: Image,
    ) -> tuple[Image, Scalar]:
        """Adds the locality penalty's gradient; returns it with the balance."""
        weight = self.settings.locality_weight
        if self.settings.locality == "pixel":
            penalty = locality.pixel_gradient(image, seed)
            return total + weight * penalty, state.balance
        if not locality.compares_features(self.settings.locality):
            return total, state.balance
        balance = locality.balance(total, crops.penalty, state.balance)
        return total + weight * jnp.nan_to_num(balance) * crops.penalty, balance

    def _move(self, state: LaneState, gradient: PyTree, gain: Scalar) -> LaneState:
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to its int32
            direction, optimiser = self.optimiser.update(
                gradient, state.optimiser, state.theta
            )
        scale = self.settings.learning_rate * gain
        theta = jax.tree.map(lambda t, d: t - scale * d, state.theta, direction)
        return dataclasses.replace(
            state,
            theta=theta,
            previous=state.theta if self.settings.route == "path" else (),
            optimiser=optimiser,
            step=state.step + 1,
        )

    def _seen(self, state: LaneState, gradient: Image) -> Float[Array, "side side"]:
        if not self.settings.transparency:
            return state.transparency
        return state.transparency + jnp.mean(jnp.abs(gradient), axis=-1)

    def _check(
        self,
        state: LaneState,
        lane: Lane,
        pixels: UInt8[Array, "size size 3"],
        prediction: Scalar,
        finite: Bool[Array, ""],
    ) -> LaneState:
        """Keeps the image if it is the nearest so far; decides if the lane ends."""
        error = jnp.abs(prediction - lane["target"])
        keep = error < jnp.abs(state.best_prediction - lane["target"])
        passed = lane["direction"] * (prediction - lane["target"]) >= 0
        if self.settings.route == "path":
            ended = passed
        elif self.settings.objective == "maximise":
            ended = (error <= lane["tolerance"]) | (prediction >= lane["target"])
        else:
            ended = error <= lane["tolerance"]
        return dataclasses.replace(
            state,
            before=state.prediction,
            prediction=prediction,
            best=jnp.where(keep, pixels, state.best),
            best_prediction=jnp.where(keep, prediction, state.best_prediction),
            best_step=jnp.where(keep, state.step, state.best_step),
            finite=finite,
            done=ended | ~finite | (state.step >= self.settings.max_steps),
        )


class _Gradient(NamedTuple):
    image: Image
    theta: PyTree


@lru_cache(maxsize=32)
def compiled_step(
    engine: Engine, devices: tuple[Any, ...]
) -> Callable[[Shared, LaneState, Lane], LaneState]:
    """The program of one step on all slots; made once per shape, network, settings."""
    return lanes.over_lanes(engine.step, devices)


def _start(engine: Engine, shared: Shared, state: Start, lane: Lane) -> Start:
    del state  # there is nothing to go on from
    pixels = images.quantise(lane["seed_image"])
    axis = engine.reader.axis(lane)
    prediction = engine.reader.clean(shared, axis, pixels)
    return Start(prediction, jnp.bool_(True))


@lru_cache(maxsize=32)
def compiled_start(
    engine: Engine, devices: tuple[Any, ...]
) -> Callable[[Shared, Start, Lane], Start]:
    """The program of `Start` in the slots of the step."""
    return lanes.over_lanes(partial(_start, engine), devices)
