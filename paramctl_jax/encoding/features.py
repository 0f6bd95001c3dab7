"""Frozen features of many images, over all local devices, in blocks of one shape.

An image's features do not depend on its company: every device works on `batch_size`
images at a time, whatever the number of devices and images, and the last block is
padded. Their last bits do depend on `batch_size` and on what else is read in the same
pass, because compilers order the sums of one program otherwise than those of another.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from paramctl_jax.backbones import check_readout, read_all
from paramctl_jax.encoding.feature_key import feature_entries
from paramctl_jax.encoding.feature_store import opened, stored
from paramctl_jax.encoding.feature_writer import writing
from paramctl_jax.images import to_float
from paramctl_jax.progress import bar
from paramctl_jax.types import Backbone, ImageSet, InputError, Network

AXIS = "image"


def extract_features(
    backbone: Backbone,
    images: ImageSet,
    readout: str,
    batch_size: int = 32,
    progress: bool = True,
    *,
    store: str | Path | None = None,
) -> Float[np.ndarray, "image feature"]:
    """Raw features of one readout, from pixels through the in-graph preprocessing.

    Args:
      backbone: frozen network.
      images: 8-bit sRGB squares.
      readout: layer to read.
      batch_size: images per device and compiled call, see `extract_readouts`.
      progress: whether to show a progress bar.
      store: see `extract_readouts`.

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
    found = extract_readouts(
        backbone, images, (readout,), batch_size, progress, store=store
    )
    return found[readout]


def extract_readouts(
    backbone: Backbone,
    images: ImageSet,
    readouts: Sequence[str],
    batch_size: int = 32,
    progress: bool = True,
    *,
    store: str | Path | None = None,
) -> dict[str, Float[np.ndarray, "image feature"]]:
    """Raw features of several readouts in one pass over the images.

    The batches are spread over all local devices, and the next ones are prepared while
    the devices work.

    Args:
      backbone: frozen network.
      images: 8-bit sRGB squares.
      readouts: layers to read.
      batch_size: images per device and compiled call.
      progress: whether to show a progress bar.
      store: directory for the features, see `feature_store`: they are written as they
        come and returned memory-mapped, read-only. What is complete there is not
        computed again, what is unfinished goes on where it stopped. None keeps all of
        them in memory.

    Returns:
      float32 features by readout.

    Raises:
      InputError: unknown readout, no images, features that are not finite, or a store
        that cannot be written or has too little space.

    Example:
      >>> import jax
      >>> from paramctl_jax.backbones import random_backbone
      >>> backbone = random_backbone("small_standard", jax.random.key(0), input_size=16)
      >>> images = ImageSet(("a",), np.zeros((1, 16, 16, 3), np.uint8))
      >>> found = extract_readouts(backbone, images, ("avgpool", "fc"), 1, False)
      >>> {readout: features.shape for readout, features in found.items()}
      {'avgpool': (1, 256), 'fc': (1, 100)}
    """
    names = tuple(dict.fromkeys(readouts))
    for readout in names:
        check_readout(backbone, readout)
    if len(images) == 0 or batch_size < 1:
        raise InputError(
            "features: expected at least one image and a batch size of at least 1, "
            f"found {len(images)} images and batch size {batch_size}"
        )
    if store is not None:
        return _through_store(
            backbone, images, names, batch_size, progress, Path(store)
        )
    out = {
        name: np.empty((len(images), _width(backbone, name)), np.float32)
        for name in names
    }
    for first, values in _blocks(backbone, images, names, batch_size, 0, progress):
        for name, rows in values.items():
            out[name][first : first + len(rows)] = rows
    return out


def padded_block(
    images: ImageSet, start: int, size: int
) -> Float[np.ndarray, "size height width 3"]:
    """Images `start` to ``start + size`` as floats; the last one fills up the block."""
    index = np.minimum(np.arange(start, start + size), len(images) - 1)
    return to_float(images.pixels[index])


def _width(backbone: Backbone, readout: str) -> int:
    return math.prod(backbone.readouts[readout])


