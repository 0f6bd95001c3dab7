"""From single presentations to repeated responses, step by step and told in notes.

trials -> outlier trials left out -> z per session -> [image, site, repeat]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from paramctl_jax.recordings.sessions import (
    SessionScale,
    checked_responses,
    outlier_trials,
    session_scale,
    z_scored,
)
from paramctl_jax.types import Recordings, Trials

RATES = ("spike", "count", "hz", "sp/s", "impulse")
"""How units begin in which a silent site gives 0."""


def group_trials(trials: Trials) -> Recordings:
    """Puts the repeats of every image side by side; values stay as they are.

    Images come in order of first appearance and repeats in order of presentation,
    padded with NaN to the largest number of repeats. A trial without a response at any
    site takes no repeat; its image keeps its row, for `find_exclusions` to name.

    Args:
      trials: single presentations, in the order of recording.

    Returns:
      Responses ``[image, site, repeat]`` in the units of the trials.

    Raises:
      InputError: no trials, or ids that do not match the responses.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Trials
      >>> rates = np.array([[3.0], [8.0], [5.0]])
      >>> grouped = group_trials(Trials(rates, ("b", "a", "b"), ("s0",), ("d1",) * 3))
      >>> grouped.stimulus_ids, grouped.responses[:, 0].tolist()
      (('b', 'a'), [[3.0, 5.0], [8.0, nan]])
    """
    values = checked_responses(trials)
    row = {name: i for i, name in enumerate(dict.fromkeys(trials.stimulus_ids))}
    shown = ~np.isnan(values).all(axis=1)
    image = np.asarray([row[name] for name in trials.stimulus_ids], dtype=np.int64)
    image = image[shown]
    repeat = _earlier_trials(image)
    n_repeats = int(repeat.max(initial=0)) + 1
    responses = np.full((len(row), len(trials.site_ids), n_repeats), np.nan)
    responses[image, :, repeat] = values[shown]
    return Recordings(
        responses=responses,
        stimulus_ids=tuple(row),
        site_ids=trials.site_ids,
        units=trials.units,
        window_ms=trials.window_ms,
        site_meta=dict(trials.site_meta),
        notes=(*trials.notes, *_missing_notes(shown)),
    )


def responses_from_trials(
    trials: Trials,
    *,
    anchors: Sequence[str] | None = None,
    outlier: float | None = 15.0,
    z_score: bool = True,
) -> Recordings:
    """Repeated responses from trials: outliers left out, z-scored session by session.

    A trial is left out where any site lies too far from the median of its session,
    ``|x - median| / (1.4826 MAD) > outlier``; then ``z = (x - mean_d) / SD_d`` with
    mean and SD (ddof 0) over the anchors' trials of the session d. A site that is
    constant over them has no z in this session. For spikes, counts and rates
    ``site_meta["floor"]`` is the response of a silent site,
    ``min(mean over d of -mean_d / SD_d, min over images of the repeat average)``.

    Args:
      trials: single presentations, e.g. in spikes/s.
      anchors: stimulus ids whose trials set mean and SD, shown in every session, e.g.
        the training images (held-out ones would leak); None for all that were shown.
      outlier: in robust SD; None keeps every trial. A site is judged in sessions where
        it has at least ten responses and a MAD above 0.
      z_score: False keeps the units of the trials, and leaves `anchors` without use.

    Returns:
      Responses ``[image, site, repeat]``; what was left out or not scaled by the
      anchors is told in the notes.

    Raises:
      InputError: no trials, ids that do not match the responses, a threshold that is
        not above 0.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Trials
      >>> rates = np.array([[2.0], [4.0], [6.0], [4.0]])
      >>> trials = Trials(rates, ("a", "b", "c", "b"), ("s0",), ("d1",) * 4)
      >>> z = responses_from_trials(trials)
      >>> z.mean()[:, 0].round(3).tolist(), z.site_meta["floor"].round(3).tolist()
      ([-1.414, 0.0, 1.414], [-2.828])

    Source: the closed-loop pipeline of the paper's authors.
    """
    values, notes = checked_responses(trials), list(trials.notes)
    if outlier is not None:
        flags = outlier_trials(trials, outlier)
        values = np.where(flags.any(axis=1)[:, None], np.nan, values)
        notes += _outlier_notes(flags, trials.site_ids, outlier)
    notes += _missing_notes(~np.isnan(trials.responses).all(axis=1))
    trials = dataclasses.replace(trials, responses=values)
    if not z_score:
        return dataclasses.replace(group_trials(trials), notes=tuple(notes))
    scale = session_scale(trials, anchors)
    recordings = group_trials(z_scored(trials, scale))
    meta = dict(recordings.site_meta)
    if trials.units.strip().lower().startswith(RATES):
        meta["floor"] = _floor(scale, recordings.mean())
    return dataclasses.replace(recordings, site_meta=meta, notes=(*notes, *scale.notes))


def _earlier_trials(
    image: Int[np.ndarray, " trial"],
) -> Int[np.ndarray, " trial"]:
    """How many earlier trials showed the same image."""
    order = np.argsort(image, kind="stable")
    in_order = image[order]
    first = np.searchsorted(in_order, in_order, side="left")
    earlier = np.empty_like(order)
    earlier[order] = np.arange(len(order)) - first
    return earlier


def _floor(
    scale: SessionScale, average: Float[np.ndarray, "image site"]
) -> Float[np.ndarray, " site"]:
    """Response of a silent site in z; NaN for a site without any."""
    scaled = ~np.isnan(scale.sd)
    silent = np.where(scaled, -scale.mean / np.where(scaled, scale.sd, 1.0), 0.0)
    silent = silent.sum(axis=0) / np.maximum(scaled.sum(axis=0), 1)
    lowest = np.min(average, axis=0, where=np.isfinite(average), initial=np.inf)
    return np.where(scaled.any(axis=0), np.minimum(silent, lowest), np.nan)


def _missing_notes(shown: Bool[np.ndarray, " trial"]) -> list[str]:
    missing = int(np.sum(~shown))
    told = f"{missing} of {len(shown)} trials left out: no response at any site"
    return [told] if missing else []


def _outlier_notes(
    flags: Bool[np.ndarray, "trial site"], site_ids: Sequence[str], threshold: float
) -> list[str]:
    if not flags.any():
        return []
    per_site = flags.sum(axis=0)
    most = int(np.argmax(per_site))
    return [
        f"{int(flags.any(axis=1).sum())} of {len(flags)} trials left out: a site more "
        f"than {threshold:g} robust SD from its session's median, most often "
        f"{site_ids[most]!r} ({per_site[most]} of them)"
    ]
