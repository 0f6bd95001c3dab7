"""Launchers as a user runs them: one clear line and an exit code, never a traceback."""

import os
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
def test_the_quickstart_ends_in_a_table_and_a_report(tmp_path):
    workdir = tmp_path / "quickstart"
    done = launch("pipeline", QUICKSTART, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr[-2000:]
    *table, path = done.stdout.strip().splitlines()
    assert path == str(workdir / "report.html")
    assert any(line.startswith("small_robust") for line in table)
    assert (workdir / "report.html").stat().st_size > 1_000_000
    again = launch("pipeline", QUICKSTART, f"--workdir={workdir}", "--config.seed=1")
    assert again.returncode == 1
    assert "holds another run" in again.stderr
