"""Which controversial stimuli can be scored: matched pairs that were recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.types import ControversialSet, ControversialStimulus, Recordings


@dataclasses.dataclass(frozen=True)
class Pair:
    """One seed image driven both ways at one site, with what the site did.

    Attributes:
      site, seed: of both stimuli.
      recorded: responses to every stimulus of the pair, both directions and all levels;
        first those driven up for a.
      predicted: what a and b say of the same stimuli.
      seed_response: to the un-accentuated seed image; NaN where it was not recorded.
    """

    site: str
    seed: str
    recorded: Float[np.ndarray, " stimulus"]
    predicted: Float[np.ndarray, "2 stimulus"]
    seed_response: float

    @property
    def a_high(self) -> float:
        """Mean response, over levels, of the stimuli driven up for a."""
        return float(np.mean(self.recorded[: len(self.recorded) // 2]))

    @property
    def b_high(self) -> float:
        """Mean response, over levels, of the stimuli driven up for b."""
        return float(np.mean(self.recorded[len(self.recorded) // 2 :]))


def matched_pairs(
    stimuli: ControversialSet, responses: Recordings, a: str, b: str
) -> list[Pair]:
    """Pairs that are accepted, selected and recorded in both directions.

    Args:
      stimuli: what was shown.
      responses: axes ``[image, site, repeat]``; each stimulus is taken at its own site.
      a: one of the set's models.
      b: another.

    Returns:
      By site and seed, whatever the order of the set; levels that lack a direction
      are left out of their pair.
    """
    known = _recorded(stimuli, responses)
    cells: dict[tuple[str, str], dict[float, dict[str, ControversialStimulus]]] = {}
    for one in stimuli.stimuli:
        if one.high in (a, b) and _is_shown(one) and one.stimulus_id in known:
            levels = cells.setdefault((one.site, one.seed), {})
            levels.setdefault(one.level, {})[one.high] = one
    seeds = _seed_responses(stimuli, responses)
    pairs = []
    for (site, seed), levels in sorted(cells.items()):
        whole = [levels[level] for level in sorted(levels) if len(levels[level]) == 2]
        if whole:
            members = [both[high] for high in (a, b) for both in whole]
            pairs.append(
                Pair(
                    site,
                    seed,
                    np.asarray([known[one.stimulus_id] for one in members]),
                    np.asarray([[x.predicted[m] for x in members] for m in (a, b)]),
                    seeds.get((site, seed), np.nan),
                )
            )
    return pairs


def pair_notes(
    stimuli: ControversialSet,
    responses: Recordings,
    a: str,
    b: str,
    pairs: Sequence[Pair],
) -> tuple[str, ...]:
    """What is not behind the pairs, counted; one line each.

    Args:
      stimuli: what was shown.
      responses: what was recorded.
      a: one model.
      b: the other.
      pairs: what is scored, as `matched_pairs` returns it.
    """
    driven = [one for one in stimuli.stimuli if one.high]
    rivals = [one for one in driven if one.high in (a, b)]
    shown = [one for one in rivals if _is_shown(one)]
    known = _recorded(stimuli, responses)
    there = [one for one in shown if one.stimulus_id in known]
    used = sum(len(pair.recorded) for pair in pairs)
    no_seed = sum(not np.isfinite(pair.seed_response) for pair in pairs)
    ids = {one.stimulus_id for one in stimuli.stimuli}
    extra = sum(name not in ids for name in responses.stimulus_ids)
    sites = {one.site for one in rivals}
    lost = sites - {pair.site for pair in pairs}
    notes = (
        (len(driven) - len(rivals), f"stimuli drive up neither {a} nor {b}"),
        (sum(not one.accepted for one in rivals), "stimuli were not accepted"),
        (
            sum(one.accepted and not one.selected for one in rivals),
            "accepted stimuli were not selected",
        ),
        (
            len(shown) - len(there),
            f"of {len(shown)} selected stimuli have no response at their site",
        ),
        (len(there) - used, "recorded stimuli lack the other direction of their pair"),
        (no_seed, f"of {len(pairs)} pairs have no response to their seed image"),
        (len(lost), f"of {len(sites)} sites have no pair: {_first(sorted(lost))}"),
        (extra, "recorded stimuli are not in the controversial set"),
    )
    return tuple(f"{count} {text}" for count, text in notes if count)


def _is_shown(one: ControversialStimulus) -> bool:
    return one.accepted and one.selected


def _recorded(stimuli: ControversialSet, responses: Recordings) -> dict[str, float]:
    """Repeat average at the stimulus's own site, by stimulus id, where there is one."""
    row = {name: index for index, name in enumerate(responses.stimulus_ids)}
    column = {name: index for index, name in enumerate(responses.site_ids)}
    mean = responses.mean()
    found = {
        one.stimulus_id: float(mean[row[one.stimulus_id], column[one.site]])
        for one in stimuli.stimuli
        if one.stimulus_id in row and one.site in column
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _seed_responses(
    stimuli: ControversialSet, responses: Recordings
) -> Mapping[tuple[str, str], float]:
    """Response to the un-accentuated seed image, by (site, seed)."""
    known = _recorded(stimuli, responses)
    found: dict[tuple[str, str], list[float]] = {}
    for one in stimuli.stimuli:
        if not one.high and one.stimulus_id in known:
            found.setdefault((one.site, one.seed), []).append(known[one.stimulus_id])
    return {key: float(np.mean(values)) for key, values in found.items()}


def _first(names: Sequence[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
