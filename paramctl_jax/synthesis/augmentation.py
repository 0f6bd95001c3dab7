"""Random crops and noise in the gradient path, never in the clean check.

They smooth the direction in which an image is changed. A crop's prediction is not the
image's prediction and is never compared to a target.

What is random, a `Draw`, is apart from how it is applied, so that the draws of another
tool can be put in. Three samplers:

| sampler | side | place | resize | noise |
|---|---|---|---|---|
| ``inside`` | U(low, high) | uniform, wholly inside | bilinear, antialiased | after |
| ``horama`` | U(0, 1) (high - low) + high | centre N(.5, .15) | see below | after |
| ``faccent`` | U(low, high) | uniform, inside, whole pixels | bilinear | before |

``horama`` asks for sides in (low, high) and gets them in (high, 2 high - low); its
crops may leave the canvas, where they are black. It resamples by ROI align to twice the
size, then bicubically. Each resize is one matrix per axis, ``R image C^T``: of static
shape wherever the crop lies, and its own transpose in the backward pass.

Sources: inside, this project; Horama 0.3.0, ``common.optimization_step``; faccent 1.0.3
(Hamblin et al. 2024), ``transform.box_crop_2`` and ``resize``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from paramctl_jax.synthesis import resampling
from paramctl_jax.types import unknown

Image = Float[Array, "height width 3"]
Crop = Float[Array, "size size 3"]

SAMPLERS = ("inside", "horama", "faccent")
_CENTRE, _SPREAD = 0.5, 0.15  # of Horama's boxes


@struct.dataclass
class Draw:
    """What is random about one crop (with a leading axis, about several).

    Attributes:
      side: as a fraction of the image's.
      corner: top and left, as fractions of the image's side; may lie outside.
      noise: to be added, in [0, 1] pixel units: at the size of the crop after its
        resize or, for ``faccent``, at the size of the canvas before its crop.
    """

    side: Float[Array, "*crop"]
    corner: Float[Array, "*crop 2"]
    noise: Float[Array, "*crop side side 3"]


def draw(
    sampler: str,
    key: PRNGKeyArray,
    *,
    crop_size: tuple[float, float],
    noise: float,
    canvas: int,
    size: int,
) -> Draw:
    """Draws one crop; ``noise * (normal + uniform(-1/2, 1/2))`` with it.

    Args:
      sampler: one of `SAMPLERS`.
      key: of this lane, step and crop.
      crop_size: (low, high) of the side, as fractions of the image's.
      noise: in [0, 1] pixel units.
      canvas: side of the image in pixels.
      size: side of the network's input in pixels.

    Raises:
      InputError: no such sampler.

    Example:
      >>> options = {"crop_size": (0.5, 0.5), "noise": 0.0, "canvas": 8, "size": 4}
      >>> one = draw("inside", jax.random.key(0), **options)
      >>> float(one.side), bool((one.corner <= 0.5).all()), one.noise.shape
      (0.5, True, (4, 4, 3))
    """
    if sampler not in SAMPLERS:
        raise unknown(sampler, SAMPLERS, "sampler")
    side_key, corner_key, normal_key, uniform_key = jax.random.split(key, 4)
    low, high = crop_size
    if sampler == "horama":
        side = jax.random.uniform(side_key) * (high - low) + high
        centre = _CENTRE + _SPREAD * jax.random.normal(corner_key, (2,))
        corner = centre - side / 2
    else:
        side = jax.random.uniform(side_key, minval=low, maxval=high)
        corner = jax.random.uniform(corner_key, (2,)) * (1 - side)
    extent = canvas if sampler == "faccent" else size
    normal = jax.random.normal(normal_key, (extent, extent, 3))
    uniform = jax.random.uniform(uniform_key, (extent, extent, 3)) - 0.5
    return Draw(side=side, corner=corner, noise=noise * (normal + uniform))


def apply(sampler: str, image: Image, one_draw: Draw, size: int) -> Crop:
    """One crop of the image, resized, with noise.

    Args:
      sampler: that of the draw.
      image: sRGB in [0, 1], square.
      one_draw: without leading axes; map over them with ``jax.vmap``.
      size: side of the result in pixels.

    Returns:
      The crop in pixel units, to be normalised; noise may lead out of [0, 1].

    Raises:
      InputError: no such sampler.

    Example:
      >>> whole = Draw(jnp.float32(1), jnp.zeros(2), jnp.zeros((4, 4, 3)))
      >>> apply("inside", jnp.full((8, 8, 3), 0.5), whole, 4)[0, 0].round(4)
      Array([0.5, 0.5, 0.5], dtype=float32)
    """
    if sampler == "inside":
        return crop(image, one_draw.side, one_draw.corner, size) + one_draw.noise
    if sampler == "horama":
        return _horama(image, one_draw, size)
    if sampler == "faccent":
        return _faccent(image, one_draw, size)
    raise unknown(sampler, SAMPLERS, "sampler")


def random_crops(
    image: Image,
    key: PRNGKeyArray,
    *,
    crops: int,
    crop_size: tuple[float, float],
    noise: float,
    size: int,
    sampler: str = "inside",
) -> Float[Array, "crop size size 3"]:
    """Several crops at random places: `draw` and `apply` over ``split(key, crops)``.

    Args:
      image: sRGB in [0, 1], square.
      key: of this lane and step.
      crops: how many.
      crop_size: range of the side, as fractions of the image's.
      noise: in [0, 1] pixel units.
      size: side of the network's input in pixels.
      sampler: one of `SAMPLERS`.

    Returns:
      Crops in pixel units, to be normalised.

    Raises:
      InputError: no such sampler.

    Example:
      >>> settings = {"crop_size": (0.9, 0.95), "noise": 0.05, "size": 4}
      >>> key, image = jax.random.key(0), jnp.zeros((8, 8, 3))
      >>> random_crops(image, key, crops=2, **settings).shape
      (2, 4, 4, 3)
    """

    def one(key: PRNGKeyArray) -> Crop:
        drawn = draw(
            sampler,
            key,
            crop_size=crop_size,
            noise=noise,
            canvas=image.shape[0],
            size=size,
        )
        return apply(sampler, image, drawn, size)

    return jax.vmap(one)(jax.random.split(key, crops))


def crop(
    image: Image, side: Float[Array, ""], corner: Float[Array, " 2"], size: int
) -> Crop:
    """One square crop, resized to `size`; `side` and `corner` may be traced.

    Args:
      image: of any square size.
      side: of the crop, as a fraction of the image's.
      corner: top and left, as fractions.
      size: of the result, in pixels.

    Example:
      >>> image = jnp.arange(4.0)[:, None, None] * jnp.ones((4, 4, 3))
      >>> crop(image, jnp.float32(0.5), jnp.array([0.5, 0.0]), 2)[:, 0, 0]
      Array([2., 3.], dtype=float32)
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


def _horama(image: Image, one_draw: Draw, size: int) -> Crop:
    extent = image.shape[0]
    halving = jnp.asarray(
        resampling.torch_resize(2 * size, size, resampling.cubic), jnp.float32
    )

    def axis(start: Float[Array, ""]) -> Float[Array, "size extent"]:
        align = resampling.roi_align(
            start * extent, one_draw.side * extent, extent, 2 * size
        )
        return jnp.matmul(halving, align, precision="highest")

    rows, columns = axis(one_draw.corner[0]), axis(one_draw.corner[1])
    return resampling.resample(image, rows, columns) + one_draw.noise


def _faccent(image: Image, one_draw: Draw, size: int) -> Crop:
    extent = image.shape[0]

    def axis(start: Float[Array, ""]) -> Float[Array, "size extent"]:
        # python's int() of float32 products, as the crop's slice is computed there
        first = jnp.floor(start * extent)
        last = jnp.floor((start + one_draw.side) * extent)
        pixels = jnp.maximum(last - first, 1)
        return resampling.resize_slice(first, pixels, extent, size)

    rows, columns = axis(one_draw.corner[0]), axis(one_draw.corner[1])
    return resampling.resample(image + one_draw.noise, rows, columns)
