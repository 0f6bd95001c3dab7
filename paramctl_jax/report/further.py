"""Numbers of a score that no table names: every further one is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from paramctl_jax.report.summary import Cell, number_cell
from paramctl_jax.types import SiteScore

UNDEFINED = "undefined with these recordings; the notes say what is missing"
HEADINGS = {"r2": "R²", "nc": "noise-corrected"}
_SHOWN = {"seeds", "r", "control", "slope", "pooled_r", "n_seeds_used"}


def further_cells(score: SiteScore | None) -> dict[str, Cell]:
    """What the score of a site knows beyond the numbers of `site_cells`.

    Every further number of the record is a column, those of records and mappings
    within it with the name they are found under.

    Args:
      score: of a site, or None.

    Returns:
      Cells by heading; empty where there is nothing more.
    """
    if score is None:
        return {}
    fields = {field.name: getattr(score, field.name) for field in _fields(score)}
    beyond = {name: value for name, value in fields.items() if name not in _SHOWN}
    return dict(_number_cells(beyond, ()))


def _fields(record: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(record)


def _number_cells(
    tree: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[str, Cell]]:
    """The numbers of a tree of records and mappings; arrays and texts are left out."""
    for name, value in tree.items():
        here = (*path, *str(name).split("_"))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = {field.name: getattr(value, field.name) for field in _fields(value)}
            yield from _number_cells(inner, here)
        elif isinstance(value, Mapping):
            yield from _number_cells(value, here)
        elif isinstance(value, int | float | np.number):
            heading = " ".join(HEADINGS.get(word, word) for word in here)
            text = str(value) if isinstance(value, int | np.integer) else None
            yield heading, number_cell(float(value), UNDEFINED, text)
