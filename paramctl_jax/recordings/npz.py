"""Reading and writing ``.npz``: the format this project keeps recordings in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paramctl_jax.arrays import read_arrays, write_arrays
from paramctl_jax.recordings.assemble import META, OPTIONAL, REQUIRED, assemble
from paramctl_jax.types import InputError, Recordings, Trials

NOTES = "notes"


def read_npz(path: Path) -> Recordings | Trials:
    """Reads recordings, or single trials, from one ``.npz`` file.

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
    notes             note             strings, what was left out so far, optional
    ================  ===============  ============================================

    The file holds trials where `responses` has the axes ``trial,site`` and a stimulus
    id returns or there are `session_ids`:

    ================  ===============  ============================================
    responses         trial,site       numbers, NaN where a site was not recorded
    stimulus_ids      trial            strings, an id returns with every repeat
    session_ids       trial            strings, e.g. the day, optional
    units             none             string, optional (``spikes/s`` if absent)
    ================  ===============  ============================================

    Args:
      path: of the file.

    Returns:
      The recordings or the trials, responses in float64.

    Raises:
      InputError: truncated or foreign file, pickled objects, missing or unknown
        arrays, wrong axes, lengths that differ, an id twice.
    """
    arrays = read_arrays(path)
    _check_names(path, arrays)
    notes = np.atleast_1d(arrays.pop(NOTES, np.asarray([], dtype=np.str_)))
    return assemble(str(path), arrays, notes=[str(note) for note in notes])


def write_npz(path: Path, recordings: Recordings | Trials) -> None:
    """Writes what `read_npz` reads; equal recordings give equal bytes."""
    arrays = {
        "responses": recordings.responses,
        "stimulus_ids": np.asarray(recordings.stimulus_ids, dtype=np.str_),
        "site_ids": np.asarray(recordings.site_ids, dtype=np.str_),
        "units": np.asarray(recordings.units),
    }
    if isinstance(recordings, Trials):
        arrays["session_ids"] = np.asarray(recordings.session_ids, dtype=np.str_)
    if recordings.window_ms is not None:
        arrays["window_ms"] = np.asarray(recordings.window_ms, dtype=np.float64)
    if recordings.notes:
        arrays[NOTES] = np.asarray(recordings.notes, dtype=np.str_)
    for name, values in recordings.site_meta.items():
        arrays[META + name] = np.asarray(values)
    write_arrays(path, arrays)


def _check_names(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    optional = (*OPTIONAL, NOTES)
    missing = [name for name in REQUIRED if name not in arrays]
    unknown = [
        name
        for name in arrays
        if name not in REQUIRED + optional and not name.startswith(META)
    ]
    if missing or unknown:
        raise InputError(
            f"{path}: expected the arrays {', '.join(REQUIRED)} and, optionally, "
            f"{', '.join(optional)}, {META}NAME; missing {missing}, unknown {unknown}"
        )
