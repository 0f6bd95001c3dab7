"""The whole loop, stage by stage, in one run directory.

    record_day1 -> fit -> accentuate -> record_day2 -> score and report

Every stage reads what the stages before it wrote and writes its own files; a stage
whose result is already there is not done again. The settings are plain mappings: each
section holds the keyword arguments of one library call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from paramctl_jax import artifacts, report, scoring
from paramctl_jax.backbones import check_readout, load_backbone
from paramctl_jax.data import photographs_path
from paramctl_jax.encoding import (
    fit_encoding,
    load_encoding,
    predict,
    relative_levels,
    save_encoding,
    target_levels,
)
from paramctl_jax.images import load_images
from paramctl_jax.lanes import named_key
from paramctl_jax.recordings import (
    SiteSummary,
    check_match,
    load_recordings,
    save_recordings,
    summarise_sites,
    top_sites,
)
from paramctl_jax.stimuli import (
    load_stimuli,
    save_stimuli,
    stimulus_images,
    summarise,
)
from paramctl_jax.subject import Subject, linear_subject
from paramctl_jax.synthesis import accentuate as accentuate_model
from paramctl_jax.types import (
    Backbone,
    EncodingModel,
    ImageSet,
    InputError,
    Recordings,
    StimulusSet,
)

BUNDLED = "bundled"


@dataclasses.dataclass(frozen=True)
class Run:
    """One experiment in one directory: settings, images and networks.

    Attributes:
      config: resolved settings; see ``configs/quickstart.py`` for every section.
      workdir: the run directory.
      progress: show progress bars.
    """

    config: Mapping[str, Any]
    workdir: Path
    progress: bool = True

    def key(self, *purpose: str) -> PRNGKeyArray:
        """The key of one purpose; all randomness of a run comes from these."""
        return named_key(jax.random.key(self.config["seed"]), *purpose)

    @cached_property
    def images(self) -> ImageSet:
        """All natural images at canvas size, those of the seeds included."""
        source = self.config["images"]["source"]
        path = photographs_path() if source == BUNDLED else source
        return load_images(path, self.config["images"]["size"])

    @cached_property
    def seeds(self) -> ImageSet:
        """The seed images, held out from every fit."""
        return self.images.select(tuple(self.config["seeds"]))

    @cached_property
    def backbones(self) -> dict[str, Backbone]:
        """The models' networks by name, in the order of the settings."""
        return {name: load_backbone(name) for name in self.config["models"]}

    @cached_property
    def subject(self) -> Subject | None:
        """The in-silico subject; None where the recordings are real."""
        if not self.config["subject"]:
            return None
        settings = dict(self.config["subject"])
        backbone = load_backbone(settings.pop("backbone"))
        return linear_subject(
            backbone,
            self.images,
            check_readout(backbone, settings.pop("readout")),
            key=self.key("subject"),
            progress=self.progress,
            **settings,
        )

    @property
    def ground_truth(self) -> str:
        """What is known of the subject, in one sentence."""
        if self.subject is None:
            return ""
        return (
            f"In-silico subject: random linear read-outs of {self.subject.readout} of "
            f"{self.subject.backbone.name}, a network that is neither of the models, "
            "with Gaussian trial noise."
        )

    def day1(self) -> Recordings:
        """Responses to the natural images, as recorded."""
        return load_recordings(_recordings_file(self, "day1"))

    def day2(self) -> Recordings:
        """Responses to the stimuli, as recorded."""
        return load_recordings(_recordings_file(self, "day2"))

    def models(self) -> list[EncodingModel]:
        """The fitted encoding models."""
        return [
            load_encoding(self.workdir / "encoding" / f"{name}.npz", backbone)
            for name, backbone in self.backbones.items()
        ]

    def stimuli(self) -> StimulusSet:
        """The stimulus set, its files verified."""
        return load_stimuli(self.workdir / "stimuli")


def open_run(
    config: Mapping[str, Any], workdir: str | Path, progress: bool = True
) -> Run:
    """Checks the settings against images and networks, then claims the directory.

    Raises:
      InputError: before anything is written: unreadable images, unknown backbone,
        readout or seed image, a directory that holds another run.
    """
    run = Run(config, Path(workdir), progress)
    for backbone in run.backbones.values():
        check_readout(backbone, config["encoding"]["readout"])
    digests = {name: b.provenance["sha256"] for name, b in run.backbones.items()}
    digests["images"] = artifacts.sha256_bytes(run.images.pixels.tobytes())
    digests["seeds"] = artifacts.sha256_bytes(run.seeds.pixels.tobytes())
    artifacts.claim_directory(workdir, {**config, "inputs": digests})
    return run


def run_stages(run: Run) -> tuple[str, Path]:
    """Runs every stage; those whose result is already there are not done again.

    Returns:
      The encoding and control table as text, and the path of ``report.html``.
    """
    fit(run)
    accentuate(run)
    return score_and_report(run)


def record_day1(run: Run) -> Path:
    """Shows every natural image to the in-silico subject (no subject: does nothing)."""
    path = _recordings_file(run, "day1")
    if run.subject is not None and not path.exists():
        repeats = run.config["presentation"]["day1_repeats"]
        trials = run.subject.record(
            run.images, repeats, run.key("day1"), "day1", progress=run.progress
        )
        save_recordings(path, trials)
    return path


def fit(run: Run) -> Path:
    """Chooses the most reliable sites and fits one encoding model per backbone."""
    record_day1(run)
    folder = run.workdir / "encoding"
    todo = [name for name in run.backbones if not (folder / f"{name}.npz").exists()]
    if not todo:
        return folder
    natural, day1 = _calibration(run)
    for name in todo:
        model = fit_encoding(
            run.backbones[name],
            natural,
            day1,
            key=run.key("split"),
            progress=run.progress,
            **run.config["encoding"],
        )
        save_encoding(folder / f"{name}.npz", model)
    return folder


