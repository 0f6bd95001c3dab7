"""Peer review: who made the stimuli, by who predicts the responses to them.

``Q[maker, reviewer]`` is the control score of the reviewer's predictions on the maker's
stimuli. The diagonal is each model's own control; a column that stays high belongs to a
model that predicts also what others made.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.correlation import mean_defined, ols_slope, pearson_r
from paramctl_jax.scoring.inference import crossed_bootstrap, crossed_mean
from paramctl_jax.scoring.responses import control_table, join_notes
from paramctl_jax.scoring.sweeps import SweepGrid, sweep_grids
from paramctl_jax.scoring.table import ControlTable
from paramctl_jax.types import InputError, PeerReview, Recordings, StimulusSet

REVIEW_COLUMNS = (
    "maker", "reviewer", "site", "seed", "level", "predicted", "recorded"
)  # fmt: skip
TEXTS = ("subject", "model", "site", "seed", "level")


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
    rows: dict[str, list[dict[str, str]]] = {}
    for number, row in _rows(Path(path)):
        for name in ("maker", "reviewer", "site", "seed"):
            if not row[name]:
                raise InputError(
                    f"{path}: row {number}, column {name!r}: expected an id, found "
                    "nothing"
                )
        for name in ("predicted", "recorded"):
            _number(path, number, name, row[name])
        rows.setdefault(row["reviewer"], []).append(row)
    return {name: _table(path, own) for name, own in rows.items()}


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(row number as in a spreadsheet, stripped cells by column)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(text.splitlines(), strict=True))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: expected a readable CSV file, {reason}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected CSV text in UTF-8, {error}") from None
    cells = [(n, [cell.strip() for cell in row]) for n, row in enumerate(rows, 1)]
    cells = [(n, row) for n, row in cells if any(row)]
    header = cells[0][1] if cells else []
    missing = [name for name in REVIEW_COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"{path}: missing column(s) {', '.join(missing)}; expected comma-separated "
            f"{','.join(REVIEW_COLUMNS)}, found {header}"
        )
    if len(cells) == 1:
        raise InputError(
            f"{path}: expected one row per prediction, found only the header"
        )
    for n, row in cells[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {n}: expected {len(header)} cells as in the header, "
                f"found {len(row)}"
            )
    return [(n, dict(zip(header, row, strict=True))) for n, row in cells[1:]]


def _table(
    path: str | os.PathLike[str], rows: Sequence[Mapping[str, str]]
) -> ControlTable:
    known: dict[str, Float[np.ndarray, " row"]] = {
        name: np.asarray([_number(path, 0, name, row[name]) for row in rows])
        for name in ("predicted", "recorded")
    }
    # Whatever else an exchange table can say is unknown here.
    for field in dataclasses.fields(ControlTable):
        if field.name not in ("source", *TEXTS):
            known.setdefault(field.name, np.full(len(rows), np.nan))
    return ControlTable(
        source=str(path),
        subject=tuple(row.get("subject", "") for row in rows),
        model=tuple(row["maker"] for row in rows),
        site=tuple(row["site"] for row in rows),
        seed=tuple(row["seed"] for row in rows),
        level=tuple(row["level"] for row in rows),
        **known,
    )


def _number(path: str | os.PathLike[str], row: int, column: str, cell: str) -> float:
    if cell.lower() in ("", "nan", "na"):
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise InputError(
            f"{path}: row {row}, column {column!r}: expected a number, found {cell!r}"
        )
    return value


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
