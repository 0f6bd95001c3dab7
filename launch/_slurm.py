"""The scripts of a sweep on Slurm, and what Slurm is asked.

Lanes are independent, so that the workers are the tasks of an array: each is a job of
its own, which fails, is preempted and is started again alone. What is done is told from
files, never from the states of jobs.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from paramctl_jax.artifacts import atomic_write
from paramctl_jax.types import InputError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "slurm"
STOP_BEFORE = 120  # seconds before the end of the time, for saving

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
      gpus: per task.
      cpus: per task.
      memory: per node, as ``16G``.
      nodes: per task; several work as one program.
      more: further options of sbatch, as they are.
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


def script(
    job: str, program: list[str], workdir: Path, resources: Resources, array: str = ""
) -> str:
    """A batch script.

    Args:
      job: ``"fit"``, ``"sweep"`` or ``"collect"``.
      program: module and flags.
      workdir: the run directory.
      resources: of every task.
      array: indices of the tasks and how many at once, as ``0-7%4``; "" for one job.
    """
    log = workdir / FOLDER / "logs" / (f"{job}_%A_%a.log" if array else f"{job}_%j.log")
    options = [
        f"--job-name=paramctl-{job}",
        f"--output={log}",
        "--open-mode=append",
        "--requeue",
        f"--signal=TERM@{STOP_BEFORE}",
        *_asked(resources),
    ]
    options += [f"--array={array}"] if array else []
    lines = [
        "#!/usr/bin/env bash",
        "# Written by launch.slurm; what it starts may be started by hand as well.",
        *(f"#SBATCH {_quoted(option)}" for option in options),
        f"cd {shlex.quote(str(ROOT))} || exit 1",
    ]
    lines += [resources.setup] if resources.setup else []
    # srun: where a job is preempted, only its steps are told in time
    words = ["srun", resources.python, "-m", *program]
    return "\n".join([*lines, shlex.join(words), _REQUEUE])


def _asked(resources: Resources) -> list[str]:
    named = {
        "time": resources.time,
        "partition": resources.partition,
        "gpus-per-task": resources.gpus,
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


def submit(path: Path, after: str = "") -> str:
    """Hands a script to Slurm.

    Args:
      path: of the script.
      after: dependency, as ``afterok:12``.

    Returns:
      The job's number.

    Raises:
      InputError: Slurm refuses it, in its own words.
    """
    options = [f"--dependency={after}", "--kill-on-invalid-dep=yes"] if after else []
    done = _asking("sbatch", "--parsable", *options, str(path))
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise InputError(f"{path}: sbatch refuses it ({said}); nothing of it will run")
    return done.stdout.strip().split(";")[0]


def queued(jobs: list[str]) -> list[str]:
    """Those of some jobs that wait or run."""
    found = []
    for job in jobs:
        done = _asking("squeue", "-h", "-o", "%A", "-j", job)
        found += [job] if done.returncode == 0 and done.stdout.strip() else []
    return found


def largest_array() -> int:
    """Tasks that one array may have."""
    done = _asking("scontrol", "show", "config")
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdigit():
            return int(value)
    return 1001  # Slurm's own default


def _asking(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of Slurm, not as a part of the job that this may be in."""
    if shutil.which(words[0]) is None:
        raise InputError(
            f"{words[0]}: not found; launch.slurm runs where jobs are submitted, on a "
            "login node of the cluster; --dry_run shows the scripts anywhere"
        )
    kept = ("SLURM_CONF",)
    environment = {
        k: v for k, v in os.environ.items() if k in kept or not k.startswith("SLURM_")
    }
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env=environment
    )


def write(workdir: Path, scripts: dict[str, str]) -> dict[str, Path]:
    """Writes the scripts and makes room for the logs."""
    (workdir / FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    return {
        job: atomic_write(workdir / FOLDER / f"{job}.sh", text.encode())
        for job, text in scripts.items()
    }
