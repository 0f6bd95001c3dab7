"""The whole loop, stage by stage, in one run directory.

    record_day1 -> fit -> accentuate -> record_day2 -> score and report

Every stage reads what the stages before it wrote and writes its own files; a stage
whose result is already there is not done again. The settings are plain mappings: each
section holds the keyword arguments of one library call.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax import artifacts, report, scoring
from paramctl_jax.encoding import (
    fit_encoding,
    predict,
    relative_levels,
    save_encoding,
    target_levels,
)
from paramctl_jax.experiment import Run, recordings_file
from paramctl_jax.recordings import (
    SiteSummary,
    check_match,
    save_recordings,
    summarise_sites,
    top_sites,
)
from paramctl_jax.stimuli import save_stimuli, stimulus_images, summarise
from paramctl_jax.synthesis import accentuate as accentuate_model
from paramctl_jax.types import EncodingModel, ImageSet, Recordings


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
    path = recordings_file(run, "day1")
    if not path.exists() and run.subject is not None:
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
    day1 = _best_sites(run, day1)
    for name in todo:
        model = fit_encoding(
            run.backbones[name],
            natural,
            day1,
            key=run.key("split"),
            progress=run.progress,
            **{**run.config["encoding"], "readout": run.readouts[name]},
        )
        save_encoding(folder / f"{name}.npz", model)
    return folder


def _calibration(run: Run) -> tuple[ImageSet, Recordings]:
    """Natural images and their responses, without the seeds, at all sites."""
    recorded = run.day1()
    natural = run.images.drop(run.seeds)
    unseen = set(run.seeds.stimulus_ids) - set(recorded.stimulus_ids)
    check_match(natural if unseen else run.images, recorded)
    return natural, recorded.select_stimuli(natural.stimulus_ids)


def _best_sites(run: Run, day1: Recordings) -> Recordings:
    """The most reliable sites; why the others were left out goes to a file."""
    summary = summarise_sites(day1, run.key("reliability"))
    chosen = top_sites(summary.reliability, run.config["sites"]["count"])
    best = day1.select_sites(chosen)
    _write_sites(run, summary, best.site_ids)
    return best


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
    models = run.models()
    natural, day1 = _calibration(run)
    day1 = day1.select_sites(models[0].site_ids)
    levels = target_levels(day1, **run.config["levels"])
    _write_levels(run, levels, models, natural)
    sweeps = [
        accentuate_model(
            model,
            run.seeds,
            levels,
            sites=day1.site_ids,
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
    path = recordings_file(run, "day2")
    if not path.exists() and run.subject is not None:
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
    shown = scoring.control_table(stimuli, day2, include_seed=True)
    ids = [stimulus.stimulus_id for stimulus in stimuli.stimuli]
    recorded = dict(zip(ids, shown.recorded.tolist(), strict=True))
    n_repeats = dict(zip(ids, map(int, shown.n_repeats), strict=True))
    run_file = artifacts.read_json(run.workdir / artifacts.RUN_FILE)
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
        provenance={**run_file, "history": run_file["history"][-1]},
        notes=[
            *(f"{model.name}: {note}" for model in models for note in model.notes),
            summarise(stimuli),
        ],
    )
    path = report.write_report(run.workdir, inputs)
    return report.summary_table(inputs), path
