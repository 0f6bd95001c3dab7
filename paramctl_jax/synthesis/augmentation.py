"""Random crops and noise in the gradient path, never in the clean check.

They smooth the direction in which an image is changed. A crop's prediction is not the
image's prediction and is never compared to a target.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Image = Float[Array, "height width 3"]


def random_crops(
    image: Image,
    key: PRNGKeyArray,
    *,
    crops: int,
    crop_size: tuple[float, float],
    noise: float,
    size: int,
) -> Float[Array, "crop size size 3"]:
    """Square crops at random places, resized to the network's input, with noise.

    Each crop has side ``delta`` drawn uniformly from `crop_size` and lies wholly inside
    the image; it is resized bilinearly with antialiasing. Then
    ``x + noise * (normal + uniform(-1/2, 1/2))``.

    Args:
      image: sRGB in [0, 1].
      key: of this lane and step.
      crops: how many.
      crop_size: range of the side, as fractions of the image's.
      noise: in [0, 1] pixel units.
      size: side of the network's input.

    Returns:
      Crops in pixel units, to be normalised.
    """
    side_key, corner_key, normal_key, uniform_key = jax.random.split(key, 4)
    low, high = crop_size
    sides = jax.random.uniform(side_key, (crops,), minval=low, maxval=high)
    corners = jax.random.uniform(corner_key, (crops, 2)) * (1 - sides[:, None])
    cut = jax.vmap(lambda side, corner: crop(image, side, corner, size))(sides, corners)
    normal = jax.random.normal(normal_key, cut.shape)
    uniform = jax.random.uniform(uniform_key, cut.shape, minval=-0.5, maxval=0.5)
    return cut + noise * (normal + uniform)


def crop(
    image: Image, side: Float[Array, ""], corner: Float[Array, " 2"], size: int
) -> Float[Array, "size size 3"]:
    """One square crop, resized to `size`; `side` and `corner` may be traced.

    Args:
      image: of any square size.
      side: of the crop, as a fraction of the image's.
      corner: top and left, as fractions.
      size: of the result, in pixels.
    """
    extent = image.shape[0]
    scale = size / (side * extent)
    return jax.image.scale_and_translate(
        image,
        (size, size, image.shape[-1]),
        (0, 1),
        jnp.stack([scale, scale]),
        -corner * extent * scale,
        method="linear",
        antialias=True,
    )
