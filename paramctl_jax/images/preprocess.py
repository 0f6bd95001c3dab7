"""The one preprocessing: from 8-bit pixels to a network's input.

Fit, synthesis and the check of the saved PNG all go through `prepare`: 8-bit sRGB,
scaled to [0, 1], resized bilinearly with antialiasing in the graph, normalised.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from paramctl_jax.types import Network

# Multiplied, not divided by 255: compilers replace a division by what they find faster.
_LEVEL = np.float32(1 / 255)


def to_float(pixels: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """8-bit values as float32 in [0, 1]; the bits are those of `quantise`."""
    return pixels.astype(np.float32) * _LEVEL


def quantise(images: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Rounds [0, 1] floats to the 256 levels of an 8-bit file, half to even."""
    return jnp.round(jnp.clip(images, 0, 1) * 255) * _LEVEL


def resize(
    images: Float[Array, "*batch height width channel"], size: int
) -> Float[Array, "*batch size size channel"]:
    """Bilinear, antialiased (half-pixel centres), differentiable; as PIL to 1/255."""
    if images.shape[-3:-1] == (size, size):
        return images
    shape = (*images.shape[:-3], size, size, images.shape[-1])
    return jax.image.resize(images, shape, "linear", antialias=True)


def normalise(
    images: Float[Array, "*batch height width 3"], network: Network
) -> Float[Array, "*batch height width 3"]:
    """``(x - mean) / std`` per channel."""
    shape = (1,) * (images.ndim - 1) + (3,)
    mean = jnp.asarray(network.mean, images.dtype).reshape(shape)
    std = jnp.asarray(network.std, images.dtype).reshape(shape)
    return (images - mean) / std


def prepare(
    images: Float[Array, "*batch height width 3"], network: Network
) -> Float[Array, "*batch size size 3"]:
    """The one preprocessing: resize to the network's input, then normalise.

    Args:
      images: sRGB in [0, 1], squares of any size.
      network: whose `input_size`, `mean` and `std` apply.
    """
    return normalise(resize(images, network.input_size), network)
