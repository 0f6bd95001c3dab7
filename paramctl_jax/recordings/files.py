"""Load and save recordings; the suffix of the file says how it is read."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from paramctl_jax.recordings.matlab import read_mat
from paramctl_jax.recordings.netcdf import read_netcdf
from paramctl_jax.recordings.npz import read_npz, write_npz
from paramctl_jax.recordings.nwb import read_nwb
from paramctl_jax.recordings.pnc import read_pnc
from paramctl_jax.recordings.tables import read_csv, read_npy
from paramctl_jax.recordings.trials import group_trials
from paramctl_jax.types import InputError, Recordings, Trials, unknown

READERS: dict[str, Callable[..., Recordings | Trials]] = {
    ".csv": read_csv,
    ".h5": read_pnc,
    ".hdf5": read_pnc,
    ".mat": read_mat,
    ".nc": read_netcdf,
    ".npy": read_npy,
    ".npz": read_npz,
    ".nwb": read_nwb,
}
"""Reader of every file suffix; a new format is one more entry.

A reader takes the path and keyword-only options, and returns single trials or repeats.
"""

WRITERS: dict[str, Callable[[Path, Recordings], None]] = {".npz": write_npz}
"""Writer of every file suffix that can be written."""


def load_recordings(path: str | Path, **options: Any) -> Recordings:
    """Loads recordings; the suffix says how.

    ===================  ======================================  ====================
    suffix               content                                 reader, its options
    ===================  ======================================  ====================
    ``.npz``             this tool's own                         `read_npz`
    ``.npy``             one array beside CSV tables of ids      `read_npy`
    ``.csv``             one row per trial, or per trial, site   `read_csv`
    ``.mat``             MATLAB, v5 and v7.3                     `read_mat`
    ``.nc``              Brain-Score NeuroidAssembly             `read_netcdf`
    ``.nwb``             NWB 2: rates from spike times           `read_nwb`
    ``.h5``, ``.hdf5``   subject/{trials,repavg,...}             `read_pnc`
    ===================  ======================================  ====================

    Single trials are grouped by stimulus into repeats; values stay as they are (see
    `responses_from_trials` for outliers and z-scores per session).

    Args:
      path: of the file.
      **options: keyword arguments of the reader, e.g. ``window_ms`` of `read_nwb`.

    Returns:
      Responses ``[image, site, repeat]``, in the units of the file.

    Raises:
      InputError: naming the file: missing, unknown suffix, an option that its reader
        does not have, damaged, or contents that do not fit together.

    Example:
      >>> import numpy as np, tempfile
      >>> path = tempfile.mkdtemp() + "/day1.npz"
      >>> np.savez(path, responses=np.zeros((2, 1, 3)), stimulus_ids=["a", "b"],
      ...          site_ids=["site0"], units="spikes/s")
      >>> load_recordings(path).units
      'spikes/s'
    """
    loaded = read_file(path, **options)
    return group_trials(loaded) if isinstance(loaded, Trials) else loaded


def load_trials(path: str | Path, **options: Any) -> Trials:
    """Loads single trials in the order of recording; the suffix says how.

    Args:
      path: of the file, as `load_recordings`.
      **options: keyword arguments of the reader.

    Returns:
      Responses ``[trial, site]``, in the units of the file.

    Raises:
      InputError: as `load_recordings`, and for a file that holds repeats or averages,
        where order and session of the trials are lost.

    Example:
      >>> import numpy as np, tempfile
      >>> path = tempfile.mkdtemp() + "/day1.npz"
      >>> np.savez(path, responses=np.zeros((3, 1)), stimulus_ids=["a", "b", "a"],
      ...          site_ids=["site0"], units="spikes/s")
      >>> load_trials(path).stimulus_ids
      ('a', 'b', 'a')
    """
    loaded = read_file(path, **options)
    if isinstance(loaded, Trials):
        return loaded
    raise InputError(
        f"{path}: expected single trials [trial, site], found responses [image, site, "
        f"repeat] of shape {loaded.responses.shape}, without order and session of the "
        "trials; use load_recordings"
    )


def read_file(path: str | Path, **options: Any) -> Recordings | Trials:
    """What the reader of the file's suffix returns: trials, or repeats of images.

    Args:
      path: of the file, as `load_recordings`.
      **options: keyword arguments of the reader.

    Returns:
      The trials or recordings, as the file holds them.

    Raises:
      InputError: as `load_recordings`.
    """
    path = Path(path)
    reader = _by_suffix(path, READERS)
    _check_options(path, reader, options)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected a recordings file, found {found}")
    return reader(path, **options)


def save_recordings(path: str | Path, recordings: Recordings | Trials) -> None:
    """Saves recordings so that `load_recordings` returns them unchanged.

    Single trials come back by `load_trials`.

    Args:
      path: where to; an existing file is replaced, whole or not at all.
      recordings: what to save.

    Raises:
      InputError: a suffix that cannot be written, or a path that cannot.
    """
    path = Path(path)
    _by_suffix(path, WRITERS)(path, recordings)


def _by_suffix(path: Path, table: Mapping[str, Callable]) -> Callable:
    suffix = path.suffix.lower()
    if suffix not in table:
        raise InputError(
            f"{path}: unknown suffix {suffix!r} for recordings; expected one of "
            f"{', '.join(sorted(table))}"
        )
    return table[suffix]


def _check_options(path: Path, reader: Callable, options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(reader).parameters
    valid = [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    types = typing.get_type_hints(reader)
    for name, value in options.items():
        if name not in valid:
            what = f"option of {reader.__name__}"
            raise InputError(f"{path}: {unknown(name, valid or ['none'], what)}")
        if not _fits(value, types[name]):
            expected = parameters[name].annotation
            raise InputError(
                f"{path}: option {name}: expected {expected}, found {value!r}"
            )


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of one of the annotated types, whatever it contains."""
    kinds = typing.get_args(annotation)
    if typing.get_origin(annotation) is not UnionType:
        kinds = (annotation,)
    return any(isinstance(value, typing.get_origin(kind) or kind) for kind in kinds)
