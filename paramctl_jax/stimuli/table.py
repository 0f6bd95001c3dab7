"""``stimulus_set.csv``: one row per PNG, and the names of stimuli and files.

The two first columns are those of a Brain-Score stimulus set; the others are the fields
of `Stimulus`. Floats are written with all their digits. Nothing in the columns
`stimulus_id`, `filename` and `sha256` can be taken for a number by pandas.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from paramctl_jax.types import ControversialStimulus, InputError, Stimulus

TABLE = "stimulus_set.csv"
COLUMNS = tuple(field.name for field in dataclasses.fields(Stimulus))
# Of later versions; a table without them is read with their defaults.
OPTIONAL = frozenset(
    field.name
    for field in dataclasses.fields(Stimulus)
    if field.default is not dataclasses.MISSING
)
# Presentation software takes file names of at most 63 characters.
MAX_ID = 63 - len(".png")


def stimulus_id(model: str, site: str, seed: str, level: int | None) -> str:
    """Name of a stimulus: ``model-site-seed-L03``, or ``...-seed`` without a level.

    ASCII letters, digits, ``_`` and ``-`` only, a letter first, at most 59 characters.
    Different origins have different names: what has to be replaced or cut to fit is
    made up for by a digest of the origin.

    Example:
      >>> stimulus_id("small", "site_03", "ant_0001", 4)
      'small-site_03-ant_0001-L04'
      >>> stimulus_id("7b", "V4 left", "ant_0001", None)
      'm7b-V4_left-ant_0001-x155c5e73-seed'
    """
    ending = "-seed" if level is None else f"-L{level:02d}"
    parts = [re.sub(r"[^A-Za-z0-9_]", "_", part) for part in (model, site, seed)]
    if not parts[0][:1].isalpha():
        parts[0] = "m" + parts[0]
    name = "-".join(parts)
    if parts == [model, site, seed] and len(name + ending) <= MAX_ID:
        return name + ending
    origin = "\0".join((model, site, seed)).encode()
    ending = f"-x{hashlib.sha256(origin).hexdigest()[:8]}{ending}"
    return name[: MAX_ID - len(ending)] + ending


def to_csv(stimuli: Sequence[Stimulus]) -> str:
    """The table as text: one row per stimulus, in the order given."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for stimulus in stimuli:
        writer.writerow([_to_cell(getattr(stimulus, name)) for name in COLUMNS])
    return stream.getvalue()


def _to_cell(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def read_csv(path: Path) -> tuple[Stimulus, ...]:
    """Reads a table; columns that are not fields of `Stimulus` are ignored.

    Tables of earlier versions, without the columns `OPTIONAL`, are read as well.

    Raises:
      InputError: naming the file and the line: not there, columns missing, no rows, a
        value that is not of its column's type, a stimulus id or a file name twice.
    """
    return parse_csv(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a set's table.

    Raises:
      InputError: naming the file, where it is missing or not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); "
            f"expected a folder with a stimulus set, that is PNGs and {path.name}"
        ) from error


def check_no_others(directory: Path, filenames: Collection[str]) -> None:
    """Refuses a folder with PNGs that are not of the set to be written.

    Raises:
      InputError: naming the first of them.
    """
    others = sorted(path.name for path in directory.glob("*.png"))
    others = [name for name in others if name not in filenames]
    if others:
        raise InputError(
            f"{directory}: expected no PNGs of another set, found {len(others)}, first "
            f"{others[0]}; give another directory"
        )


def parse_csv(text: str, where: str) -> tuple[Stimulus, ...]:
    """As `read_csv`, of a text; `where` names it in errors."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    required = [name for name in COLUMNS if name not in OPTIONAL]
    missing = [name for name in required if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{where}: expected the columns {missing}, which are not there"
        )
    stimuli = tuple(_from_row(row, f"{where}:{reader.line_num}") for row in reader)
    if not stimuli:
        raise InputError(f"{where}: expected one row per PNG, found none")
    check_unique(stimuli, where)
    return stimuli


def check_unique(
    stimuli: Sequence[Stimulus] | Sequence[ControversialStimulus], where: str
) -> None:
    """Refuses names that are equal, also where a file system ignores case."""
    seen: dict[str, str] = {}
    for name in (stimulus.stimulus_id for stimulus in stimuli):
        if name.lower() in seen:
            raise InputError(
                f"{where}: expected unique stimulus ids, found {seen[name.lower()]!r} "
                f"and {name!r}; give models, sites and seed images different names"
            )
        seen[name.lower()] = name


def _from_row(row: Mapping[str, str | None], where: str) -> Stimulus:
    values = {}
    for field in dataclasses.fields(Stimulus):
        if field.name in OPTIONAL and field.name not in row:
            continue
        cell = row[field.name]
        try:
            values[field.name] = _PARSERS[str(field.type)](cell)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}: expected {field.type} in column {field.name!r}, found "
                f"{cell!r}"
            ) from error
    filename = values["filename"]
    if Path(filename).name != filename or "\\" in filename:
        raise InputError(
            f"{where}: expected the name of a file in the same folder, found "
            f"{filename!r}"
        )
    return Stimulus(**values)


def filled(cell: str | None) -> str:
    """The text of a cell that must not be empty."""
    if not cell:
        raise ValueError("empty")
    return cell


# Keyed by the annotations of `Stimulus`, which are strings there.
_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "str": filled,
    "int": int,
    "int | None": lambda cell: None if cell == "" else int(cell),
    "float": float,
    "bool": {"True": True, "False": False}.__getitem__,
}
