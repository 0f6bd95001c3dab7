"""Resizes of crops as one interpolation matrix per axis, as PyTorch computes them.

A separable resize of a crop is ``R X C^T`` with weights ``R (size, height)`` that
depend on where the crop lies. Start and side are traced numbers, shapes stay static.

PyTorch's antialiased resize with ``align_corners=True`` is not aligned at its corners:
only its scale is ``s = (n - 1) / (size - 1)``; its centres stay at ``s (i + 1/2)``. The
weights of pixel j are ``h((j + 1/2 - s (i + 1/2)) / max(s, 1))``, scaled to sum 1.

Sources: behaviour of ``torch.nn.functional.interpolate`` and of ROI align (He et al.
2017) in ``torchvision.ops``, against which the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
_A = -0.5  # slope of the cubic kernel at 1


def linear(distance: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """``max(0, 1 - |x|)``."""
    return np.maximum(0.0, 1.0 - np.abs(distance))


def cubic(distance: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Keys' cubic convolution with a = -1/2, 0 from 2 on.

    Example:
      >>> cubic(np.array([0.0, 0.5, 1.5])).tolist()
      [1.0, 0.5625, -0.0625]
    """
    x = np.minimum(np.abs(distance), 2.0)
    near = (_A + 2) * x**3 - (_A + 3) * x**2 + 1
    far = _A * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, far)


def torch_resize(
    length: int, size: int, kernel: Callable[[np.ndarray], np.ndarray]
) -> Float[np.ndarray, "size length"]:
    """Weights of PyTorch's antialiased resize of one axis with ``align_corners=True``.

    Args:
      length: of the axis in pixels.
      size: of the result, at least 2.
      kernel: `linear` or `cubic`.

    Example:
      >>> torch_resize(4, 2, linear).round(3).tolist()
      [[0.25, 0.375, 0.25, 0.125], [0.0, 0.0, 0.333, 0.667]]
    """
    scale = (length - 1) / (size - 1)
    centre = scale * (np.arange(size) + 0.5)
    distance = np.arange(length)[None] + 0.5 - centre[:, None]
    weights = kernel(distance / max(scale, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


def resize_slice(
    first: Scalar, pixels: Scalar, length: int, size: int
) -> Float[Array, "size length"]:
    """Weights that cut whole pixels out of an axis and resize them bilinearly.

    As `torch_resize` with `linear` of the slice ``[first, first + pixels)``, 0 outside.

    Args:
      first: index of the first pixel, a whole number.
      pixels: how many, a whole number of at least 1.
      length: of the axis in pixels.
      size: of the result, at least 2.

    Example:
      >>> weights = resize_slice(jnp.float32(1), jnp.float32(4), 6, 2)
      >>> bool(np.allclose(weights[:, 1:5], torch_resize(4, 2, linear)))
      True
    """
    scale = (pixels - 1) / (size - 1)
    centre = scale * (jnp.arange(size, dtype=jnp.float32) + 0.5)
    index = jnp.arange(length, dtype=jnp.float32) - first
    distance = index[None] + 0.5 - centre[:, None]
    weights = jnp.maximum(0, 1 - jnp.abs(distance) / jnp.maximum(scale, 1))
    inside = (index >= 0) & (index < pixels)
    weights = jnp.where(inside[None], weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


def roi_align(
    start: Scalar, side: Scalar, length: int, size: int
) -> Float[Array, "size length"]:
    """Weights of ROI align along one axis, with ``aligned=False``.

    Every output averages ``g = ceil(side / size)`` samples at
    ``start + (i + (j + 1/2) / g) side / size``, each interpolated between the two
    pixels next to it, where pixel 0 is at 0, not at 1/2. Samples more than one pixel
    outside the axis are 0.

    Args:
      start: of the region in pixels; may be negative.
      side: of the region in pixels, at most twice the axis.
      length: of the axis in pixels.
      size: of the result in pixels.

    Example:
      >>> roi_align(jnp.float32(0), jnp.float32(4), 4, 2).tolist()
      [[0.25, 0.5, 0.25, 0.0], [0.0, 0.0, 0.25, 0.75]]
    """
    side = jnp.maximum(side, 1)
    samples = jnp.ceil(side / size)
    most = -(-2 * length // size)  # of samples: the adaptive number in a static shape
    within = jnp.arange(most, dtype=jnp.float32)
    output = jnp.arange(size, dtype=jnp.float32)
    step = side / size
    offset = (within + 0.5) * (step / samples)
    place = start + output[:, None] * step + offset[None]
    used = (within < samples)[None] & (place >= -1) & (place <= length)
    nearest = jnp.clip(place, 0, length - 1)
    pixel = jnp.arange(length, dtype=jnp.float32)
    weights = jnp.maximum(0, 1 - jnp.abs(nearest[..., None] - pixel[None, None]))
    return jnp.where(used[..., None], weights, 0).sum(axis=1) / samples


def resample(
    image: Float[Array, "height width 3"],
    rows: Float[Array, "size height"],
    columns: Float[Array, "size width"],
) -> Float[Array, "size size 3"]:
    """``rows image columns^T`` for every colour.

    Args:
      image: any units.
      rows: weights of the vertical axis.
      columns: weights of the horizontal axis.

    Example:
      >>> flip = jnp.eye(2)[::-1]
      >>> resample(jnp.arange(12.0).reshape(2, 2, 3), flip, jnp.eye(2))[:, 0, 0]
      Array([6., 0.], dtype=float32)
    """
    tall = jnp.einsum("ih,hwc->iwc", rows, image, precision="highest")
    return jnp.einsum("jw,iwc->ijc", columns, tall, precision="highest")
