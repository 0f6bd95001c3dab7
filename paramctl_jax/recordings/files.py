"""Load and save recordings by file suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from paramctl_jax.recordings.npz import read_npz, write_npz
from paramctl_jax.types import InputError, Recordings

READERS: dict[str, Callable[[Path], Recordings]] = {".npz": read_npz}
"""Reader of every file suffix; a new format is one more entry."""

WRITERS: dict[str, Callable[[Path, Recordings], None]] = {".npz": write_npz}
"""Writer of every file suffix that can be written."""


def load_recordings(path: str | Path) -> Recordings:
    """Loads recordings; the suffix says how.

    ``.npz``: the arrays ``responses`` ``[image, site, repeat]`` (NaN for a missing
    repeat), ``stimulus_ids`` ``[image]`` and ``site_ids`` ``[site]`` (strings), and
    optionally ``units``, ``window_ms`` ``[2]`` and ``site_meta/NAME`` ``[site]``.

    Args:
      path: of the file.

    Returns:
      The recordings.

    Raises:
      InputError: naming the file: missing, unknown suffix, damaged, or contents that
        do not fit together.

    Example:
      >>> import numpy as np, tempfile
      >>> path = tempfile.mkdtemp() + "/day1.npz"
      >>> np.savez(path, responses=np.zeros((2, 1, 3)), stimulus_ids=["a", "b"],
      ...          site_ids=["site0"], units="spikes/s")
      >>> load_recordings(path).units
      'spikes/s'
    """
    path = Path(path)
    reader = _by_suffix(path, READERS)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected a recordings file, found {found}")
    return reader(path)


def save_recordings(path: str | Path, recordings: Recordings) -> None:
    """Saves recordings so that `load_recordings` returns them unchanged.

    Args:
      path: where to; an existing file is replaced, whole or not at all.
      recordings: what to save.

    Raises:
      InputError: a suffix that cannot be written, or a path that cannot.
    """
    path = Path(path)
    _by_suffix(path, WRITERS)(path, recordings)


def _by_suffix(path: Path, table: dict[str, Callable]) -> Callable:
    suffix = path.suffix.lower()
    if suffix not in table:
        raise InputError(
            f"{path}: unknown suffix {suffix!r} for recordings; expected one of "
            f"{', '.join(sorted(table))}"
        )
    return table[suffix]
