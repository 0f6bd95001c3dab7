"""A sweep that is killed, stopped, shared or damaged ends with the same bytes."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time

import pytest

from paramctl_jax.history import launches
from paramctl_jax.stimuli.table import read_csv
from paramctl_jax.sweeps.metrics import read_metrics
from tests.sweeps.runs import BLOCKS, at_work, ended, flip, tree, until

pytestmark = pytest.mark.slow
OFTEN = "--checkpoint_minutes=0.002"


def finished(workdir):
    return sorted((workdir / "sweep" / "blocks").glob("net_*.npz"))


def block_events(workdir):
    return [
        event["name"]
        for events in read_metrics(workdir / "sweep").values()
        for event in events
        if event["event"] == "block"
    ]


def test_an_undisturbed_run_is_whole(reference, launcher, expected):
    assert len(finished(reference)) == BLOCKS
    assert len([name for name in expected if name.endswith(".png")]) == 2 * 2 * 3 * 4
    assert "all are what was written" in verified(launcher, reference, 0)
    assert not list((reference / "sweep" / "claims").glob("*.json"))
    assert not list((reference / "sweep" / "checkpoints").glob("*"))


def test_killed_ten_times(launcher, expected, tmp_path):
    """kill -9 at random moments: the tree of results is that of a run in one go."""
    workdir, draws = launcher.fresh(tmp_path / "run"), random.Random(0)
    kills = 0
    for _ in range(10):
        process = launcher.start("accentuate", workdir, OFTEN, TEST_PAUSE=0.03)
        until(lambda p=process: at_work(workdir) or p.poll() is not None)
        time.sleep(draws.uniform(0, 2.5))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 5
    launcher.finish("accentuate", workdir)
    assert tree(workdir) == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_75(number, launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    process = launcher.start("accentuate", workdir, TEST_PAUSE=0.05)
    until(lambda: at_work(workdir))
    time.sleep(1.0)
    process.send_signal(number)
    said = ended(process, 75)
    assert "the same command goes on" in said
    assert len(list((workdir / "sweep" / "checkpoints").glob("net_*"))) == 1
    assert not list((workdir / "sweep" / "claims").glob("*.json"))
    assert launches(workdir)[-1]["exit_code"] == 75
    launcher.finish("accentuate", workdir)
    assert tree(workdir) == expected


def test_a_second_ctrl_c_is_immediate(launcher, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    process = launcher.start("accentuate", workdir, TEST_PAUSE=3)
    until(lambda: at_work(workdir))
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    ended(process, 130, timeout=20)


def test_two_workers_share_a_directory(launcher, expected, tmp_path):
    """Neither does what the other has done; the first to wait collects."""
    workdir = launcher.fresh(tmp_path / "run")
    both = [launcher.start("accentuate", workdir) for _ in range(2)]
    for process in both:
        ended(process)
    assert tree(workdir) == expected
    assert sorted(block_events(workdir)) == [p.stem for p in finished(workdir)]
    owners = read_metrics(workdir / "sweep")
    assert len(owners) == 2


def test_a_killed_worker_is_followed_by_another(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    one = launcher.start("accentuate", workdir, OFTEN, TEST_PAUSE=0.05)
    other = launcher.start("accentuate", workdir, TEST_PAUSE=0.02)
    until(lambda: at_work(workdir))
    time.sleep(1.5)
    one.kill()
    one.communicate()
    ended(other)
    assert tree(workdir) == expected


def test_four_devices(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    launcher.finish("accentuate", workdir, devices=4)
    assert tree(workdir) == expected


def test_begun_on_four_devices_and_gone_on_with_on_one(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    process = launcher.start("accentuate", workdir, devices=4, TEST_PAUSE=0.1)
    until(lambda: at_work(workdir))
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    ended(process, 75)
    launcher.finish("accentuate", workdir)
    assert tree(workdir) == expected


def test_workers_and_a_collector(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    said = launcher.finish("accentuate", workdir, "--role=collect", code=1)
    assert f"{BLOCKS} blocks are missing" in said
    launcher.finish("accentuate", workdir, "--role=work")
    assert not (workdir / "stimuli" / "stimulus_set.csv").exists()
    launcher.finish("accentuate", workdir, "--role=collect")
    assert tree(workdir) == expected


def test_a_lane_that_is_not_finite_fails_alone(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    site = json.loads((workdir / "encoding" / "sites.json").read_text())
    site = next(name for name, x in sorted(site.items()) if x["status"] == "chosen")
    broken = f"{site},lotus_0005"
    said = launcher.finish("accentuate", workdir, code=2, TEST_NAN=broken)
    assert "lanes failed" in said
    rows = read_csv(workdir / "stimuli" / "stimulus_set.csv")
    failed = {row.filename for row in rows if row.stop_reason == "nonfinite"}
    assert 2 <= len(failed) <= 6  # of both models; a seed image may hit by itself
    found = tree(workdir, ["stimuli"])
    pngs = {name for name in found if name.endswith(".png")}
    changed = {name for name in pngs if found[name] != expected[name]}
    assert changed  # it was moved to its levels elsewhere
    assert changed <= {f"stimuli/{name}" for name in failed}


@pytest.mark.parametrize(
    ("stage", "patterns", "redone"),
    [
        (
            "accentuate",
            [
                "sweep/blocks/net_a-00001.npz",
                "sweep/plan.json",
                "stimuli/net_b-*-rooster_0003-L02.png",
                "stimuli/stimulus_set.csv",
                "stimuli/traces.npz",
            ],
            2,
        ),
        (
            "fit_encoding",
            ["encoding/net_a.npz", "encoding/sites.json", "recordings/day1.npz"],
            0,
        ),
    ],
)
def test_what_is_damaged_is_named_and_made_anew(
    stage, patterns, redone, launcher, reference, expected, tmp_path
):
    """A bit of each: the same command makes just these anew."""
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    paths = [sorted(workdir.glob(pattern))[0] for pattern in patterns]
    for path in paths:
        flip(path, 8 * (path.stat().st_size // 2) + 3)
    said = verified(launcher, workdir, 1)
    for path in paths:
        assert f"  {path.relative_to(workdir).as_posix()}: " in said
    events = len(block_events(workdir))
    launcher.finish(stage, workdir)
    assert tree(workdir) == expected
    assert len(block_events(workdir)) - events == redone
    assert "all are what was written" in verified(launcher, workdir, 0)


def verified(launcher, workdir, code):
    command = launcher.command("verify", workdir)
    command = [word for word in command if not word.startswith("--config")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_damaged_checkpoint_is_not_gone_on_with(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    process = launcher.start("accentuate", workdir, TEST_PAUSE=0.05)
    until(lambda: at_work(workdir))
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    ended(process, 75)
    (folder,) = (workdir / "sweep" / "checkpoints").glob("net_*")
    largest = max(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    flip(largest, 8 * (largest.stat().st_size // 2))
    assert folder.name in verified(launcher, workdir, 1)
    said = launcher.finish("accentuate", workdir)
    assert "note: " in said
    assert tree(workdir) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk(launcher, expected, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        workdir = launcher.fresh(disk / "run")
        (disk / "ballast").write_bytes(bytes(free_bytes(disk) - 2**16))
        said = launcher.finish("accentuate", workdir, code=1)
        assert "No space left on device" in said
        (disk / "ballast").unlink()
        launcher.finish("accentuate", workdir)
        assert tree(workdir) == expected
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def free_bytes(folder):
    return shutil.disk_usage(folder).free


def test_another_config_is_refused_before_any_step(launcher, reference, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    before = tree(workdir)
    for flag, said in (
        ("--config.sweep.pairs=3", "sweep.pairs (2 there, 3 now)"),
        ("--config.seed=1", "seed (0 there, 1 now)"),
        ("--config.synthesis.slots=3", "synthesis.slots (2 there, 3 now)"),
    ):
        assert said in launcher.finish("accentuate", workdir, flag, code=1)
    assert tree(workdir) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a read-only disk")
def test_a_read_only_directory_is_refused(launcher, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    bind = ["mount", "--bind", str(workdir), str(workdir)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        again = ["mount", "-o", "remount,ro,bind", str(workdir)]
        subprocess.run(again, check=True)
        said = launcher.finish("accentuate", workdir, code=1)
        assert "cannot be written to (Read-only file system)" in said
    finally:
        subprocess.run(["umount", str(workdir)], check=False)


def test_a_foreign_directory_is_refused(launcher, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    said = launcher.finish("accentuate", tmp_path, code=1)
    assert "not empty and without a run.json" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def pair(launcher, workdir, **more):
    """One program in two processes that find each other on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ("--distributed=on", f"--coordinator=127.0.0.1:{port}", "--processes=2")
    return [
        launcher.start("accentuate", workdir, *flags, f"--process={index}", **more)
        for index in range(2)
    ]


def test_one_program_in_two_processes(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    for process in pair(launcher, workdir):
        ended(process)
    assert tree(workdir) == expected
    assert sorted(block_events(workdir)) == [p.stem for p in finished(workdir)]


def test_where_one_process_is_told_to_stop_both_do(launcher, expected, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    processes = pair(launcher, workdir, TEST_PAUSE=0.05)
    until(lambda: len(list((workdir / "sweep" / "claims").glob("net_*.json"))) == 2)
    time.sleep(1.0)
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        ended(process, 75)
    launcher.finish("accentuate", workdir)
    assert tree(workdir) == expected