def _through_store(
    backbone: Backbone,
    images: ImageSet,
    readouts: tuple[str, ...],
    batch_size: int,
    progress: bool,
    directory: Path,
) -> dict[str, np.ndarray]:
    """Adds to the store what it lacks, and opens all of it."""
    program = _program(backbone, images, batch_size)
    entries = feature_entries(
        backbone, images, readouts, batch_size, directory, program
    )
    lacking = [entry for entry in entries.values() if stored(entry) is None]
    with writing(lacking, progress) as writers:
        unfinished = {str(w.entry.about["readout"]): w for w in writers}
        start = min((w.rows for w in writers), default=len(images))
        for first, values in _blocks(
            backbone, images, tuple(unfinished), batch_size, start, progress
        ):
            for name, rows in values.items():
                unfinished[name].append(first, rows)
        for writer in writers:
            writer.finish()
    return {name: opened(entry) for name, entry in entries.items()}


def _blocks(
    backbone: Backbone,
    images: ImageSet,
    readouts: tuple[str, ...],
    batch_size: int,
    start: int,
    progress: bool,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Index of the first image of a block and its features, from image `start` on."""
    n_batches = math.ceil((len(images) - start) / batch_size)
    if n_batches == 0:
        return
    mesh = Mesh(np.asarray(jax.local_devices()[:n_batches]), (AXIS,))
    variables = jax.device_put(backbone.variables, NamedSharding(mesh, PartitionSpec()))
    split = NamedSharding(mesh, PartitionSpec(AXIS))
    size = batch_size * mesh.size
    waiting: tuple[int, dict[str, Array]] | None = None
    label = f"{backbone.name}: features"
    for first in bar(range(start, len(images), size), label=label, show=progress):
        block = jax.device_put(padded_block(images, first, size), split)
        values = _read_block(backbone.network, variables, block, readouts, mesh)
        if waiting is not None:  # its devices are busy with the next block by now
            yield _fetched(backbone, images, *waiting)
        waiting = first, values
    if waiting is not None:
        yield _fetched(backbone, images, *waiting)


def _fetched(
    backbone: Backbone, images: ImageSet, first: int, values: dict[str, Array]
) -> tuple[int, dict[str, np.ndarray]]:
    """A block on the host without its padding, all finite."""
    count = len(images) - first
    rows = {name: np.asarray(v, np.float32)[:count] for name, v in values.items()}
    for name, block in rows.items():
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if bad.size:
            raise InputError(
                f"{backbone.name}: {name} is not finite for {bad.size} of {len(block)} "
                f"images, first {images.stimulus_ids[first + bad[0]]!r}; expected "
                "usable weights, check the weights file"
            )
    return first, rows


def _read(
    network: Network,
    variables: PyTree,
    images: Float[Array, "image height width 3"],
    readouts: tuple[str, ...],
) -> dict[str, Float[Array, "image feature"]]:
    with jax.default_matmul_precision("highest"):
        return read_all(network, variables, images, readouts)


_one_device = jax.jit(_read, static_argnames=("network", "readouts"))


@functools.partial(jax.jit, static_argnames=("network", "readouts", "mesh"))
def _read_block(
    network: Network,
    variables: PyTree,
    images: Float[Array, "image height width 3"],
    readouts: tuple[str, ...],
    mesh: Mesh,
) -> dict[str, Float[Array, "image feature"]]:
    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    # Nothing is exchanged between devices, so that there is nothing to check.
    return jax.shard_map(
        lambda variables, images: _read(network, variables, images, readouts),
        mesh=mesh,
        in_specs=(whole, split),
        out_specs=split,
        check_vma=False,
    )(variables, images)


def _program(backbone: Backbone, images: ImageSet, batch_size: int) -> str:
    """What each device is told to compute for every readout, as text."""
    shape = (batch_size, *images.pixels.shape[1:])
    block = jax.ShapeDtypeStruct(shape, np.float32)
    readouts = tuple(backbone.readouts)
    lowered = _one_device.lower(backbone.network, backbone.variables, block, readouts)
    return lowered.as_text()
