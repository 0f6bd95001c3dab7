"""Launchers as a user runs them: one clear line and an exit code, never a traceback."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICKSTART = "--config=configs/quickstart.py"


def launch(name: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", f"launch.{name}", *flags],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("pipeline", (QUICKSTART,), "expected --workdir"),
        (
            "pipeline",
            (QUICKSTART, "--workdir={tmp}", "--config.synthesis.crop=8"),
            "crops",
        ),
        ("pipeline", (QUICKSTART, "--workdir={tmp}", "--wrokdir=x"), "wrokdir"),
        ("pipeline", ("--config=configs/nowhere.py", "--workdir={tmp}"), "nowhere.py"),
        (
            "fit_encoding",
            (QUICKSTART, "--workdir={tmp}", "--config.encoding.readout=layer5.0"),
            "layer4.0",
        ),
        (
            "train",
            ("--config=configs/train_small.py:sturdy", "--workdir={tmp}"),
            "robust",
        ),
    ],
)
def test_bad_flags_end_in_one_line_and_exit_code_1(tmp_path, name, flags, message):
    done = launch(name, *(flag.format(tmp=tmp_path / "run") for flag in flags))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_prints_the_cost_and_touches_nothing(tmp_path):
    folder = tmp_path / "run"
    done = launch(
        "accentuate",
        QUICKSTART,
        f"--workdir={folder}",
        "--dry_run",
        "--config.synthesis.slots=2",
        "--config.models=('small_robust',)",
    )
    assert done.returncode == 0, done.stderr
    for part in ("112 in 32 paths", "backbone passes", "GFLOP", "GiB", "MiB", "min"):
        assert part in done.stdout
    assert not folder.exists()


@pytest.mark.slow
def test_the_quickstart_ends_in_a_table_and_a_report(tmp_path):
    workdir = tmp_path / "quickstart"
    smaller = ("--config.sites.count=1", "--config.levels.count=3")
    given = (QUICKSTART, f"--workdir={workdir}", *smaller)
    done = launch("pipeline", *given, "--config.seeds=('lotus_0005','rooster_0003')")
    assert done.returncode == 0, done.stderr[-2000:]
    *table, path = done.stdout.strip().splitlines()
    assert path == str(workdir / "report.html")
    for truth in ("mixed", "null", "robust_like", "standard_like"):
        assert any(line.startswith(f"{truth}: ") for line in table)
        assert (workdir / "variants" / truth / "report.html").exists()
    assert sum(line.startswith("small_robust ") for line in table) == 4
    assert (workdir / "report.html").stat().st_size > 300_000
    again = launch("pipeline", *given, "--config.seed=1")
    assert again.returncode == 1
    assert "holds another run" in again.stderr
    stage = launch("report", f"--workdir={workdir}")
    assert stage.returncode == 1
    assert "give --workdir=" in stage.stderr
    status = launch("status", f"--workdir={workdir}")
    assert "null:" in status.stdout
    assert launch("verify", f"--workdir={workdir}").returncode == 0


WEIGHTS = ROOT / "weights" / "small_standard.safetensors"


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("weights", (), "expected --list"),
        ("weights", ("--show=resnet5",), "did you mean 'resnet50'"),
        ("weights", ("--fetch=small_robust",), "no address is registered"),
        ("weights", ("--verify=nothing_here",), "unknown backbone 'nothing_here'"),
        ("convert_weights", ("--name=mine",), "expected --source"),
        (
            "convert_weights",
            ("--source=nowhere.pt", "--name=resnet50"),
            "nowhere.pt: no such weights file",
        ),
        (
            "convert_weights",
            (f"--source={WEIGHTS}", "--name=mine", "--backbone=resnet5O"),
            "did you mean 'resnet50'",
        ),
        (
            "convert_weights",
            (f"--source={WEIGHTS}", "--name=resnet50"),
            "this looks like small_",
        ),
    ],
)
def test_bad_weights_flags_end_in_one_line(tmp_path, name, flags, message):
    done = launch(name, *flags, f"--folder={tmp_path / 'weights'}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "weights").exists()


def test_weights_are_listed_converted_and_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(tmp_path))
    converted = launch(
        "convert_weights",
        f"--source={WEIGHTS}",
        "--backbone=small_standard",
        "--name=mine",
        "--licence=own",
    )
    assert converted.returncode == 0, converted.stderr
    assert "1,252,772 parameters, licence own" in converted.stdout
    done = launch("weights", "--list", "--show=resnet50_l2_eps3", "--verify=mine")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^mine +converted +64 +layer4\.0", done.stdout, re.MULTILINE)
    assert "380b14e6f9750bffa1447cf7017f65da4dc5ce71a3dd112f107515dcf7b14d9d" in (
        done.stdout
    )
    assert done.stdout.splitlines()[-1].startswith("mine: sound, ")
