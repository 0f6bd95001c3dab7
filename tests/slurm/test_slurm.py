"""The scripts on a real Slurm of one node, with a stand-in for the programs."""

import os
import shlex
import signal
import stat
import sys
from pathlib import Path

import pytest

from launch import _sbatch, _slurm
from paramctl_jax import sums
from paramctl_jax.sweeps.blocks import PLAN, Share, SweepPlan, partition, write_plan
from paramctl_jax.types import InputError
from tests.sweeps.runs import until

pytestmark = pytest.mark.slow

NAMES = [f"m-{index:05d}" for index in range(4)]
STRANGE = 'it\'s "two" $HOME %j ünï #x `id`'


@pytest.fixture
def sweep(slurm, tmp_path, monkeypatch):
    """Submits a sweep of four blocks, as the launcher does once the run is open."""
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    python = tmp_path / "python"
    stub = Path(__file__).with_name("stub.py")
    program = shlex.join([sys.executable, str(stub)])
    python.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)

    def sweep(workdir, tasks, steps=1, **more):
        monkeypatch.setenv("STUB_STEPS", str(steps))
        workdir.mkdir(exist_ok=True)
        plan = SweepPlan(1, 2, {"m": Share("sha256:0", partition("m", 4, 1, 3, 1))})
        write_plan(tmp_path / "elsewhere", plan)
        text = (tmp_path / "elsewhere" / "sweep" / PLAN).read_text()
        (workdir / "plan-to-be.json").write_text(text)
        missing = _slurm.missing_blocks(workdir)
        tasks = tasks if missing is None else min(tasks, missing)
        resources = _slurm.Resources(cpus=1, python=str(python), **more)
        scripts = _slurm.scripts_of(workdir, resources, tasks)
        _slurm.check(scripts)
        return _sbatch.submit_all(workdir, _slurm.write(workdir, scripts))

    return sweep


def finish(slurm, jobs):
    for job in jobs.values():
        slurm.wait(job)


def log(workdir, job):
    return "".join(p.read_text() for p in (workdir / "slurm" / "logs").glob(f"{job}_*"))


def done(workdir):
    return sorted(path.stem for path in (workdir / "sweep" / "blocks").glob("*.npz"))


def begun(workdir, *names):
    return lambda: all(f"{n}: from step 0" in log(workdir, "sweep") for n in names)


def test_an_array_ends_in_a_directory_of_whatever_name(slurm, sweep, tmp_path):
    workdir = tmp_path / STRANGE
    jobs = sweep(workdir, tasks=4)
    assert list(jobs) == ["fit", "sweep", "collect"]
    finish(slurm, jobs)
    assert slurm.state(jobs["collect"]) == ("COMPLETED", "0:0"), log(workdir, "collect")
    assert done(workdir) == NAMES
    assert sums.sealed(workdir / "stimuli")
    logs = {path.name for path in (workdir / "slurm" / "logs").iterdir()}
    array = {f"sweep_{jobs['sweep']}_{task}.log" for task in range(4)}
    one = {f"{job}_{jobs[job]}.log" for job in ("fit", "collect")}
    assert logs == array | one


def test_tasks_that_are_told_to_stop_come_back_and_go_on(slurm, sweep, tmp_path):
    """One by a signal, as on preemption; one by an administrator's requeue."""
    workdir = tmp_path / "run"
    jobs = sweep(workdir, tasks=2, steps=15)
    until(begun(workdir, *NAMES[:2]))
    slurm.terminate(f"{jobs['sweep']}_0")
    slurm.requeue(f"{jobs['sweep']}_1")
    until(lambda: log(workdir, "sweep").count("saved at step") == 2)
    assert done(workdir) == []
    slurm.wait(jobs["sweep"])
    text = log(workdir, "sweep")
    assert {slurm.starts(f"{jobs['sweep']}_{task}") for task in (0, 1)} == {1}
    assert all(text.count(f"{name}: from step") == 2 for name in NAMES[:2]), text
    assert all(f"{name}: from step 0" in text for name in NAMES)
    slurm.wait(jobs["collect"])
    assert slurm.state(jobs["collect"]) == ("COMPLETED", "0:0")
    assert done(workdir) == NAMES


