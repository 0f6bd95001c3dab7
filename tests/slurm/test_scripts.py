"""The scripts as bash reads them, and what Slurm, here a stand-in, is asked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch import _sbatch, _slurm
from paramctl_jax.configuration import stored_config, stored_variants
from paramctl_jax.sweeps.blocks import Share, SweepPlan, partition, write_plan
from paramctl_jax.types import InputError

ROOT = Path(__file__).parents[2]
STRANGE = 'it\'s "two" $HOME %j ünï #x `id`; \\'
PLAIN = _slurm.Resources(python="python")
FULL = _slurm.Resources(
    time="4:00:00",
    partition="gpu",
    gpus="a100:1",
    cpus=8,
    memory="32G",
    nodes=2,
    more=("--account=lab", r'--comment=a "b" \c'),
    setup="module load cuda; source env/bin/activate",
    python="python",
)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Stand-ins for commands on PATH, that record how they are called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    called = folder / "called"

    def define(**bodies):
        for name, body in bodies.items():
            path = folder / name
            path.write_text(
                "#!/usr/bin/env bash\n"
                f'printf "%s\\0" {name} "$@" >>"{called}"; printf "\\n" >>"{called}"\n'
                f"{body}\n"
            )
            path.chmod(0o755)

    def calls():
        lines = called.read_text().splitlines() if called.exists() else []
        return [line.split("\0")[:-1] for line in lines]

    define.calls = calls
    return define


@pytest.fixture
def slurm_commands(commands):
    """A Slurm that takes every job and forgets it."""
    number = 'n=$(cat "$0.n" 2>/dev/null || echo 10); n=$((n + 1)); echo $n >"$0.n"'
    commands(
        sbatch=f'{number}; env >"$0.env"; echo $n',
        squeue='echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1',
        scontrol='echo "MaxArraySize            = 1001"',
        scancel="",
    )
    return commands


def planned(workdir, done=()):
    """A run directory with a sweep of four blocks, some of them finished."""
    plan = SweepPlan(1, 2, {"m": Share("sha256:0", partition("m", 4, 1, 3, 1))})
    write_plan(workdir, plan)
    (workdir / "sweep" / "blocks").mkdir()
    for index in done:
        (workdir / "sweep" / "blocks" / f"m-{index:05d}.npz").touch()


def options(text):
    return [
        line.removeprefix("#SBATCH ")
        for line in text.splitlines()
        if line.startswith("#SBATCH ")
    ]


@pytest.mark.parametrize("resources", [PLAIN, FULL])
@pytest.mark.parametrize("name", ["run", STRANGE])
def test_bash_reads_every_script(tmp_path, name, resources):
    scripts = _slurm.scripts_of(tmp_path / name, resources, tasks=4)
    assert list(scripts) == ["fit", "sweep", "collect"]
    for text in scripts.values():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    _slurm.check(scripts)


def test_the_resources_are_asked_for(tmp_path):
    scripts = _slurm.scripts_of(tmp_path, FULL, tasks=64, at_once=8)
    asked = [
        *("--requeue", "--open-mode=append", "--signal=TERM@120", "--array=0-63%8"),
        *("--nodes=2", "--ntasks-per-node=1", "--time=4:00:00", "--partition=gpu"),
        *("--gpus-per-node=a100:1", "--cpus-per-task=8", "--mem=32G"),
        *("--account=lab", r'--comment="a \"b\" \\c"'),
    ]
    assert set(asked) <= set(options(scripts["sweep"]))
    assert "--distributed=on" in scripts["sweep"]
    assert FULL.setup in scripts["sweep"].splitlines()
    for job in ("fit", "collect"):
        assert "--nodes=1" in options(scripts[job])
        assert not any(option.startswith("--array") for option in options(scripts[job]))


def test_nothing_is_asked_for_that_was_not_given(tmp_path):
    text = _slurm.scripts_of(tmp_path, PLAIN, tasks=1)["sweep"]
    names = {option.partition("=")[0] for option in options(text)}
    ours = {"--job-name", "--output", "--open-mode", "--requeue", "--signal", "--array"}
    assert names == ours | {"--nodes", "--ntasks-per-node"}
    assert "--distributed=off" in text


def test_slurm_puts_no_numbers_into_the_folder_of_the_logs():
    text = _slurm.script("sweep", ["x"], Path("/runs/50%j of"), PLAIN, "0-1")
    assert '--output="/runs/50%%j of/slurm/logs/sweep_%A_%a.log"' in options(text)
    text = _slurm.script("fit", ["x"], Path("/runs/m1"), PLAIN)
    assert "--output=/runs/m1/slurm/logs/fit_%j.log" in options(text)


@pytest.mark.parametrize("code", [0, 1, 2, 75])
def test_only_what_was_stopped_is_queued_again(tmp_path, commands, code):
    """The script itself: what it starts, where, and what it does with the exit code."""
    commands(srun=f'echo "$SRUN_CPUS_PER_TASK $PWD $READY"; exit {code}')
    commands(scontrol="", sleep="")
    resources = _slurm.Resources(setup="export READY=yes", python="/a b/python")
    text = _slurm.scripts_of(tmp_path / STRANGE, resources, tasks=4)["sweep"]
    done = subprocess.run(
        ["bash", "-c", text],
        env={**os.environ, "SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stdout == f"3 {ROOT} yes\n"
    where = f"--workdir={tmp_path / STRANGE}"
    program = ["/a b/python", "-m", "launch.accentuate", where]
    started, *after = commands.calls()
    assert started == ["srun", *program, "--role=work", "--distributed=off"]
    again = [["scontrol", "requeue", "17"], ["sleep", "60"]]
    assert after == (again if code == 75 else [])


def test_what_does_not_fit_a_script_is_refused(tmp_path):
    with pytest.raises(InputError, match="line break"):
        _slurm.scripts_of(tmp_path / "a\nb", PLAIN, tasks=1)
    scripts = _slurm.scripts_of(tmp_path, _slurm.Resources(setup="echo 'a"), tasks=1)
    with pytest.raises(InputError, match="--setup: expected commands of bash"):
        _slurm.check(scripts)


def test_only_what_is_missing_is_submitted(tmp_path):
    assert _slurm.missing_blocks(tmp_path) is None
    planned(tmp_path, done=(0, 2))
    assert _slurm.missing_blocks(tmp_path) == 2
    (tmp_path / "sweep" / "blocks" / ".m-00001.npz.half").touch()
    (tmp_path / "sweep" / "blocks" / "other-00001.npz").touch()
    assert _slurm.missing_blocks(tmp_path) == 2
    (tmp_path / "encoding").mkdir()
    (tmp_path / "encoding" / "SHA256SUMS").touch()
    assert list(_slurm.scripts_of(tmp_path, PLAIN, tasks=2)) == ["sweep", "collect"]
    assert list(_slurm.scripts_of(tmp_path, PLAIN, tasks=0)) == ["collect"]


def test_jobs_wait_for_each_other_and_are_recorded(
    tmp_path, slurm_commands, monkeypatch
):
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    for leaking in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_NTASKS"):
        monkeypatch.setenv(leaking, "7")
    paths = _slurm.write(tmp_path, _slurm.scripts_of(tmp_path, PLAIN, tasks=4))
    jobs = _sbatch.submit_all(tmp_path, paths)
    assert jobs == {"fit": "11", "sweep": "12", "collect": "13"}
    after = "--kill-on-invalid-dep=yes"
    assert slurm_commands.calls() == [
        ["sbatch", "--parsable", *words]
        for words in (
            [str(paths["fit"])],
            ["--dependency=afterok:11", after, str(paths["sweep"])],
            ["--dependency=afterany:12", after, str(paths["collect"])],
        )
    ]
    assert (
        jobs.items()
        <= json.loads((tmp_path / "slurm" / "jobs.json").read_text()).items()
    )
    seen = (tmp_path / "bin" / "sbatch.env").read_text().splitlines()
    seen = [line for line in seen if line.startswith("SLURM_")]
    assert seen == ["SLURM_CONF=/etc/slurm.conf"]
    assert (tmp_path / "slurm" / "logs").is_dir()


def test_jobs_of_every_earlier_submission_are_known(tmp_path, slurm_commands):
    paths = _slurm.write(tmp_path, _slurm.scripts_of(tmp_path, PLAIN, tasks=4))
    _sbatch.refuse_queued(tmp_path)
    _sbatch.submit_all(tmp_path, paths)
    _sbatch.refuse_queued(tmp_path)
    waiting = 'case "$*" in *=12) echo "PENDING Priority"; echo "RUNNING None";; esac'
    slurm_commands(squeue=waiting)
    said = r"12 \(PENDING Priority, RUNNING\) of this run wait or run already"
    with pytest.raises(InputError, match=said):
        _sbatch.refuse_queued(tmp_path)
    _sbatch.submit_all(tmp_path, paths)
    assert (
        "12" not in json.loads((tmp_path / "slurm" / "jobs.json").read_text()).values()
    )
    with pytest.raises(InputError, match=said):
        _sbatch.refuse_queued(tmp_path)


def test_a_silent_slurm_is_no_empty_one(tmp_path, slurm_commands):
    paths = _slurm.write(tmp_path, _slurm.scripts_of(tmp_path, PLAIN, tasks=4))
    _sbatch.submit_all(tmp_path, paths)
    slurm_commands(squeue='echo "Unable to contact slurm controller" >&2; exit 1')
    with pytest.raises(
        InputError, match=r"squeue: does not answer .*Unable to contact"
    ):
        _sbatch.refuse_queued(tmp_path)
    (tmp_path / "slurm" / "jobs.json").write_text('{"fit": "x"}')
    with pytest.raises(InputError, match=r"jobs.json: expected numbers of jobs"):
        _sbatch.refuse_queued(tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        'echo "sbatch: error: no such account" >&2; exit 1',
        "echo sbatch: no such account",
    ],
)
def test_what_is_refused_halfway_is_taken_back(tmp_path, slurm_commands, body):
    slurm_commands(sbatch=f'case "$*" in *fit.sh) echo "11;cluster";; *) {body};; esac')
    paths = _slurm.write(tmp_path, _slurm.scripts_of(tmp_path, PLAIN, tasks=4))
    with pytest.raises(InputError, match=r"sweep\.sh: sbatch refuses it .*no such"):
        _sbatch.submit_all(tmp_path, paths)
    assert slurm_commands.calls()[-1] == ["scancel", "11"]


def test_the_largest_array_is_asked_for(slurm_commands, monkeypatch, tmp_path):
    assert _sbatch.largest_array() == 1001
    slurm_commands(scontrol="exit 1")
    assert _sbatch.largest_array() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _sbatch.largest_array() is None


def launch(*flags, path=None, config="controversial"):
    """``python -m launch.slurm`` as a user runs it."""
    given = [f"--config=configs/{config}.py", *flags]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-m", "launch.slurm", *map(str, given)],
        cwd=ROOT,
        env={**environment, "PATH": path or environment["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def only_line(done):
    """What is said of an error, in one line."""
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_a_dry_run_prints_the_scripts_and_writes_nothing(tmp_path):
    """Anywhere: Slurm need not be there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bash").symlink_to(shutil.which("bash"))
    workdir = tmp_path / "a run"
    flags = ("--tasks=3", "--dry_run", "--setup=module load x")
    done = launch(f"--workdir={workdir}", *flags, path=tmp_path / "bin")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --array=0-2\n" in done.stdout
    assert done.stdout.count("\nmodule load x\n") == 3
    assert done.stdout.count(f"'--workdir={workdir}'") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_sweep_is_submitted_with_its_settings(tmp_path, slurm_commands):
    """Once; overrides come with it."""
    workdir = tmp_path / "run"
    slurm_commands(scontrol='echo "MaxArraySize = 5"')
    done = launch(f"--workdir={workdir}", "--tasks=9", "--config.sites.count=3")
    assert done.returncode == 0, done.stderr
    assert "note: 5 tasks" in done.stdout
    assert "sweep: job 12, 5 tasks\n" in done.stdout
    assert f"launch.status --workdir={workdir} --watch\n" in done.stdout
    assert "squeue -j 11,12,13\n" in done.stdout
    stored = stored_config(workdir)
    assert stored is not None
    assert stored["sites"]["count"] == 3
    slurm_commands(squeue="echo RUNNING None")
    assert "run already" in only_line(launch(f"--workdir={workdir}", "--tasks=9"))
    assert [call[0] for call in slurm_commands.calls()].count("sbatch") == 3


