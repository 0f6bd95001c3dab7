"""Peer review: who made the stimuli, by who predicts the responses to them.

``Q[maker, reviewer]`` is the control score of the reviewer's predictions on the maker's
stimuli. The diagonal is each model's own control; a column that stays high belongs to a
model that predicts also what others made.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from paramctl_jax.scoring.correlation import mean_defined, ols_slope, pearson_r
from paramctl_jax.scoring.inference import crossed_bootstrap, crossed_mean
from paramctl_jax.scoring.responses import control_table, join_notes
from paramctl_jax.scoring.sweeps import SweepGrid, sweep_grids
from paramctl_jax.scoring.table import (
    NUMBERS,
    ControlTable,
    check_header,
    id_column,
    number_column,
    parse_rows,
)
from paramctl_jax.types import InputError, PeerReview, Recordings, StimulusSet

REVIEW_COLUMNS = (
    "maker", "reviewer", "site", "seed", "level", "predicted", "recorded"
)  # fmt: skip


def peer_review(
    stimuli: StimulusSet,
    responses: Recordings,
    predictions: Mapping[str, Mapping[str, float]],
    *,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> PeerReview:
    """Score every model's predictions on every model's stimuli.

    ``Q[m, m'] = mean over sites of mean over seeds of r(predicted by m', recorded)``,
    over the levels of the sweeps that m made.

    Args:
      stimuli: what was shown, of one or several makers.
      responses: axes ``[image, site, repeat]``, joined by stimulus id; each stimulus is
        scored at its own target site.
      predictions: reviewer -> stimulus id -> prediction at the stimulus's target site,
        as `stimuli.peer_predictions` returns them; what is missing is left out.
      n_bootstrap: draws of the crossed seed x site bootstrap of each entry.
      random_seed: of the random generator, equal for all entries.

    Returns:
      The matrix, makers and reviewers in order of first appearance.

    Raises:
      InputError: no reviewer, or no stimulus or site in common.
    """
    table = control_table(stimuli, responses)
    ids = [one.stimulus_id for one in stimuli.stimuli if one.level is not None]
    tables = {
        reviewer: dataclasses.replace(
            table, predicted=np.asarray([known.get(name, np.nan) for name in ids])
        )
        for reviewer, known in predictions.items()
    }
    review = review_tables(tables, n_bootstrap=n_bootstrap, random_seed=random_seed)
    notes = join_notes(stimuli, responses) + review.notes
    return dataclasses.replace(review, notes=notes)


def review_tables(
    tables: Mapping[str, ControlTable],
    *,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> PeerReview:
    """The matrix of one exchange table per reviewer, column `model` being the maker.

    Args:
      tables: by reviewer, all of one subject, e.g. from `review_table`.
      n_bootstrap: draws of the crossed seed x site bootstrap of each entry.
      random_seed: of the random generator, equal for all entries.

    Returns:
      The matrix; an entry without any defined r is NaN and named in the notes.

    Raises:
      InputError: no reviewer, or more than one subject.
    """
    if not tables:
        raise InputError("peer review: expected at least one reviewer, found none")
    subjects = {name for table in tables.values() for name in table.subject}
    if len(subjects) > 1:
        raise InputError(
            f"peer review: expected one subject, found {sorted(subjects)}; review each "
            "subject on its own"
        )
    makers = tuple(dict.fromkeys(m for table in tables.values() for m in table.model))
    shape = (len(makers), len(tables))
    control, slope = np.full(shape, np.nan), np.full(shape, np.nan)
    ci, n_sites = np.full((*shape, 2), np.nan), np.zeros(shape, dtype=np.int64)
    notes: list[str] = []
    for column, (reviewer, table) in enumerate(tables.items()):
        grids = next(iter(sweep_grids(table).values()), {})
        for maker, grid in grids.items():
            cell = makers.index(maker), column
            r = pearson_r(grid.predicted, grid.recorded)
            control[cell] = crossed_mean(r)
            ci[cell] = crossed_bootstrap(r, n_bootstrap, random_seed)
            slopes = ols_slope(grid.predicted, grid.recorded)
            slope[cell] = crossed_mean(slopes)
            n_sites[cell] = int(np.isfinite(mean_defined(r, axis=1)).sum())
            notes += _cell_notes(f"{reviewer} on stimuli of {maker}", grid, r)
        notes += [
            f"{reviewer} on stimuli of {maker}: undefined, no predictions of them"
            for maker in makers
            if maker not in grids
        ]
    return PeerReview(makers, tuple(tables), control, ci, slope, n_sites, tuple(notes))


def review_table(path: str | os.PathLike[str]) -> dict[str, ControlTable]:
    """Read ``maker,reviewer,site,seed,level,predicted,recorded``, a row per prediction.

    Args:
      path: a comma-separated file in UTF-8; an optional column `subject`, others are
        ignored. An empty cell, ``nan`` or ``NA`` under a number means missing.

    Returns:
      reviewer -> exchange table whose `model` is the maker, see `review_tables`.

    Raises:
      InputError: unreadable file, missing columns, ragged rows, an empty id, text or
        infinity where a number belongs, a table without rows.
    """
    header, records = parse_rows(Path(path))
    check_header(path, header, REVIEW_COLUMNS, ("subject",))
    if not records:
        raise InputError(
            f"{path}: expected one row per prediction, found only the header"
        )
    lines = [number for number, _ in records]
    cells = {name: [row[i] for _, row in records] for i, name in enumerate(header)}
    ids = {
        name: id_column(path, lines, name, cells[name])
        for name in ("maker", "reviewer", "site", "seed")
    }
    numbers = {
        name: number_column(path, lines, name, cells[name])
        for name in ("predicted", "recorded")
    }
    texts = {
        "subject": cells.get("subject", [""] * len(records)),
        "model": ids["maker"],
        "site": ids["site"],
        "seed": ids["seed"],
        "level": cells["level"],
    }
    reviewers = np.asarray(ids["reviewer"])
    return {
        name: _chosen(path, np.flatnonzero(reviewers == name), texts, numbers)
        for name in dict.fromkeys(ids["reviewer"])
    }


def _chosen(
    path: str | os.PathLike[str],
    rows: Int[np.ndarray, " row"],
    texts: Mapping[str, Sequence[str]],
    numbers: Mapping[str, Float[np.ndarray, " all"]],
) -> ControlTable:
    """Some rows as an exchange table; whatever else it can say is unknown here."""
    unknown = np.full(len(rows), np.nan)
    known: dict[str, Any] = {
        name: numbers[name][rows] if name in numbers else unknown for name in NUMBERS
    }
    known |= {name: tuple(cells[row] for row in rows) for name, cells in texts.items()}
    return ControlTable(source=str(path), **known)


def _cell_notes(
    name: str, grid: SweepGrid, r: Float[np.ndarray, "site seed"]
) -> list[str]:
    """What an entry lacks: points without a value, sweeps without an r."""
    lost = int(np.sum(grid.shown & ~np.isfinite(r)))
    notes = []
    if grid.n_invalid:
        notes.append(
            f"{name}: {grid.n_invalid} points left out (no predicted or no recorded "
            "value)"
        )
    if lost:
        notes.append(
            f"{name}: {lost} of {int(grid.shown.sum())} sweeps have no r (fewer than "
            "three valid levels, or constant values)"
        )
    return notes
