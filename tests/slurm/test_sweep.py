"""A sweep on a real Slurm of one node: an array, a requeued job, a killed task."""

import json
import signal
import subprocess
import time

import pytest

from tests.sweeps.runs import BLOCKS, at_work, ended, environment, tree, until

pytestmark = pytest.mark.slow


@pytest.fixture
def submit(slurm, launcher, tmp_path):
    """Submits with launch.slurm; the tasks know the networks of the tests."""

    def submit(workdir, *flags, code=0, **more):
        program = launcher.command(
            "slurm", workdir, *flags, _python(launcher, tmp_path)
        )
        given = environment(launcher.cache, **more)
        given["SLURM_CONF"] = slurm.environment["SLURM_CONF"]
        process = subprocess.Popen(
            program,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = ended(process, code)
        path = workdir / "slurm" / "jobs.json"
        return said, json.loads(path.read_text()) if path.exists() else {}

    return submit


def _python(launcher, tmp_path):
    """``--python`` that runs a launcher with the networks of the tests."""
    wrapper = tmp_path / "python"
    program = launcher.command("NAME", "W")[:4]
    wrapper.write_text(
        "#!/usr/bin/env bash\n"
        "# called as: python -m launch.NAME FLAGS\n"
        f'exec {" ".join(program)} "${{2#launch.}}" "${{@:3}}"\n'
    )
    wrapper.chmod(0o755)
    return f"--python={wrapper}"


def wait_for(slurm, jobs):
    for job in ("fit", "sweep", "collect"):
        if job in jobs:
            slurm.wait(jobs[job])


def logs(workdir):
    return "\n".join(p.read_text() for p in sorted((workdir / "slurm/logs").iterdir()))


def test_an_array_ends_with_the_same_bytes(slurm, submit, launcher, expected, tmp_path):
    """From an empty directory whose name has a space: fit, four workers, collector."""
    workdir = tmp_path / "a run"
    _, jobs = submit(workdir, "--tasks=4", "--time=10:00", "--cpus=1")
    assert jobs.keys() >= {"fit", "sweep", "collect"}
    wait_for(slurm, jobs)
    assert (workdir / "stimuli" / "SHA256SUMS").exists(), logs(workdir)
    assert tree(workdir) == expected
    said, _ = submit(workdir, "--tasks=4")
    assert "all blocks are done" in said


def test_a_requeued_task_saves_and_goes_on(slurm, submit, launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    _, jobs = submit(workdir, "--tasks=1", "--cpus=1", TEST_PAUSE=0.05)
    until(lambda: at_work(workdir), timeout=180)
    time.sleep(1.5)
    slurm.ask("scancel", "--signal=TERM", jobs["sweep"])  # steps are told, and save
    until(lambda: "go on" in logs(workdir) or "goes on" in logs(workdir), timeout=60)
    assert list((workdir / "sweep" / "checkpoints").glob("net_*"))
    wait_for(slurm, jobs)
    assert "stopped by SIGTERM" in logs(workdir)
    launches = [json.loads(p.read_text()) for p in (workdir / "history").iterdir()]
    assert [x["exit_code"] for x in launches].count(75) == 1
    assert tree(workdir) == expected, logs(workdir)


def test_a_killed_task_is_made_up_for(slurm, submit, launcher, expected, tmp_path):
    """The collector runs all the same, and says what is missing; again: only that."""
    workdir = launcher.fresh(tmp_path / "run")
    _, jobs = submit(workdir, "--tasks=1", "--cpus=1", TEST_PAUSE=0.05)
    until(lambda: at_work(workdir), timeout=180)
    said, _ = submit(workdir, "--tasks=1", code=1)
    assert "wait or run already" in said
    time.sleep(1.0)
    claim = next((workdir / "sweep" / "claims").glob("net_*.json"))
    pid = json.loads(claim.read_text())["pid"]
    subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(pid)], check=True)
    wait_for(slurm, jobs)
    done = len(list((workdir / "sweep" / "blocks").glob("net_*.npz")))
    assert done < BLOCKS
    assert f"{BLOCKS - done} blocks are missing" in logs(workdir)
    said, jobs = submit(workdir, "--tasks=64", "--cpus=1")
    assert f"{BLOCKS - done} blocks are missing" in said
    script = (workdir / "slurm" / "sweep.sh").read_text()
    assert f"#SBATCH --array=0-{BLOCKS - done - 1}\n" in script
    wait_for(slurm, jobs)
    assert tree(workdir) == expected, logs(workdir)


def test_slurm_takes_every_script(slurm, submit, tmp_path):
    workdir = tmp_path / 'it\'s "two" words'
    flags = ("--tasks=3", "--at_once=2", "--time=1:00:00", "--memory=100M")
    submit(workdir, *flags, "--sbatch=--comment=a b", "--partition=main")
    subprocess.run(["scancel", "--user=root"], env=slurm.environment, check=False)
    scripts = sorted((workdir / "slurm").glob("*.sh"))
    assert [path.stem for path in scripts] == ["collect", "fit", "sweep"]
    for path in scripts:
        slurm.ask("sbatch", "--test-only", str(path))
