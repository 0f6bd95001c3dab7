"""Which rows of a CSV table of recordings belong to one trial."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Int

from paramctl_jax.recordings.csv_columns import CsvColumns
from paramctl_jax.types import InputError

ORDER = ("trial", "repeat")
"""Columns that say which rows are one trial, the first of them that there is."""


def trial_of_row(
    table: CsvColumns, stimulus: str, session: str, sites: Sequence[str]
) -> Int[np.ndarray, " row"]:
    """Number of each row's trial, counted in the order of first appearance.

    Rows share a trial where their session and ``trial`` agree; without that column
    session, stimulus and ``repeat``; without either, the n-th row of a session,
    stimulus and site is the stimulus' n-th presentation there.

    Args:
      table: at least the column `stimulus`.
      stimulus: column of the stimulus ids.
      session: column of the session ids, optional.
      sites: site of every row; all alike where a row holds a whole trial.

    Returns:
      One number per row, from 0.

    Raises:
      InputError: naming the line: a trial of two stimuli, one site twice in a trial.
    """
    shown = table.cells[stimulus]
    sessions = table.text(session) if session in table.cells else ("",) * len(table)
    given = next((name for name in ORDER if name in table.cells), None)
    label: Sequence[Hashable]
    if given is None:
        label = list(zip(shown, _occurrence(sessions, shown, sites), strict=True))
    elif given == "repeat":
        label = list(zip(shown, table.text(given), strict=True))
    else:
        label = table.text(given)
    trial: dict[Hashable, int] = {}
    seen: dict[tuple[int, str], int] = {}
    stimulus_of: list[str] = []
    numbers = []
    for row, key in enumerate(zip(sessions, label, strict=True)):
        number = trial.setdefault(key, len(trial))
        if number == len(stimulus_of):
            stimulus_of.append(shown[row])
        where = f"{table.source}: line {table.lines[row]}"
        if stimulus_of[number] != shown[row]:
            raise InputError(
                f"{where}: expected one stimulus per trial, found {shown[row]!r} in a "
                f"trial that showed {stimulus_of[number]!r}; trial numbers that start "
                f"again every day need the column {session!r}"
            )
        other = seen.setdefault((number, sites[row]), row)
        if other != row:
            raise InputError(
                f"{where}: expected one row per trial and site, found a second one of "
                f"the trial of line {table.lines[other]}"
            )
        numbers.append(number)
    return np.asarray(numbers, dtype=np.int64)


def _occurrence(*columns: Sequence[str]) -> list[int]:
    """How often each row's values came before: 0 for the first time."""
    counts: dict[tuple[str, ...], int] = {}
    before = []
    for key in zip(*columns, strict=True):
        before.append(counts.get(key, 0))
        counts[key] = before[-1] + 1
    return before
