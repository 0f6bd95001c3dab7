"""One program on several hosts, `jax.distributed`: TPU slices, nodes of GPUs.

Lanes are independent, so that each process works at blocks of its own on the devices
it sees itself, and nothing crosses between hosts but the wish to stop and a meeting
before and after. Where one host dies, all of them end (jax ends them); the blocks are
on disk, and the same command goes on.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import jax

from paramctl_jax.types import InputError, unknown

MODES = ("auto", "on", "off")
_LOOK = 1.0  # seconds between two looks for the others' wish to stop


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The processes of one program; one of them where there is no other.

    Attributes:
      index: of this process, from 0.
      count: of all.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process does what is done once."""
        return self.index == 0

    def meet(self, name: str) -> None:
        """Waits until every process has come here."""
        if self.count > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)


def join(
    mode: str = "auto",
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
) -> Hosts:
    """Joins the other processes of this program; must come before any use of jax.

    Args:
      mode: ``"on"``, ``"off"``, or ``"auto"``: on where a coordinator is named, where
        one Slurm step has several tasks, or on a TPU slice of several hosts.
      coordinator: ``HOST:PORT`` of process 0; None lets jax find out.
      count: number of processes; None lets jax find out.
      index: of this process; None lets jax find out.

    Raises:
      InputError: an unknown mode, or no others to be found.

    Example:
      >>> join("off")
      Hosts(index=0, count=1)
    """
    if mode not in MODES:
        raise unknown(mode, MODES, "mode of --distributed")
    if mode == "off" or (mode == "auto" and not (coordinator or _several())):
        return Hosts()
    # its handler would take SIGTERM from ours; the run directory passes it on
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, count, index)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"--distributed={mode}: the other processes cannot be joined "
            f"({' '.join(str(error).split())}); start one process per host with srun, "
            "or give --coordinator=HOST:PORT --processes=N --process=I"
        ) from error
    return Hosts(jax.process_index(), jax.process_count())


def _several() -> bool:
    """Whether the surroundings speak of several processes."""
    get = os.environ.get
    if get("JAX_COORDINATOR_ADDRESS"):
        return True
    if get("SLURM_PROCID") and int(get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return True
    slices = int(get("MEGASCALE_NUM_SLICES") or 1)
    return slices > 1 or "," in get("TPU_WORKER_HOSTNAMES", "")


def array_rank() -> dict[str, int]:
    """This task's place in a Slurm array; first of one where there is none.

    Example:
      >>> array_rank()["count"] >= 1
      True
    """
    task, count = (
        os.environ.get(f"SLURM_ARRAY_TASK_{name}", "") for name in ("ID", "COUNT")
    )
    if task.isdigit() and count.isdigit() and int(count) > 1:
        return {"index": int(task) % int(count), "count": int(count)}
    return {"index": 0, "count": 1}


def passing_on(hosts: Hosts, folder: Path) -> tuple[Callable[[], bool], Callable]:
    """How one process tells the others to stop: through the run directory.

    Args:
      hosts: of this program.
      folder: that all of them see.

    Returns:
      ``heard() -> bool``, cheap enough for every step, and ``tell()``.
    """
    path = folder / f"stop-{_program(hosts)}"
    last = [-float("inf"), False]

    def heard() -> bool:
        if hosts.count > 1 and not last[1] and time.monotonic() - last[0] > _LOOK:
            last[:] = [time.monotonic(), path.exists()]
        return bool(last[1])

    def tell() -> None:
        if hosts.count > 1:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch()

    return heard, tell


def _program(hosts: Hosts) -> int:
    """A number that all processes of this program share, and no other program."""
    if hosts.count == 1:
        return os.getpid()
    import numpy as np
    from jax.experimental import multihost_utils

    mine = np.asarray(time.time_ns() // 1000 % 2**31, np.int32)
    return int(multihost_utils.broadcast_one_to_all(mine))
