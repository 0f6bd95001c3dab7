"""Verdicts beyond each model's control: peers, other sites, controversial stimuli."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from paramctl_jax import artifacts
from paramctl_jax.calibration import Calibration, responses_of
from paramctl_jax.contesting import controversial_set
from paramctl_jax.experiment import CONTROVERSIAL, Run, recordings_file
from paramctl_jax.presenting import record_controversial
from paramctl_jax.scoring import (
    by_stimulus_id,
    choice_score,
    natural_sd,
    peer_review,
    specificity,
)
from paramctl_jax.stimuli import peer_predictions, summarise_controversial
from paramctl_jax.types import (
    ChoiceScore,
    ControversialSet,
    EncodingModel,
    PeerReview,
    Recordings,
    Specificity,
    StimulusSet,
)

VERDICTS = "verdicts.json"


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """What the recordings of a run say beside the control scores.

    Attributes:
      peer_review: every model's predictions of the responses to every model's stimuli.
      specificity: per model, its stimuli at the sites that they were not made for.
      choice: between the rivals; None without controversial stimuli, or while their
        responses are not recorded.
      controversial: those stimuli; None without.
      notes: what was left out, in plain words.
    """

    peer_review: PeerReview
    specificity: tuple[Specificity, ...]
    choice: ChoiceScore | None
    controversial: ControversialSet | None
    notes: tuple[str, ...] = ()


def judge(
    run: Run,
    stimuli: StimulusSet,
    models: Sequence[EncodingModel],
    day2: Recordings,
    calibration: Calibration,
) -> Verdicts:
    """All verdicts that the recordings allow; leaves ``verdicts.json``.

    Args:
      run: whose scoring settings hold.
      stimuli: of the control scores.
      models: that made them.
      day2: the responses.
      calibration: whose natural responses give the unit of choices.
    """
    settings = {
        name: value
        for name, value in run.config["scoring"].items()
        if name in ("n_bootstrap", "random_seed")
    }
    said = peer_predictions(models, stimuli, progress=run.progress)
    reviewed = peer_review(stimuli, day2, said, **settings)
    specific = specificity(stimuli, day2, **settings)
    contested = controversial_set(run)
    choice, notes = None, list(reviewed.notes)
    notes += [f"{one.model}: {note}" for one in specific for note in one.notes]
    if contested is not None:
        notes.append(summarise_controversial(contested))
        choice, more = _choice(run, contested, stimuli, calibration, settings)
        notes += more
    verdicts = {"peer_review": reviewed, "specificity": specific, "choice": choice}
    content = artifacts.with_null({**verdicts, "notes": notes})
    artifacts.write_json(run.workdir / VERDICTS, content)
    return Verdicts(reviewed, specific, choice, contested, tuple(notes))


def apart(
    responses: Recordings, others: StimulusSet | ControversialSet | None
) -> Recordings:
    """Responses without those to another set that the same file may hold."""
    if others is None:
        return responses
    known = {one.stimulus_id for one in others.stimuli}
    responses = by_stimulus_id(others, responses)
    kept = [name for name in responses.stimulus_ids if name not in known]
    return responses.select_stimuli(kept)


def _choice(
    run: Run,
    contested: ControversialSet,
    stimuli: StimulusSet,
    calibration: Calibration,
    settings: dict[str, Any],
) -> tuple[ChoiceScore | None, list[str]]:
    """Between the first two rivals, in SD of each site's natural responses."""
    record_controversial(run, contested)
    shown = {one.stimulus_id for one in contested.stimuli}
    responses = responses_of(run, CONTROVERSIAL, anchors=calibration.split[0])
    responses = by_stimulus_id(contested, apart(responses, stimuli))
    if not shown & set(responses.stimulus_ids):
        where = recordings_file(run, CONTROVERSIAL)
        return None, [f"{where}: none of the controversial stimuli is in it yet"]
    scale = natural_sd(calibration.recordings)
    score = choice_score(contested, responses, scale=scale, **settings)
    return score, [f"controversial stimuli: {note}" for note in score.notes]
