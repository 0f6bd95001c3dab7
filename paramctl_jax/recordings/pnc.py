"""The HDF5 layout of the parametric-neural-control paper's authors.

One group per subject, or the three groups at the top of a file of one subject::

    /{subject}/trials/           stimulus_name [trial], session_dates [trial],
                                 response_peak [trial, site],
                                 response_temporal [bin, trial, site]
    /{subject}/repavg/           the same averaged, one row per stimulus
    /{subject}/neuron_metadata/  brain_area, ncsnr, reliability, ... [site],
                                 temporal_windows [bin], peak_respwindow [2]

Read off the reading code of github.com/jacob-prince/parametric-neural-control.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from jaxtyping import Shaped

from paramctl_jax.recordings.hdf5 import open_hdf5, read_strings
from paramctl_jax.recordings.validate import make_recordings, make_trials
from paramctl_jax.types import InputError, Recordings, Trials, unknown

TABLES = ("trials", "repavg")
_SESSIONS = ("session_dates", "session_date", "session_id", "session", "day", "date")
_WINDOW, _BINS = "peak_respwindow", "temporal_windows"
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
# Either is said in the names of the files that hold per-session z-scores.
_Z_SCORED = re.compile(r"_z1_|_zs1_|normalize", re.IGNORECASE)


def read_pnc(
    path: str | Path,
    *,
    subject: str | None = None,
    table: str = "trials",
    response: str = "response_peak",
    units: str | None = None,
) -> Trials | Recordings:
    """Reads trials, or averages over repeats, from the authors' HDF5 files.

    Columns of `neuron_metadata` with one entry per site become `site_meta`, including
    the authors' ``ncsnr`` and ``reliability``; sites are named ``unit0``, ``unit1``,
    ... by their column, as the authors number them. Stimulus ids are the names without
    the image's suffix, as images are keyed.

    Args:
      path: of the file.
      subject: group of the subject, or how its name begins; None where there is one.
      table: ``"trials"`` or ``"repavg"``.
      response: dataset of responses; one of three axes (``response_temporal``) is
        averaged over the bins within ``peak_respwindow``.
      units: of the responses; by default ``z`` where the file's name says so (``_z1_``
        or ``normalize``), else ``spikes/s``.

    Returns:
      Trials for ``"trials"``, recordings of one repeat for ``"repavg"``.

    Raises:
      InputError: several subjects and none chosen, a missing dataset (with those there
        are), lengths that differ, a damaged file.

    Example:
      >>> import tempfile
      >>> path = tempfile.mkdtemp() + "/red.h5"
      >>> with h5py.File(path, "w") as file:
      ...     file["red_250428/trials/stimulus_name"] = ["a.png", "b.png", "a.png"]
      ...     file["red_250428/trials/response_peak"] = np.ones((3, 2), np.int16)
      ...     file["red_250428/neuron_metadata/ncsnr"] = [0.4, 0.9]
      >>> trials = read_pnc(path, subject="red")
      >>> trials.stimulus_ids, trials.site_meta["ncsnr"].tolist()
      (('a', 'b', 'a'), [0.4, 0.9])
    """
    path = Path(path)
    if table not in TABLES:
        raise unknown(table, TABLES, "table")
    with open_hdf5(path) as file:
        group = _subject(path, file, subject, table)
        source = f"{path}: {(group.name or '').rstrip('/')}/{table}"
        rows = _group(source, group, table)
        meta = _group(source, group, "neuron_metadata", needed=False)
        shown = read_strings(_dataset(source, rows, "stimulus_name"))
        values = _responses(source, rows, response, meta)
        window = _dataset(source, meta, _WINDOW)[()] if _WINDOW in meta else None
        columns = _columns(meta)
        sessions = _sessions(rows)
    n_sites = _count_sites(values, shown, columns)
    kept, left_out = _per_site(columns, n_sites)
    ids, renamed = _stimulus_ids(shown)
    common = {
        "stimulus_ids": ids,
        "site_ids": np.asarray([f"unit{index}" for index in range(n_sites)]),
        "units": units or ("z" if _Z_SCORED.search(path.name) else "spikes/s"),
        "window_ms": None if window is None else np.asarray(window).reshape(-1),
        "site_meta": kept,
        "notes": renamed + left_out,
    }
    if table == "trials":
        return make_trials(source, responses=values, session_ids=sessions, **common)
    averages = values[..., None] if values.shape == (len(ids), n_sites) else values
    return make_recordings(source, responses=averages, **common)


def _subject(
    path: Path, file: h5py.File, subject: str | None, table: str
) -> h5py.Group:
    """The group of one subject: the file itself where it holds a single one."""
    if table in file and not subject:
        return file
    groups = {
        name: node
        for name, node in file.items()
        if isinstance(node, h5py.Group) and table in node
    }
    chosen = [n for n in groups if n == subject] or [
        name for name in groups if name.startswith(subject or "")
    ]
    if len(chosen) == 1:
        return groups[chosen[0]]
    if not groups:
        raise InputError(
            f"{path}: expected groups /SUBJECT/{table}, found {list(file)[:10]}"
        )
    said = "none chosen" if subject is None else f"{subject!r} fits {len(chosen)}"
    raise InputError(
        f"{path}: subject: expected one of {', '.join(groups)}, found {said}; give "
        "subject=NAME or how the name begins"
    )


def _group(
    source: str, group: h5py.Group, name: str, needed: bool = True
) -> h5py.Group | Mapping:
    node = group.get(name)
    if isinstance(node, h5py.Group) or (node is None and not needed):
        return node if node is not None else {}
    raise InputError(f"{source}: expected a group {name!r} here, found {list(group)}")


def _dataset(source: str, rows: h5py.Group | Mapping, name: str) -> h5py.Dataset:
    node = rows.get(name)
    if isinstance(node, h5py.Dataset):
        return node
    raise InputError(
        f"{source}: expected a dataset {name!r}, found "
        f"{', '.join(map(str, rows)) or 'nothing'}"
    )


def _responses(
    source: str,
    rows: h5py.Group | Mapping,
    response: str,
    meta: h5py.Group | Mapping,
) -> Shaped[np.ndarray, "..."]:
    """``[row, site]``, the mean over the response window of ``[bin, row, site]``."""
    dataset = _dataset(source, rows, response)
    if dataset.ndim != 3:
        return dataset[()]
    starts = np.asarray(_dataset(source, meta, _BINS)[()])
    window = np.asarray(_dataset(source, meta, _WINDOW)[()]).reshape(-1)
    inside = (starts >= window[0]) & (starts < window[-1])
    if starts.shape != (len(dataset),) or not inside.any():
        raise InputError(
            f"{source}: {response}: expected [bin, row, site] with one of {_BINS} per "
            f"bin and some within {_WINDOW} {window.tolist()}, found shape "
            f"{dataset.shape} and bins {starts.tolist()[:8]}"
        )
    return dataset[np.flatnonzero(inside)].astype(np.float64).mean(axis=0)


def _sessions(rows: h5py.Group | Mapping) -> Shaped[np.ndarray, "..."] | None:
    """Session of every trial as text; None where the file does not say."""
    node = next((rows[name] for name in _SESSIONS if name in rows), None)
    if not isinstance(node, h5py.Dataset):
        return None
    if h5py.check_string_dtype(node.dtype) is not None:
        return read_strings(node)
    return np.asarray(node[()]).astype(np.str_)


def _columns(meta: h5py.Group | Mapping) -> dict[str, np.ndarray]:
    """Datasets, and lists kept as attributes; of a group, its datasets by probe."""
    columns: dict[str, np.ndarray] = {}
    for name, node in meta.items():
        if isinstance(node, h5py.Group):
            columns |= {f"{name}/{k}": v for k, v in _columns(node).items()}
        elif isinstance(node, h5py.Dataset) and node.shape:  # None: a broken link
            text = h5py.check_string_dtype(node.dtype) is not None
            columns[name] = _booleans(read_strings(node) if text else node[()])
    for name, value in getattr(meta, "attrs", {}).items():
        values = np.asarray(value)
        if values.ndim and values.dtype.kind in "biufU":
            columns.setdefault(name, _booleans(values))
        elif values.ndim:
            columns.setdefault(name, _booleans(np.asarray(value, dtype=np.str_)))
    return columns


def _booleans(values: np.ndarray) -> np.ndarray:
    """Truth values that were saved as text; ``bool("False")`` would be true."""
    if values.dtype.kind != "U" or not values.size:
        return values
    lower = np.char.lower(values)
    return lower == "true" if np.isin(lower, ("true", "false")).all() else values


def _count_sites(
    values: np.ndarray, shown: np.ndarray, columns: Mapping[str, np.ndarray]
) -> int:
    """Sites by the metadata; without them, the axis that is not the rows'."""
    for name in ("ncsnr", "reliability"):
        if name in columns and columns[name].ndim == 1:
            return len(columns[name])
    turned = values.ndim == 2 and values.shape[0] != len(shown) == values.shape[1]
    return values.shape[0] if turned else values.shape[-1] if values.ndim else 0


def _per_site(
    columns: Mapping[str, np.ndarray], n_sites: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns with one entry per site, and a note that names the others."""
    kept: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        if len(column) == n_sites:
            # Of areas by probe, one probe's fits the sites; the first that does wins.
            kept.setdefault(name.split("/")[0], column)
    others = {name.split("/")[0] for name in columns} - {*kept, _WINDOW, _BINS}
    if not others:
        return kept, []
    listed = ", ".join(sorted(others))
    return kept, [f"neuron_metadata without one entry per site, left out: {listed}"]


def _stimulus_ids(shown: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Names without an image's suffix, where they stay as distinct as they were."""
    names: Sequence[str] = [str(name) for name in np.atleast_1d(shown)]
    suffixes = [PurePosixPath(name).suffix for name in names]
    stems = [
        name.removesuffix(suffix) if suffix.lower() in _IMAGES else name
        for name, suffix in zip(names, suffixes, strict=True)
    ]
    if stems == names or len(set(stems)) < len(set(names)):
        return shown, []
    first = next(i for i, stem in enumerate(stems) if stem != names[i])
    note = f"image suffixes left off stimulus ids: {names[first]!r} is {stems[first]!r}"
    return np.asarray(stems, dtype=np.str_), [note]
