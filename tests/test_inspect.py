"""What `launch.inspect` tells of a file."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from launch import inspect
from paramctl_jax.data import photographs_path
from paramctl_jax.recordings import checks, describe
from paramctl_jax.types import InputError, Recordings, Trials

ROOT = Path(__file__).parents[1]


def simulated(n_sites, n_images=12, n_repeats=4):
    """Sites of falling quality: signal of SD 1, noise of SD 0.1, 0.2, ..."""
    rng = np.random.default_rng(0)
    noise = 0.1 * (1 + np.arange(n_sites))[:, None]
    signal = rng.standard_normal((n_images, n_sites, 1))
    return signal + noise * rng.standard_normal((n_images, n_sites, n_repeats))


def write(folder, responses, **changed):
    path = folder / "day1.npz"
    content = {
        "responses": responses,
        "stimulus_ids": np.array([f"im_{i}" for i in range(len(responses))]),
        "site_ids": np.array([f"ch{s}" for s in range(responses.shape[1])]),
        "units": np.array("z"),
        "window_ms": np.array([70.0, 170.0]),
    }
    np.savez(path, **(content | changed))
    return path


def inspected(capsys, *given):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["inspect"])
    with flagsaver.flagsaver():
        flags.FLAGS(["inspect", *given])
        inspect.main([])
    return capsys.readouterr().out


def test_a_small_file_is_told_whole(tmp_path, capsys):
    responses = simulated(3)
    responses[4, 0, 1:] = np.nan
    responses[:, 2] = 7.0
    area = {"site_meta/area": np.array(["V4", "V4", "IT"])}
    path = write(tmp_path, responses, **area)
    out = inspected(capsys, f"--recordings={path}").splitlines()
    assert out[0] == str(path)
    assert out[1:9] == [
        "content    repeats of images, [image, site, repeat] = (12, 3, 4)",
        "images     12: im_0, im_1, im_2, ...",
        "repeats    4 per image",
        "sites      3: ch0, ch1, ch2",
        "units      z",
        "window     70 to 170 ms",
        "missing    3 (2.1 %) of 144 responses",
        "site_meta  area",
    ]
    recorded = Recordings(
        responses, tuple(f"im_{i}" for i in range(12)), ("ch0", "ch1", "ch2")
    )
    table = str(checks.summarise_sites(recorded, jax.random.key(0))).splitlines()
    assert out[10:14] == table
    assert "zero variance" in out[13]
    assert out[14].startswith("3 sites, 1 of them excluded; median reliability 0.9")


def test_trials_sessions_notes_and_unmatched_images_are_told(tmp_path, capsys):
    shown = np.array(["fractal", "other", "fractal"] * 4)
    path = write(
        tmp_path,
        np.arange(24.0).reshape(12, 2),
        stimulus_ids=shown,
        session_ids=np.array(["d1"] * 8 + ["d2"] * 4),
    )
    source = photographs_path()
    out = inspected(capsys, f"--recordings={path}", f"--images={source}")
    assert "single trials, [trial, site] = (12, 2), 2 sessions: d1 (8), d2 (4)" in out
    assert "repeats    4 to 8 per image, median 6\n" in out
    assert "0 ids in both\n2 only in the recordings, first fractal, other\n" in out


def test_of_many_sites_the_best_and_the_excluded_are_told(tmp_path, capsys):
    responses = simulated(25)
    responses[3, 24] = np.inf
    path = write(tmp_path, responses)
    out = inspected(capsys, f"--recordings={path}")
    assert "the 10 most reliable of 25 sites:" in out
    table = out.split("sites:\n")[1].splitlines()
    ids = tuple(f"im_{i}" for i in range(12)), tuple(f"ch{s}" for s in range(25))
    summary = checks.summarise_sites(Recordings(responses, *ids), jax.random.key(0))
    best = np.argsort(-summary.reliability)[:10]  # NaN comes last
    assert [row.split()[0] for row in table[1:11]] == [f"ch{s}" for s in best]
    numbers = [float(row.split()[2]) for row in table[1:11]]
    assert numbers == sorted(numbers, reverse=True)
    assert table[11].startswith("excluded: ch24: an infinite response")
    assert table[12].startswith("25 sites, 1 of them excluded; median reliability")
    assert len(table) == 13
    everything = inspected(capsys, f"--recordings={path}", "--all_sites")
    assert all(f" ch{s} " in everything for s in range(25))


def test_an_image_without_any_response_is_told(tmp_path, capsys):
    responses = simulated(2)
    responses[5] = np.nan
    out = inspected(capsys, f"--recordings={write(tmp_path, responses)}")
    assert "excluded   image im_5: " in out
    assert "repeats    0 to 4 per image, median 4" in out


def test_recordings_without_repeats_have_no_ranking(tmp_path, capsys):
    path = write(tmp_path, simulated(25, n_repeats=1))
    out = inspected(capsys, f"--recordings={path}")
    assert "reliability undefined at every site (too few repeats?)" in out
    assert "most reliable" not in out
    assert "nan" not in out


def test_options_reach_the_reader_as_text_or_values(tmp_path, capsys):
    path = tmp_path / "day1.csv"
    rows = [f"{i % 3},s0,{i % 5}" for i in range(12)]
    path.write_text("\n".join(["007,site_id,response", *rows]))
    out = inspected(capsys, f"--recordings={path}", "--options=stimulus=007")
    assert "images     3: 0, 1, 2" in out
    numbers = inspect._options("x.nwb", ["window_ms=(50, 150)", "onset=12"])
    assert numbers == {"window_ms": (50, 150), "onset": "12"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["window_ms"], "expected key=value, found 'window_ms'"),
        (["window_ms=50 to 150"], "window_ms: expected a number, a tuple"),
    ],
)
def test_unfit_options_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        inspect._options("x.nwb", given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "expected --recordings"),
        (("--recordings=nowhere.nwb",), "nowhere.nwb: expected a recordings file"),
        (("--recordings=x.nwb", "--options=windw_ms=1"), "did you mean 'window_ms'"),
    ],
)
def test_what_cannot_be_read_is_said(capsys, given, message):
    with pytest.raises(InputError, match=message):
        inspected(capsys, *given)
    assert not capsys.readouterr().out


def test_an_error_ends_in_one_line_and_exit_code_1(tmp_path):
    path = tmp_path / "day1.nc"
    path.write_bytes(b"no recordings")
    done = subprocess.run(
        [sys.executable, "-m", "launch.inspect", f"--recordings={path}"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path}: expected an HDF5 file")
    assert not done.stdout


def test_a_single_session_is_named_once():
    trials = Trials(np.zeros((2, 1)), ("a", "b"), ("s0",), ("d1", "d1"), "counts")
    grouped = Recordings(np.zeros((2, 1, 1)), ("a", "b"), ("s0",), notes=("one", "two"))
    told = describe.describe(trials, grouped).splitlines()
    assert told[0].endswith("[trial, site] = (2, 1), one session, d1")
    assert told[-2:] == ["note       one", "note       two"]
    assert "window     not said" in told


def test_what_is_missing_altogether_and_sessions_without_a_name_are_told():
    responses = np.full((2, 1), np.nan)
    trials = Trials(responses, ("a", "b"), ("s0",), ("d1", ""))
    grouped = Recordings(responses[..., None], ("a", "b"), ("s0",))
    said = describe.describe(trials, grouped)
    assert "2 sessions: d1 (1), unnamed (1)" in said
    assert "2 (100 %) of 2 responses" in said