@pytest.mark.slow
def test_every_run_of_a_study_gets_its_jobs(tmp_path, slurm_commands):
    workdir = tmp_path / "study"
    done = launch(f"--workdir={workdir}", "--tasks=2", config="quickstart")
    assert done.returncode == 0, done.stderr
    names = stored_variants(workdir)
    assert len(names) == 4
    for name in names:
        assert (workdir / "variants" / name / "slurm" / "sweep.sh").is_file()
    assert f"launch.pipeline --workdir={workdir}\n" in done.stdout
    calls = [call[0] for call in slurm_commands.calls()]
    assert calls.count("sbatch") == 3 * 4
    slurm_commands(squeue="echo RUNNING None")
    again = launch(f"--workdir={workdir}", "--tasks=2", config="quickstart")
    assert "run already" in only_line(again)


def test_a_bad_flag_ends_in_one_line(tmp_path):
    line = only_line(launch(f"--workdir={tmp_path / 'run'}", "--tasks=0"))
    assert "flag --tasks=0" in line
    assert list(tmp_path.iterdir()) == []


def test_without_slurm_one_line_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    line = only_line(launch(f"--workdir={tmp_path / 'run'}", path=tmp_path / "empty"))
    assert line.startswith("error: sbatch: not found; launch.slurm runs where jobs")
    assert not (tmp_path / "run").exists()
