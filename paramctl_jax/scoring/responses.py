"""Recordings back: join what was shown with what was recorded, by id or file name."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.images import SUFFIXES
from paramctl_jax.scoring.table import ControlTable
from paramctl_jax.types import (
    ControversialSet,
    InputError,
    Recordings,
    Stimulus,
    StimulusSet,
)


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
      responses: axes ``[image, site, repeat]``, joined by stimulus id or file name, see
        `by_stimulus_id`, and by site id; mean and SD (ddof 1; NaN of fewer than two)
        are over the repeats that are there. ``site_meta["floor"]`` is the floor.
      include_seed: whether to keep the un-accentuated seeds; they have an empty level.
        One that was not recorded has the response to its seed image, where that was
        recorded under its own id.
      subject: whose recording it is.

    Returns:
      One row per stimulus, in the order of the set.

    Raises:
      InputError: no stimulus to score, no stimulus or site in common, or recorded names
        that may be one stimulus or another.
    """
    shown = [s for s in stimuli.stimuli if include_seed or s.level is not None]
    responses = by_stimulus_id(stimuli, responses)
    _check_overlap(stimuli, shown, responses)
    row = {name: index for index, name in enumerate(responses.stimulus_ids)}
    column = {name: index for index, name in enumerate(responses.site_ids)}
    mean, counts = responses.mean(), responses.n_repeats()
    cells = [(row.get(_recorded_as(s, row)), column.get(s.site)) for s in shown]
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
        floor=_pick(_floors(responses), cells, known, np.nan),
        target=np.asarray([s.target for s in shown], dtype=np.float64),
        recorded_sd=_pick(_repeat_sd(responses), cells, known, np.nan),
    )


def _repeat_sd(responses: Recordings) -> Float[np.ndarray, "image site"]:
    """``sqrt(sum (y - mean)^2 / (n - 1))`` over valid repeats; NaN where n < 2."""
    valid = np.isfinite(responses.responses)
    residual = np.where(valid, responses.responses - responses.mean()[..., None], 0.0)
    n = valid.sum(axis=-1)
    return np.where(
        n > 1, np.sqrt((residual**2).sum(axis=-1) / np.maximum(n - 1, 1)), np.nan
    )


def _floors(responses: Recordings) -> Float[np.ndarray, "image site"]:
    """The sites' firing floors, for every image; NaN where none is known."""
    floor = responses.site_meta.get("floor", np.nan)
    shape = responses.responses.shape[:2]
    return np.broadcast_to(np.asarray(floor, dtype=np.float64), shape)


def by_stimulus_id(
    stimuli: StimulusSet | ControversialSet, responses: Recordings
) -> Recordings:
    r"""Recordings under stimulus ids, where they were made under file names.

    A recorded name that is a stimulus id stays. Any other one is a stimulus if its last
    part, without a folder (``/`` or ``\``) and the ending of an image in any case, is
    the stimulus's id or file name. What is neither keeps its name.

    Args:
      stimuli: what was shown.
      responses: axes ``[image, site, repeat]``.

    Returns:
      The recordings, rows in their order. A stimulus that was recorded under its id and
      under a file name has its id's row; the other row keeps its name.

    Raises:
      InputError: two names of one stimulus, neither of which is its id, or two
        stimuli of one name.
    """
    found = _by_filename(stimuli, responses)
    recorded = set(responses.stimulus_ids)
    unclear = [
        (known, names)
        for known, names in found.items()
        if len(names) > 1 and known not in recorded
    ]
    if unclear:
        known, names = unclear[0]
        raise InputError(
            f"recordings: expected one name per stimulus, found {len(unclear)} stimuli "
            f"under several, first {known!r} under {names[:3]}; rename them to the "
            "stimulus ids"
        )
    renamed = {
        names[0]: known for known, names in found.items() if known not in recorded
    }
    names = tuple(renamed.get(name, name) for name in responses.stimulus_ids)
    return dataclasses.replace(responses, stimulus_ids=names)


