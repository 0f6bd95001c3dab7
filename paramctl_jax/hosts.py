"""One program on several hosts, `jax.distributed`: TPU slices, nodes of GPUs.

Lanes are independent, so that each process works at blocks of its own on the devices
it sees itself, and nothing crosses between hosts but the wish to stop and a meeting
before and after. Where one host dies, all of them end (jax ends them); the blocks are
on disk, and the same command goes on.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from pathlib import Path

import jax

from paramctl_jax import stopping
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
    lists = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")
    return slices > 1 or any("," in get(name, "") for name in lists)


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


class Company:
    """What the processes of one program tell each other: through the run directory.

    Args:
      hosts: of this program.
      folder: that all of them see.
    """

    def __init__(self, hosts: Hosts, folder: Path):
        self._hosts, self._folder = hosts, folder
        self._program = _program(hosts)
        self._heard, self._looked = False, -math.inf

    def heard(self) -> bool:
        """Whether one of them wants to stop; cheap enough for every step."""
        if self._hosts.count > 1 and time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            self._heard = self._heard or self._path("stop").exists()
        return self._heard

    def tell(self) -> None:
        """Tells the others to stop."""
        self._mark("stop")

    def meet(self, name: str) -> None:
        """Waits until every process has come here; jax ends all where one has died.

        Raises:
          Stopped: a signal came, here or to another one.
        """
        self.leave(name)
        others = range(self._hosts.count) if self._hosts.count > 1 else ()
        for index in others:
            while not self._path(f"{name}-{index}").exists():
                if stopping.asked():
                    raise stopping.Stopped(stopping.reason())
                time.sleep(_LOOK / 5)

    def leave(self, name: str) -> None:
        """As `meet`, without waiting for the others."""
        self._mark(f"{name}-{self._hosts.index}")

    def _path(self, name: str) -> Path:
        return self._folder / f"{self._program}-{name}"

    def _mark(self, name: str) -> None:
        if self._hosts.count > 1:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path(name).touch()


def _program(hosts: Hosts) -> int:
    """A number that all processes of this program share, and no other program."""
    if hosts.count == 1:
        return os.getpid()
    import numpy as np
    from jax.experimental import multihost_utils

    mine = np.asarray(time.time_ns() // 1000 % 2**31, np.int32)
    return int(multihost_utils.broadcast_one_to_all(mine))
