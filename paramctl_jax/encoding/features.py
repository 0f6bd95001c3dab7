"""Frozen features of many images, in blocks of one shape."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from paramctl_jax.backbones import check_readout, read
from paramctl_jax.images import to_float
from paramctl_jax.progress import bar
from paramctl_jax.types import Backbone, ImageSet, InputError, Network


def extract_features(
    backbone: Backbone,
    images: ImageSet,
    readout: str,
    batch_size: int = 32,
    progress: bool = True,
) -> Float[np.ndarray, "image feature"]:
    """Raw features of one readout, from pixels through the in-graph preprocessing.

    Args:
      backbone: frozen network.
      images: 8-bit sRGB squares.
      readout: layer to read.
      batch_size: images per compiled call; the last block is padded to it, so that an
        image's features do not depend on how many others there are.
      progress: whether to show a progress bar.

    Returns:
      float32 features in the order channel, height, width.

    Raises:
      InputError: unknown readout, no images, or features that are not finite.

    Example:
      >>> import jax
      >>> from paramctl_jax.backbones import random_backbone
      >>> backbone = random_backbone(
      ...     "small_standard", jax.random.key(0), input_size=16, through="layer1"
      ... )
      >>> images = ImageSet(("a", "b"), np.zeros((2, 16, 16, 3), np.uint8))
      >>> features = extract_features(backbone, images, "layer1.0", 2, progress=False)
      >>> features.shape == (2, np.prod(backbone.readouts["layer1.0"]))
      True
    """
    return extract_readouts(backbone, images, (readout,), batch_size, progress)[readout]


def extract_readouts(
    backbone: Backbone,
    images: ImageSet,
    readouts: Sequence[str],
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, Float[np.ndarray, "image feature"]]:
    """Raw features of several readouts in one pass over the images.

    Args:
      backbone: frozen network.
      images: 8-bit sRGB squares.
      readouts: layers to read.
      batch_size: images per compiled call, see `extract_features`.
      progress: whether to show a progress bar.

    Returns:
      float32 features by readout; all of them are in memory at once.

    Raises:
      InputError: unknown readout, no images, or features that are not finite.
    """
    for readout in readouts:
        check_readout(backbone, readout)
    if len(images) == 0 or batch_size < 1:
        raise InputError(
            "features: expected at least one image and a batch size of at least 1, "
            f"found {len(images)} images and batch size {batch_size}"
        )
    sizes = {name: int(np.prod(backbone.readouts[name])) for name in readouts}
    features = {
        name: np.empty((len(images), size), np.float32) for name, size in sizes.items()
    }
    variables = jax.device_put(backbone.variables)
    starts = range(0, len(images), batch_size)
    for start in bar(starts, label=f"{backbone.name}: features", show=progress):
        block = padded_block(images, start, batch_size)
        values = _read_block(backbone.network, variables, block, tuple(readouts))
        for name, out in features.items():
            rows = out[start : start + batch_size]
            rows[:] = np.asarray(values[name])[: len(rows)]
    _check_finite(backbone, features)
    return features


def padded_block(
    images: ImageSet, start: int, size: int
) -> Float[np.ndarray, "size height width 3"]:
    """Images `start` to ``start + size`` as floats; the last one fills up the block."""
    index = np.minimum(np.arange(start, start + size), len(images) - 1)
    return to_float(images.pixels[index])


@functools.partial(jax.jit, static_argnames=("network", "readouts"))
def _read_block(
    network: Network,
    variables: PyTree,
    images: Float[Array, "image height width 3"],
    readouts: tuple[str, ...],
) -> dict[str, Float[Array, "image feature"]]:
    # The common part of the passes is merged by the compiler.
    with jax.default_matmul_precision("highest"):
        return {name: read(network, variables, images, name) for name in readouts}


def _check_finite(backbone: Backbone, features: dict[str, np.ndarray]) -> None:
    for name, values in features.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise InputError(
                f"{backbone.name}: {name} is not finite for {int(bad.sum())} of "
                f"{len(bad)} images; expected usable weights, check the weights file"
            )