def _by_filename(
    stimuli: StimulusSet | ControversialSet, responses: Recordings
) -> Mapping[str, Sequence[str]]:
    """Stimulus id -> recorded names that are no ids but say the stimulus's file."""
    owners = defaultdict(set)
    for one in stimuli.stimuli:
        for name in (one.stimulus_id, _stem(one.filename)):
            owners[name].add(one.stimulus_id)
    found = defaultdict(list)
    for name in responses.stimulus_ids:
        if name in owners and name in owners[name]:
            continue  # an id
        known = sorted(owners.get(_stem(name), ()))
        if len(known) > 1:
            raise InputError(
                f"recordings: {name!r}: expected the name of one stimulus, found that "
                f"of {known[:3]}; rename it to a stimulus id"
            )
        for stimulus in known:
            found[stimulus].append(name)
    return found


def _stem(name: str) -> str:
    r"""The last part of a path, without the ending of an image file.

    Example:
      >>> _stem(r"D:\day2\net-V4-ant-L03.PNG"), _stem("level_0.5")
      ('net-V4-ant-L03', 'level_0.5')
    """
    last = re.split(r"[/\\]", name)[-1]
    ending = next((s for s in SUFFIXES if last.lower().endswith(s)), "")
    return last[: len(last) - len(ending)]


def _recorded_as(stimulus: Stimulus, row: Mapping[str, int]) -> str:
    """Its own id; that of its seed image where only the latter was shown."""
    alias = stimulus.level is None and stimulus.stimulus_id not in row
    return stimulus.seed if alias else stimulus.stimulus_id


def join_notes(stimuli: StimulusSet, responses: Recordings) -> tuple[str, ...]:
    """What the join with recordings has to say, counted; see `control_table`.

    Stimuli and sites that only one side knows, stimuli that were matched by file name
    or by their seed image, recorded twice, or less often than most.
    """
    joined = by_stimulus_id(stimuli, responses)
    shown = [s.stimulus_id for s in stimuli.stimuli]
    row = {name: index for index, name in enumerate(joined.stimulus_ids)}
    by_seed = [
        s.stimulus_id
        for s in stimuli.stimuli
        if s.stimulus_id not in row and _recorded_as(s, row) in row
    ]
    pairs = zip(responses.stimulus_ids, joined.stimulus_ids, strict=True)
    by_file = [old for old, new in pairs if old != new]
    twice = _recorded_twice(stimuli, responses)
    missing = _only_in(shown, [*joined.stimulus_ids, *by_seed])
    used = {_recorded_as(s, row) for s in stimuli.stimuli}
    extra = _only_in(joined.stimulus_ids, [*used, *twice])
    sites = _only_in([s.site for s in stimuli.stimuli], responses.site_ids)
    notes = (
        (missing, f"of {len(shown)} stimuli were not recorded and have no response"),
        (extra, "recorded stimuli are not in the stimulus set and are ignored"),
        (sites, "target sites were not recorded and have no responses"),
        (by_file, "recorded stimuli were matched by their file names"),
        (by_seed, "un-accentuated seeds have the responses to their seed images"),
        (twice, "file names of stimuli recorded under their ids as well are ignored"),
    )
    said = [f"{len(ids)} {text}, first {ids[:3]}" for ids, text in notes if ids]
    return (*said, *_repeat_notes([name for name in shown if name in row], joined))


def _recorded_twice(stimuli: StimulusSet, responses: Recordings) -> list[str]:
    """Recorded file names of stimuli whose ids were recorded as well."""
    recorded = set(responses.stimulus_ids)
    found = _by_filename(stimuli, responses)
    return [n for known, names in found.items() if known in recorded for n in names]


def _repeat_notes(shown: Sequence[str], joined: Recordings) -> list[str]:
    """Stimuli shown less or more often than most, a repeat being one of any site."""
    counts = np.isfinite(joined.responses).any(axis=1).sum(axis=-1)
    by_name = dict(zip(joined.stimulus_ids, counts.tolist(), strict=True))
    own = np.asarray([by_name[name] for name in shown], dtype=np.int64)
    if not len(own) or np.ptp(own) == 0:
        return []
    usual = int(np.bincount(own).argmax())
    notes = []
    for word, differs in (("fewer", own < usual), ("more", own > usual)):
        names = [shown[index] for index in np.flatnonzero(differs).tolist()]
        if names:
            span = sorted({by_name[name] for name in names})
            notes.append(
                f"{len(names)} of {len(shown)} recorded stimuli have {word} repeats "
                f"({', '.join(map(str, span))}) than most ({usual}), first {names[:3]}"
            )
    return notes


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
