"""The universal exchange table: one row per shown stimulus, as a CSV file."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from paramctl_jax import artifacts
from paramctl_jax.types import InputError

REQUIRED_COLUMNS = ("model", "site", "seed", "level", "predicted", "recorded")
NUMBERS = ("predicted", "recorded", "n_repeats", "floor", "target", "recorded_sd")
OPTIONAL_COLUMNS = ("subject", *NUMBERS[2:])
_MISSING = frozenset({"", "nan", "na"})


@dataclasses.dataclass(frozen=True)
class ControlTable:
    """What was predicted and what was recorded, one row per shown stimulus.

    Attributes:
      source: the file, as named in messages.
      subject: whose recording it is; ``""`` without a subject column.
      model, site, seed: what the stimulus was made for and from.
      level: a label only; it never enters a score.
      predicted: what the model says of the shown PNG; NaN where missing.
      recorded: repeat-averaged response of the site; NaN where missing.
      n_repeats: valid repeats behind `recorded`; NaN where unknown.
      floor: smallest response the site can give; NaN where unknown. The pooled score
        clamps predictions to it, the paper's does not.
      target: level asked for, response units; NaN where unknown.
      recorded_sd: SD over the repeats behind `recorded`, ddof 1; NaN where unknown.
    """

    source: str
    subject: tuple[str, ...]
    model: tuple[str, ...]
    site: tuple[str, ...]
    seed: tuple[str, ...]
    level: tuple[str, ...]
    predicted: Float[np.ndarray, " row"]
    recorded: Float[np.ndarray, " row"]
    n_repeats: Float[np.ndarray, " row"]
    floor: Float[np.ndarray, " row"]
    target: Float[np.ndarray, " row"]
    recorded_sd: Float[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.model)


def read_table(
    path: str | os.PathLike[str], target_column: str = "target"
) -> ControlTable:
    """Read the exchange table ``model,site,seed,level,predicted,recorded``.

    Optional columns are `subject`, `n_repeats`, `floor`, `target` and `recorded_sd`;
    any other column is ignored. Ids and labels stay text, so ``007`` remains ``007``.
    An empty cell, ``nan`` or ``NA`` under a number means missing.

    Args:
      path: a comma-separated file in UTF-8, with or without a byte-order mark.
      target_column: where the level asked for is, in response units; ``"level"`` for
        tables that name levels by their targets.

    Returns:
      The table's columns, rows in the order of the file.

    Raises:
      InputError: unreadable file, missing or repeated columns, ragged rows, an empty
        id, text or infinity where a number belongs, a negative SD, a table without
        rows.
    """
    header, records = parse_rows(Path(path))
    further = () if target_column == "target" else (target_column,)
    required = tuple(dict.fromkeys((*REQUIRED_COLUMNS, *further)))
    check_header(path, header, required, OPTIONAL_COLUMNS)
    if not records:
        raise InputError(
            f"{path}: expected one row per stimulus, found only the header"
        )
    cells = {
        name: [fields[i] for _, fields in records] for i, name in enumerate(header)
    }
    numbers = [row for row, _ in records]
    table = ControlTable(
        source=str(path),
        subject=tuple(cells.get("subject", [""] * len(records))),
        level=tuple(cells["level"]),
        model=id_column(path, numbers, "model", cells["model"]),
        site=id_column(path, numbers, "site", cells["site"]),
        seed=id_column(path, numbers, "seed", cells["seed"]),
        **{
            name: number_column(path, numbers, column, cells.get(column))
            for name in NUMBERS
            for column in (target_column if name == "target" else name,)
        },
    )
    _check_repeats(table, numbers)
    _check_sd(table, numbers)
    return table


def write_table(path: str | os.PathLike[str], table: ControlTable) -> None:
    """Write the exchange table so that `read_table` returns equal columns.

    Numbers keep every digit; optional columns that hold nothing are left out.

    Args:
      path: the CSV file, replaced as a whole.
      table: what to write.
    """
    columns = {
        "subject": table.subject,
        **{name: getattr(table, name) for name in ("model", "site", "seed", "level")},
        **{
            name: [_number_text(value) for value in getattr(table, name)]
            for name in NUMBERS
        },
    }
    kept = [name for name in columns if name in REQUIRED_COLUMNS or any(columns[name])]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(kept)
    writer.writerows(zip(*(columns[name] for name in kept), strict=True))
    artifacts.atomic_write(Path(path), buffer.getvalue().encode())


def parse_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (row number as in a spreadsheet, stripped cells) of a CSV file.

    Raises:
      InputError: unreadable, empty, or with rows of other lengths than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: expected a readable CSV file, {reason}") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: expected CSV text in UTF-8, found other bytes; save as UTF-8 CSV"
        ) from None
    except csv.Error as error:
        raise InputError(
            f"{path}: expected CSV text, found bad CSV ({error})"
        ) from None
    numbered = [(n, [cell.strip() for cell in row]) for n, row in enumerate(rows, 1)]
    records = [(n, row) for n, row in numbered if any(row)]
    if not records:
        raise InputError(f"{path}: expected a CSV table, found an empty file")
    header = records[0][1]
    for number, row in records[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {number}: expected {len(header)} cells as in the header, "
                f"found {len(row)}"
            )
    return header, records[1:]


def check_header(
    path: str | os.PathLike[str],
    header: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str] = (),
) -> None:
    """Refuses a header that lacks a required column, or has a known one twice.

    Raises:
      InputError: likewise.
    """
    missing = [name for name in required if name not in header]
    if missing:
        raise InputError(
            f"{path}: missing column(s) {', '.join(missing)}; expected comma-separated "
            f"{','.join(required)}, found {list(header)}"
        )
    known = (*required, *optional)
    repeated = [name for name in known if header.count(name) > 1]
    if repeated:
        raise InputError(
            f"{path}: expected each column once, found {repeated} repeated"
        )


def id_column(
    path: str | os.PathLike[str], rows: Sequence[int], column: str, cells: Sequence[str]
) -> tuple[str, ...]:
    """A column of ids, none of them empty; `rows` are their numbers in the file."""
    for row, cell in zip(rows, cells, strict=True):
        if not cell:
            raise InputError(
                f"{path}: row {row}, column {column!r}: expected an id, found nothing"
            )
    return tuple(cells)


def number_column(
    path: str | os.PathLike[str],
    rows: Sequence[int],
    column: str,
    cells: Sequence[str] | None,
) -> Float[np.ndarray, " row"]:
    """A column of numbers, NaN where missing, or all NaN without the column."""
    if cells is None:
        return np.full(len(rows), np.nan)
    values = np.empty(len(rows))
    for index, (row, cell) in enumerate(zip(rows, cells, strict=True)):
        value = _number(cell)
        if value is None:
            raise InputError(
                f"{path}: row {row}, column {column!r}: expected a number, "
                f"found {cell!r}"
            )
        values[index] = value
    return values


def _number(cell: str) -> float | None:
    """The cell as a float, NaN where missing, None where it is no finite number."""
    if cell.lower() in _MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def _check_repeats(table: ControlTable, rows: Iterable[int]) -> None:
    known = np.isfinite(table.n_repeats)
    bad = known & (table.n_repeats < 0)
    bad |= known & (table.n_repeats < 1) & np.isfinite(table.recorded)
    for row, value, is_bad in zip(rows, table.n_repeats, bad, strict=True):
        if is_bad:
            raise InputError(
                f"{table.source}: row {row}, column 'n_repeats': expected at least 1 "
                f"repeat behind a recorded value, found {value:g}"
            )


def _check_sd(table: ControlTable, rows: Iterable[int]) -> None:
    for row, value in zip(rows, table.recorded_sd, strict=True):
        if value < 0:
            raise InputError(
                f"{table.source}: row {row}, column 'recorded_sd': expected an SD of 0 "
                f"or more, found {value:g}"
            )


def _number_text(value: float) -> str:
    """Shortest text that reads back as the same float64; empty for NaN."""
    return "" if math.isnan(value) else repr(float(value)).removesuffix(".0")
