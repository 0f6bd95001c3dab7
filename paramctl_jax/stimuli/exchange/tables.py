"""Cells that pandas, Brain-Score and PsychoPy read as what they are."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence

from paramctl_jax.stimuli.exchange.shown import Cell, ShownImage
from paramctl_jax.types import InputError

# What pandas' read_csv takes for a missing value, a truth value or a number.
_MISSING = frozenset(
    {
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
_OTHER = re.compile(r"(?i)true|false|[+-]?inf(inity)?")
ABSENT = "-"  # in a column of text, where a column does not apply


def metadata_columns(rows: Sequence[ShownImage]) -> dict[str, list[Cell]]:
    """The rows' metadata by column, `role` first; what a row lacks is None.

    Column names are made Python identifiers, as PsychoPy needs them.

    Raises:
      InputError: two columns that become one.
    """
    columns: dict[str, list[Cell]] = {"role": [row.role for row in rows]}
    own = list(dict.fromkeys(name for row in rows for name in row.metadata))
    for name in own:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if plain in columns:
            raise InputError(
                f"column {name!r}: expected different names of models, found another "
                f"column that is written {plain!r}; rename a model"
            )
        columns[plain] = [row.metadata.get(name) for row in rows]
    return columns


def plain_columns(
    columns: Mapping[str, Sequence[Cell]],
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Columns as text that is read back as the type it had.

    Numbers keep all digits and are empty where they are missing or do not apply. Text
    that would be read as a number, a truth value or a missing value is prefixed by
    ``COLUMN:`` in the whole column, so that equal values stay equal.

    Args:
      columns: cells by name.

    Returns:
      The texts by name, and a note per column that was prefixed.

    Example:
      >>> plain_columns({"site": ["007", "8"], "level": [3, None]})[0]
      {'site': ['site:007', 'site:8'], 'level': ['3', '']}
    """
    texts, notes = {}, []
    for name, cells in columns.items():
        is_text = any(isinstance(cell, str) for cell in cells)
        texts[name] = [_text(cell, is_text) for cell in cells]
        if is_text and any(map(misread, texts[name])):
            texts[name] = [
                cell if cell == ABSENT else f"{name}:{cell}" for cell in texts[name]
            ]
            notes.append(
                f"column {name}: its text is prefixed by '{name}:', or it would be "
                "read as numbers or missing values"
            )
    return texts, tuple(notes)


def _text(cell: Cell, is_text: bool) -> str:
    if cell is None:
        return ABSENT if is_text else ""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else repr(cell)
    return str(cell)


def misread(cell: str) -> bool:
    """Whether a reader that guesses types takes a text for something else.

    Example:
      >>> [misread(cell) for cell in ("1e5", "NA", "007", "", "V4", "s1e5")]
      [True, True, True, True, False, False]
    """
    if cell.strip() != cell or not cell or cell in _MISSING or _OTHER.fullmatch(cell):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def delimited(
    columns: Mapping[str, Sequence[object]], delimiter: str = ",", missing: str = ""
) -> str:
    """Columns of equal length as CSV or TSV text."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for cells in zip(*columns.values(), strict=True):
        writer.writerow([missing if cell in ("", None) else cell for cell in cells])
    return stream.getvalue()
