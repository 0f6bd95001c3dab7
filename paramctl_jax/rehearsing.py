"""A planned experiment rehearsed on simulated animals, before it costs a real one.

    fixed: fit -> accentuate -> for each animal: day 2's trials -> score all animals
    full:  for each animal: axes, day 1, fit, accentuate, day 2's trials -> score all

Where the fit is fixed, all animals see one stimulus set, and differ in the trials of
day 2: noise, the session's drift, and the sites that are lost. In full, each is an
animal of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramctl_jax import artifacts, pipeline, report, sweeping
from paramctl_jax.animals import Animal, draw_animals, model_names
from paramctl_jax.experiment import Run, open_run, recordings_file, simulated
from paramctl_jax.progress import bar
from paramctl_jax.report.rehearsal import rehearsal_figure
from paramctl_jax.scoring.rehearsal import score_rehearsal
from paramctl_jax.scoring.rehearsal_records import Rehearsal
from paramctl_jax.scoring.rehearsal_summary import notes
from paramctl_jax.types import InputError, unknown

RESULT, FIGURE = "rehearsal.json", "figures/rehearsal.png"
ANIMALS = "animals"  # folder of their runs, where each has its own
MODES = ("fixed", "full")


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
