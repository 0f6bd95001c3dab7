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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from launch import _main
from paramctl_jax.configuration import VARIANTS, stored_variants
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
    folders = _folders(Path(workdir))
    logs = {name: WorkerLogs(folder / "sweep") for name, folder in folders.items()}
    while True:
        found = {name: status(folders[name], logs[name]) for name in folders}
        print(_text(found), flush=True)
        if all(one.finished for one in found.values()) or not _WATCH.value:
            return
        time.sleep(PERIOD)


def _folders(workdir: Path) -> dict[str, Path]:
    """The run's directory, nameless; of a study those of its runs."""
    names = stored_variants(workdir)
    return {name: workdir / VARIANTS / name for name in names} or {"": workdir}


def _text(found: Mapping[str, Status]) -> str:
    if _JSON.value:
        content: Any = {name: one.to_json() for name, one in found.items()}
        content = content.get("", content)
        return json.dumps(content, indent=None if _WATCH.value else 2)
    said = "\n".join(f"{name}:\n{x}" if name else str(x) for name, x in found.items())
    if not _WATCH.value:
        return said
    return f"{_HOME_AND_CLEAR}{said}" if sys.stdout.isatty() else f"{said}\n"


if __name__ == "__main__":
    _main.run(main)
