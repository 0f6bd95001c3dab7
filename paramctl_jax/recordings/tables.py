"""Recordings in tables: one ``.npy`` array with CSV sidecars, or one CSV file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
from jaxtyping import Float, Int, Shaped

from paramctl_jax.recordings.assemble import META, assemble
from paramctl_jax.recordings.csv_columns import (
    CsvColumns,
    read_csv_columns,
    to_number,
    typed,
)
from paramctl_jax.recordings.csv_trials import ORDER, trial_of_row
from paramctl_jax.types import InputError, Recordings, Trials, unknown

_PREFIX = "site_"


def read_npy(
    path: str | Path,
    *,
    axes: str | None = None,
    units: str | None = None,
    first_stimulus: str | None = None,
    first_site: str | None = None,
) -> Recordings | Trials:
    r"""Reads one array of responses and the two CSV files that name its rows.

    Beside ``NAME.npy`` lie ``NAME.stimuli.csv`` with a column ``stimulus_id`` (and,
    for trials, optionally ``session_id``; other columns are ignored) and
    ``NAME.sites.csv`` with a column ``site_id``, whose other columns become
    `site_meta`. Both have one row per entry of their axis, in its order.

    Args:
      path: of the array.
      axes: names of its axes in their order, e.g. ``"site image repeat"``. By default
        ``"image site repeat"``; for two axes ``"trial site"`` where a stimulus id
        returns or sessions are named, and ``"image site"`` (averages) otherwise.
      units: of the responses; by default ``z``, or ``spikes/s`` for trials.
      first_stimulus: id of the first stimulus where the ids are counted, e.g.
        ``"image0001"`` for image0001, image0002 and so on; instead of the CSV file.
      first_site: likewise for the sites, e.g. ``"site00"``.

    Returns:
      Trials or recordings, responses in float64.

    Raises:
      InputError: unreadable or truncated array, Python objects (never unpickled), a
        sidecar that is missing, ids that do not fit the array.

    Example:
      >>> import pathlib, tempfile
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> np.save(folder / "day1.npy", np.zeros((1, 2, 3)))
      >>> _ = (folder / "day1.stimuli.csv").write_text("stimulus_id\na\nb\n")
      >>> _ = (folder / "day1.sites.csv").write_text("site_id,area\ns0,V4\n")
      >>> read = read_npy(folder / "day1.npy", axes="site image repeat")
      >>> read.responses.shape, read.site_meta["area"].tolist()
      ((2, 1, 3), ['V4'])
    """
    path = Path(path)
    responses = _load_array(path)
    n_stimuli, n_sites = _lengths(responses, axes)
    stimuli = (
        _sidecar(path, "stimuli", "stimulus_id", "shown stimulus")
        if first_stimulus is None
        else _counted(path, "stimulus_id", first_stimulus, n_stimuli)
    )
    sites = (
        _sidecar(path, "sites", "site_id", "site")
        if first_site is None
        else _counted(path, "site_id", first_site, n_sites)
    )
    arrays = {
        "responses": responses,
        "stimulus_ids": _strings(stimuli.text("stimulus_id")),
        "site_ids": _strings(sites.text("site_id")),
        **_site_meta(sites),
    }
    if units is not None:
        arrays["units"] = np.asarray(units)
    two_axes = responses.ndim == 2 and "image" not in (axes or "")
    if two_axes and "session_id" in stimuli.cells:
        arrays["session_ids"] = _strings(stimuli.text("session_id"))
    return assemble(str(path), arrays, axes=axes, averages=True, axes_option=True)


def read_csv(
    path: str | Path,
    *,
    stimulus: str = "stimulus_id",
    site: str = "site_id",
    response: str = "response",
    session: str = "session_id",
    sites: str | Sequence[str] | None = None,
    units: str | None = None,
) -> Recordings | Trials:
    r"""Reads a tidy table (a row per trial and site) or a wide one (a row per trial).

    Tidy: the columns `stimulus`, `site` and `response`. Wide: the column `stimulus`
    and one column per site, named by `sites`, else those that begin with ``site_``,
    else every further column that starts with a number. Either may have the columns
    `session`, ``trial``, ``repeat`` and ``units``.

    A trial is what shares session and ``trial``; without that column, stimulus and
    ``repeat``; without either, the n-th row of a stimulus (and site) is its n-th
    presentation. Where every stimulus is shown once and none of these columns is
    there, the table holds averages. Ids stay text, an empty cell is NaN.

    Args:
      path: a comma-separated file in UTF-8, with or without a byte-order mark.
      stimulus: column of the stimulus ids.
      site: column of the site ids of a tidy table.
      response: column of the responses of a tidy table.
      session: column of the session ids, optional.
      sites: columns of a wide table to read, as names or ``"a,b"``.
      units: of the responses; by default the column ``units``, else ``z`` for averages
        and ``spikes/s`` for trials.

    Returns:
      Trials in the order of the file, or recordings of one repeat (averages).

    Raises:
      InputError: naming line and column: text where a number belongs, an empty id, a
        trial of two stimuli, one site twice in a trial, several units.

    Example:
      >>> import tempfile
      >>> path = tempfile.mkdtemp() + "/day1.csv"
      >>> rows = ["stimulus_id,site_id,response", "a,s0,1", "b,s0,2", "a,s0,"]
      >>> _ = Path(path).write_text("\n".join(rows))
      >>> trials = read_csv(path)
      >>> trials.stimulus_ids, trials.responses.tolist()
      (('a', 'b', 'a'), [[1.0], [2.0], [nan]])
    """
    table = read_csv_columns(Path(path))
    table.text(stimulus)
    known, notes = {stimulus, session, *ORDER, "units"}, []
    if site in table.cells:
        _refuse_sites(table, site, sites)
        known |= {site, response}
        responses, site_ids, trial = _tidy(table, stimulus, session, site, response)
    else:
        site_ids = _site_columns(table, sites, known)
        known |= set(site_ids)
        if sites is None:
            notes.append(f"columns read as sites: {', '.join(site_ids)}")
        trial = trial_of_row(table, stimulus, session, ("",) * len(table))
        responses = np.stack([table.numbers(name) for name in site_ids], axis=-1)
    first = np.unique(trial, return_index=True)[1]
    shown = [table.cells[stimulus][row] for row in first]
    arrays = {
        "responses": responses,
        "stimulus_ids": _strings(shown),
        "site_ids": _strings(site_ids),
    }
    ordered = [name for name in (session, *ORDER) if name in table.cells]
    repeated = len(set(shown)) < len(shown)
    if session in table.cells:
        arrays["session_ids"] = _strings([table.cells[session][row] for row in first])
    if stated := units if units is not None else _units(table):
        arrays["units"] = np.asarray(stated)
    axes = "trial site" if ordered or repeated else "image site"
    if site in table.cells and repeated and not {*ORDER} & {*ordered}:
        notes.append(
            "no column 'trial' or 'repeat': the n-th row of a stimulus and site was "
            "taken for its n-th presentation"
        )
    if unread := [name for name in table.cells if name not in known]:
        notes.append(f"columns that were not read: {', '.join(unread)}")
    return assemble(str(path), arrays, axes=axes, notes=notes)


def _tidy(
    table: CsvColumns, stimulus: str, session: str, site: str, response: str
) -> tuple[Float[np.ndarray, "trial site"], tuple[str, ...], Int[np.ndarray, " row"]]:
    """Responses, site ids and each row's trial; NaN for a site without a row."""
    if response not in table.cells:
        table.text(response)  # says which columns there are
    of_row = table.text(site)
    trial = trial_of_row(table, stimulus, session, of_row)
    position = {name: index for index, name in enumerate(dict.fromkeys(of_row))}
    responses = np.full((int(trial.max()) + 1, len(position)), np.nan)
    responses[trial, [position[name] for name in of_row]] = table.numbers(response)
    return responses, tuple(position), trial


