"""Which process it is, as a claim says it to others, and whether that process lives."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Owner:
    """One process, told apart from every other one.

    Attributes:
      id: unique, fit for a file name.
      host: short name.
      machine: this start of this kernel and this space of process numbers; empty where
        it cannot be known.
      pid: process number.
      born: when the process began, against numbers given twice.
      slurm: of the job or array task, "" outside of Slurm.
      restart: how often Slurm has started it again.
    """

    id: str
    host: str
    machine: str = ""
    pid: int = 0
    born: str = ""
    slurm: str = ""
    restart: int = 0

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        get, pid = os.environ.get, os.getpid()
        host, born = socket.gethostname().split(".")[0], ""
        with contextlib.suppress(OSError):
            born = _born(pid)
        job = get("SLURM_ARRAY_JOB_ID") or get("SLURM_JOB_ID") or ""
        parts = (job, get("SLURM_ARRAY_TASK_ID", ""), get("SLURM_PROCID", ""))
        return cls(
            id=f"{host}-{pid}-{secrets.token_hex(4)}",
            host=host,
            machine=_machine(),
            pid=pid,
            born=born,
            slurm="_".join(parts) if job else "",
            restart=int(get("SLURM_RESTART_COUNT") or 0),
        )

    def knows_gone(
        self, record: Mapping[str, Any], alive: Callable[[int, str], bool]
    ) -> bool:
        """Whether the owner in a claim's record is known to have ended.

        It was a process of this machine that is gone, or an earlier start of this task
        of Slurm.
        """
        where = record["host"], record["machine"]
        here = self.machine and where == (self.host, self.machine)
        if here and record["born"] and not alive(record["pid"], record["born"]):
            return True
        same_task = record["slurm"] == self.slurm != ""
        return same_task and record["restart"] < self.restart


def _machine() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _born(pid: int) -> str:
    """Start time of a process in the kernel's ticks; "" for a zombie, which has ended.

    Raises:
      OSError: there is no such process, or it is hidden.
    """
    after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "" if after[0] in "ZX" else after[19]


def alive(pid: int, born: str) -> bool:
    """Whether a process of this machine lives, or may do so."""
    try:
        return _born(pid) == born
    except (FileNotFoundError, ProcessLookupError):
        pass  # those of other users can be hidden this way, too
    except OSError:
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
