"""Columns of a CSV file as text, with the line of every row for messages."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from paramctl_jax.types import InputError

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclasses.dataclass(frozen=True)
class CsvColumns:
    """The cells of a CSV file, all of them text.

    Attributes:
      source: the file, as named in messages.
      cells: one tuple per column, in the order of the header.
      lines: number of each row's last line in the file, counted from 1.
    """

    source: str
    cells: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def text(self, name: str) -> tuple[str, ...]:
        """A column in which every cell says something.

        Raises:
          InputError: no such column, or an empty cell, naming its line.
        """
        if name not in self.cells:
            raise InputError(
                f"{self.source}: expected a column {name!r}, found the columns "
                f"{', '.join(self.cells)}"
            )
        column = self.cells[name]
        if "" in column:
            line = self.lines[column.index("")]
            raise InputError(
                f"{self.source}: line {line}, column {name!r}: expected an id, found "
                "an empty cell"
            )
        return column

    def numbers(self, name: str) -> Float[np.ndarray, " row"]:
        """A column of numbers; NaN for an empty cell.

        Raises:
          InputError: naming the line and the column of the first other cell.
        """
        column = self.cells[name]
        values = np.empty(len(column))
        for row, cell in enumerate(column):
            number = to_number(cell)
            if number is None:
                raise InputError(
                    f"{self.source}: line {self.lines[row]}, column {name!r}: expected "
                    f"a number or an empty cell, found {cell!r}"
                )
            values[row] = number
        return values


def read_csv_columns(path: Path) -> CsvColumns:
    r"""Reads a comma-separated file in UTF-8, with or without a byte-order mark.

    Cells keep their text (``001`` stays ``001``) but for blanks around it; blank lines
    are passed over.

    Args:
      path: of the file.

    Returns:
      Its columns.

    Raises:
      InputError: unreadable or not UTF-8, no header, a column name missing or twice,
        a row with fewer or more cells than the header, no rows.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.csv"
      >>> _ = path.write_text("stimulus_id,rate\n001,2.5\n002,\n")
      >>> columns = read_csv_columns(path)
      >>> columns.text("stimulus_id"), columns.numbers("rate").tolist()
      (('001', '002'), [2.5, nan])
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: expected a comma-separated file in UTF-8 ({error})"
        ) from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    _check_shape(path, rows)
    header = rows[0][1]
    table = zip(*(cells for _, cells in rows[1:]), strict=True)
    lines = tuple(line for line, _ in rows[1:])
    return CsvColumns(str(path), dict(zip(header, table, strict=True)), lines)


def to_number(cell: str) -> float | None:
    """The number a cell holds; NaN if it is empty, None if it holds something else.

    Example:
      >>> to_number("1e-3"), to_number(""), to_number("1_000")
      (0.001, nan, None)
    """
    if not cell:
        return float("nan")
    if "_" in cell:  # Python's float takes 1_000
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def typed(cells: tuple[str, ...]) -> Shaped[np.ndarray, " row"]:
    """Whole numbers, else numbers, else text: the type that every cell fits.

    Text that merely looks like a number, such as ``007``, stays text.

    Example:
      >>> [typed(cells).dtype.kind for cells in (("1", "2"), ("1", ""), ("007", "1"))]
      ['i', 'f', 'U']
    """
    if all(_WHOLE.fullmatch(cell) for cell in cells):
        return np.asarray([int(cell) for cell in cells], dtype=np.int64)
    numbers = [to_number(cell) for cell in cells]
    padded = any(re.match(r"[+-]?0[0-9]", cell) for cell in cells)
    if padded or not any(cells) or any(number is None for number in numbers):
        return np.asarray(cells, dtype=np.str_)
    return np.asarray(numbers, dtype=np.float64)


def _check_shape(path: Path, rows: list[tuple[int, list[str]]]) -> None:
    header = rows[0][1] if rows else []
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise InputError(
                f"{path}: expected columns separated by commas, found {name}; save the "
                "table as comma-separated CSV with decimal points"
            )
    bad = sorted({name for name in header if not name or header.count(name) > 1})
    if not header or bad:
        raise InputError(
            f"{path}: expected a header with a different name for every column, found "
            f"{f'{bad} missing or repeated' if bad else 'an empty file'}"
        )
    for line, cells in rows:
        if len(cells) != len(header):
            raise InputError(
                f"{path}: line {line}: expected {len(header)} cells as in the header, "
                f"found {len(cells)}"
            )
    if len(rows) == 1:
        raise InputError(f"{path}: expected one row or more below the header")
