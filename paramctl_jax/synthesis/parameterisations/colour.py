"""Decorrelated colour axes of natural images, in which an image is optimised.

    rgb = d M,    d = rgb M^-1

The rows of `COLOUR` span light, warm-cold and green-purple: the square root of the
colour covariance of natural images, scaled by its largest column norm. A step of one
size in `d` changes lightness most, as natural images do.

Source: Lucid (Olah et al. 2017, github.com/tensorflow/lucid), ``color.py``.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

COLOUR = np.asarray(
    [
        [0.56282854, 0.58447580, 0.58447580],
        [0.19482528, 0.0, -0.19482528],
        [0.04329450, -0.10823626, 0.06494176],
    ]
)
COLOUR_INVERSE = np.linalg.inv(
    COLOUR
)  # in float64: the matrix has condition number 7.6

Pixels = Float[Array, "height width 3"]


def to_rgb(axes: Pixels) -> Pixels:
    """``d M``: from decorrelated axes to red, green and blue.

    Args:
      axes: along light, warm-cold and green-purple; unbounded.

    Returns:
      Red, green and blue, unbounded.

    Example:
      >>> [round(float(x), 3) for x in to_rgb(jnp.ones((1, 1, 3)))[0, 0]]
      [0.801, 0.476, 0.455]
    """
    return jnp.matmul(axes, jnp.asarray(COLOUR, axes.dtype), precision="highest")


def from_rgb(pixels: Pixels) -> Pixels:
    """``rgb M^-1``: the inverse of `to_rgb`.

    Args:
      pixels: red, green and blue, unbounded.

    Example:
      >>> [round(float(x), 5) for x in from_rgb(to_rgb(jnp.ones((1, 1, 3))))[0, 0]]
      [1.0, 1.0, 1.0]
    """
    inverse = jnp.asarray(COLOUR_INVERSE, pixels.dtype)
    return jnp.matmul(pixels, inverse, precision="highest")
