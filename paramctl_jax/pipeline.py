"""The whole loop, stage by stage, in one run directory.

    record_day1 -> fit -> accentuate -> record_day2 -> score and report

Every stage reads what the stages before it wrote and writes its own files; a stage
whose result is already there, and whole, is not done again. Several processes may run
in one directory: one at a time does a stage, but for the accentuation, which all share.
The settings are plain mappings: each section holds the keyword arguments of one library
call.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paramctl_jax import (
    artifacts,
    contesting,
    history,
    judging,
    report,
    scoring,
    sums,
)
from paramctl_jax.calibration import best_sites, calibrate, responses_of
from paramctl_jax.encoding import (
    EncodingComparison,
    choose_model,
    compare_encoding,
    encoding_table,
    fit_readouts,
    save_encoding,
)
from paramctl_jax.experiment import Run, recordings_file, simulated
from paramctl_jax.presenting import record_day1, record_day2
from paramctl_jax.stimuli import load_traces, summarise
from paramctl_jax.sweeping import accentuate
from paramctl_jax.types import EncodingModel, Recordings, indices_of

RESULTS = ("control_table.csv", "scores.json", judging.VERDICTS, "report.html")


def run_stages(run: Run) -> tuple[str, Path]:
    """Runs every stage; those whose result is already there are not done again.

    Returns:
      The encoding and control table as text, and the path of ``report.html``.
    """
    make(run)
    return score_and_report(run)


def make(run: Run) -> None:
    """Everything up to the images that are shown on the second day."""
    fit(run)
    accentuate(run)
    if run.config.get("controversial"):
        contesting.contest(run)


def fit(run: Run) -> Path:
    """Chooses the best sites, fits one encoding model per backbone and compares them.

    Leaves ``encoding/``: the models, the split, why sites and images were left out, the
    readouts that were tried, and whether the models predict equally well.
    """
    folder = run.workdir / "encoding"
    with run.claims.exclusive(
        "fit", lambda: _fitted(run, folder), progress=run.progress
    ) as mine:
        if mine and not _fitted(run, folder):
            _fit(run, folder)
            sums.seal(folder)
    return folder


def _fitted(run: Run, folder: Path) -> bool:
    """Whether all files of the fit, and what it rests on, are there and whole."""
    recorded = recordings_file(run, "day1")
    if simulated(run, "day1") and not sums.whole(recorded):
        return False
    needed = [f"{name}.npz" for name in run.backbones]
    return not sums.damaged(folder, [*needed, "comparisons.json"])


def _fit(run: Run, folder: Path) -> None:
    """What of the fit is not there, or damaged."""
    record_day1(run)
    todo = [name for name in run.backbones if not sums.whole(folder / f"{name}.npz")]
    calibration = calibrate(run)
    day1 = best_sites(run, calibration)
    _check_stand_in(run, day1)
    for name in todo:
        tried = fit_readouts(
            run.backbones[name],
            calibration.images,
            day1,
            run.readouts[name],
            test_ids=calibration.test_ids,
            progress=run.progress,
            **_fit_settings(run),
        )
        policy = run.config["encoding"].get("readout_policy", "inner_cv")
        _write_readouts(folder / f"{name}_readouts.json", tried)
        save_encoding(folder / f"{name}.npz", choose_model(tried, policy))
    compared = [
        {"a": a, "b": b, **dataclasses.asdict(comparison)}
        for (a, b), comparison in comparisons(run.models()).items()
    ]
    artifacts.write_json(folder / "comparisons.json", compared)


def _check_stand_in(run: Run, day1: Recordings) -> None:
    """A subject that is shown day 2 in place of a real one must have its sites."""
    if simulated(run, "day2") and not simulated(run, "day1"):
        assert run.subject is not None
        indices_of(day1.site_ids, run.subject.site_ids, "config.subject: chosen sites")


def fit_table(run: Run) -> tuple[str, Path]:
    """Fits, and returns the encoding table as text and the folder of the models."""
    folder = fit(run)
    return encoding_table(run.models()), folder


def _fit_settings(run: Run) -> dict[str, Any]:
    """The encoding section without what the run itself decides."""
    own = ("readout", "split", "test_fraction")
    settings = {k: v for k, v in run.config["encoding"].items() if k not in own}
    return {**settings, "join": "exact"}  # the calibration has joined them


def _write_readouts(path: Path, tried: Mapping[str, EncodingModel]) -> None:
    """Every readout that was tried, with its numbers inside and outside the fit."""
    measures = ("cv_r", "cv_r2", "r", "r2", "r_normalised")
    content = {
        readout: {
            "notes": model.notes,
            **{name: getattr(model.evaluation, name) for name in measures},
        }
        for readout, model in tried.items()
    }
    artifacts.write_json(path, content)


def comparisons(
    models: Sequence[EncodingModel],
) -> dict[tuple[str, str], EncodingComparison]:
    """Paired differences in held-out r: equal encoding is half of the paper's claim.

    Nothing where too few images are held out to compare anything.
    """
    if len(models[0].evaluation.test_ids) < 3:
        return {}
    return {
        (a.name, b.name): compare_encoding(a.evaluation, b.evaluation, measure="r")
        for a, b in itertools.combinations(models, 2)
    }


def score_and_report(run: Run) -> tuple[str, Path]:
    """Joins recordings and stimuli; writes the control table, scores and report.

    Returns:
      The encoding and control table as text, and the path of ``report.html``.
    """
    inputs = report_inputs(run)
    return report.summary_table(inputs), write_report(run, inputs)


def write_report(run: Run, inputs: report.ReportInputs) -> Path:
    """Writes ``report.html`` and seals the run's own files."""
    path = report.write_report(run.workdir, inputs)
    sums.seal(run.workdir, _own_files(run.workdir))
    return path


