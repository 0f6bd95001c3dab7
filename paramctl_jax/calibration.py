"""Natural images and their responses, ready for the fit: what, of whom, and why not.

    trials -> responses -> exclusions -> split -> most reliable sites

Everything that is left out on the way has a reason, in ``encoding/`` and the report.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from paramctl_jax import artifacts
from paramctl_jax.encoding import (
    EncodingSettings,
    common_stimuli,
    load_split,
    save_split,
    split_ids,
)
from paramctl_jax.experiment import Run, recordings_file, simulated, z_scored
from paramctl_jax.recordings import (
    Exclusions,
    SiteChoice,
    choose_sites,
    find_exclusions,
    load_recordings,
    load_trials,
    responses_from_trials,
    without,
)
from paramctl_jax.recordings.exclusions import listed
from paramctl_jax.types import ImageSet, InputError, Recordings


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What the encoding models are fitted on.

    Attributes:
      images: natural images that were recorded, without the seed images.
      recordings: of these images, at every usable site.
      split: training and held-out natural images, those that cannot be used included.
      exclusions: sites and images that cannot be used, with reasons.
    """

    images: ImageSet
    recordings: Recordings
    split: tuple[tuple[str, ...], tuple[str, ...]]
    exclusions: Exclusions

    @property
    def test_ids(self) -> tuple[str, ...]:
        """The images held out from every fit."""
        usable = set(self.images.stimulus_ids)
        return tuple(name for name in self.split[1] if name in usable)

    @property
    def notes(self) -> list[str]:
        """What was left out or changed, in plain words."""
        unreadable = self.images.left_out
        lines = []
        if unreadable:
            lines.append(
                f"{len(unreadable)} images could not be read: {listed(unreadable)}"
            )
        return [*lines, *self.images.notes, *self.recordings.notes]


def calibrate(run: Run) -> Calibration:
    """Reads day 1, leaves out what cannot be used, and fixes the held-out images.

    The split is drawn over the natural images by name, from the run's key; once stored
    in ``encoding/split.json`` it is that one: every model, and every later command, is
    evaluated on the same images.

    Raises:
      InputError: images without a response, or a stored split of other images.
    """
    natural = run.images.drop(run.seeds)
    split = _split(run, natural)
    recorded = _of_images(responses_of(run, "day1", anchors=split[0]), natural, run)
    exclusions = find_exclusions(recorded)
    usable = without(recorded, exclusions)
    return Calibration(
        images=natural.select(usable.stimulus_ids),
        recordings=usable,
        split=split,
        exclusions=exclusions,
    )


def _split(run: Run, natural: ImageSet) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and held-out ids: of the settings' file, of this run's, or drawn."""
    settings = run.config["encoding"]
    stored = run.workdir / "encoding" / "split.json"
    if settings.get("split") or stored.exists():
        return load_split(settings.get("split") or stored, natural.stimulus_ids)
    return split_ids(natural.stimulus_ids, _fraction(run), run.key("split"))


def _fraction(run: Run) -> float:
    return run.config["encoding"].get("test_fraction", EncodingSettings.test_fraction)


def anchor_ids(run: Run) -> tuple[str, ...]:
    """Training images that a simulated subject is shown again in every session."""
    count = run.config["presentation"].get("anchors", 0) if run.config["subject"] else 0
    if not count:
        return ()
    train = _split(run, run.images.drop(run.seeds))[0]
    if count > len(train):
        raise InputError(
            f"config.presentation.anchors: expected at most {len(train)}, the training "
            f"images, found {count}"
        )
    return train[:count]


def responses_of(run: Run, day: str, anchors: tuple[str, ...]) -> Recordings:
    """Responses of one day as the settings ask for them: as recorded, or z-scored.

    Args:
      run: whose ``recordings.trials`` says how trials become responses; None takes
        them as they are, and so are those of the in-silico subject.
      day: ``"day1"`` or ``"day2"``.
      anchors: training images, on whose trials each session is z-scored, unless the
        settings name others, such as those that every session of both days repeats.
    """
    settings = run.config["recordings"]
    path = recordings_file(run, day)
    reader = {} if simulated(run, day) else settings.get("reader") or {}
    if not z_scored(run, day):
        return load_recordings(path, **reader)
    trials = load_trials(path, **reader)
    repeated = anchor_ids(run)
    options = {"anchors": repeated or anchors, **settings["trials"]}
    responses = responses_from_trials(trials, **options)
    if day == "day1" or not repeated:
        return responses
    shown = [name for name in responses.stimulus_ids if name not in set(repeated)]
    return responses.select_stimuli(shown)


def best_sites(run: Run, calibration: Calibration) -> Recordings:
    """The sites that the settings ask for, ranked by the training images alone.

    A site that was chosen for its responses to the held-out images would be flattered
    by its evaluation on them.

    Leaves ``encoding/``: the split, what was excluded, and why each site was chosen or
    not.

    Raises:
      InputError: fewer usable sites than asked for; nothing was written.
    """
    held_out = set(calibration.test_ids)
    recordings = calibration.recordings
    train = [name for name in recordings.stimulus_ids if name not in held_out]
    choice = choose_sites(
        recordings.select_stimuli(train),
        run.key("reliability"),
        **run.config["sites"],
    )
    folder = run.workdir / "encoding"
    about = {"test_fraction": _fraction(run), "seed": run.config["seed"]}
    save_split(folder / "split.json", *calibration.split, about=about)
    excluded = calibration.exclusions
    images = {**calibration.images.left_out, **excluded.stimuli}
    artifacts.write_json(
        folder / "exclusions.json", {"sites": excluded.sites, "images": images}
    )
    artifacts.write_json(folder / "sites.json", _site_entries(choice, excluded))
    return recordings.select_sites(choice.site_ids)


def _of_images(recorded: Recordings, natural: ImageSet, run: Run) -> Recordings:
    """Recordings of the natural images alone, joined as the settings say.

    Raises:
      InputError: naming the file, where stimuli differ and the join forbids it.
    """
    join = run.config["encoding"].get("join", EncodingSettings.join)
    seeds = set(run.seeds.stimulus_ids)
    rest = [name for name in recorded.stimulus_ids if name not in seeds]
    recorded = recorded.select_stimuli(rest)
    try:
        common, notes = common_stimuli(natural, recorded, join)
    except InputError as error:
        raise InputError(
            f"{recordings_file(run, 'day1')}: {error}; or give "
            "--config.encoding.join=common to fit on those that both have"
        ) from error
    chosen = recorded.select_stimuli(common)
    return dataclasses.replace(chosen, notes=(*chosen.notes, *notes))


def _site_entries(choice: SiteChoice, exclusions: Exclusions) -> dict[str, Any]:
    """Every recorded site: its numbers, and whether or why not it was chosen."""
    names, summary = ("reliability", "ncsnr", "ceiling"), choice.summary
    entries = {
        site: {**dict.fromkeys(names), "status": reason}
        for site, reason in exclusions.sites.items()
    }
    for index, site in enumerate(summary.site_ids):
        values = {name: float(getattr(summary, name)[index]) for name in names}
        numbers = {k: v if np.isfinite(v) else None for k, v in values.items()}
        entries[site] = {**numbers, "status": choice.status[site]}
    return entries
