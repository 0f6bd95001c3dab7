"""Labelled photographs for training, from a folder, an archive or tfds."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from paramctl_jax import images
from paramctl_jax.types import InputError

TRAIN, VALIDATION = "train", "val"
_HELD_OUT = 10  # without split folders, every tenth image of a class is validation


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Photographs with class labels.

    Attributes:
      pixels: 8-bit sRGB.
      labels: index into `classes`.
      classes: class names, sorted.
    """

    pixels: UInt8[np.ndarray, "image size size 3"]
    labels: Int[np.ndarray, " image"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def load_labelled(source: str, size: int) -> dict[str, LabelledImages]:
    """Loads training and validation photographs.

    Args:
      source: a folder or archive laid out as ``train/CLASS/FILE`` and
        ``val/CLASS/FILE``, or as ``CLASS/FILE`` (every tenth image of a class then
        becomes validation), at any depth; or ``tfds:NAME`` (or ``tfds:FOLDER`` of a
        prepared dataset) with features ``image`` and ``label``.
      size: side in pixels; images are cut to their centre square and resized.

    Returns:
      ``{"train": ..., "val": ...}`` with the same classes.

    Raises:
      InputError: nothing there, an unreadable image, or fewer than two classes.
    """
    if source.startswith("tfds:"):
        return _load_tfds(source.removeprefix("tfds:"), size)
    found: dict[str, list[tuple[str, np.ndarray]]] = {}
    is_folder = Path(source).is_dir()
    for name, read in sorted(images.members(source), key=lambda member: member[0]):
        inside = Path(name).relative_to(source) if is_folder else Path(name)
        path = PurePosixPath(inside.as_posix())
        if len(path.parts) < 2:
            raise InputError(f"{source}: {path} lies in no class folder (CLASS/FILE)")
        split = path.parts[-3] if len(path.parts) > 2 else ""
        split = split if split in (TRAIN, VALIDATION) else ""
        label = name if is_folder else f"{source}:{name}"
        pixels = images.fit_square(images.decode_image(read(), label), size)
        found.setdefault(split, []).append((path.parts[-2], pixels))
    return _split(found, source)


def _split(
    found: dict[str, list[tuple[str, np.ndarray]]], source: str
) -> dict[str, LabelledImages]:
    if {TRAIN, VALIDATION} <= found.keys():
        parts = {split: found[split] for split in (TRAIN, VALIDATION)}
    else:
        pairs = [pair for split in sorted(found) for pair in found[split]]
        rank: dict[str, int] = {}
        parts = {TRAIN: [], VALIDATION: []}
        for label, pixels in pairs:
            rank[label] = rank.get(label, -1) + 1
            held_out = rank[label] % _HELD_OUT == _HELD_OUT - 1
            parts[VALIDATION if held_out else TRAIN].append((label, pixels))
    classes = tuple(sorted({label for label, _ in parts[TRAIN]}))
    return {split: _pack(pairs, classes, source) for split, pairs in parts.items()}


def _pack(
    pairs: list[tuple[str, np.ndarray]], classes: tuple[str, ...], source: str
) -> LabelledImages:
    strange = sorted({label for label, _ in pairs} - set(classes))
    if len(classes) < 2 or not pairs or strange:
        raise InputError(
            f"{source}: expected at least two classes and ten images of each, found "
            f"{len(classes)} training classes, {len(pairs)} images in a split"
            + (f", and classes without training images {strange[:3]}" * bool(strange))
        )
    index = {label: number for number, label in enumerate(classes)}
    return LabelledImages(
        np.stack([pixels for _, pixels in pairs]),
        np.asarray([index[label] for label, _ in pairs], dtype=np.int32),
        classes,
    )


def _load_tfds(name: str, size: int) -> dict[str, LabelledImages]:
    """Reads a prepared tfds dataset as a random-access source, without TensorFlow."""
    import tensorflow_datasets as tfds

    try:
        if Path(name).is_dir():
            builder: Any = tfds.builder_from_directory(name)
        else:
            builder = tfds.builder(name)
        splits = builder.info.splits
        held_out = next(s for s in (VALIDATION, "validation", "test") if s in splits)
        names = {TRAIN: TRAIN, VALIDATION: held_out}
        sources = {k: builder.as_data_source(split=v) for k, v in names.items()}
        classes = tuple(str(n) for n in builder.info.features["label"].names)
    except ModuleNotFoundError as error:
        raise InputError(
            f"tfds:{name}: this dataset needs {error.name}; pip install {error.name}"
        ) from error
    except (StopIteration, KeyError, OSError, ValueError, AssertionError) as error:
        raise InputError(
            f"tfds:{name}: expected a prepared dataset with splits train and "
            f"validation (or test) and features image, label ({error})"
        ) from error
    return {k: _from_records(name, v, classes, size) for k, v in sources.items()}


def _from_records(
    name: str, records: Any, classes: tuple[str, ...], size: int
) -> LabelledImages:
    pixels, labels = [], []
    for index in range(len(records)):
        record = records[index]
        image = np.asarray(record["image"])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise InputError(
                f"tfds:{name}: record {index} has an image {image.shape} of "
                f"{image.dtype}; expected 8-bit grey or RGB"
            )
        rgb = np.broadcast_to(image, (*image.shape[:2], 3))
        pixels.append(images.fit_square(np.ascontiguousarray(rgb), size))
        labels.append(int(record["label"]))
    return LabelledImages(np.stack(pixels), np.asarray(labels, np.int32), classes)
