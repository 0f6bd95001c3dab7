"""Run a sweep as an array of Slurm jobs, and collect it.

    python -m launch.slurm --config=configs/paper.py --workdir=runs/m1 --tasks=64 --time=4:00:00 --gpus=1

Submits the fit (unless it is done), an array of workers, and a job that collects the
stimulus set once the array has ended in whatever way. Jobs that are preempted or reach
their time limit save, and are queued again. The same command again submits workers for
the blocks that are missing, and no more of them than that. ``--dry_run`` prints the
scripts, writes nothing and submits nothing.
"""  # noqa: E501

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from launch import _main, _slurm, _stage
from paramctl_jax import artifacts, sums
from paramctl_jax.experiment import Working
from paramctl_jax.sweeps.blocks import FOLDER, PLAN, read_plan
from paramctl_jax.sweeps.worker import finished
from paramctl_jax.types import InputError

_TASKS = flags.DEFINE_integer("tasks", 8, "Workers: tasks of the array.", lower_bound=1)
_AT_ONCE = flags.DEFINE_integer("at_once", 0, "Tasks that run at a time; 0: all.")
_TIME = flags.DEFINE_string("time", "", "Time limit of a task, HH:MM:SS.")
_PARTITION = flags.DEFINE_string("partition", "", "Partition.")
_GPUS = flags.DEFINE_string("gpus", "", "GPUs per task; one is simplest.")
_CPUS = flags.DEFINE_integer("cpus", 0, "CPUs per task.")
_MEMORY = flags.DEFINE_string("memory", "", "Memory per node, e.g. 16G.")
_NODES = flags.DEFINE_integer(
    "nodes", 1, "Nodes per task (jax.distributed).", lower_bound=1
)
_SBATCH = flags.DEFINE_multi_string("sbatch", [], "Further options of sbatch.")
_SETUP = flags.DEFINE_string("setup", "", "Shell commands before the program.")
_PYTHON = flags.DEFINE_string("python", sys.executable, "Python of the tasks.")
_AGAIN = flags.DEFINE_bool("again", False, "Although jobs of this run are queued.")
_DRY = flags.DEFINE_bool("dry_run", False, "Print the scripts; submit nothing.")


def main(argv: Sequence[str]) -> None:
    """Opens the run, writes the scripts, submits what is missing."""
    del argv
    run = _stage.opened(Working(), claim=not _DRY.value)
    workdir = run.workdir.resolve()
    missing = missing_blocks(workdir)
    if missing == 0 and sums.sealed(workdir / "stimuli"):
        print(f"{workdir}: all blocks are done and the stimulus set is collected")
        return
    scripts = scripts_of(workdir, missing)
    if _DRY.value:
        for job, text in scripts.items():
            print(f"# ---- {job}.sh\n{text}")
        return
    _refuse_queued(workdir)
    jobs = _submit(_slurm.write(workdir, scripts))
    when = datetime.datetime.now(datetime.UTC).isoformat()
    artifacts.write_json(workdir / _slurm.FOLDER / "jobs.json", {**jobs, "time": when})
    _say(workdir, jobs, missing)


def missing_blocks(workdir: Path) -> int | None:
    """Blocks without a file; None where the sweep is not planned yet."""
    if not (workdir / FOLDER / PLAN).exists():
        return None
    return len(read_plan(workdir).blocks.keys() - finished(workdir))


def scripts_of(workdir: Path, missing: int | None) -> dict[str, str]:
    """The scripts that are to be submitted, in this order."""
    one = resources(nodes=1)
    where = f"--workdir={workdir}"
    scripts = {}
    if not sums.sealed(workdir / "encoding"):
        program = ["launch.fit_encoding", where]
        scripts["fit"] = _slurm.script("fit", program, workdir, one)
    if missing != 0:
        tasks = _TASKS.value if missing is None else min(_TASKS.value, missing)
        if not _DRY.value:
            tasks = min(tasks, _slurm.largest_array())
        array = f"0-{tasks - 1}" + (f"%{_AT_ONCE.value}" if _AT_ONCE.value else "")
        program = ["launch.accentuate", where, "--role=work"]
        program += ["--distributed=on"] if _NODES.value > 1 else ["--distributed=off"]
        text = _slurm.script("sweep", program, workdir, resources(), array)
        scripts["sweep"] = text
    program = ["launch.accentuate", where, "--role=collect", "--distributed=off"]
    scripts["collect"] = _slurm.script("collect", program, workdir, one)
    return scripts


def resources(nodes: int | None = None) -> _slurm.Resources:
    """As the flags say."""
    return _slurm.Resources(
        time=_TIME.value,
        partition=_PARTITION.value,
        gpus=_GPUS.value,
        cpus=_CPUS.value,
        memory=_MEMORY.value,
        nodes=nodes or _NODES.value,
        more=tuple(_SBATCH.value),
        setup=_SETUP.value,
        python=_PYTHON.value,
    )


def _refuse_queued(workdir: Path) -> None:
    path = workdir / _slurm.FOLDER / "jobs.json"
    if _AGAIN.value or not path.exists():
        return
    known = artifacts.read_json(path)
    if jobs := _slurm.queued([known[k] for k in known if k != "time"]):
        raise InputError(
            f"{workdir}: jobs {', '.join(jobs)} of this run wait or run already; see "
            "squeue, or give --again for more workers"
        )


def _submit(paths: dict[str, Path]) -> dict[str, str]:
    """Fit, then the array, then the collector whatever became of the array."""
    jobs: dict[str, str] = {}
    before = ""
    for job, path in paths.items():
        jobs[job] = _slurm.submit(path, before)
        # afterok would leave the collector waiting for ever after one failed task
        before = f"{'afterok' if job == 'fit' else 'afterany'}:{jobs[job]}"
    return jobs


def _say(workdir: Path, jobs: dict[str, str], missing: int | None) -> None:
    for job, number in jobs.items():
        print(f"{job}: job {number}")
    if missing is not None:
        print(f"{missing} blocks are missing")
    print(f"watch: python -m launch.status --workdir={workdir} --watch")
    print(f"logs:  {workdir / _slurm.FOLDER / 'logs'}")


if __name__ == "__main__":
    _main.run(main)
