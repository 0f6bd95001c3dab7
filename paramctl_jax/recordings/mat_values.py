"""The neutral form that variables of every version of MATLAB file are read into."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Integer, Shaped


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A value that only MATLAB can read: what it is, and what to do in MATLAB."""

    what: str
    remedy: str


Value = np.ndarray | list | dict | Foreign
"""Numbers in MATLAB's axes; text as one string per row of a char matrix; a cell array
as a list in MATLAB's (column-major) order; a struct as a dict of its fields, with lists
for an array of structs; or `Foreign`."""


def text_rows(
    units: Integer[np.ndarray, "row column"],
) -> Shaped[np.ndarray, " row"]:
    """One string per row of UTF-16 code units, without MATLAB's trailing blanks.

    Example:
      >>> text_rows(np.array([[97, 98], [99, 32]])).tolist()
      ['ab', 'c']
    """
    rows = [row.tobytes().decode("utf-16-le", "replace") for row in units.astype("<u2")]
    return np.char.rstrip(np.asarray(rows or [""], dtype=np.str_), " \0")


def foreign_object(kind: str) -> Foreign:
    """An object of one of MATLAB's classes, which is named and never loaded."""
    remedies = {
        "string": "save cellstr(x)",
        "categorical": "save cellstr(x)",
        "datetime": "save cellstr(x)",
        "table": "save its columns as plain arrays and cellstr(x)",
    }
    remedy = remedies.get(kind, "save plain arrays and cell arrays of char")
    return Foreign(f"an object of MATLAB's class {kind or 'unknown'}", remedy)


def foreign_sparse() -> Foreign:
    """A sparse matrix."""
    return Foreign("a sparse matrix", "save full(x)")
