"""Stimuli for the rig, or for another tool, in an order to show them in.

    python -m launch.export --workdir=runs/m1 --format=monkeylogic --out=rig --repeats=4
    python -m launch.export --stimuli=FOLDER --format=brainscore --out=for_brainscore

Formats: brainscore, monkeylogic, psychopy, bids, authors; see ``docs/exchange.md``.
With ``--workdir`` the anchors are drawn from the run's natural images, seeds left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from launch import _main
from paramctl_jax.configuration import stored_config
from paramctl_jax.experiment import CONTROVERSIAL, Run
from paramctl_jax.images import load_images, read_image
from paramctl_jax.stimuli import (
    CONTROVERSIAL_TABLE,
    exchange,
    load_controversial,
    load_stimuli,
)
from paramctl_jax.types import (
    ControversialSet,
    ImageSet,
    InputError,
    StimulusSet,
    unknown,
)

_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory.")
_CONTEST = flags.DEFINE_bool("controversial", False, "The run's controversial stimuli.")
_STIMULI = flags.DEFINE_string("stimuli", None, "Folder of a set, without a run.")
_FORMAT = flags.DEFINE_string("format", None, ", ".join(exchange.FORMATS))
_OUT = flags.DEFINE_string("out", None, "A new folder.")
_REPEATS = flags.DEFINE_integer("repeats", 1, "Presentations of every stimulus.")
_SESSIONS = flags.DEFINE_integer("sessions", 1, "Into which the blocks are divided.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the order and the anchors.", lower_bound=0)
_ANCHORS = flags.DEFINE_integer(
    "anchors", 0, "Natural images to show in between.", lower_bound=0
)
_ANCHOR_IMAGES = flags.DEFINE_string(
    "anchor_images", None, "Folder or archive of them; the run's own are the default."
)
_ANCHOR_EVERY = flags.DEFINE_integer(
    "anchor_every", None, "One per so many stimuli; else all once in every block."
)
_PRESENTATION = flags.DEFINE_float("presentation_ms", 100.0, "On.")
_ISI = flags.DEFINE_float("isi_ms", 100.0, "Off.")
_DEGREES = flags.DEFINE_float("visual_degrees", None, "Side of the image.")
_RESOLUTION = flags.DEFINE_float("pixels_per_degree", None, "Of the rig's screen.")
_TASK = flags.DEFINE_string("task", "control", "Name in BIDS files.")
_TIMING = flags.DEFINE_string("timing_file", "show_image", "MonkeyLogic's, without .m.")


def main(argv: Sequence[str]) -> None:
    """Loads the set and its anchors, exports them, prints how to load the export."""
    del argv
    form, out = _main.required(format=_FORMAT.value, out=_OUT.value)
    if form not in exchange.FORMATS:
        raise unknown(form, exchange.FORMATS, "format")
    stimuli = _stimuli()
    export = exchange.export_stimuli(
        stimuli,
        out,
        form,
        repeats=_REPEATS.value,
        anchors=_anchors(stimuli) if _ANCHORS.value else None,
        anchor_every=_ANCHOR_EVERY.value,
        sessions=_SESSIONS.value,
        random_seed=_SEED.value,
        display=exchange.Display(
            presentation_ms=_PRESENTATION.value,
            isi_ms=_ISI.value,
            visual_degrees=_DEGREES.value,
            pixels_per_degree=_RESOLUTION.value,
            task=_TASK.value,
            timing_file=_TIMING.value,
        ),
    )
    print(export)


def _stimuli() -> StimulusSet | ControversialSet:
    """The set that the flags name, its files verified."""
    workdir, folder = _WORKDIR.value, _STIMULI.value
    if workdir is not None and folder is None:
        folder = Path(workdir) / (CONTROVERSIAL if _CONTEST.value else "stimuli")
    elif workdir is not None or folder is None:
        raise InputError(
            "command line: expected either --workdir=RUN or --stimuli=FOLDER, found "
            + ("neither" if workdir is None else "both")
        )
    folder = Path(folder)
    if (folder / CONTROVERSIAL_TABLE).exists():
        return load_controversial(folder)
    return load_stimuli(folder)


def _anchors(stimuli: StimulusSet | ControversialSet) -> ImageSet:
    """Natural images drawn at random, equal for equal ``--seed``; no seed images."""
    images = _natural_images(stimuli)
    seeds = {one.seed for one in stimuli.stimuli}
    free = [name for name in images.stimulus_ids if name not in seeds]
    if _ANCHORS.value > len(free):
        raise InputError(
            f"--anchors: expected at most {len(free)}, the natural images that are no "
            f"seeds, found {_ANCHORS.value}"
        )
    order = np.random.default_rng(_SEED.value).permutation(len(free))
    return images.select([free[index] for index in sorted(order[: _ANCHORS.value])])


def _natural_images(stimuli: StimulusSet | ControversialSet) -> ImageSet:
    if _ANCHOR_IMAGES.value is not None:
        first = stimuli.directory / stimuli.stimuli[0].filename
        return load_images(_ANCHOR_IMAGES.value, len(read_image(first)))
    if _WORKDIR.value is None:
        raise InputError(
            "--anchors: expected natural images; give --anchor_images=FOLDER, or "
            "--workdir=RUN"
        )
    config = stored_config(_WORKDIR.value)
    if config is None:
        raise InputError(
            f"{_WORKDIR.value}: expected a run directory with its run.json"
        )
    return Run(config, Path(_WORKDIR.value), progress=False).images


if __name__ == "__main__":
    _main.run(main)
