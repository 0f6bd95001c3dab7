"""What Slurm is asked: to take scripts as jobs, which jobs it still has, its limits."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from launch._slurm import FOLDER
from paramctl_jax.artifacts import read_json, write_json
from paramctl_jax.types import InputError

JOBS = "jobs.json"
_NAMES = ("fit", "sweep", "collect")


def require() -> None:
    """Makes sure that jobs can be submitted from here.

    Raises:
      InputError: Slurm's commands are not there.
    """
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        if shutil.which(name) is None:
            raise InputError(
                f"{name}: not found; launch.slurm runs where jobs are submitted, on a "
                "login node of the cluster; --dry_run shows the scripts anywhere"
            )


def refuse_queued(workdir: Path) -> None:
    """Makes sure that no job of an earlier submission waits or runs.

    Raises:
      InputError: naming the jobs, their states and Slurm's reasons.
    """
    if found := queued(_recorded(workdir)):
        jobs = ", ".join(f"{job} ({state})" for job, state in found.items())
        raise InputError(
            f"{workdir}: jobs {jobs} of this run wait or run already; see squeue, or "
            "give --again for more workers"
        )


def submit_all(workdir: Path, paths: Mapping[str, Path]) -> dict[str, str]:
    """Submits fit, then the array, then the collector whatever became of the array.

    Args:
      workdir: whose ``slurm/jobs.json`` records the jobs, each as soon as it is one.
      paths: scripts in this order; those that are left out are not waited for.

    Returns:
      The jobs' numbers.

    Raises:
      InputError: Slurm refuses one of them; those before it are cancelled.
    """
    earlier = list(queued(_recorded(workdir)))
    jobs: dict[str, str] = {}
    before = ""
    try:
        for job, path in paths.items():
            jobs[job] = submit(path, before)
            _record(workdir, jobs, earlier)
            # afterok would leave the collector waiting for ever after one failed task
            before = f"{'afterok' if job == 'fit' else 'afterany'}:{jobs[job]}"
    except InputError:
        if jobs:
            _ask("scancel", *jobs.values())
        raise
    return jobs


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
    done = _ask("sbatch", "--parsable", *options, str(path))
    number = done.stdout.strip().split("\n")[-1].split(";")[0]
    if done.returncode or not number.isdigit():
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        raise InputError(
            f"{path}: sbatch refuses it ({said}); no job is left of this submission"
        )
    return number


def queued(jobs: Iterable[str]) -> dict[str, str]:
    """Those of some jobs that wait or run, with their tasks' states.

    Raises:
      InputError: Slurm does not answer.
    """
    found = {}
    for job in jobs:
        done = _ask("squeue", "--noheader", "--format=%T %r", f"--jobs={job}")
        if done.returncode and "nvalid job id" not in done.stderr:
            said = " ".join(done.stderr.split())
            raise InputError(f"squeue: does not answer ({said}); try again later")
        states = {line.strip().removesuffix(" None") for line in _lines(done)}
        if states and not done.returncode:
            found[job] = ", ".join(sorted(states)[:3])
    return found


def largest_array() -> int | None:
    """Tasks that one array may have; None where Slurm does not say."""
    if shutil.which("scontrol") is None:
        return None
    for line in _lines(_ask("scontrol", "show", "config")):
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdigit():
            return int(value)
    return None


def _record(workdir: Path, jobs: Mapping[str, str], earlier: list[str]) -> None:
    when = datetime.datetime.now(datetime.UTC).isoformat()
    content = {**jobs, "earlier": earlier, "time": when}
    write_json(workdir / FOLDER / JOBS, content)


def _recorded(workdir: Path) -> list[str]:
    """Jobs of the last submission, and those that it found still queued."""
    path = workdir / FOLDER / JOBS
    if not path.exists():
        return []
    content = read_json(path)
    try:
        jobs = [*content.get("earlier", []), *(content.get(name) for name in _NAMES)]
        return [str(int(job)) for job in jobs if job is not None]
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected numbers of jobs ({error}); see squeue, then delete it"
        ) from error


def _lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.strip()]


def _ask(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of Slurm, not as a part of the job that this may be in."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith("SLURM_")
    }
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env=environment
    )
