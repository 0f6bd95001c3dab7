"""One launcher per stage of the loop: the same flags, one library call each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from launch import _main
from paramctl_jax.experiment import Run, open_run

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory.")
_PROGRESS = flags.DEFINE_bool("progress", True, "Show progress bars.")


def run(stage: Callable[[Run], Any]) -> None:
    """Opens the run that the flags name, carries out one stage, prints its result."""

    def main(argv: Sequence[str]) -> None:
        del argv
        config, workdir = _main.required(
            config=_main.settings(_CONFIG), workdir=_WORKDIR.value
        )
        opened = open_run(config, workdir, _PROGRESS.value)
        result = stage(opened)
        for part in result if isinstance(result, tuple) else (result,):
            print(part)

    _main.run(main)
