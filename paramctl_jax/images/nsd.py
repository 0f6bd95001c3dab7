"""Images of the Natural Scenes Dataset, straight from ``nsd_stimuli.hdf5``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import UInt8

from paramctl_jax.images.decode import SourceImage
from paramctl_jax.types import InputError

HDF5_SUFFIXES = (".hdf5", ".h5")
BRICK = "imgBrick"
MAX_BYTES = 4_000_000_000  # of all images together, where nobody chose among them

_ID = re.compile(r"(?:shared\d{4}_)?nsd(\d{5})")


@contextmanager
def nsd_images(
    path: Path, ids: Sequence[str] | None = None, size: int | None = None
) -> Iterator[list[SourceImage]]:
    """The images of NSD's HDF5 file, which is open within the ``with`` block.

    An id is ``nsd`` and NSD's 73K number of five digits, counted from 1 as in NSD's own
    file names: ``nsd02951`` and ``shared0001_nsd02951`` are both row 2950 of the
    dataset ``imgBrick`` (the zero-based ``nsdId`` of ``nsd_stim_info_merged.csv``).

    Args:
      path: an HDF5 file with ``imgBrick`` ``[image, height, width, 3]``, uint8.
      ids: the images wanted, in either form; None wants all, if they fit in memory.
      size: side that the images will be resized to, None for theirs.

    Yields:
      The images in the order of their rows, the fastest to read.

    Raises:
      InputError: naming the file: missing, truncated, without `imgBrick`, of another
        type or shape, ids that it does not have, or too large to be read whole.

    Reference:
      Allen et al. (2022), Nature Neuroscience 25, 116-126; the NSD data manual.
    """
    with _open(path) as file:
        brick = _brick(path, file)
        if ids is None:
            _check_size(path, brick, size)
            ids = [f"nsd{number:05d}" for number in range(1, len(brick) + 1)]
        rows = _rows(path, ids, len(brick))
        yield [
            SourceImage(name, f"{path}:{name}", partial(_read, path, brick, rows[name]))
            for name in sorted(ids, key=lambda name: (rows[name], name))
        ]


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected an HDF5 file, found nothing") from error
    except (OSError, RuntimeError) as error:
        raise _damaged(path, error) from error
    with file:
        yield file


def _brick(path: Path, file: h5py.File) -> h5py.Dataset:
    """The dataset of images, its type and axes checked."""
    brick = file.get(BRICK)
    if not isinstance(brick, h5py.Dataset):
        there: list[str] = []
        file.visititems(
            lambda name, item: there.append(name) if hasattr(item, "shape") else None
        )
        raise InputError(
            f"{path}: expected a dataset {BRICK!r} [image, height, width, 3]; the "
            f"datasets there are {there[:10] or 'none'}"
        )
    shape = brick.shape
    if len(shape) != 4 or shape[3] != 3 or brick.dtype != np.uint8:
        turned = len(shape) == 4 and shape[0] == 3
        raise InputError(
            f"{path}: {BRICK}: expected uint8 [image, height, width, 3], found "
            f"{brick.dtype} {shape}" + "; transpose it first" * turned
        )
    return brick


def _check_size(path: Path, brick: h5py.Dataset, size: int | None) -> None:
    side = brick.shape[1:3] if size is None else (size, size)
    n_bytes = len(brick) * side[0] * side[1] * 3
    if n_bytes > MAX_BYTES:
        raise InputError(
            f"{path}: all {len(brick)} images of {side[0]} x {side[1]} pixels would "
            f"take {n_bytes / 1e9:.1f} GB of memory; give `ids` or a smaller `size`"
        )


def _rows(path: Path, ids: Sequence[str], n_images: int) -> dict[str, int]:
    """Row of every id: its number less one."""
    found = {name: _ID.fullmatch(name) for name in ids}
    rows = {name: int(match[1]) - 1 for name, match in found.items() if match}
    missing = [name for name in ids if not 0 <= rows.get(name, -1) < n_images]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {len(ids)} ids are not there, first "
            f"{missing[:3]}; expected nsd00001 to nsd{n_images:05d}, or "
            "shared0001_nsd02951 and the like"
        )
    return rows


def _read(
    path: Path, brick: h5py.Dataset, row: int
) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return np.asarray(brick[row])
    except (OSError, RuntimeError, KeyError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PermissionError):
        return InputError(f"{path}: no permission to read the file")
    if "signature not found" in reason:
        return InputError(f"{path}: expected an HDF5 file, found something else")
    return InputError(
        f"{path}: truncated or damaged HDF5 file ({reason}); copy it again"
    )