def _site_columns(
    table: CsvColumns, sites: str | Sequence[str] | None, known: set[str]
) -> tuple[str, ...]:
    """Columns of a wide table that hold a site each."""
    if sites is not None:
        names = sites.split(",") if isinstance(sites, str) else sites
        names = tuple(name.strip() for name in names)
        for name in names:
            if name not in table.cells:
                raise unknown(name, table.cells, f"column of sites in {table.source}")
        return names
    rest = [name for name in table.cells if name not in known]
    prefixed = [name for name in rest if name.startswith(_PREFIX)]
    numeric = [name for name in rest if _starts_with_number(table.cells[name])]
    if not rest or not (prefixed or numeric):
        raise InputError(
            f"{table.source}: expected a column 'site_id' and one of responses, or one "
            f"column of numbers per site, found the columns {', '.join(table.cells)}; "
            "name them with site=..., response=... or sites=..."
        )
    return tuple(prefixed or numeric)


def _starts_with_number(cells: Sequence[str]) -> bool:
    first = next((cell for cell in cells if cell), "")
    return bool(first) and to_number(first) is not None


def _refuse_sites(
    table: CsvColumns, site: str, sites: str | Sequence[str] | None
) -> None:
    if sites is not None:
        raise InputError(
            f"{table.source}: sites: expected only with one column per site, found the "
            f"column {site!r} of a table with one row per site; leave sites out"
        )


