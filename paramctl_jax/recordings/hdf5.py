"""HDF5 files opened so that whatever is wrong with one ends in a line naming it.

NWB, MATLAB v7.3, netCDF-4 and the laboratories' own ``.h5`` are all HDF5. Files are
opened for reading only; nothing in them is ever executed or unpickled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Shaped

from paramctl_jax.types import InputError


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading, closed at the end of the ``with`` block.

    Damage is often met only when a dataset is read: inside the block, errors that come
    from the HDF5 library are told as errors of the file; any other error passes.

    Args:
      path: of the file.

    Yields:
      The open file; read what is needed inside the block.

    Raises:
      InputError: naming the file: missing, not HDF5, truncated, in use, damaged.

    Example:
      >>> import tempfile
      >>> path = tempfile.mkdtemp() + "/x.h5"
      >>> with h5py.File(path, "w") as file:
      ...     file["rates"] = [1.0, 2.0]
      >>> with open_hdf5(path) as file:
      ...     file["rates"][:].tolist()
      [1.0, 2.0]
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected an HDF5 file, found {found}")
    if not path.stat().st_size:
        raise InputError(f"{path}: expected an HDF5 file, found an empty file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, found other bytes") from error
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        if not _from_hdf5(error):
            raise
        raise InputError(_explain(path, error)) from error


def read_strings(dataset: h5py.Dataset) -> Shaped[np.ndarray, "*axes"]:
    """Text of a dataset: fixed-length, variable-length, bytes or UTF-8 alike.

    Args:
      dataset: of strings, any axes; a scalar gives an array without axes.

    Returns:
      An array of str (numpy kind ``U``) with the dataset's axes.

    Raises:
      InputError: naming file and dataset: no text, or text that is not UTF-8.

    Example:
      >>> file = h5py.File("x", "w", driver="core", backing_store=False)
      >>> file["ids"] = [b"im_1", b"im_2"]
      >>> read_strings(file["ids"]).tolist()
      ['im_1', 'im_2']
    """
    where = f"{dataset.file.filename}: {dataset.name}"
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise InputError(f"{where}: expected text, found {dataset.dtype}")
    try:
        return np.asarray(dataset.asstr("utf-8")[()], dtype=np.str_)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: expected UTF-8 text, found other bytes") from error


def text_ids(
    source: str, name: str, values: Shaped[np.ndarray, " entry"]
) -> tuple[Shaped[np.ndarray, " entry"], tuple[str, ...]]:
    """Ids as text, and a note where they were numbers; a missing one becomes ``""``.

    Args:
      source: file named in messages.
      name: of the column.
      values: text, bytes, integers, or whole numbers kept as floats (NaN if missing).

    Returns:
      The ids as an array of str, and the notes.

    Raises:
      InputError: naming the column: fractions, or something that is no id.

    Example:
      >>> ids, notes = text_ids("day1.nwb", "stimulus_id", np.array([7.0, np.nan]))
      >>> ids.tolist(), notes
      (['7', ''], ('stimulus_id: numbers read as text, as 7',))
    """
    kind = values.dtype.kind
    if kind in "OSUT":
        words = [_word(f"{source}: {name}", value) for value in values]
        return np.asarray(words, dtype=np.str_), ()
    finite = np.isfinite(values) if kind in "iuf" else np.zeros(0, np.bool_)
    if kind not in "iuf" or np.any(values[finite] % 1):
        raise InputError(
            f"{source}: {name}: expected ids (text or integers), found {values.dtype}"
        )
    words = [str(int(v)) if ok else "" for v, ok in zip(values, finite, strict=True)]
    first = next((word for word in words if word), "")
    return np.asarray(words, np.str_), (f"{name}: numbers read as text, as {first}",)


def _word(where: str, value: object) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{where}: expected UTF-8 text, found other bytes"
            ) from error
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else str(value)


def _from_hdf5(error: Exception) -> bool:
    """Whether the HDF5 library said it: its messages start alike in every version."""
    said = ("Unable to ", "Can't ", "Can not ", "No NumPy equivalent", "Unknown ")
    text = str(error).strip("'\"")
    by_kind = isinstance(error, OSError) or "iteration failed" in text
    return by_kind or text.startswith(said) or " failed (" in text


def _explain(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).strip("'\"").split()) or type(error).__name__
    if isinstance(error, PermissionError):
        return f"{path}: no permission to read the file"
    if "doesn't exist" in reason:
        return f"{path}: not laid out as expected ({reason})"
    if "signature not found" in reason:
        return f"{path}: expected an HDF5 file, found something else ({reason})"
    if "lock" in reason and "Resource temporarily" in reason:
        return f"{path}: another program has the file open for writing; close it there"
    return f"{path}: truncated or damaged HDF5 file ({reason}); copy it again"
