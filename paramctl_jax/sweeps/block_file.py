"""A finished block: an ``.npz`` that carries its own digest.

The comment of the zip archive is the sha256 of all bytes before it, so that one file,
written with one rename, says whether it is whole; ``numpy.load`` reads it as it is.
Equal arrays give equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paramctl_jax.artifacts import atomic_write, sha256_bytes
from paramctl_jax.types import InputError

_COMMENT = len(sha256_bytes(b""))
_END = 22  # bytes of what an archive without a comment ends with


def write_block(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Writes arrays whole or not at all.

    Args:
      path: final name.
      arrays: numbers and strings, no objects.

    Raises:
      InputError: a full disk, or a folder that cannot be written.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "m-00000.npz"
      >>> read_block(write_block(path, {"x": np.arange(3)}))["x"]
      array([0, 1, 2])
    """
    stream = io.BytesIO()
    plain = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    np.savez(stream, allow_pickle=False, **plain)  # pyright: ignore[reportArgumentType]
    stream.seek(-2, io.SEEK_END)
    stream.write(_COMMENT.to_bytes(2, "little"))  # the length of the comment to come
    stream.write(sha256_bytes(stream.getvalue()).encode())
    return atomic_write(path, stream.getvalue())


def read_block(path: Path) -> dict[str, np.ndarray]:
    """Reads what `write_block` wrote, from the very bytes that were checked.

    Raises:
      InputError: naming the file: missing, or a single bit of it changed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error})"
        ) from error
    body, digest = data[:-_COMMENT], data[-_COMMENT:]
    if len(body) < _END or sha256_bytes(body).encode() != digest:
        raise InputError(
            f"{path}: damaged: expected the sha256 at its end to be that of the bytes "
            "before; run the same command again, it is made anew"
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def fault(path: Path) -> str | None:
    """What is wrong with a block's file; None where it is whole."""
    try:
        read_block(path)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    return None