def _units(table: CsvColumns) -> str | None:
    """The only entry of the column ``units``; None without one."""
    stated = sorted({cell for cell in table.cells.get("units", ()) if cell})
    if len(stated) > 1:
        raise InputError(
            f"{table.source}: column 'units': expected one unit, found {stated[:3]}; "
            "convert the responses to one of them"
        )
    return stated[0] if stated else None


def _load_array(path: Path) -> Shaped[np.ndarray, "..."]:
    try:
        with path.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            rest = stream.read(1)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError, MemoryError, TokenError) as error:
        raise InputError(_unreadable(path, error)) from error
    if rest:
        raise InputError(f"{path}: expected one array, found more data behind it")
    return array


def _unreadable(path: Path, error: Exception) -> str:
    if "Object arrays" in str(error):
        return (
            f"{path}: expected numbers, found Python objects (never loaded); save a "
            "plain array with numpy.save"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{path}: not an .npy array, or truncated ({reason}); copy it again"


def _sidecar(path: Path, kind: str, column: str, entry: str) -> CsvColumns:
    beside = path.with_suffix(f".{kind}.csv")
    if not beside.is_file():
        raise InputError(
            f"{path}: expected its ids in {beside.name} beside it, found no such file; "
            f"write a CSV with the header {column} and one row per {entry}, in the "
            "order of the array"
        )
    return read_csv_columns(beside)


def _lengths(responses: Shaped[np.ndarray, "..."], axes: str | None) -> tuple[int, int]:
    """How many stimuli and sites an array has; axes that do not fit are said later."""
    names = (axes or "image site").replace(",", " ").split()
    length = dict(zip(names, responses.shape, strict=False))
    return length.get("image", length.get("trial", 0)), length.get("site", 0)


def _counted(path: Path, column: str, first: str, count: int) -> CsvColumns:
    """A column of ids that are counted up from the first one."""
    found = re.fullmatch(r"(.*?)(\d+)", first)
    if found is None:
        raise InputError(
            f"{path}: expected the first {column} to end in a number, as 'image0001', "
            f"found {first!r}; ids that are not counted belong in a CSV file"
        )
    name, number = found.groups()
    numbers = range(int(number), int(number) + count)
    ids = tuple(f"{name}{n:0{len(number)}d}" for n in numbers)
    return CsvColumns(str(path), {column: ids}, tuple(range(1, count + 1)))


def _site_meta(sites: CsvColumns) -> Mapping[str, np.ndarray]:
    return {
        META + name: typed(cells)
        for name, cells in sites.cells.items()
        if name != "site_id"
    }


def _strings(values: Sequence[str]) -> Shaped[np.ndarray, " entry"]:
    return np.asarray(values, dtype=np.str_)
