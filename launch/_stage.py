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


def run(
    stage: Callable[[Run], Any], rehearsal: Callable[[Run], Any] | None = None
) -> None:
    """Opens the run that the flags name, carries out one stage, prints its result.

    Args:
      stage: of the loop.
      rehearsal: what ``--dry_run`` does instead, in a run that claims nothing.
    """
    if rehearsal is not None:
        text = "Print what the accentuation will cost; write nothing."
        flags.DEFINE_bool("dry_run", False, text)

    def main(argv: Sequence[str]) -> None:
        del argv
        config, workdir = _main.required(
            config=_main.settings(_CONFIG), workdir=_WORKDIR.value
        )
        dry = rehearsal is not None and flags.FLAGS.dry_run
        opened = open_run(config, workdir, _PROGRESS.value, claim=not dry)
        result = rehearsal(opened) if rehearsal is not None and dry else stage(opened)
        for part in result if isinstance(result, tuple) else (result,):
            print(part)

    _main.run(main)
