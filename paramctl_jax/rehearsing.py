"""A planned experiment rehearsed on simulated animals, before it costs a real one.

    fixed: fit -> accentuate -> for each animal: day 2's trials -> score all animals
    full:  for each animal: axes, day 1, fit, accentuate, day 2's trials -> score all

Where the fit is fixed, all animals see one stimulus set, and differ in the trials of
day 2: noise, the session's drift, and the sites that are lost. In full, each is an
animal of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax import artifacts, pipeline, report, sweeping
from paramctl_jax.calibration import anchor_ids
from paramctl_jax.experiment import (
    Run,
    open_run,
    recordings_file,
    simulated,
    z_scored,
)
from paramctl_jax.presenting import as_trials
from paramctl_jax.progress import bar
from paramctl_jax.recordings.sessions import session_scale
from paramctl_jax.report.rehearsal import rehearsal_figure
from paramctl_jax.scoring.correlation import mean_defined
from paramctl_jax.scoring.rehearsal import score_rehearsal
from paramctl_jax.scoring.rehearsal_design import Values, design_of
from paramctl_jax.scoring.rehearsal_records import Rehearsal
from paramctl_jax.scoring.rehearsal_summary import notes
from paramctl_jax.stimuli import stimulus_images
from paramctl_jax.types import InputError, Recordings, indices_of, unknown

RESULT, FIGURE = "rehearsal.json", "figures/rehearsal.png"
ANIMALS = "animals"  # folder of their runs, where each has its own
MODES = ("fixed", "full")
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


def rehearse(
    run: Run,
    animals: int = 100,
    repeats: Sequence[int] = (1, 2, 4, 8, 16),
    *,
    mode: str = "fixed",
    alpha: float = 0.05,
    wanted_power: float = 0.8,
) -> Rehearsal:
    """Runs a planned experiment on many simulated animals.

    With a fixed fit the run's own stages fit and accentuate once. In full every animal
    is a run in ``animals/NUMBER``, of another ``seed``: it has axes, recordings, fits
    and stimuli of its own. Nothing is done again where it is done. Leaves
    ``rehearsal.json`` and ``figures/rehearsal.png``.

    Args:
      run: of an experiment with an in-silico subject.
      animals: at least 2.
      repeats: of each stimulus, to try beside the planned ``day2_repeats``; each at
        least 1. The first n of more repeats are what n repeats would have been.
      mode: ``"fixed"`` or ``"full"``.
      alpha: level of the tests.
      wanted_power: share of animals that are to show a difference, in (0, 1).

    Returns:
      Distribution of control, and power for every pair of models; a single model has
      no pairs.

    Raises:
      InputError: real recordings, fewer than two animals or one repeat.

    Example:
      ``rehearse(open_run(config, "runs/rehearsal"), animals=20).pairs[0].enough``
    """
    check(animals, repeats)
    if mode not in MODES:
        raise unknown(mode, MODES, "mode of a rehearsal")
    if not run.config["subject"]:
        raise InputError(
            "config.subject: expected an in-silico subject to rehearse on, found None "
            "(real recordings); describe one in the settings, in a directory of its own"
        )
    if mode == "full" and not simulated(run, "day1"):
        raise InputError(
            f"config.recordings.day1={recordings_file(run, 'day1')}: expected none: in "
            "full every animal is recorded anew on both days; take mode fixed"
        )
    tried = tried_repeats(run, repeats)
    make = fixed_animals if mode == "fixed" else full_animals
    shown = make(run, animals, tried)
    settings = {"mode": mode, "alpha": alpha, "wanted_power": wanted_power}
    return finish(run, shown, tried, **settings)


def check(animals: int, repeats: Sequence[int]) -> None:
    """Refuses numbers that no rehearsal can be made of.

    Raises:
      InputError: fewer than two animals, no repeats, or fewer than one.
    """
    if animals < 2:
        raise InputError(f"animals: expected at least 2, found {animals}")
    if not repeats or min(repeats) < 1:
        raise InputError(
            f"repeats: expected numbers of at least 1, found {list(repeats)}"
        )


def tried_repeats(run: Run, repeats: Sequence[int]) -> tuple[int, ...]:
    """Numbers of repeats to try: those asked for and the planned one, ascending."""
    return tuple(sorted({*repeats, run.config["presentation"]["day2_repeats"]}))


def model_names(run: Run) -> tuple[str, ...]:
    """In the order of the settings."""
    return tuple(entry.name for entry in run.entries)


def fixed_animals(run: Run, count: int, repeats: Sequence[int]) -> list[Animal]:
    """Animals that see the stimulus set of the run; each draws its own trials.

    Args:
      run: is fitted and accentuated where it is not yet.
      count: of animals; the first ones do not depend on it.
      repeats: ascending.
    """
    pipeline.fit(run)
    sweeping.accentuate(run)
    keys = [run.key("rehearsal", str(animal)) for animal in range(count)]
    return draw_animals(run, keys, repeats)


def full_animals(run: Run, count: int, repeats: Sequence[int]) -> list[Animal]:
    """Animals that are calibrated, fitted and accentuated each for itself.

    Args:
      run: whose settings hold for all but for the seed.
      count: of animals; the first ones do not depend on it.
      repeats: ascending.
    """
    shown = bar(range(count), label="animals", show=run.progress)
    return [_full_animal(run, animal, repeats) for animal in shown]


def _full_animal(run: Run, animal: int, repeats: Sequence[int]) -> Animal:
    seed = run.config["seed"] + 1 + animal
    folder = run.workdir / ANIMALS / f"{animal:03d}"
    config = {**run.config, "seed": seed}
    own = open_run(config, folder, progress=False, loaded=run.loaded)
    pipeline.fit(own)
    sweeping.accentuate(own)
    return draw_animals(own, [own.key("rehearsal")], repeats)[0]


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
    scale = _Anchors.of(run)
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
class _Scale:
    """``z = (y - mean_s) / sd_s``, over the anchors' trials of one session."""

    mean: Float[np.ndarray, " site"]
    sd: Float[np.ndarray, " site"]

    def z(
        self, responses: Float[np.ndarray, "image site"]
    ) -> Float[np.ndarray, "image site"]:
        """Responses on this scale."""
        return (responses - self.mean[None]) / self.sd[None]


