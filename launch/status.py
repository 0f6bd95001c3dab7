"""How far a run is: blocks and lanes, rate and time left, workers and failures.

    python -m launch.status --workdir=runs/m1
    python -m launch.status --workdir=runs/m1 --watch     # anew every 5 s until done
    python -m launch.status --workdir=runs/m1 --json

Reads files only, from any machine that sees them, and changes nothing. The exit code is
0 while the run is unfinished as well.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from launch import _main
from paramctl_jax.sweeps.standing import Status
from paramctl_jax.sweeps.status import status
from paramctl_jax.sweeps.worker_logs import WorkerLogs

_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory.")
_JSON = flags.DEFINE_bool("json", False, "Print JSON; with --watch one line each time.")
_WATCH = flags.DEFINE_bool("watch", False, "Look again and again until all is done.")

PERIOD = 5.0  # seconds between two looks
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def main(argv: Sequence[str]) -> None:
    """Prints the status, once or until the run is finished."""
    del argv
    (workdir,) = _main.required(workdir=_WORKDIR.value)
    logs = WorkerLogs(Path(workdir) / "sweep")
    while True:
        found = status(workdir, logs)
        print(_text(found), flush=True)
        if found.finished or not _WATCH.value:
            return
        time.sleep(PERIOD)


def _text(found: Status) -> str:
    if _JSON.value:
        return json.dumps(found.to_json(), indent=None if _WATCH.value else 2)
    if not _WATCH.value:
        return str(found)
    return f"{_HOME_AND_CLEAR}{found}" if sys.stdout.isatty() else f"{found}\n"


if __name__ == "__main__":
    _main.run(main)
