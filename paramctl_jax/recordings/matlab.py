"""MATLAB files of version 5 and 7.3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from paramctl_jax.recordings.assemble import META, OPTIONAL, REQUIRED, assemble
from paramctl_jax.recordings.mat_values import Foreign, Value
from paramctl_jax.recordings.mat_variables import list_names, read_values
from paramctl_jax.types import InputError, Recordings, Trials, unknown

_META = META.removesuffix("/")
_KNOWN = (*REQUIRED, *OPTIONAL, _META)
_IDS = ("stimulus_ids", "site_ids", "session_ids")


def read_mat(
    path: str | Path,
    *,
    names: Mapping[str, str] | None = None,
    axes: str | None = None,
) -> Recordings | Trials:
    """Reads recordings or trials from a MATLAB file, of version 5 or 7.3 alike.

    The variables are those of the ``.npz``: ``responses`` ``[image, site, repeat]``,
    ``stimulus_ids`` and ``site_ids`` (cell arrays of char), and optionally ``units``,
    ``window_ms`` and the struct ``site_meta``. Responses of two axes are trials
    ``[trial, site]`` where a stimulus id returns or there are ``session_ids``, else
    averages: MATLAB drops a last axis of length 1. Ids that are numbers become text.

    Args:
      path: of the file.
      names: where the file calls a variable otherwise, ``{"responses": "resp"}``; a
        dot reaches into a struct, ``"data.rates"``.
      axes: names of the axes of the responses as MATLAB shows them, where they are in
        another order, e.g. ``"site image repeat"``.

    Returns:
      Recordings or trials, responses in float64.

    Raises:
      InputError: truncated or foreign file, missing variables (with those there are),
        objects such as MATLAB's ``string``, sparse matrices, ids that do not fit.

    Example:
      >>> import scipy.io, tempfile
      >>> path = tempfile.mkdtemp() + "/day1.mat"
      >>> variables = {"resp": np.ones((2, 1, 3)), "site_ids": np.array(["s0"], object)}
      >>> variables["stimulus_ids"] = np.array(["a", "b"], object)
      >>> scipy.io.savemat(path, variables)
      >>> read_mat(path, names={"responses": "resp"}).responses.shape
      (2, 1, 3)
    """
    path, names = Path(path), dict(names or {})
    for name in names:
        if name not in _KNOWN:
            raise unknown(name, _KNOWN, f"key of names for {path}")
    called = {name: names.get(name, name) for name in _KNOWN}
    values = read_values(path, list(called.values()))
    found = {
        name: values[theirs] for name, theirs in called.items() if theirs in values
    }
    _check_found(path, called, found, {*REQUIRED, *names})
    notes: list[str] = []
    arrays: dict[str, np.ndarray] = {}
    for name, value in found.items():
        where = f"{path}: {called[name]}"
        if name == _META:
            arrays |= _site_meta(where, value)
        elif name in _IDS:
            arrays[name] = _ids(where, value, notes)
        elif name == "units":
            arrays[name] = _strings(where, value)
        else:
            arrays[name] = _numbers(where, value)
    if "window_ms" in arrays:
        arrays["window_ms"] = arrays["window_ms"].reshape(-1)
    _restore_last_axis(arrays, axes)
    return assemble(
        str(path), arrays, axes=axes, averages=True, axes_option=True, notes=notes
    )


def _check_found(
    path: Path,
    called: Mapping[str, str],
    found: Mapping[str, Value],
    required: set[str],
) -> None:
    missing = [called[name] for name in called if name in required - set(found)]
    if missing:
        wanted = ", ".join(called[name] for name in called if name in required)
        there = list_names(path)
        raise InputError(
            f"{path}: expected the variables {wanted}; missing {', '.join(missing)}; "
            f"found {', '.join(there[:20]) or 'none'}{', ...' * (len(there) > 20)}; "
            "say what they are called with names={'responses': ...}"
        )


def _restore_last_axis(arrays: dict[str, np.ndarray], axes: str | None) -> None:
    """The last axis of length 1 that MATLAB drops, where `axes` names it."""
    count = len((axes or "").replace(",", " ").split())
    if count == arrays["responses"].ndim + 1:
        arrays["responses"] = arrays["responses"][..., None]


def _numbers(where: str, value: Value) -> Shaped[np.ndarray, "..."]:
    if isinstance(value, np.ndarray) and value.dtype.kind != "U":
        return value
    raise _other(where, "an array of numbers", value)


def _strings(where: str, value: Value) -> Shaped[np.ndarray, " entry"]:
    """Strings of a char matrix (one per row) or of a cell array of char."""
    entries = [value] if isinstance(value, np.ndarray) else value
    if isinstance(entries, list) and all(
        isinstance(entry, np.ndarray) and entry.dtype.kind == "U" for entry in entries
    ):
        single = isinstance(value, np.ndarray) or all(e.size == 1 for e in entries)
        if entries and single:
            return np.concatenate([entry.reshape(-1) for entry in entries])
    raise _other(where, "text (char or a cell array of char)", value)


def _ids(where: str, value: Value, notes: list[str]) -> Shaped[np.ndarray, " entry"]:
    """Ids as text; whole numbers become text, and a note."""
    numbers = _vector(value)
    if numbers is None:
        return _strings(where, value)
    whole = np.isfinite(numbers) & (numbers == np.round(numbers))
    if not whole.all():
        raise InputError(
            f"{where}: expected ids as text or whole numbers, found the number "
            f"{numbers[~whole][0]}"
        )
    notes.append(f"{where.rsplit(': ', 1)[-1]}: numbers were made text, 1 became '1'")
    return np.asarray([str(int(number)) for number in numbers], dtype=np.str_)


def _vector(value: Value) -> Shaped[np.ndarray, " entry"] | None:
    """Real numbers along one axis, or a cell array of them; None for anything else."""
    if isinstance(value, list) and value:
        entries = [_vector(entry) for entry in value]
        single = [entry for entry in entries if entry is not None and entry.size == 1]
        return np.concatenate(single) if len(single) == len(entries) else None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufb":
        return None
    return value.reshape(-1) if value.size == max(value.shape, default=1) else None


def _site_meta(where: str, value: Value) -> dict[str, np.ndarray]:
    if not isinstance(value, dict):
        raise _other(where, "a struct with one field per column", value)
    columns = {}
    for name, column in value.items():
        numbers = _vector(column)
        if numbers is None:
            matrix = isinstance(column, np.ndarray) and column.dtype.kind != "U"
            numbers = column if matrix else _strings(f"{where}.{name}", column)
        columns[META + name] = numbers
    return columns


def _other(where: str, expected: str, value: Value) -> InputError:
    inner = value if isinstance(value, list) else [value]
    foreign = next((entry for entry in inner if isinstance(entry, Foreign)), None)
    if foreign is not None:
        found = f"{foreign.what}; in MATLAB, {foreign.remedy}"
    elif isinstance(value, np.ndarray):
        text = value.dtype.kind == "U"
        found = "text" if text else f"{value.dtype} of shape {value.shape}"
    else:
        found = (
            "a struct" if isinstance(value, dict) else "a cell array of other things"
        )
    return InputError(f"{where}: expected {expected}, found {found}")