def test_a_killed_task_is_told_and_made_up_for(slurm, sweep, tmp_path):
    """The collector runs after it all the same; again: an array of what is missing."""
    workdir = tmp_path / "run"
    jobs = sweep(workdir, tasks=2, steps=10)
    until(begun(workdir, NAMES[1]))
    os.kill(int((workdir / "pids" / "1").read_text()), signal.SIGKILL)
    with pytest.raises(InputError, match=f"{jobs['sweep']} .*RUNNING.* run already"):
        _sbatch.refuse_queued(workdir)
    finish(slurm, jobs)
    _sbatch.refuse_queued(workdir)
    assert done(workdir) == NAMES[::2]
    assert slurm.state(f"{jobs['sweep']}_1") == ("FAILED", "137:0")
    assert slurm.state(jobs["collect"]) == ("FAILED", "1:0")
    assert "2 blocks are missing" in log(workdir, "collect")
    jobs = sweep(workdir, tasks=64)
    assert list(jobs) == ["sweep", "collect"]
    assert "#SBATCH --array=0-1\n" in (workdir / "slurm" / "sweep.sh").read_text()
    finish(slurm, jobs)
    assert done(workdir) == NAMES
    assert slurm.state(jobs["collect"]) == ("COMPLETED", "0:0")
    assert list(sweep(workdir, tasks=64)) == ["collect"]


def test_a_cancelled_task_does_not_come_back(slurm, sweep, tmp_path):
    """Though it saves, and its program ends with 75."""
    workdir = tmp_path / "run"
    jobs = sweep(workdir, tasks=1, steps=100)
    until(begun(workdir, NAMES[0]))
    slurm.ask("scancel", jobs["sweep"])
    slurm.wait(jobs["sweep"], hurry=False, timeout=60)
    assert "saved at step" in log(workdir, "sweep")
    assert slurm.state(jobs["sweep"])[0] == "CANCELLED"
    slurm.wait(jobs["collect"])
    assert slurm.state(jobs["collect"]) == ("FAILED", "1:0")


def test_slurm_takes_every_script(slurm, tmp_path):
    everything = _slurm.Resources(
        time="1:00:00",
        partition="main",
        gpus="1",
        cpus=1,
        memory="100M",
        more=("--comment=a \"b\" 'c' #d", "-J another"),
        setup="true",
    )
    scripts = _slurm.scripts_of(tmp_path / STRANGE, everything, tasks=3, at_once=2)
    for path in _slurm.write(tmp_path, scripts).values():
        slurm.ask("sbatch", "--test-only", path)
    number = slurm.submit(tmp_path / "slurm" / "sweep.sh", "--hold")
    said = slurm.ask("scontrol", "show", "job", number)
    slurm.ask("scancel", number)
    assert "JobName=another" in said
    assert "Comment=a \"b\" 'c' #d" in said
    assert "ArrayTaskThrottle=2" in said
    assert "TimeLimit=01:00:00" in said
    assert "gres:gpu:1" in said or "gpu:1" in said


def test_slurm_refuses_in_its_own_words(slurm, sweep, tmp_path):
    """What was submitted before is taken back."""
    workdir = tmp_path / "run"
    with pytest.raises(InputError, match=r"fit.sh: sbatch refuses it .*nowhere"):
        sweep(workdir, tasks=1, partition="nowhere")
    scripts = _slurm.scripts_of(workdir, _slurm.Resources(setup="sleep 60"), tasks=1)
    paths = _slurm.write(workdir, scripts)
    largest = _sbatch.largest_array()
    slurm.ask("sbatch", "--test-only", f"--array=0-{largest - 1}", paths["sweep"])
    paths["sweep"].write_text(f"#!/bin/sh\n#SBATCH --array=0-{largest}\n")
    with pytest.raises(InputError, match=r"sweep.sh: sbatch refuses it .*array"):
        _sbatch.submit_all(workdir, paths)
    until(lambda: not slurm.ask("squeue", "-h"), timeout=30)
    assert _sbatch.queued(["99999"]) == {}
