"""Simulated animals that are shown one run's stimuli: each draws its own trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax.calibration import anchor_ids
from paramctl_jax.experiment import Run, z_scored
from paramctl_jax.presenting import as_trials
from paramctl_jax.progress import bar
from paramctl_jax.recordings.sessions import session_scale
from paramctl_jax.scoring.correlation import mean_defined
from paramctl_jax.scoring.rehearsal_design import Values, design_of
from paramctl_jax.stimuli import stimulus_images
from paramctl_jax.types import Recordings, indices_of

SESSION = "day2"  # drifts and loses sites, as in the run itself


@dataclasses.dataclass(frozen=True)
class Animal:
    """One simulated animal's experiment.

    Attributes:
      predicted: what the models say of its stimuli, response units.
      recorded: average over the first n repeats, for every n.
      noise_free: what its sites would answer without noise, drift and loss.
    """

    predicted: Values
    recorded: Float[np.ndarray, "repeats model site seed level"]
    noise_free: Values


def model_names(run: Run) -> tuple[str, ...]:
    """In the order of the settings."""
    return tuple(entry.name for entry in run.entries)


def draw_animals(
    run: Run, keys: Sequence[PRNGKeyArray], repeats: Sequence[int]
) -> list[Animal]:
    """One animal per key, all with the stimuli and the truth of one run.

    The network of the subject sees every PNG once, however many animals there are.

    Args:
      run: fitted and accentuated.
      keys: of the animals' trials.
      repeats: the largest is drawn, the others are its first ones.
    """
    assert run.subject is not None
    stimuli = run.stimuli()
    include_seed = bool(run.config["scoring"].get("include_seed"))
    plan = design_of(stimuli, model_names(run), include_seed)
    columns = indices_of(plan.sites, run.subject.site_ids, "target sites")
    truth = run.subject.truth(stimulus_images(stimuli))
    names = [stimulus.stimulus_id for stimulus in stimuli.stimuli]
    scale = Anchors.of(run)
    noise_free = plan.arranged(scale.first(run).z(truth)[:, columns])
    # What no score reads need not be drawn: quantiles of counts are slow.
    asked = np.full_like(truth, np.nan)
    asked[:, columns] = np.where(plan.targets(len(names)), truth[:, columns], np.nan)
    drawn = []
    for key in bar(keys, label="animals", show=run.progress):
        trials = run.subject.trials(asked, names, max(repeats), key, SESSION)
        scales = scale.of_session(run, key, SESSION, repeats)
        means = (
            own.z(mean_defined(trials[:, :, :n], axis=-1))[:, columns]
            for n, own in zip(repeats, scales, strict=True)
        )
        recorded = np.stack([plan.arranged(mean) for mean in means])
        drawn.append(Animal(plan.predicted, recorded, noise_free))
    return drawn


@dataclasses.dataclass(frozen=True)
class Scale:
    """``z = (y - mean_s) / sd_s``, over the anchors' trials of one session."""

    mean: Float[np.ndarray, " site"]
    sd: Float[np.ndarray, " site"]

    def z(
        self, responses: Float[np.ndarray, "image site"]
    ) -> Float[np.ndarray, "image site"]:
        """Responses on this scale."""
        return (responses - self.mean[None]) / self.sd[None]


@dataclasses.dataclass(frozen=True)
class Anchors:
    """Natural images that every session repeats, if any; they set its scale.

    Attributes:
      stimulus_ids: of them; without any, responses stay as they are.
      truth: the subject's noise-free responses to them.
    """

    stimulus_ids: tuple[str, ...]
    truth: Float[np.ndarray, "image site"]

    @classmethod
    def of(cls, run: Run) -> Anchors:
        """Those of the settings."""
        assert run.subject is not None
        names = anchor_ids(run) if z_scored(run, SESSION) else ()
        if not names:
            return cls((), np.empty((0, len(run.subject.site_ids))))
        return cls(names, run.subject.truth(run.images.select(names)))

    def of_session(
        self, run: Run, key: PRNGKeyArray, session: str, repeats: Sequence[int]
    ) -> list[Scale]:
        """The scale of a session for every number of repeats."""
        assert run.subject is not None
        n_sites = len(run.subject.site_ids)
        if not self.stimulus_ids:
            return [Scale(np.zeros(n_sites), np.ones(n_sites)) for _ in repeats]
        trials = run.subject.trials(
            self.truth, self.stimulus_ids, max(repeats), key, session
        )
        sites = run.subject.site_ids
        shown = (
            Recordings(trials[:, :, :n], self.stimulus_ids, sites) for n in repeats
        )
        found = (session_scale(as_trials(one, session)) for one in shown)
        return [Scale(one.mean[0], one.sd[0]) for one in found]

    def first(self, run: Run) -> Scale:
        """That of day 1, on which the models were fitted."""
        repeats = run.config["presentation"].get("day1_repeats", 1)
        return self.of_session(run, run.key("day1"), "day1", [repeats])[0]
