"""``history/``: one file per launch in a run directory, what it ran on, how it ended.

Each launch writes a file of its own, so that any number of processes may start in one
directory. No result rests on them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paramctl_jax.artifacts import HISTORY, provenance, read_json, write_json
from paramctl_jax.types import InputError


@dataclasses.dataclass
class Launch:
    """One command in a run directory.

    Attributes:
      path: of its file.
      content: command, commit, versions, devices, XLA flags, times.
    """

    path: Path
    content: dict[str, Any]

    def end(self, exit_code: int, reason: str = "") -> None:
        """Says how the launch ended; where that cannot be written, nothing."""
        ended = {"end": _now().isoformat(), "exit_code": exit_code, "reason": reason}
        self.content.update(ended)
        with contextlib.suppress(InputError):
            write_json(self.path, self.content)


_UNDER_WAY: list[Launch] = []


def end_all(exit_code: int, reason: str = "") -> None:
    """Ends what this process has begun; called by a launcher when it leaves."""
    while _UNDER_WAY:
        _UNDER_WAY.pop().end(exit_code, reason)


def begin(
    workdir: str | Path, overrides: Sequence[str] = (), computes: bool = True
) -> Launch:
    """Writes that a command has started.

    Args:
      workdir: of a run, claimed.
      overrides: of the settings, as they were given on the command line.
      computes: False where it only hands jobs to others.

    Example:
      >>> import tempfile
      >>> folder = tempfile.mkdtemp()
      >>> begin(folder).end(0)
      >>> [launch["exit_code"] for launch in launches(folder)]
      [0]
    """
    start, host, pid = _now(), socket.gethostname().split(".")[0], os.getpid()
    name = f"{start:%Y%m%dT%H%M%S.%f}-{host}-{pid}.json"
    about = {"start": start.isoformat(), "host": host, "pid": pid}
    about |= {"overrides": list(overrides), "computes": computes}
    content = {**about, **provenance()}
    launch = Launch(Path(workdir) / HISTORY / name, content)
    write_json(launch.path, content)
    _UNDER_WAY.append(launch)
    return launch


def launches(workdir: str | Path) -> list[dict[str, Any]]:
    """All launches, the oldest first; files that cannot be read are left out."""
    found = []
    for path in sorted((Path(workdir) / HISTORY).glob("[0-9]*.json")):
        try:
            content = read_json(path)
        except (InputError, RecursionError):
            continue
        if isinstance(content, dict):
            found.append(content)
    return found


def software(workdir: str | Path) -> dict[str, Any]:
    """Commit and versions of the last launch, for a report; not its time and place."""
    found = launches(workdir)
    named = ("commit", "python", "versions", "backend")
    return {name: found[-1].get(name) for name in named} if found else {}


def other_machine(workdir: str | Path, launch: Launch) -> str:
    """In words, if earlier launches ran on something that may give other last bits."""
    for old in [x for x in launches(workdir) if x.get("computes")]:
        there, here = _kind(old), _kind(launch.content)
        if there != here:
            return (
                f"{workdir}: begun on {there}, going on with {here}; the last bits of "
                "the results may differ"
            )
    return ""


def _kind(content: dict[str, Any]) -> str:
    versions = content.get("versions", {})
    return f"{content.get('backend')} and jax {versions.get('jax')}"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