def report_inputs(run: Run) -> report.ReportInputs:
    """Joins recordings and stimuli; writes the control table, scores and verdicts.

    Returns:
      All that a report is made of.
    """
    record_day2(run)
    stimuli, models = run.stimuli(), run.models()
    day2 = responses_of(run, "day2", anchors=models[0].evaluation.train_ids)
    day2 = judging.apart(day2, contesting.controversial_set(run))
    calibration = calibrate(run)
    table = scoring.control_table(stimuli, day2)
    scoring.write_table(run.workdir / "control_table.csv", table)
    control = scoring.control_score(stimuli, day2, **run.config["scoring"])
    scores = scoring.scores_to_json(control)
    artifacts.write_json(run.workdir / "scores.json", scores)
    shown = scoring.control_table(stimuli, day2, include_seed=True)
    ids = [stimulus.stimulus_id for stimulus in stimuli.stimuli]
    recorded = dict(zip(ids, shown.recorded.tolist(), strict=True))
    n_repeats = dict(zip(ids, map(int, shown.n_repeats), strict=True))
    verdicts = judging.judge(run, stimuli, models, day2, calibration)
    run_file = artifacts.read_json(run.workdir / artifacts.RUN_FILE)
    return report.ReportInputs(
        title=run.config["title"],
        evaluations={model.name: model.evaluation for model in models},
        stimuli=stimuli,
        recorded=recorded,
        score=control,
        n_repeats=n_repeats,
        units=models[0].units,
        readouts={model.name: model.readout for model in models},
        ground_truth=run.ground_truth,
        provenance={**run_file, "software": history.software(run.workdir)},
        notes=[
            *calibration.notes,
            *(f"day 2: {note}" for note in day2.notes),
            *(f"{model.name}: {note}" for model in models for note in model.notes),
            summarise(stimuli),
            *(note for note in verdicts.notes if note not in control.notes),
        ],
        site_choice=artifacts.read_json(run.workdir / "encoding" / "sites.json"),
        encoding_comparisons=comparisons(models),
        traces=load_traces(stimuli.directory),
        peer_review=verdicts.peer_review if len(models) > 1 else None,
        specificity=verdicts.specificity,
        choice=verdicts.choice,
        controversial=verdicts.controversial,
        replications=scoring.replicate(control),
    )


def _own_files(workdir: Path) -> list[str]:
    """Results at the top of the directory; the stages' folders have their own sums."""
    drawn = sorted((workdir / "figures").rglob("*"))
    figures = [path for path in drawn if path.name != "rehearsal.png"]  # not a result
    files = [*(workdir / name for name in ("levels.json", *RESULTS)), *figures]
    return [x.relative_to(workdir).as_posix() for x in files if x.is_file()]
