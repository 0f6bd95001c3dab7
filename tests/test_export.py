"""`launch.export` as a user runs it: flags in, a folder and how to load it out."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paramctl_jax.stimuli import CONTROVERSIAL_TABLE
from paramctl_jax.stimuli.controversial_table import controversial_csv
from paramctl_jax.stimuli.table import TABLE, to_csv
from paramctl_jax.types import ControversialStimulus, Stimulus

ROOT = Path(__file__).parents[1]
NATURAL = [f"nat_{n}" for n in range(6)]
IDS = [f"net-s1-nat_0-L{level:02d}" for level in range(4)]


def picture(path, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def stimulus(folder, level, rng):
    name = IDS[level]
    sha256 = picture(folder / f"{name}.png", rng)
    made = ("net", "s1", "nat_0", level, float(level), level + 0.25, True, sha256)
    return Stimulus(name, f"{name}.png", *made, 0.0, 0.0, 3, "hit", 0.1, 0.1, 0.2, 0.0)


def contest(folder, high, rng):
    name = f"up_{high}-s1-nat_0-L00"
    said = {"a": 1.0, "b": -1.0}
    sha256 = picture(folder / f"{name}.png", rng)
    made = (high, "s1", "nat_0", 1.0, said, said, 1.0, True, True, sha256, 0.1, 3)
    return ControversialStimulus(name, f"{name}.png", *made)


@pytest.fixture
def workdir(tmp_path):
    """What an export needs of a run: settings, natural images, both sets."""
    rng = np.random.default_rng(0)
    run = tmp_path / "run"
    for name in NATURAL:
        picture(tmp_path / "natural" / f"{name}.png", rng)
    config = {"images": {"source": str(tmp_path / "natural"), "size": 8}}
    made = [stimulus(run / "stimuli", level, rng) for level in range(4)]
    (run / "stimuli" / TABLE).write_text(to_csv(made))
    pair = [contest(run / "controversial", high, rng) for high in ("a", "b")]
    (run / "controversial" / CONTROVERSIAL_TABLE).write_text(
        controversial_csv(("a", "b"), pair)
    )
    (run / "run.json").write_text(json.dumps({"config": config}))
    return run


def launched(*given):
    """In a process of its own: launchers define flags of the same names."""
    return subprocess.run(
        [sys.executable, "-m", "launch.export", *given],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )


def exported(*given):
    done = launched(*given)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_is_exported_with_anchors_of_its_own(workdir, tmp_path):
    out = tmp_path / "rig"
    told = exported(
        f"--workdir={workdir}",
        "--format=psychopy",
        f"--out={out}",
        *("--repeats=3", "--anchors=2", "--seed=5", "--presentation_ms=150"),
        *("--isi_ms=50", "--visual_degrees=6", "--sessions=3"),
    ).splitlines()
    assert told[0] == f"{out}: 6 PNGs, conditions.csv"
    assert told[1] == "trials  18, 6 of them of anchors"
    assert f"{out}/conditions.csv" in told[2]
    rows = rows_of(out / "conditions.csv")
    assert len(rows) == 18
    assert sorted({row["stimulus_id"] for row in rows} & set(IDS)) == IDS
    anchors = {row["stimulus_id"] for row in rows if row["is_anchor"] == "1"}
    assert len(anchors) == 2
    assert anchors < set(NATURAL[1:])  # nat_0 is the seed image
    for name in anchors:
        source = np.asarray(Image.open(tmp_path / "natural" / f"{name}.png"))
        assert (np.asarray(Image.open(out / "stimuli" / f"{name}.png")) == source).all()
    assert {row["session"] for row in rows} == {"1", "2", "3"}
    shown = {(row["duration_s"], row["isi_s"], row["size_degrees"]) for row in rows}
    assert shown == {("0.15", "0.05", "6.0")}


def test_a_folder_is_exported_without_a_run(workdir, tmp_path):
    exported(
        f"--stimuli={workdir / 'stimuli'}",
        f"--anchor_images={tmp_path / 'natural'}",
        *("--format=monkeylogic", f"--out={tmp_path / 'rig'}", "--anchors=5"),
        *("--anchor_every=2", "--timing_file=rsvp", "--visual_degrees=2"),
        "--pixels_per_degree=40",
    )
    lines = (tmp_path / "rig" / "conditions.txt").read_text().splitlines()
    assert len(lines) == 1 + 4 + 5
    assert lines[1].split("\t")[4:] == [
        "rsvp",
        "fix(0,0)",
        f"pic({IDS[0]}.png,0,0,80,80)",
    ]
    trials = rows_of(tmp_path / "rig" / "presentation_list.csv")
    assert [row["is_anchor"] for row in trials] == ["0", "1", "0", "0", "1", "0"]


@pytest.mark.parametrize("way", ["--workdir", "--stimuli"])
def test_a_controversial_set_is_exported(workdir, tmp_path, way):
    where = (
        [f"--workdir={workdir}", "--controversial"]
        if way == "--workdir"
        else [f"--stimuli={workdir / 'controversial'}"]
    )
    out = tmp_path / "out"
    exported(*where, "--format=bids", f"--out={out}", "--task=pair")
    rows = (out / "task-pair_events.tsv").read_text().splitlines()
    assert [row.split("\t")[4] for row in rows[1:]] != []
    assert sorted(row.split("\t")[4] for row in rows[1:]) == [
        "up_a-s1-nat_0-L00",
        "up_b-s1-nat_0-L00",
    ]


REFUSED = [
    (["--format=bids"], "expected --out"),
    (["--out={tmp}/x"], "expected --format"),
    (["--format=bidz", "--out={tmp}/x"], "did you mean 'bids'"),
    (["--format=bids", "--out={tmp}/x"], "found neither"),
    (
        ["--format=bids", "--out={tmp}/x", "--workdir={run}", "--stimuli={run}"],
        "found both",
    ),
    (
        ["--format=bids", "--out={tmp}/x", "--workdir={run}", "--anchors=6"],
        "--anchors: expected at most 5",
    ),
    (
        [
            "--format=bids",
            "--out={tmp}/x",
            "--stimuli={run}/stimuli",
            "--anchors=1",
        ],
        "give --anchor_images=FOLDER",
    ),
    (
        ["--format=bids", "--out={tmp}/x", "--stimuli={tmp}/nowhere"],
        "nowhere/stimulus_set.csv: cannot be read",
    ),
    (["--format=bids", "--out={run}", "--workdir={run}"], "never overwritten"),
]

ONE_AFTER_THE_OTHER = """
import json, sys
from absl import flags
from absl.testing import flagsaver
from launch import export
from paramctl_jax.types import InputError

flags.FLAGS(["export"])
said = []
for given in json.load(sys.stdin):
    with flagsaver.flagsaver():
        flags.FLAGS(["export", *given])
        try:
            export.main([])
            said.append("nothing")
        except InputError as error:
            said.append(str(error))
print(json.dumps(said))
"""


def test_what_cannot_be_exported_is_said(workdir, tmp_path):
    """All in one process, for every start costs seconds."""
    filled = [
        [flag.format(tmp=tmp_path, run=workdir) for flag in given]
        for given, _ in REFUSED
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER],
        cwd=ROOT,
        input=json.dumps(filled),
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    for (given, message), found in zip(REFUSED, said, strict=True):
        assert message in found, given
    assert not (tmp_path / "x").exists()


def test_an_error_ends_in_one_line_and_exit_code_1(workdir, tmp_path):
    name = f"{IDS[2]}.png"
    (workdir / "stimuli" / name).write_bytes(b"no image")
    done = launched(
        f"--workdir={workdir}", "--format=brainscore", f"--out={tmp_path / 'x'}"
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {workdir / 'stimuli' / name}: expected the sha256:")
    assert not done.stdout
    assert not (tmp_path / "x").exists()
