"""Images of an experiment, keyed by stimulus id, from wherever they are."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from paramctl_jax.images.decode import SourceImage, fit_square
from paramctl_jax.images.sources import open_source
from paramctl_jax.progress import bar
from paramctl_jax.types import ImageSet, InputError, unknown

UNREADABLE = ("error", "skip")


def load_images(
    source: str | Path,
    size: int | None = None,
    *,
    ids: Sequence[str] | None = None,
    unreadable: str = "error",
    progress: bool = False,
) -> ImageSet:
    """Loads images, keyed by stimulus id, from a folder, an archive, NSD or tfds.

    Args:
      source: a folder (searched at all levels) or a .zip, .tar or .tar.gz archive,
        keyed by file stem; NSD's ``nsd_stimuli.hdf5``, keyed by NSD's numbers, which
        begin at 1: ``nsd02951`` or ``shared0001_nsd02951``; or a dataset prepared with
        TensorFlow Datasets, ``tfds:NAME[/CONFIG][:SPLIT]`` or ``tfds:FOLDER[:SPLIT]``,
        keyed by its ``stimulus_id`` or file names.
      size: side in pixels; every image is cut to its centre square and resized. None
        keeps the images as they are, and they must then all be squares of one size.
      ids: the images to load, in this order; None loads all, in the order of their ids.
      unreadable: ``"error"`` stops at a file that is no usable image; ``"skip"`` leaves
        it out and gives the reason in ``left_out``.
      progress: whether to show a progress bar.

    Returns:
      The images.

    Raises:
      InputError: naming the source or file: nothing there, an unreadable image, a
        stimulus id twice, ids that are missing, sizes that differ.

    Example:
      >>> from paramctl_jax.data import photographs_path
      >>> load_images(photographs_path(), 32, ids=["butterfly_0003"]).pixels.shape
      (1, 32, 32, 3)
    """
    _check_arguments(ids, unreadable, size)
    with open_source(source, ids, size) as images:
        there = (image.stimulus_id for image in images)
        order = sorted(there) if ids is None else list(ids)
        return _read_all(source, images, size, order, unreadable, progress)


def _check_arguments(
    ids: Sequence[str] | None, unreadable: str, size: int | None
) -> None:
    if unreadable not in UNREADABLE:
        raise unknown(unreadable, UNREADABLE, "unreadable")
    if size is not None and size < 1:
        raise InputError(f"size: expected at least 1 pixel, or None, found {size}")
    if ids is None:
        return
    if isinstance(ids, str) or not len(ids):
        raise InputError(f"ids: expected a list of stimulus ids, found {ids!r}")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(f"ids: {len(twice)} of them twice, first {twice[:3]}")


def _read_all(
    source: str | Path,
    images: list[SourceImage],
    size: int | None,
    order: list[str],
    unreadable: str,
    progress: bool,
) -> ImageSet:
    """Reads in the source's order into the rows of `order`."""
    row = {name: index for index, name in enumerate(order)}
    left_out: dict[str, str] = {}
    small: list[str] = []
    pixels = None
    for name, one in _readable(images, size, unreadable, left_out, small, progress):
        if pixels is None:
            pixels, first = np.empty((len(order), *one.shape), np.uint8), name
        _check_square(f"{source}: image {name}", one, pixels, first)
        pixels[row[name]] = one
    if pixels is None:
        raise InputError(
            f"{source}: none of {len(order)} images can be read, first: "
            f"{next(iter(left_out.values()))}"
        )
    loaded = _without(order, pixels, left_out)
    return dataclasses.replace(loaded, notes=_enlarged(small, len(order), size))


def _enlarged(small: list[str], total: int, size: int | None) -> tuple[str, ...]:
    if not small:
        return ()
    return (
        f"{len(small)} of {total} images are smaller than {size} pixels and were "
        f"enlarged, first {small[0]}",
    )


def _readable(
    images: list[SourceImage],
    size: int | None,
    unreadable: str,
    left_out: dict[str, str],
    small: list[str],
    progress: bool,
) -> Iterator[tuple[str, UInt8[np.ndarray, "height width 3"]]]:
    """Ids and pixels; `left_out` gets the reasons of those that are skipped.

    `small` gets the ids of those that had to be enlarged.
    """
    for image in bar(images, label="images", show=progress):
        try:
            pixels = image.read()
        except InputError as error:
            if unreadable == "error":
                raise
            left_out[image.stimulus_id] = str(error)
            continue
        if size is not None and min(pixels.shape[:2]) < size:
            small.append(image.stimulus_id)
        yield (
            image.stimulus_id,
            pixels if size is None else fit_square(pixels, size),
        )


def _check_square(
    what: str,
    image: UInt8[np.ndarray, "height width 3"],
    pixels: UInt8[np.ndarray, "n h w 3"],
    first: str,
) -> None:
    height, width = image.shape[:2]
    if image.shape != pixels.shape[1:] or height != width:
        raise InputError(
            f"{what} is {height} x {width}, {first} is {pixels.shape[1]} x "
            f"{pixels.shape[2]}; expected squares of one size: give `size` to cut and "
            "resize them"
        )


def _without(
    order: list[str], pixels: UInt8[np.ndarray, "n h w 3"], left_out: dict[str, str]
) -> ImageSet:
    if not left_out:
        return ImageSet(tuple(order), pixels)
    kept = [index for index, name in enumerate(order) if name not in left_out]
    names = tuple(order[index] for index in kept)
    reasons = {name: left_out[name] for name in order if name in left_out}
    return ImageSet(names, pixels[kept], reasons)


def duplicate_images(images: ImageSet) -> tuple[tuple[str, ...], ...]:
    """Groups of stimulus ids whose pixels are the same.

    Two ids of one picture are not an error, but they may put one image on both sides of
    a split, or make repeats out of what was shown once.

    Args:
      images: of one size.

    Returns:
      Ids with equal pixels, groups and ids in the order of the images; single images
      are not listed.

    Example:
      >>> grey = np.full((1, 2, 2, 3), 128, np.uint8)
      >>> black = np.zeros_like(grey)
      >>> images = ImageSet(("a", "b", "c"), np.concatenate([grey, black, grey]))
      >>> duplicate_images(images)
      (('a', 'c'),)
    """
    groups: dict[bytes, list[str]] = {}
    for stimulus_id, pixels in zip(images.stimulus_ids, images.pixels, strict=True):
        digest = hashlib.sha256(np.ascontiguousarray(pixels)).digest()
        groups.setdefault(digest, []).append(stimulus_id)
    return tuple(tuple(ids) for ids in groups.values() if len(ids) > 1)
