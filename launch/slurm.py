"""Run a sweep as an array of Slurm jobs, and collect it.

    python -m launch.slurm --config=configs/paper.py --workdir=runs/m1 --tasks=64 --time=4:00:00 --gpus=1

Submits the fit (unless it is done), an array of workers, and a job that collects the
stimulus set once the array has ended in whatever way. Jobs that are preempted or reach
their time limit save, and are queued again. The same command again submits workers for
the blocks that are missing, and no more of them than that; while jobs of the run wait
or run it is refused, but for ``--again``. Settings with variants are several runs: each
gets its jobs, and `launch.pipeline` puts them side by side afterwards. ``--dry_run``
prints the scripts, writes nothing and submits nothing.
"""  # noqa: E501

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from launch import _main, _sbatch, _slurm, _stage
from paramctl_jax import sums, sweeping
from paramctl_jax.configuration import VARIANTS, stored_variants
from paramctl_jax.experiment import Run, Working

_TASKS = flags.DEFINE_integer("tasks", 8, "Workers: tasks of the array.", lower_bound=1)
_AT_ONCE = flags.DEFINE_integer(
    "at_once", 0, "Tasks that run at a time; 0: all.", lower_bound=0
)
_TIME = flags.DEFINE_string("time", "", "Time limit of a task, HH:MM:SS.")
_PARTITION = flags.DEFINE_string("partition", "", "Partition.")
_GPUS = flags.DEFINE_string("gpus", "", "GPUs per task and node; one is simplest.")
_CPUS = flags.DEFINE_integer("cpus", 0, "CPUs per task and node.", lower_bound=0)
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
    """Opens the runs, writes their scripts, submits what is missing."""
    del argv
    if not _DRY.value:
        _sbatch.require()
        if not _AGAIN.value:
            _refuse_queued()
    runs = _stage.opened_runs(Working(role="submit"), claim=not _DRY.value)
    for run in runs.values():
        _submit(run)
    if len(runs) > 1 and not _DRY.value:
        where = shlex.quote(f"--workdir={Path(flags.FLAGS.workdir).resolve()}")
        print(f"all:   python -m launch.status {where} --watch")
        print(f"then:  python -m launch.pipeline {where}")


def _refuse_queued() -> None:
    """Before a run is opened: jobs that wait take its settings as they find them."""
    if flags.FLAGS.workdir is None:
        return
    workdir = Path(flags.FLAGS.workdir)
    names = stored_variants(workdir)
    for folder in [workdir / VARIANTS / name for name in names] or [workdir]:
        _sbatch.refuse_queued(folder)


def _submit(run: Run) -> None:
    """The jobs of one run; none where its stimulus set is collected."""
    workdir = run.workdir.resolve()
    if _collected(run):
        print(f"{workdir}: all blocks are done and the stimulus set is collected")
        return
    missing = _slurm.missing_blocks(workdir)
    tasks = _tasks(missing)
    scripts = _slurm.scripts_of(workdir, _resources(), tasks, _AT_ONCE.value)
    _slurm.check(scripts)
    if _DRY.value:
        for job, text in scripts.items():
            print(f"# ---- {job}.sh\n{text}")
        return
    jobs = _sbatch.submit_all(workdir, _slurm.write(workdir, scripts))
    _say(workdir, jobs, tasks, missing)


def _collected(run: Run) -> bool:
    """Whether there is nothing left to do; a dry run does not look for damage."""
    if _DRY.value:
        return sums.sealed(run.workdir / "stimuli")
    return sweeping.stimuli_whole(run)


def _tasks(missing: int | None) -> int:
    """Of the array: no more than blocks, nor than the cluster takes."""
    tasks = _TASKS.value if missing is None else min(_TASKS.value, missing)
    largest = _sbatch.largest_array() or tasks
    if tasks > largest:
        print(f"note: {largest} tasks, the most that an array may have here")
    return min(tasks, largest)


def _resources() -> _slurm.Resources:
    return _slurm.Resources(
        time=_TIME.value,
        partition=_PARTITION.value,
        gpus=_GPUS.value,
        cpus=_CPUS.value,
        memory=_MEMORY.value,
        nodes=_NODES.value,
        more=tuple(_SBATCH.value),
        setup=_SETUP.value,
        python=_PYTHON.value,
    )


def _say(workdir: Path, jobs: dict[str, str], tasks: int, missing: int | None) -> None:
    about = {"sweep": f", {tasks} tasks"}
    for job, number in jobs.items():
        print(f"{job}: job {number}{about.get(job, '')}")
    unplanned = "the blocks are cut by the first task"
    print(unplanned if missing is None else f"{missing} blocks are missing")
    where = shlex.quote(f"--workdir={workdir}")
    print(f"watch: python -m launch.status {where} --watch")
    print(f"       squeue -j {','.join(jobs.values())}")
    print(f"logs:  {workdir / _slurm.FOLDER / 'logs'}")


if __name__ == "__main__":
    _main.run(main)
