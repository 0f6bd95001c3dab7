"""Gradients with respect to the image: of random crops, and of locality penalties.

All are taken in image space and pulled back through the parameterisation once, whatever
the number of crops. The network may search in bfloat16 (weights and activations); the
image, the read-out and every sum stay in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from paramctl_jax import images
from paramctl_jax.backbones import read
from paramctl_jax.synthesis import augmentation, locality
from paramctl_jax.synthesis.settings import Settings
from paramctl_jax.types import Network

Image = Float[Array, "size size 3"]
Scalar = Float[Array, ""]


@struct.dataclass
class Shared:
    """What all lanes of a sweep share; replicated on every device.

    Axes and seed images are not among it: a program whose arguments had the shape of
    all sites or seeds would be another one, with other last bits, for every number.

    Attributes:
      variables: the network's weights.
      search: the weights of the gradient passes, in their precision.
      root: key of the sweep.
    """

    variables: PyTree
    search: PyTree
    root: PRNGKeyArray


class Axis(NamedTuple):
    """One site's read-out."""

    weights: Float[Array, " feature"]
    bias: Scalar


@runtime_checkable
class LaneReader(Protocol):
    """What the engine asks of whatever predicts an image: one network, or several."""

    @property
    def settings(self) -> Settings:
        """Of the search."""
        ...

    @property
    def input_size(self) -> int:
        """Side in pixels, above whose Nyquist limit no image is seen."""
        ...

    def axis(self, lane: Mapping[str, Any]) -> Any:
        """The read-out that a lane brings along."""
        ...

    def clean(self, shared: Shared, axis: Any, image: Image) -> Scalar:
        """What is brought to the lane's target, of a whole image in full float32."""
        ...

    def gradient(
        self, shared: Shared, axis: Any, image: Image, seed: Image, key: PRNGKeyArray
    ) -> CropGradient:
        """Of the same from random crops, with respect to the image."""
        ...


@dataclasses.dataclass(frozen=True)
class Reader:
    """Predictions of one network at one readout.

    Attributes:
      network: static half of the backbone.
      readout: the layer that is read.
      settings: precision of the search, crops, memory.
    """

    network: Network
    readout: str
    settings: Settings

    @property
    def input_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.network.input_size

    def axis(self, lane: Mapping[str, Any]) -> Axis:
        """The read-out that a lane brings along."""
        return Axis(lane["weights"], lane["bias"])

    def clean(self, shared: Shared, axis: Axis, image: Image) -> Scalar:
        """Prediction of a whole image in full float32."""
        with jax.default_matmul_precision("highest"):
            features = read(self.network, shared.variables, image[None], self.readout)
            return project(features, axis)[0]

    def gradient(
        self, shared: Shared, axis: Axis, image: Image, seed: Image, key: PRNGKeyArray
    ) -> CropGradient:
        """Of the mean prediction of random crops, see `crop_gradient`."""
        return crop_gradient(self, shared, axis, image, seed, key)

    def search(
        self, shared: Shared, crops: Float[Array, "crop size size 3"]
    ) -> Float[Array, "crop feature"]:
        """Features of crops in the precision of the search, as float32."""
        pixels = images.prepare(crops, self.network)
        pixels = pixels.astype(_DTYPES[self.settings.precision])
        out = self.network.module.apply(shared.search, pixels)[self.readout]
        flat = jnp.moveaxis(out, -1, 1).reshape(len(crops), -1)
        return flat.astype(jnp.float32)


_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def project(
    features: Float[Array, "image feature"], axis: Axis
) -> Float[Array, " image"]:
    """Predictions of a read-out, ``features weights + bias``."""
    return jnp.matmul(features, axis.weights, precision="highest") + axis.bias


class CropGradient(NamedTuple):
    """Mean prediction over crops, and gradients with respect to the image."""

    prediction: Scalar
    objective: Image
    penalty: Image


def crop_gradient(
    reader: Reader,
    shared: Shared,
    axis: Axis,
    image: Image,
    seed: Image,
    key: PRNGKeyArray,
) -> CropGradient:
    """Gradient of the mean prediction of random crops, in blocks of bounded memory.

    Args:
      reader: network, readout, and the settings of crops.
      shared: weights.
      axis: of the site.
      image: sRGB in [0, 1].
      seed: for a penalty that compares features; the same crops and noise are used.
      key: of this lane and step.
    """
    settings = reader.settings
    compares = locality.compares_features(settings.locality)

    def block(keys: Key[Array, " crop"]) -> CropGradient:
        draws = draw_crops(reader, keys, image)

        def both(image: Image) -> tuple[Scalar, Scalar]:
            features = reader.search(shared, take_crops(reader, image, draws))
            mean = jnp.mean(project(features, axis))
            if not compares:
                return mean, jnp.float32(0)
            ours = jax.lax.stop_gradient(
                reader.search(shared, take_crops(reader, seed, draws))
            )
            return mean, locality.feature_distance(
                settings.locality, features, ours, axis.weights
            )

        (mean, _), pull = jax.vjp(both, image)
        one, zero = jnp.float32(1), jnp.float32(0)
        penalty = pull((zero, one))[0] if compares else jnp.zeros_like(image)
        return CropGradient(mean, pull((one, zero))[0], penalty)

    keys = jax.random.split(key, settings.crops)
    return mean_over_blocks(block, keys, settings.crops_at_once)


def draw_crops(
    reader: Reader, keys: Key[Array, " crop"], image: Image
) -> augmentation.Draw:
    """Where crops of an image lie, and their noise; one per key."""
    settings = reader.settings

    def draw(key: PRNGKeyArray) -> augmentation.Draw:
        return augmentation.draw(
            settings.sampler,
            key,
            crop_size=settings.crop_size,
            noise=settings.noise,
            canvas=image.shape[0],
            size=reader.input_size,
        )

    return jax.vmap(draw)(keys)


def take_crops(
    reader: Reader, image: Image, draws: augmentation.Draw
) -> Float[Array, "crop side side 3"]:
    """The crops that were drawn, at the size of the network's input."""
    sampler, size = reader.settings.sampler, reader.input_size
    return jax.vmap(lambda draw: augmentation.apply(sampler, image, draw, size))(draws)


def mean_over_blocks(
    function: Callable[..., PyTree], keys: Key[Array, " crop"], at_once: int
) -> PyTree:
    """Mean of ``function`` over blocks of keys, one after the other.

    On a CPU the loop is unrolled, each block waiting for the one before it: networks
    with convolutions run many times slower inside a compiled loop there.

    Args:
      function: of a block of keys; a mean over its block.
      keys: one per crop.
      at_once: size of a block; 0 takes all keys at once.
    """
    at_once = at_once or len(keys)
    blocks = keys.reshape(-1, at_once)
    if len(blocks) == 1:
        return function(blocks[0])
    if jax.default_backend() != "cpu":
        values = jax.lax.map(function, blocks)
        return jax.tree.map(lambda leaf: leaf.mean(axis=0), values)
    total = function(blocks[0])
    for block in blocks[1:]:
        total, data = jax.lax.optimization_barrier((total, jax.random.key_data(block)))
        value = function(jax.random.wrap_key_data(data))
        total = jax.tree.map(jnp.add, total, value)
    return jax.tree.map(lambda leaf: leaf / len(blocks), total)
