"""The scripts of a sweep on Slurm: fit, an array of workers, collector.

Lanes are independent, so that the workers are the tasks of an array: each is a job of
its own, which fails, is preempted and is started again alone. What is done is told from
files, never from the states of jobs. The jobs take the settings from ``run.json``, so
that a config that is edited while they wait changes nothing.
"""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from paramctl_jax import sums
from paramctl_jax.artifacts import atomic_write
from paramctl_jax.sweeps import blocks
from paramctl_jax.sweeps.worker import finished
from paramctl_jax.types import InputError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "slurm"
STOP_BEFORE = 120  # seconds before the end of the time, for saving

# srun no longer takes the number of CPUs from sbatch by itself (Slurm 22.05)
_CPUS = """\
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi
"""
_REQUEUE = """\
rc=$?
# 75: stopped by a signal, all is saved. Ending with it would end the job for good.
if [ "$rc" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
  sleep 60 # Slurm ends this start of the job meanwhile
fi
exit "$rc"
"""


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a task asks of Slurm; empty or 0 leaves it to the cluster.

    Attributes:
      time: limit, as ``HH:MM:SS`` or Slurm's other forms.
      partition: to run in.
      gpus: per node, as ``1`` or ``a100:1``.
      cpus: per node.
      memory: per node, as ``16G``.
      nodes: per task; several work as one program.
      more: further options of sbatch, as they are; they win over the others.
      setup: shell commands before the program.
      python: that runs it.
    """

    time: str = ""
    partition: str = ""
    gpus: str = ""
    cpus: int = 0
    memory: str = ""
    nodes: int = 1
    more: tuple[str, ...] = ()
    setup: str = ""
    python: str = sys.executable


def missing_blocks(workdir: Path) -> int | None:
    """Blocks without a file; None where the sweep is not planned yet."""
    if not (workdir / blocks.FOLDER / blocks.PLAN).exists():
        return None
    return len(blocks.read_plan(workdir).blocks.keys() - finished(workdir))


def scripts_of(
    workdir: Path, resources: Resources, tasks: int, at_once: int = 0
) -> dict[str, str]:
    """The scripts that are still needed, in the order of their submission.

    Args:
      workdir: the run directory, absolute.
      resources: of every task of the array; fit and collector have one node.
      tasks: of the array; 0 leaves it out.
      at_once: tasks that run at a time; 0: all.

    Returns:
      Of ``fit``, ``sweep`` and ``collect`` those that there is something to do for.

    Example:
      >>> scripts = scripts_of(Path("/runs/m1"), Resources(), tasks=8, at_once=4)
      >>> [job for job in scripts], "#SBATCH --array=0-7%4" in scripts["sweep"]
      (['fit', 'sweep', 'collect'], True)
    """
    one = dataclasses.replace(resources, nodes=1)
    where = f"--workdir={workdir}"
    scripts = {}
    if not sums.sealed(workdir / "encoding"):
        scripts["fit"] = script("fit", ["launch.fit_encoding", where], workdir, one)
    if tasks:
        together = "on" if resources.nodes > 1 else "off"
        program = ["launch.accentuate", where, "--role=work"]
        program += [f"--distributed={together}"]
        array = f"0-{tasks - 1}" + (f"%{at_once}" if at_once else "")
        scripts["sweep"] = script("sweep", program, workdir, resources, array)
    program = ["launch.accentuate", where, "--role=collect", "--distributed=off"]
    scripts["collect"] = script("collect", program, workdir, one)
    return scripts


def script(
    job: str, program: list[str], workdir: Path, resources: Resources, array: str = ""
) -> str:
    """A batch script.

    Args:
      job: ``"fit"``, ``"sweep"`` or ``"collect"``.
      program: module and flags.
      workdir: the run directory, absolute.
      resources: of every task.
      array: indices of the tasks and how many at once, as ``0-7%4``; "" for one job.

    Raises:
      InputError: a line break in what must be one line.
    """
    folder = str(workdir / FOLDER / "logs").replace("%", "%%")
    options = [
        f"--job-name=paramctl-{job}",
        f"--output={folder}/{job}_{'%A_%a' if array else '%j'}.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=TERM@{STOP_BEFORE}",
        *_asked(resources),
    ]
    options += [f"--array={array}"] if array else []
    # srun: where a job is preempted, only its steps are told in time
    words = ["srun", resources.python, "-m", *program]
    for text in (*options, *words):
        if "\n" in text or "\r" in text:
            raise InputError(f"{text!r}: expected one line, found a line break")
    lines = [
        "#!/usr/bin/env bash",
        "# Written by launch.slurm; settings: run.json of the run directory.",
        *(f"#SBATCH {_quoted(option)}" for option in options),
        f"cd {shlex.quote(str(ROOT))} || exit 1",
        *([resources.setup] if resources.setup else []),
        f"{_CPUS}{shlex.join(words)}",
    ]
    return "\n".join([*lines, _REQUEUE])


def _asked(resources: Resources) -> list[str]:
    named = {
        "time": resources.time,
        "partition": resources.partition,
        "gpus-per-node": resources.gpus,
        "cpus-per-task": resources.cpus,
        "mem": resources.memory,
    }
    nodes = [f"--nodes={resources.nodes}", "--ntasks-per-node=1"]
    asked = [f"--{name}={value}" for name, value in named.items() if value]
    return [*nodes, *asked, *resources.more]


def _quoted(option: str) -> str:
    """As sbatch reads its own lines in a script."""
    name, equals, value = option.partition("=")
    if not any(character in value for character in " \t'\"#\\"):
        return option
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}{equals}"{escaped}"'


def check(scripts: Mapping[str, str]) -> None:
    """Has bash read the scripts without running them, where there is a bash.

    Raises:
      InputError: the setup commands, all else being quoted, are no shell commands.
    """
    for text in scripts.values() if shutil.which("bash") else ():
        done = subprocess.run(
            ["bash", "-n"], input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = " ".join(done.stderr.split())
            raise InputError(f"--setup: expected commands of bash, which says: {said}")


def write(workdir: Path, scripts: Mapping[str, str]) -> dict[str, Path]:
    """Writes the scripts and makes room for the logs."""
    try:
        (workdir / FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{workdir / FOLDER}: cannot be written ({reason})") from error
    return {
        job: atomic_write(workdir / FOLDER / f"{job}.sh", text.encode())
        for job, text in scripts.items()
    }
