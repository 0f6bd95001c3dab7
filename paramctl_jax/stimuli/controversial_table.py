"""``controversial_set.csv``: one row per PNG, what every model says of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paramctl_jax.stimuli.read import check_file
from paramctl_jax.stimuli.table import filled, read_text
from paramctl_jax.types import ControversialSet, ControversialStimulus, InputError

CONTROVERSIAL_TABLE = "controversial_set.csv"
_PREDICTED, _Z = "predicted:", "z:"


def _truth(cell: str) -> bool:
    return {"True": True, "False": False}[cell]


_COLUMNS: Mapping[str, Callable[[str], Any]] = {
    "stimulus_id": filled,
    "filename": filled,
    "high": str,
    "site": filled,
    "seed": filled,
    "level": float,
    "controversiality": float,
    "accepted": _truth,
    "selected": _truth,
    "sha256": filled,
    "rms": float,
    "step": int,
}


def controversial_csv(
    models: Sequence[str], stimuli: Sequence[ControversialStimulus]
) -> str:
    """The table as text; two columns per model, ``predicted:NAME`` and ``z:NAME``."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    own = [f"{kind}{name}" for kind in (_PREDICTED, _Z) for name in models]
    writer.writerow([*_COLUMNS, *own])
    for one in stimuli:
        cells = [getattr(one, name) for name in _COLUMNS]
        said = [values[name] for values in (one.predicted, one.z) for name in models]
        writer.writerow([_cell(value) for value in (*cells, *said)])
    return stream.getvalue()


def load_controversial(directory: str | Path, verify: bool = True) -> ControversialSet:
    """Loads a controversial set and checks that its files are those that were judged.

    Args:
      directory: with ``controversial_set.csv`` and its PNGs.
      verify: whether to compare the sha256 of every PNG with the table; a missing PNG
        is an error in any case.

    Raises:
      InputError: naming the table's line or the PNG.

    Example:
      ``pairs = load_controversial("runs/m1/controversial")``
    """
    directory = Path(directory)
    path = directory / CONTROVERSIAL_TABLE
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    models = _models(path, list(reader.fieldnames or ()))
    stimuli = tuple(
        _from_row(row, models, f"{path}:{reader.line_num}") for row in reader
    )
    if not stimuli:
        raise InputError(f"{path}: expected one row per PNG, found none")
    for one in stimuli:
        check_file(directory / one.filename, one.sha256, CONTROVERSIAL_TABLE, verify)
    return ControversialSet(directory, models, stimuli)


def _models(path: Path, header: list[str]) -> tuple[str, ...]:
    missing = [name for name in _COLUMNS if name not in header]
    models = [n.removeprefix(_PREDICTED) for n in header if n.startswith(_PREDICTED)]
    missing += [f"{_Z}{name}" for name in models if f"{_Z}{name}" not in header]
    if missing or len(models) < 2:
        raise InputError(
            f"{path}: expected the columns {missing or list(_COLUMNS)} and "
            f"'{_PREDICTED}NAME' of two or more models, found {header}"
        )
    return tuple(models)


def _from_row(
    row: Mapping[str, str | None], models: Sequence[str], where: str
) -> ControversialStimulus:
    def parsed(name: str, parse: Callable[[str], Any]) -> Any:
        cell = row.get(name)
        try:
            return parse("" if cell is None else cell)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{where}: column {name!r} cannot hold {cell!r}"
            ) from error

    values = {name: parsed(name, parse) for name, parse in _COLUMNS.items()}
    if Path(values["filename"]).name != values["filename"]:
        raise InputError(
            f"{where}: expected the name of a file in the same folder, found "
            f"{values['filename']!r}"
        )
    if values["high"] and values["high"] not in models:
        raise InputError(
            f"{where}: driven up for {values['high']!r}, expected one of {list(models)}"
        )
    return ControversialStimulus(
        predicted={name: parsed(f"{_PREDICTED}{name}", float) for name in models},
        z={name: parsed(f"{_Z}{name}", float) for name in models},
        **values,
    )


def _cell(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
