"""NWB 2 files: spike times and intervals in, rates of every trial out.

Read with h5py alone: the schemas that an NWB file carries are neither loaded nor run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from paramctl_jax.recordings.hdf5 import open_hdf5, read_strings, text_ids
from paramctl_jax.recordings.validate import make_trials
from paramctl_jax.types import InputError, Trials, unknown


def read_nwb(
    path: str | Path,
    *,
    window_ms: Sequence[float | int] = (70.0, 170.0),
    intervals: str = "trials",
    stimulus: str = "stimulus_id",
    onset: str = "start_time",
) -> Trials:
    """Reads spike rates around every stimulus onset from an NWB 2 file.

    ``rate = #{spikes t: onset + start <= t < onset + stop} / (stop - start)``, with the
    units of ``/units`` as sites (``unit<id>``) and their plain columns as `site_meta`.
    Where a unit has `obs_intervals`, trials whose window they do not cover are NaN,
    not silent. Trials without an onset or a stimulus are left out, and the notes say
    how many. The file is one session.

    Args:
      path: of the file.
      window_ms: half-open window after onset in ms.
      intervals: table under ``/intervals`` with one row per presentation.
      stimulus: its column of stimulus ids, text or integers.
      onset: its column of onsets in s.

    Returns:
      The trials in the order of the table, responses in spikes/s.

    Raises:
      InputError: naming the file: truncated, foreign, no spike times, or a table or
        column that is not there (the message lists those that are).

    Example:
      >>> import tempfile
      >>> path = tempfile.mkdtemp() + "/day1.nwb"
      >>> with h5py.File(path, "w") as file:
      ...     file.attrs["nwb_version"] = "2.8.0"
      ...     file["intervals/trials/start_time"] = [0.0, 1.0]
      ...     file["intervals/trials/stimulus_id"] = ["im_a", "im_b"]
      ...     file["units/id"] = [7]
      ...     file["units/spike_times"] = [0.08, 0.1, 1.16, 1.17]
      ...     file["units/spike_times_index"] = [4]
      >>> trials = read_nwb(path)
      >>> trials.site_ids, trials.responses[:, 0].tolist()
      (('unit7',), [20.0, 10.0])

    Reference:
      NWB 2 schema, ``Units`` and ``TimeIntervals``; nwb-schema.readthedocs.io.
    """
    window = _window(str(path), window_ms)
    with open_hdf5(path) as file:
        _check_version(file)
        stimulus_ids, onsets, notes = _trials(file, intervals, stimulus, onset)
        units = _group(file, "units")
        site_ids = _unit_ids(units)
        rates, more = _rates(units, len(site_ids), onsets, window)
        meta = _columns(units, len(site_ids))
        session = file.get("general/session_id")
        is_said = isinstance(session, h5py.Dataset)
        name = str(read_strings(session)) if is_said else ""
    return make_trials(
        str(path),
        responses=rates,
        stimulus_ids=stimulus_ids,
        site_ids=site_ids,
        session_ids=np.full(len(stimulus_ids), name),
        units="spikes/s",
        window_ms=window,
        site_meta=meta,
        notes=(*notes, *more),
    )


def _window(source: str, window_ms: Sequence[float | int]) -> Float[np.ndarray, "2"]:
    window = np.asarray(window_ms)
    numeric = window.shape == (2,) and window.dtype.kind in "iuf"
    if not numeric or not -np.inf < window[0] < window[1] < np.inf:
        raise InputError(
            f"{source}: window_ms: expected start and stop in ms, start before stop, "
            f"found {window_ms}"
        )
    return window.astype(np.float64)


def _check_version(file: h5py.File) -> None:
    version = file.attrs.get("nwb_version", "")
    version = version.decode() if isinstance(version, bytes) else str(version)
    if not version.startswith("2"):
        raise InputError(
            f"{file.filename}: expected an NWB 2 file, found "
            + (f"NWB {version}" if version else "no attribute nwb_version")
        )


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    group = parent.get(name)
    if not isinstance(group, h5py.Group):
        raise InputError(
            f"{_where(parent)}: {unknown(name, sorted(map(str, parent)), 'table')}"
        )
    return group


def _column(table: h5py.Group, name: str) -> h5py.Dataset:
    column = table.get(name)
    if not isinstance(column, h5py.Dataset):
        names = sorted(str(k) for k, v in table.items() if isinstance(v, h5py.Dataset))
        raise InputError(f"{_where(table)}: {unknown(name, names, 'column')}")
    return column


def _where(group: h5py.Group) -> str:
    return f"{group.file.filename}: {group.name}"


def _trials(
    file: h5py.File, intervals: str, stimulus: str, onset: str
) -> tuple[Shaped[np.ndarray, " trial"], Float[np.ndarray, " trial"], tuple[str, ...]]:
    """Stimulus ids and onsets in s of the usable trials, and notes on the others."""
    table = _group(_group(file, "intervals"), intervals)
    column = _column(table, stimulus)
    times = _numbers(_column(table, onset))
    if f"{stimulus}_index" in table or not _is_plain(column, len(times)):
        raise InputError(
            f"{_where(table)}: {stimulus}: expected one id for each of {len(times)} "
            f"rows, found shape {column.shape} of {column.dtype}"
        )
    ids, notes = text_ids(_where(table), stimulus, _values(column))
    no_onset, no_id = ~np.isfinite(times), ids == ""
    if no_onset.any():
        said = f"{int(no_onset.sum())} of {len(times)} trials left out: no {onset}"
        notes = (*notes, said)
    if (no_id & ~no_onset).any():
        count = int((no_id & ~no_onset).sum())
        notes = (*notes, f"{count} of {len(times)} trials left out: no {stimulus}")
    kept = ~(no_onset | no_id)
    return ids[kept], times[kept], notes


def _numbers(column: h5py.Dataset) -> Float[np.ndarray, " row"]:
    if column.dtype.kind not in "iuf" or column.ndim != 1:
        raise InputError(
            f"{column.file.filename}: {column.name}: expected one axis of numbers, "
            f"found shape {column.shape} of {column.dtype}"
        )
    return column[:].astype(np.float64)


def _values(column: h5py.Dataset) -> np.ndarray:
    """A plain column: text as str, anything else as stored."""
    is_text = h5py.check_string_dtype(column.dtype) is not None
    return read_strings(column) if is_text else column[:]


def _is_plain(column: h5py.Dataset, count: int) -> bool:
    """One number, boolean or word per row: no references, no further axes."""
    plain = column.dtype.kind in "biufS" or h5py.check_string_dtype(column.dtype)
    return bool(plain) and column.shape == (count,)


def _unit_ids(units: h5py.Group) -> Shaped[np.ndarray, " site"]:
    ids = _values(_column(units, "id"))
    return np.asarray([f"unit{value}" for value in ids], dtype=np.str_)


def _columns(units: h5py.Group, count: int) -> dict[str, np.ndarray]:
    """Further columns with one plain value per unit."""
    return {
        name: _values(column)
        for name, column in units.items()
        if isinstance(column, h5py.Dataset)
        and name != "id"
        and not name.endswith("_index")
        and f"{name}_index" not in units
        and _is_plain(column, count)
    }


def _ragged(units: h5py.Group, name: str, count: int) -> Iterator[np.ndarray]:
    """Rows of every unit: ``[index[u - 1], index[u])`` of one long column."""
    column, ends = _column(units, name), _column(units, f"{name}_index")[:]
    bounds = np.concatenate([[0], ends.astype(np.int64)])
    if len(ends) != count or np.any(np.diff(bounds) < 0) or bounds[-1] > len(column):
        raise InputError(
            f"{_where(units)}: {name}_index: expected {count} increasing ends within "
            f"{len(column)} entries, found {len(ends)}, the last {bounds[-1]}"
        )
    for start, stop in itertools.pairwise(bounds):
        yield column[start:stop].astype(np.float64)


def _rates(
    units: h5py.Group,
    count: int,
    onsets: Float[np.ndarray, " trial"],
    window: Float[np.ndarray, "2"],
) -> tuple[Float[np.ndarray, "trial site"], tuple[str, ...]]:
    """Spikes per second of every trial and unit; NaN where not observed."""
    starts, stops = onsets + window[0] / 1000, onsets + window[1] / 1000
    per_spike = 1000 / (window[1] - window[0])
    rates = np.empty((len(onsets), count))
    for unit, times in enumerate(_ragged(units, "spike_times", count)):
        rates[:, unit] = _counts(times, starts, stops) * per_spike
    if "obs_intervals" not in units:
        return rates, ()
    shape = _column(units, "obs_intervals").shape
    if len(shape) != 2 or shape[1] != 2:
        raise InputError(
            f"{_where(units)}: obs_intervals: expected [interval, 2], start and stop in"
            f" s, found shape {shape}"
        )
    for unit, observed in enumerate(_ragged(units, "obs_intervals", count)):
        rates[~_covered(observed, starts, stops), unit] = np.nan
    missing = int(np.isnan(rates).sum())
    said = f"{missing} of {rates.size} responses outside a unit's obs_intervals: NaN"
    return rates, (said,) if missing else ()


def _counts(
    times: Float[np.ndarray, " spike"],
    starts: Float[np.ndarray, " trial"],
    stops: Float[np.ndarray, " trial"],
) -> Int[np.ndarray, " trial"]:
    """Spikes in ``[start, stop)``; the times need no order."""
    times = np.sort(times)
    return np.searchsorted(times, stops) - np.searchsorted(times, starts)


def _covered(
    observed: Float[np.ndarray, "interval 2"],
    starts: Float[np.ndarray, " trial"],
    stops: Float[np.ndarray, " trial"],
) -> Bool[np.ndarray, " trial"]:
    """Whether one stretch of observation holds the whole window.

    Intervals that touch or overlap are one stretch. No interval at all says nothing
    about when the unit was observed, and leaves every trial.
    """
    if not len(observed):
        return np.ones(len(starts), np.bool_)
    observed = observed[np.argsort(observed[:, 0])]
    reach = np.maximum.accumulate(observed[:, 1])
    first = np.r_[True, observed[1:, 0] > reach[:-1]]  # of each stretch
    begins, ends = observed[first, 0], reach[np.r_[np.flatnonzero(first)[1:] - 1, -1]]
    stretch = np.searchsorted(begins, starts, side="right") - 1
    return (stretch >= 0) & (stops <= ends[stretch])