@dataclasses.dataclass(frozen=True)
class _Anchors:
    """Natural images that every session repeats, if any; they set its scale.

    Attributes:
      stimulus_ids: of them; without any, responses stay as they are.
      truth: the subject's noise-free responses to them.
    """

    stimulus_ids: tuple[str, ...]
    truth: Float[np.ndarray, "image site"]

    @classmethod
    def of(cls, run: Run) -> _Anchors:
        """Those of the settings."""
        assert run.subject is not None
        names = anchor_ids(run) if z_scored(run, SESSION) else ()
        if not names:
            return cls((), np.empty((0, len(run.subject.site_ids))))
        return cls(names, run.subject.truth(run.images.select(names)))

    def of_session(
        self, run: Run, key: PRNGKeyArray, session: str, repeats: Sequence[int]
    ) -> list[_Scale]:
        """The scale of a session for every number of repeats."""
        assert run.subject is not None
        n_sites = len(run.subject.site_ids)
        if not self.stimulus_ids:
            return [_Scale(np.zeros(n_sites), np.ones(n_sites)) for _ in repeats]
        trials = run.subject.trials(
            self.truth, self.stimulus_ids, max(repeats), key, session
        )
        sites = run.subject.site_ids
        shown = (
            Recordings(trials[:, :, :n], self.stimulus_ids, sites) for n in repeats
        )
        found = (session_scale(as_trials(one, session)) for one in shown)
        return [_Scale(one.mean[0], one.sd[0]) for one in found]

    def first(self, run: Run) -> _Scale:
        """That of day 1, on which the models were fitted."""
        repeats = run.config["presentation"].get("day1_repeats", 1)
        return self.of_session(run, run.key("day1"), "day1", [repeats])[0]


def finish(
    run: Run,
    shown: Sequence[Animal],
    repeats: Sequence[int],
    **options: Any,
) -> Rehearsal:
    """Scores the animals as the run scores a real one, and writes what was found.

    Args:
      run: whose ``scoring`` settings hold and whose directory is written to.
      shown: animals; their stimulus sets may differ, but not the size of the design.
      repeats: of their recordings.
      options: of `score_rehearsal`.

    Returns:
      What is in ``rehearsal.json``.

    Raises:
      InputError: designs of different sizes.
    """
    sizes = {animal.predicted.shape for animal in shown}
    if len(sizes) > 1:
        raise InputError(
            "rehearsal: expected designs [model, site, seed, level] of one size in all "
            f"animals, found {sorted(sizes)}"
        )
    settings = dict(run.config["scoring"])
    settings.pop("include_seed", None)
    found = score_rehearsal(
        model_names(run),
        repeats,
        run.config["presentation"]["day2_repeats"],
        np.stack([animal.predicted for animal in shown]),
        np.stack([animal.recorded for animal in shown], axis=1),
        np.stack([animal.noise_free for animal in shown]),
        **settings,
        **options,
    )
    content = {**artifacts.with_null(found), "notes": notes(found)}
    artifacts.write_json(run.workdir / RESULT, content)
    picture = report.figure_png(rehearsal_figure(found))
    artifacts.atomic_write(run.workdir / FIGURE, picture)
    return found
