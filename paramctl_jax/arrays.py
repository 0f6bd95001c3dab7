"""Plain arrays in ``.npz`` files: checked when read, never unpickled, written whole."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paramctl_jax.artifacts import atomic_write
from paramctl_jax.types import InputError


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz``, each checked against its checksum, never unpickled.

    Args:
      path: of the file.

    Returns:
      The arrays by name.

    Raises:
      InputError: naming the file: missing, truncated, not an npz, or object arrays.
    """
    try:
        # Opened here: np.load leaks its own handle where an archive is damaged.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InputError(f"{path}: expected an .npz archive, found one array")
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise InputError(_unreadable(path, error)) from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an ``.npz`` whole or not at all; object arrays are refused.

    Raises:
      InputError: naming the first array that would need pickling.
    """
    for name, values in arrays.items():
        if values.dtype.hasobject:
            raise InputError(
                f"{path}: {name} holds Python objects; expected numbers or strings"
            )
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]
    atomic_write(path, stream.getvalue())


def _unreadable(path: Path, error: Exception) -> str:
    if "Object arrays" in str(error) or "pickle" in str(error):
        return (
            f"{path}: not an .npz archive of plain arrays (objects and pickles are "
            "never loaded); save numbers and strings with numpy.savez"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{path}: truncated or damaged .npz archive ({reason}); copy it again"
