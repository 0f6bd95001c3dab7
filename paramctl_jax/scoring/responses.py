"""Recordings back: join what was shown with what was recorded, by stimulus id."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from paramctl_jax.scoring.table import ControlTable
from paramctl_jax.types import InputError, Recordings, Stimulus, StimulusSet


def control_table(
    stimuli: StimulusSet,
    responses: Recordings,
    include_seed: bool = False,
    *,
    subject: str = "",
) -> ControlTable:
    """The exchange table of a stimulus set and its recordings.

    Every stimulus keeps its row. One that was not recorded, or whose target site was
    not, has no recorded value and no repeats, so that scoring counts it.

    Args:
      stimuli: what was shown; `predicted` is its prediction from the PNG.
      responses: axes ``[image, site, repeat]``, joined by stimulus id and site id; the
        repeat average is taken over what is there.
      include_seed: whether to keep the un-accentuated seeds; they have an empty level.
      subject: whose recording it is.

    Returns:
      One row per stimulus, in the order of the set.

    Raises:
      InputError: no stimulus to score, or no stimulus or site in common.
    """
    shown = [s for s in stimuli.stimuli if include_seed or s.level is not None]
    _check_overlap(stimuli, shown, responses)
    row = {name: index for index, name in enumerate(responses.stimulus_ids)}
    column = {name: index for index, name in enumerate(responses.site_ids)}
    mean, counts = responses.mean(), responses.n_repeats()
    cells = [(row.get(s.stimulus_id), column.get(s.site)) for s in shown]
    known = [None not in cell for cell in cells]
    return ControlTable(
        source=str(stimuli.directory),
        subject=(subject,) * len(shown),
        model=tuple(s.model for s in shown),
        site=tuple(s.site for s in shown),
        seed=tuple(s.seed for s in shown),
        level=tuple("" if s.level is None else str(s.level) for s in shown),
        predicted=np.asarray([s.predicted for s in shown], dtype=np.float64),
        recorded=_pick(mean, cells, known, np.nan),
        n_repeats=_pick(counts, cells, known, 0.0),
        floor=np.full(len(shown), np.nan),
    )


def join_notes(stimuli: StimulusSet, responses: Recordings) -> tuple[str, ...]:
    """Stimuli and sites that only one side knows, counted; see `control_table`."""
    shown = [s.stimulus_id for s in stimuli.stimuli]
    missing = _only_in(shown, responses.stimulus_ids)
    extra = _only_in(responses.stimulus_ids, shown)
    sites = _only_in([s.site for s in stimuli.stimuli], responses.site_ids)
    notes = (
        (missing, f"of {len(shown)} stimuli were not recorded and have no response"),
        (extra, "recorded stimuli are not in the stimulus set and are ignored"),
        (sites, "target sites were not recorded and have no responses"),
    )
    return tuple(f"{len(ids)} {text}, first {ids[:3]}" for ids, text in notes if ids)


def _check_overlap(
    stimuli: StimulusSet, shown: list[Stimulus], responses: Recordings
) -> None:
    where = f"stimulus set {stimuli.directory}"
    if not shown:
        raise InputError(f"{where}: expected accentuated stimuli, found none to score")
    for what, ours, theirs in (
        ("stimulus ids", [s.stimulus_id for s in shown], responses.stimulus_ids),
        ("target sites", [s.site for s in shown], responses.site_ids),
    ):
        if not set(ours) & set(theirs):
            raise InputError(
                f"{where}: expected {what} that were recorded, found none in common; "
                f"the set has {ours[:3]}, the recordings have {list(theirs[:3])}"
            )


def _pick(
    values: np.ndarray,
    cells: list[tuple[int | None, int | None]],
    known: list[bool],
    otherwise: float,
) -> np.ndarray:
    pairs = zip(cells, known, strict=True)
    return np.asarray(
        [float(values[cell]) if is_known else otherwise for cell, is_known in pairs]
    )


def _only_in(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    known = set(theirs)
    return list(dict.fromkeys(name for name in ours if name not in known))
