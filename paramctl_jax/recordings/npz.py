"""Reading and writing ``.npz``: the format this project keeps recordings in."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paramctl_jax.artifacts import atomic_write
from paramctl_jax.recordings.validate import make_recordings
from paramctl_jax.types import InputError, Recordings

REQUIRED = ("responses", "stimulus_ids", "site_ids")
OPTIONAL = ("units", "window_ms")
META = "site_meta/"


def read_npz(path: Path) -> Recordings:
    """Reads recordings from one ``.npz`` file.

    ================  ===============  ============================================
    array             axes             content
    ================  ===============  ============================================
    responses         image,site,      numbers, NaN where a repeat is missing; a last
                      repeat           axis of length 1 for averaged responses
    stimulus_ids      image            strings, unique; images are joined by them
    site_ids          site             strings, unique
    units             none             string, optional (``z`` if absent)
    window_ms         2                start and stop after onset, optional
    site_meta/NAME    site             any further column, optional
    ================  ===============  ============================================

    Args:
      path: of the file.

    Returns:
      The recordings, responses in float64.

    Raises:
      InputError: truncated or foreign file, pickled objects, missing or unknown
        arrays, wrong axes, lengths that differ, an id twice.
    """
    arrays = read_arrays(path)
    _check_names(path, arrays)
    window = arrays.get("window_ms")
    return make_recordings(
        str(path),
        responses=arrays["responses"],
        stimulus_ids=arrays["stimulus_ids"],
        site_ids=arrays["site_ids"],
        units=str(arrays.get("units", "z")),
        window_ms=window,
        site_meta={
            name.removeprefix(META): values
            for name, values in arrays.items()
            if name.startswith(META)
        },
    )


def write_npz(path: Path, recordings: Recordings) -> None:
    """Writes what `read_npz` reads; equal recordings give equal bytes."""
    arrays = {
        "responses": recordings.responses,
        "stimulus_ids": np.asarray(recordings.stimulus_ids, dtype=np.str_),
        "site_ids": np.asarray(recordings.site_ids, dtype=np.str_),
        "units": np.asarray(recordings.units),
    }
    if recordings.window_ms is not None:
        arrays["window_ms"] = np.asarray(recordings.window_ms, dtype=np.float64)
    for name, values in recordings.site_meta.items():
        arrays[META + name] = np.asarray(values)
    write_arrays(path, arrays)


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


def _check_names(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    missing = [name for name in REQUIRED if name not in arrays]
    unknown = [
        name
        for name in arrays
        if name not in REQUIRED + OPTIONAL and not name.startswith(META)
    ]
    if missing or unknown:
        raise InputError(
            f"{path}: expected the arrays {', '.join(REQUIRED)} and, optionally, "
            f"{', '.join(OPTIONAL)}, {META}NAME; missing {missing}, unknown {unknown}"
        )
