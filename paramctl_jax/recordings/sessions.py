"""What belongs to one session: its outlier trials, and every site's mean and SD."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from paramctl_jax.recordings.correlation import is_constant
from paramctl_jax.types import InputError, Trials

MIN_OUTLIER_TRIALS = 10
"""The median absolute deviation of fewer responses is too uncertain to reject any."""

MIN_ANCHOR_TRIALS = 5
"""With fewer anchor trials in a session a site is scaled by all its trials there."""

MAD_TO_SD = 1.4826
"""SD of a normal distribution over its median absolute deviation."""


def outlier_trials(
    trials: Trials, threshold: float = 15.0
) -> Bool[np.ndarray, "trial site"]:
    """Responses far from their site's median in their session, in robust SD.

    ``|x - median| / (1.4826 median|x - median|) > threshold``

    Args:
      trials: single presentations; missing and infinite responses are not judged.
      threshold: above 0.

    Returns:
      A flag per response; none where a site has fewer than ten responses in the
      session, or a median absolute deviation of 0.

    Raises:
      InputError: a threshold that is not above 0.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Trials
      >>> rates = np.array([[1.0, 2.0, 3.0, 4.0, 5.0] * 2 + [40.0]]).T
      >>> trials = Trials(rates, ("a",) * 11, ("s0",), ("d1",) * 11)
      >>> np.flatnonzero(outlier_trials(trials))
      array([10])
    """
    if not threshold > 0:
        raise InputError(f"outlier: expected more than 0 robust SD, found {threshold}")
    values = checked_responses(trials)
    flags = np.zeros(values.shape, dtype=bool)
    for rows in session_rows(trials).values():
        x = np.where(np.isfinite(values[rows]), values[rows], np.nan)
        deviation = np.abs(x - _median(x))
        spread = MAD_TO_SD * _median(deviation)
        judged = (np.isfinite(x).sum(axis=0) >= MIN_OUTLIER_TRIALS) & (spread > 0)
        flags[rows] = judged & (deviation > threshold * spread)  # NaN > x is False
    return flags


@dataclasses.dataclass(frozen=True)
class SessionScale:
    """Mean and SD of every site in every session.

    Attributes:
      session_ids: in order of first appearance.
      mean: of the responses that set the scale; NaN where there are none.
      sd: likewise, ddof 0; NaN where they are constant or absent.
      notes: where something else than the anchors set the scale, and where there is
        no SD.
    """

    session_ids: tuple[str, ...]
    mean: Float[np.ndarray, "session site"]
    sd: Float[np.ndarray, "session site"]
    notes: tuple[str, ...] = ()


def session_scale(trials: Trials, anchors: Sequence[str] | None = None) -> SessionScale:
    """Mean and SD (ddof 0) of every session and site over the anchors' trials.

    Args:
      trials: single presentations; missing and infinite responses do not count.
      anchors: stimulus ids whose trials count; None for all. A site with fewer than
        five such responses in a session is scaled by all its responses there.

    Returns:
      The scale, with notes on every exception.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Trials
      >>> rates = np.array([[2.0], [4.0], [7.0]])
      >>> trials = Trials(rates, ("a", "b", "a"), ("s0",), ("d1", "d1", "d2"))
      >>> session_scale(trials).sd.tolist()
      [[1.0], [nan]]
    """
    values = checked_responses(trials)
    chosen = set(trials.stimulus_ids if anchors is None else anchors)
    anchor = np.asarray([name in chosen for name in trials.stimulus_ids])[:, None]
    sessions = session_rows(trials)
    means, sds, notes = [], [], []
    for session, rows in sessions.items():
        valid = np.isfinite(values[rows])
        count = np.sum(valid & anchor[rows], axis=0)
        few = (count < MIN_ANCHOR_TRIALS) & (anchors is not None) & valid.any(axis=0)
        used = valid & (anchor[rows] | few)
        mean, sd = _moments(values[rows], used)
        constant = np.isnan(sd) & valid.any(axis=0)
        notes += _notes(session, trials.site_ids, few, constant)
        means.append(mean)
        sds.append(sd)
    notes += _shown_notes(trials, sessions, anchors)
    return SessionScale(tuple(sessions), np.stack(means), np.stack(sds), tuple(notes))


def z_scored(trials: Trials, scale: SessionScale) -> Trials:
    """Trials in z, ``(x - mean_d) / SD_d`` by their session d; NaN without an SD.

    Args:
      trials: single presentations.
      scale: of each of their sessions.

    Returns:
      The same trials with the units ``"z"``.
    """
    values = checked_responses(trials)
    row = {name: index for index, name in enumerate(scale.session_ids)}
    session = np.asarray([row[name] for name in trials.session_ids], dtype=np.int64)
    z = (values - scale.mean[session]) / scale.sd[session]
    return dataclasses.replace(trials, responses=z, units="z")


def checked_responses(trials: Trials) -> Float[np.ndarray, "trial site"]:
    """Responses in float64: counts are never standardised as integers.

    Raises:
      InputError: no trials, no sites, or ids that do not match the responses.
    """
    values = np.asarray(trials.responses, dtype=np.float64)
    expected = (len(trials.stimulus_ids), len(trials.site_ids))
    if values.shape != expected or len(trials.session_ids) != expected[0]:
        turned = values.shape == expected[::-1] and expected[0] != expected[1]
        raise InputError(
            f"trials: expected responses [trial, site] of shape {expected} and as many "
            f"session ids as trials, found shape {values.shape} and "
            f"{len(trials.session_ids)} session ids"
            + ("; transpose the responses" if turned else "")
        )
    if 0 in expected:
        raise InputError(
            f"trials: expected at least one trial and one site, found shape {expected}"
        )
    return values


def session_rows(trials: Trials) -> dict[str, Int[np.ndarray, " row"]]:
    """Trials of every session, sessions in order of first appearance."""
    rows: dict[str, list[int]] = {}
    for index, session in enumerate(trials.session_ids):
        rows.setdefault(session, []).append(index)
    return {session: np.asarray(indices) for session, indices in rows.items()}


def _median(
    values: Float[np.ndarray, "trial site"],
) -> Float[np.ndarray, " site"]:
    """Median of the responses that are there; NaN for a site without any."""
    some = ~np.isnan(values).all(axis=0)
    median = np.full(values.shape[1], np.nan)
    median[some] = np.nanmedian(values[:, some], axis=0)
    return median


def _moments(
    values: Float[np.ndarray, "trial site"], used: Bool[np.ndarray, "trial site"]
) -> tuple[Float[np.ndarray, " site"], Float[np.ndarray, " site"]]:
    """Mean and SD (ddof 0) of the used values; no SD where they are constant."""
    count = used.sum(axis=0)
    size = np.maximum(count, 1)
    mean = np.sum(values, axis=0, where=used) / size
    centred = np.where(used, values, mean) - mean
    sd = np.sqrt(np.sum(centred**2, axis=0) / size)
    return (
        np.where(count > 0, mean, np.nan),
        np.where(is_constant(values, used), np.nan, sd),
    )


def _shown_notes(
    trials: Trials,
    sessions: Mapping[str, Int[np.ndarray, " row"]],
    anchors: Sequence[str] | None,
) -> list[str]:
    """That sessions are scaled by different images; one without anchors has a note."""
    wanted = set(anchors or ())
    shown = {
        session: wanted & {trials.stimulus_ids[row] for row in rows.tolist()}
        for session, rows in sessions.items()
    }
    shown = {session: names for session, names in shown.items() if names}
    if all(len(names) == len(wanted) for names in shown.values()):
        return []
    fewest = min(shown, key=lambda session: len(shown[session]))
    common = len(set.intersection(*shown.values()))
    return [
        f"{common} of {len(wanted)} anchors were shown in every session that has any, "
        f"the fewest ({len(shown[fewest])}) in {fewest!r}; sessions scaled by "
        "different images share no exact scale: name anchors that all of them repeat"
    ]


def _notes(
    session: str,
    site_ids: Sequence[str],
    few: Bool[np.ndarray, " site"],
    constant: Bool[np.ndarray, " site"],
) -> list[str]:
    def sites(flags: Bool[np.ndarray, " site"]) -> str:
        names = [site_ids[index] for index in np.flatnonzero(flags).tolist()]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        listed = ", ".join(map(repr, names[:5])) + more
        return f"{len(names)} of {len(flags)} sites ({listed})"

    where, notes = f"session {session!r}", []
    if few.any():
        notes.append(
            f"{where}: fewer than {MIN_ANCHOR_TRIALS} anchor trials at {sites(few)}, "
            "z-scored there on all trials of the session"
        )
    if constant.any():
        notes.append(
            f"{where}: no variance over the trials that set the scale at "
            f"{sites(constant)}, whose responses there count as missing"
        )
    return notes
