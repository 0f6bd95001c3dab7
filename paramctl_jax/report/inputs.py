"""What a report is made from, checked once and indexed by model and site."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from paramctl_jax.encoding import EncodingComparison
from paramctl_jax.report.style import OUTSIDER, model_colour
from paramctl_jax.types import (
    ChoiceScore,
    ControlScore,
    ControversialSet,
    EncodingEvaluation,
    InputError,
    ModelScore,
    PeerReview,
    Replication,
    SiteScore,
    Specificity,
    Stimulus,
    StimulusSet,
    Traces,
)


@dataclasses.dataclass(frozen=True)
class SiteSweep:
    """The stimuli of one model at one site, as a table of seeds and levels.

    Attributes:
      model, site: what the stimuli were made for.
      seeds: seed ids in the order of the stimulus set: the rows.
      levels: level indices, ascending: the columns.
      cells: stimulus by (seed, level); level None is the un-accentuated seed.
    """

    model: str
    site: str
    seeds: tuple[str, ...]
    levels: tuple[int, ...]
    cells: Mapping[tuple[str, int | None], Stimulus]

    def target(self, level: int) -> float:
        """Target of a level, NaN where it differs between seeds."""
        targets = [
            self.cells[seed, level].target
            for seed in self.seeds
            if (seed, level) in self.cells
        ]
        spread = max(targets) - min(targets)
        return targets[0] if spread <= 1e-6 * max(1.0, abs(targets[0])) else math.nan

    def accentuated(self) -> list[Stimulus]:
        """All stimuli that had a target, by seed and level."""
        keys = [(seed, level) for seed in self.seeds for level in self.levels]
        return [self.cells[key] for key in keys if key in self.cells]


@dataclasses.dataclass(frozen=True)
class ReportInputs:
    """Everything that a report shows; a report computes no score of its own.

    Attributes:
      title: of the page.
      evaluations: held-out evaluation by model name; their order is the order, and
        fixes the colour, of the models everywhere in the report.
      stimuli: the stimulus set, PNGs on disk.
      recorded: stimulus id to the repeat-averaged response of its own site; absent or
        NaN where nothing was recorded.
      score: control scores; without subjects where nothing was recorded yet.
      n_repeats: stimulus id to the number of presentations behind `recorded`.
      subject: which subject of `score` is shown; None for its only one.
      units: of targets, predictions and recordings.
      readouts: readout layer by model name.
      ground_truth: what is known about the subject, in one sentence.
      provenance: config hash, versions, commands; nested mappings are flattened.
      notes: warnings and remarks of the stages, in plain words.
      site_choice: per recorded site ``reliability``, ``ncsnr``, ``ceiling`` (None if
        undefined) and ``status``: chosen, or why not.
      encoding_comparisons: paired differences in held-out r, by two models' names.
      traces: what the optimisation loop saw, by model name, with positions in the
        order of the stimulus set.
      peer_review: every model's predictions on every model's stimuli.
      specificity: per model, its stimuli at the sites that they were not made for.
      choice: the verdict between two models from controversial stimuli.
      controversial: those stimuli, PNGs on disk.
      replications: differences between models in several subjects.

    Raises:
      InputError: where the parts do not belong together.
    """

    title: str
    evaluations: Mapping[str, EncodingEvaluation]
    stimuli: StimulusSet
    recorded: Mapping[str, float]
    score: ControlScore
    n_repeats: Mapping[str, int] = dataclasses.field(default_factory=dict)
    subject: str | None = None
    units: str = "z"
    readouts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ground_truth: str = ""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    site_choice: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    encoding_comparisons: Mapping[tuple[str, str], EncodingComparison] = (
        dataclasses.field(default_factory=dict)
    )
    traces: Mapping[str, Traces] = dataclasses.field(default_factory=dict)
    peer_review: PeerReview | None = None
    specificity: Sequence[Specificity] = ()
    choice: ChoiceScore | None = None
    controversial: ControversialSet | None = None
    replications: Sequence[Replication] = ()

    def __post_init__(self) -> None:
        """Refuses parts that do not belong together, before anything is drawn."""
        if not self.evaluations:
            raise InputError("report: expected at least one encoding model, found none")
        self._require_known(
            {stimulus.model for stimulus in self.stimuli.stimuli}, "stimuli"
        )
        self._require_known(set(self.model_scores), "control scores")
        self._require_known(set(self.traces), "traces")
        self._require_contest()
        ids = {stimulus.stimulus_id for stimulus in self.stimuli.stimuli}
        strangers = sorted(set(self.recorded) - ids)
        if strangers:
            raise InputError(
                f"report: {len(strangers)} recorded stimuli are not in the set "
                f"{self.stimuli.directory}, first {strangers[:3]}"
            )
        _ = self.sweeps
        for model in self.traces:
            self._require_positions(model)

    def _require_positions(self, model: str) -> None:
        """Refuses traces of sites and seed images that the set does not have."""
        own = [s for s in self.stimuli.stimuli if s.model == model]
        for name in ("site", "seed"):
            count = len({getattr(stimulus, name) for stimulus in own})
            positions = getattr(self.traces[model], name)
            if own and positions.size and positions.max() >= count:
                raise InputError(
                    f"report: traces of model {model!r} are of at least "
                    f"{positions.max() + 1} {name}s, its stimuli of {count}; "
                    "expected the traces of this stimulus set"
                )

    def _require_contest(self) -> None:
        """Refuses a verdict on other models than the controversial stimuli's."""
        if self.choice is None or self.controversial is None:
            return
        judged, shown = (self.choice.a, self.choice.b), self.controversial.models
        if not set(judged) <= set(shown):
            raise InputError(
                f"report: the verdict is between {list(judged)}, the controversial "
                f"stimuli are of {list(shown)[:10]}; expected the verdict on this set"
            )

    def _require_known(self, models: set[str], what: str) -> None:
        unknown = sorted(models - set(self.evaluations))
        if unknown:
            raise InputError(
                f"report: {what} of models {unknown[:3]} without an encoding "
                f"evaluation; evaluated are {list(self.evaluations)[:10]}"
            )

    @property
    def models(self) -> tuple[str, ...]:
        """Model names in the order of the report."""
        return tuple(self.evaluations)

    def colour(self, model: str) -> str:
        """Colour of a model; grey for one that the report has no evaluation of."""
        known = model in self.evaluations
        return model_colour(self.models.index(model)) if known else OUTSIDER

    @functools.cached_property
    def model_scores(self) -> Mapping[str, ModelScore]:
        """Scores of the shown subject by model; empty where nothing was scored."""
        subjects = self.score.subjects
        if self.subject is None and len(subjects) < 2:
            return next(iter(subjects.values()), {})
        if self.subject is None or self.subject not in subjects:
            raise InputError(
                f"report: subject={self.subject!r} is not scored; name one of "
                f"{list(subjects)[:10]}"
            )
        return subjects[self.subject]

    @functools.cached_property
    def sweeps(self) -> Mapping[tuple[str, str], SiteSweep]:
        """Stimuli by (model, site), in the order of models and then of the set."""
        grouped: dict[tuple[str, str], list[Stimulus]] = {}
        for stimulus in self.stimuli.stimuli:
            grouped.setdefault((stimulus.model, stimulus.site), []).append(stimulus)
        ordered = sorted(grouped, key=lambda pair: self.models.index(pair[0]))
        return {pair: _site_sweep(*pair, grouped[pair]) for pair in ordered}

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites with stimuli or scores, in the order of the stimulus set."""
        swept = [site for _, site in self.sweeps]
        scored = [site for score in self.model_scores.values() for site in score.sites]
        return tuple(dict.fromkeys(swept + scored))

    def sites_of(self, model: str) -> tuple[str, ...]:
        """The sites a model is summarised over: scored, else swept, else evaluated."""
        if model in self.model_scores:
            return tuple(self.model_scores[model].sites)
        swept = tuple(site for name, site in self.sweeps if name == model)
        return swept or self.evaluations[model].site_ids

    def site_score(self, model: str, site: str) -> SiteScore | None:
        """Score of a site by a model, None where it has none."""
        score = self.model_scores.get(model)
        return score.sites.get(site) if score else None

    def response(self, stimulus: Stimulus) -> float:
        """Recorded mean of a stimulus at its own site, NaN where not recorded."""
        return float(self.recorded.get(stimulus.stimulus_id, math.nan))


def _site_sweep(model: str, site: str, stimuli: Sequence[Stimulus]) -> SiteSweep:
    cells: dict[tuple[str, int | None], Stimulus] = {}
    for stimulus in stimuli:
        place = (stimulus.seed, stimulus.level)
        if place in cells:
            raise InputError(
                f"report: stimuli {cells[place].stimulus_id!r} and "
                f"{stimulus.stimulus_id!r} are both model {model!r}, site {site!r}, "
                f"seed {stimulus.seed!r}, level {stimulus.level}; expected one"
            )
        cells[place] = stimulus
    levels = sorted({level for _, level in cells if level is not None})
    seeds = tuple(dict.fromkeys(seed for seed, _ in cells))
    return SiteSweep(model, site, seeds, tuple(levels), cells)
