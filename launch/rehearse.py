"""Rehearse an experiment on simulated animals, before it costs a real one.

    python -m launch.rehearse --config=configs/quickstart.py --workdir=runs/rehearsal
    python -m launch.rehearse --config=configs/mine.py --workdir=runs/rehearsal \
        --animals=200 --repeats=2,4,8
    python -m launch.rehearse --workdir=runs/rehearsal --mode=full --animals=20

Fits and accentuates once (nothing is done again where it is done), then shows the
stimuli to simulated animals and prints how control is distributed over them, how often
each test tells the models apart, and how many repeats that takes. Leaves
``rehearsal.json`` and ``figures/rehearsal.png``. docs/inference.md says what a fixed
fit leaves out; with ``--mode=full`` every animal has axes, recordings, fits and stimuli
of its own, and takes as long as a run of the pipeline.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from launch import _stage
from paramctl_jax import rehearsing
from paramctl_jax.experiment import Run
from paramctl_jax.scoring.rehearsal_summary import format_rehearsal

_ANIMALS = flags.DEFINE_integer("animals", 100, "Simulated animals.", lower_bound=2)
_REPEATS = flags.DEFINE_list(
    "repeats",
    ["1", "2", "4", "8", "16"],
    "Repeats of each stimulus to try, beside the planned presentation.day2_repeats.",
)
_MODE = flags.DEFINE_enum(
    "mode",
    "fixed",
    rehearsing.MODES,
    "fixed: one fit and one stimulus set for all animals; full: each has its own.",
)


def _are_counts(texts: list[str]) -> bool:
    """Whether all are whole numbers of at least 1; asked before anything is written."""
    return bool(texts) and all(text.isdecimal() and int(text) > 0 for text in texts)


flags.register_validator(
    "repeats", _are_counts, "expected whole numbers of at least 1, like 1,2,4"
)


def rehearse(run: Run) -> tuple[str, Path]:
    """Returns the table as text, and the path of the figure."""
    repeats = [int(text) for text in _REPEATS.value]
    found = rehearsing.rehearse(run, _ANIMALS.value, repeats, mode=_MODE.value)
    return f"{format_rehearsal(found)}\n", run.workdir / rehearsing.FIGURE


if __name__ == "__main__":
    _stage.run(rehearse)