def _calibration(run: Run) -> tuple[ImageSet, Recordings]:
    """Natural images and responses of the fit: without seeds, best sites only."""
    recorded = run.day1()
    check_match(run.images, recorded)
    natural = run.images.drop(run.seeds)
    day1 = recorded.select_stimuli(natural.stimulus_ids)
    summary = summarise_sites(day1, run.key("reliability"))
    chosen = top_sites(summary.reliability, run.config["sites"]["count"])
    best = day1.select_sites(chosen)
    _write_sites(run, summary, best.site_ids)
    return natural, best


def _write_sites(run: Run, summary: SiteSummary, chosen: tuple[str, ...]) -> None:
    def entry(index: int, site: str) -> dict[str, Any]:
        if site in chosen:
            status = "chosen"
        else:
            status = summary.excluded.get(site, "less reliable than the chosen sites")
        values = (summary.reliability, summary.ncsnr, summary.ceiling)
        names = ("reliability", "ncsnr", "ceiling")
        numbers = {
            name: float(value[index]) if np.isfinite(value[index]) else None
            for name, value in zip(names, values, strict=True)
        }
        return {**numbers, "status": status}

    sites = {site: entry(i, site) for i, site in enumerate(summary.site_ids)}
    artifacts.write_json(run.workdir / "encoding" / "sites.json", sites)


def accentuate(run: Run) -> Path:
    """Moves every seed image to every target level along every model's axes."""
    folder = run.workdir / "stimuli"
    if (folder / "stimulus_set.csv").exists():
        return folder
    natural, day1 = _calibration(run)
    levels = target_levels(day1, **run.config["levels"])
    models = run.models()
    _write_levels(run, levels, models, natural)
    sweeps = [
        accentuate_model(
            model,
            run.seeds,
            levels,
            key=run.key("synthesis"),
            progress=run.progress,
            **run.config["synthesis"],
        )
        for model in models
    ]
    save_stimuli(folder, sweeps, progress=run.progress)
    return folder


def _write_levels(
    run: Run, levels: np.ndarray, models: list[EncodingModel], natural: ImageSet
) -> None:
    """Levels in response units, and in units of what each model says of nature.

    Equal levels are not equally far for two models: a regression predicts a narrower
    range than was recorded.
    """
    content: dict[str, Any] = {"sites": models[0].site_ids, "levels": levels}
    for model in models:
        relative = relative_levels(levels, predict(model, natural))
        content[model.name] = dataclasses.asdict(relative)
    artifacts.write_json(run.workdir / "levels.json", content)


def record_day2(run: Run) -> Path:
    """Shows the saved PNGs to the in-silico subject (no subject: does nothing)."""
    path = _recordings_file(run, "day2")
    if run.subject is not None and not path.exists():
        repeats = run.config["presentation"]["day2_repeats"]
        shown = stimulus_images(run.stimuli())
        trials = run.subject.record(
            shown, repeats, run.key("day2"), "day2", progress=run.progress
        )
        save_recordings(path, trials)
    return path


def score_and_report(run: Run) -> tuple[str, Path]:
    """Joins recordings and stimuli; writes the control table, scores and report.

    Returns:
      The encoding and control table as text, and the path of ``report.html``.
    """
    record_day2(run)
    stimuli, day2, models = run.stimuli(), run.day2(), run.models()
    table = scoring.control_table(stimuli, day2)
    scoring.write_table(run.workdir / "control_table.csv", table)
    control = scoring.control_score(stimuli, day2, **run.config["scoring"])
    scores = scoring.scores_to_json(control)
    artifacts.write_json(run.workdir / "scores.json", scores)
    recorded, n_repeats = _responses(stimuli, day2)
    inputs = report.ReportInputs(
        title=run.config["title"],
        evaluations={model.name: model.evaluation for model in models},
        stimuli=stimuli,
        recorded=recorded,
        score=control,
        n_repeats=n_repeats,
        units=models[0].units,
        readouts={model.name: model.readout for model in models},
        ground_truth=run.ground_truth,
        provenance=artifacts.read_json(run.workdir / artifacts.RUN_FILE),
        notes=[
            *(f"{model.name}: {note}" for model in models for note in model.notes),
            summarise(stimuli),
        ],
    )
    path = report.write_report(run.workdir, inputs)
    return report.summary_table(inputs), path


def _responses(
    stimuli: StimulusSet, day2: Recordings
) -> tuple[dict[str, float], dict[str, int]]:
    """Repeat average and repeats of every recorded stimulus at its own site."""
    mean, repeats = day2.mean(), day2.n_repeats()
    row = {name: i for i, name in enumerate(day2.stimulus_ids)}
    column = {name: i for i, name in enumerate(day2.site_ids)}
    places = {
        s.stimulus_id: (row[s.stimulus_id], column[s.site])
        for s in stimuli.stimuli
        if s.stimulus_id in row and s.site in column
    }
    recorded = {name: float(mean[place]) for name, place in places.items()}
    return recorded, {name: int(repeats[place]) for name, place in places.items()}


def _recordings_file(run: Run, day: str) -> Path:
    """The settings' own file of a day, or where the in-silico subject's trials go."""
    given = run.config["recordings"][day]
    if run.config["subject"] and given:
        raise InputError(
            f"recordings.{day}={given}: expected either recordings or a subject; set "
            "config.subject to None for real recordings"
        )
    return Path(given) if given else run.workdir / "recordings" / f"{day}.npz"
