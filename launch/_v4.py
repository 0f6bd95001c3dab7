"""The pure parts of `launch.v4`: the files of a session, its numbers, the table."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from paramctl_jax import recordings
from paramctl_jax.encoding import choose_readout, compare_encoding
from paramctl_jax.images import load_images
from paramctl_jax.types import (
    EncodingEvaluation,
    EncodingModel,
    ImageSet,
    InputError,
    Recordings,
    StimulusSet,
    indices_of,
)

MEASURES = ("r", "r2", "r_normalised", "cv_r", "cv_r2")


def data_folder(config: Mapping[str, Any]) -> Path:
    """The folder of the data, with every file that the run needs."""
    where = "set PARAMCTL_DATA (or --config.data) to the folder that holds it"
    if not config["data"]:
        raise InputError(f"PARAMCTL_DATA: not set; {config['weights']} needed, {where}")
    folder = Path(config["data"])
    sessions = (config["repeated"], config["averaged"])
    files = [entry[kind] for entry in sessions for kind in ("responses", "images")]
    wanted = [config["weights"], *files]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder / missing[0]}: no such file ({len(missing)} of {len(wanted)} are "
            f"missing); {where}"
        )
    return folder


def read_session(
    folder: Path, files: Mapping[str, str], size: int
) -> tuple[ImageSet, Recordings]:
    """Images by file stem; row n of the responses is image n, counted from 1.

    Args:
      folder: of the data.
      files: ``responses`` ``[site, image]`` or ``[site, image, repeat]`` and ``images``
        with ``image0001.jpg`` and so on, both relative to the folder.
      size: side that the images are resized to.

    Returns:
      The images, and the recordings of the sites that can be fitted.

    Raises:
      InputError: naming the file: unreadable, of other axes, or of other stimuli.
    """
    responses = folder / files["responses"]
    try:
        counts = np.load(responses, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{responses}: not a readable .npy file ({reason})") from error
    if counts.ndim not in (2, 3):
        raise InputError(
            f"{responses}: expected axes [site, image] or [site, image, repeat], found "
            f"shape {counts.shape}"
        )
    repeats = np.moveaxis(counts, 0, 1).reshape(counts.shape[1], len(counts), -1)
    recorded = recordings.make_recordings(
        str(responses),
        responses=repeats,
        stimulus_ids=np.asarray([f"image{n + 1:04d}" for n in range(len(repeats))]),
        site_ids=np.asarray([f"site{n:02d}" for n in range(len(counts))]),
        units="spikes/100 ms",
    )
    shown = load_images(folder / files["images"], size)
    recordings.check_match(shown, recorded)
    return shown, recorded.select_sites(recordings.valid_sites(recorded)[0])


def shuffled(recorded: Recordings, key: jax.Array) -> Recordings:
    """The responses handed to the wrong images, the control of every fit."""
    order = np.asarray(jax.random.permutation(key, len(recorded.stimulus_ids)))
    ids = tuple(recorded.stimulus_ids[index] for index in order)
    return dataclasses.replace(recorded, stimulus_ids=ids)


def median(values: np.ndarray) -> float | None:
    """Of the defined values; None where there is none."""
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if kept.size else None


def encoding_summary(
    models: Mapping[tuple[str, str], EncodingModel], best: Sequence[str]
) -> dict[str, Any]:
    """Medians over all sites and over the best ones, for every model.

    Args:
      models: of one session, by readout and basis; the readout ``"shuffled"`` is the
        control.
      best: sites chosen without the held-out images.

    Returns:
      JSON-like; a measure that is undefined at every site is None.
    """
    evaluation = next(iter(models.values())).evaluation
    return {
        "images": len(evaluation.train_ids) + len(evaluation.test_ids),
        "held_out": len(evaluation.test_ids),
        "sites": len(evaluation.site_ids),
        "best": list(best),
        "encoding": {
            f"{readout} {basis}": {
                "all": medians(model.evaluation, evaluation.site_ids),
                "best": medians(model.evaluation, best),
                "notes": list(model.notes),
            }
            for (readout, basis), model in models.items()
        },
        "chosen": {
            policy: _chosen(models, policy) for policy in ("inner_cv", "test_argmax")
        },
        "bases": _bases_compared(models),
    }


def _chosen(models: Mapping[tuple[str, str], EncodingModel], policy: str) -> str:
    """The readout and basis that a policy takes, the control left out."""
    evaluations = {
        f"{readout} {basis}": model.evaluation
        for (readout, basis), model in models.items()
        if readout != "shuffled"
    }
    return choose_readout(evaluations, policy).readout


def _bases_compared(models: Mapping[tuple[str, str], EncodingModel]) -> dict[str, str]:
    """Whether two bases of one readout encode equally well, in a sentence."""
    pairs = itertools.combinations(models.items(), 2)
    return {
        f"{readout}: {basis} − {other}": compare_encoding(
            a.evaluation, b.evaluation
        ).verdict
        for ((readout, basis), a), ((same, other), b) in pairs
        if readout == same
    }


def medians(
    evaluation: EncodingEvaluation, sites: Sequence[str]
) -> dict[str, float | None]:
    """Median over `sites` of every measure of the evaluation."""
    rows = indices_of(sites, evaluation.site_ids, "sites")
    return {name: median(getattr(evaluation, name)[rows]) for name in MEASURES}


def lanes_summary(stimuli: StimulusSet) -> dict[str, Any]:
    """Hits, steps and sizes of change over all lanes, missed or not, from the PNGs."""
    lanes = [stimulus for stimulus in stimuli.stimuli if stimulus.level is not None]
    errors = np.asarray([lane.relative_error for lane in lanes])
    steps = np.asarray([lane.step for lane in lanes])
    return {
        "seeds": list(dict.fromkeys(lane.seed for lane in lanes)),
        "lanes": len(lanes),
        "within_5_percent": int(np.sum(errors <= 0.05)),
        "within_2_percent": int(np.sum(errors <= 0.02)),
        "worst_relative_error": float(np.max(errors)),
        "median_step": float(np.median(steps)),
        "mean_step": float(np.mean(steps)),
        "max_step": int(np.max(steps)),
        "rms": float(np.median([lane.rms for lane in lanes])),
    }


def table(results: Mapping[str, Any]) -> str:
    """The results as plain text."""
    blocks = []
    for session, numbers in results.items():
        head = (
            f"session {session}: {numbers['images']} images, "
            f"{numbers['held_out']} of them held out; {numbers['sites']} sites"
        )
        blocks += [head, *_reliability_lines(numbers), *_encoding_lines(numbers)]
        blocks += [*_sweep_lines(numbers), ""]
    return "\n".join(blocks).rstrip()


def _reliability_lines(numbers: Mapping[str, Any]) -> list[str]:
    lines = []
    if "reliability" in numbers:
        lines.append(
            f"median split-half reliability {_number(numbers['reliability'])}, ncsnr "
            f"{_number(numbers['ncsnr'])}, {numbers['ncsnr_above_0.8']} of "
            f"{numbers['sites']} sites above .8"
        )
    return [*lines, f"best sites: {' '.join(numbers['best'])}"]


def _encoding_lines(numbers: Mapping[str, Any]) -> list[str]:
    """Medians: of all sites, then of the best; what was chosen; equal bases."""
    titles = ("r", "R2", "r/NC", "cv r", "cv R2")
    n_best = f"best {len(numbers['best'])}"
    groups = (("all", f"all {numbers['sites']}"), ("best", n_best))
    lines = [f"{'median over sites':>29} " + " ".join(f"{t:>6}" for t in titles)]
    for label, entry in numbers["encoding"].items():
        for group, sites in groups:
            row = " ".join(f"{_number(entry[group][m]):>6}" for m in MEASURES)
            lines.append(f"{label:>21} {sites:>7} {row}")
    chosen = numbers["chosen"]
    lines.append(
        f"best by inner cross-validation: {chosen['inner_cv']}; on the held-out images "
        f"(biased): {chosen['test_argmax']}"
    )
    return [*lines, *(f"{pair}: {text}" for pair, text in numbers["bases"].items())]


def _sweep_lines(numbers: Mapping[str, Any]) -> list[str]:
    if "accentuation" not in numbers:
        return []
    sweep = numbers["accentuation"]
    lanes = sweep["lanes"]
    lines = [f"accentuation at {sweep['readout']}, seeds {' '.join(sweep['seeds'])}"]
    for site, levels in sweep["levels"].items():
        in_sd = " ".join(f"{x:.1f}" for x in sweep["levels_predicted_sd"][site])
        asked = " ".join(f"{x:.2f}" for x in levels)
        lines.append(f"{site}: levels {asked}; in SD of the predictions {in_sd}")
    return [
        *lines,
        f"judged from the PNGs: {sweep['within_5_percent']} of {lanes} within 5 %, "
        f"{sweep['within_2_percent']} within 2 %; steps: mean "
        f"{sweep['mean_step']:.1f}, median {sweep['median_step']:g}, at most "
        f"{sweep['max_step']}; median RMS change {sweep['rms']:.3f}",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
