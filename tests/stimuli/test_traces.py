"""Traces: round trip, equal bytes, several sweeps of a model, damaged files."""

import dataclasses

import numpy as np
import pytest
from hand_made import SEEDS, SITES, make_traces

from paramctl_jax.stimuli import load_stimuli, load_traces, save_stimuli
from paramctl_jax.types import InputError

FIELDS = ("site", "seed", "level", "direction", "prediction", "transparency")


def assert_equal(found, expected):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.fixture
def traced(sweep):
    return dataclasses.replace(sweep, traces=make_traces())


@pytest.fixture
def folder(traced, tmp_path):
    save_stimuli(tmp_path / "set", [traced], progress=False)
    return tmp_path / "set"


def test_round_trip_and_equal_bytes(folder, traced, tmp_path):
    (model, found), *others = load_traces(folder).items()
    assert (model, others) == ("small", [])
    assert_equal(found, traced.traces)
    assert found.prediction.dtype == np.float32
    assert len(load_stimuli(folder)) == 30
    save_stimuli(tmp_path / "again", [traced], progress=False)
    again = (tmp_path / "again" / "traces.npz").read_bytes()
    assert again == (folder / "traces.npz").read_bytes()


def test_numpy_reads_it(folder):
    with np.load(folder / "traces.npz", allow_pickle=False) as arrays:
        assert arrays["small/site_ids"].tolist() == list(SITES)
        assert arrays["small/seed_ids"].tolist() == list(SEEDS)
        assert arrays["small/prediction"].shape == (12, 5)


def test_models_beside_each_other(traced, other_sweep, tmp_path):
    without_maps = dataclasses.replace(other_sweep, traces=make_traces(with_maps=False))
    save_stimuli(tmp_path, [traced, without_maps], progress=False)
    found = load_traces(tmp_path)
    assert list(found) == ["small", "other"]
    assert_equal(found["small"], traced.traces)
    assert found["other"].transparency is None


def test_sweeps_of_one_model_are_put_together(traced, tmp_path):
    """One sweep per site, seeds in another order: positions count those of the set."""
    rows = traced.traces.site == 0
    first = _only_site(traced, 0, rows, n_steps=5)
    second = _only_site(traced, 1, ~rows, n_steps=9)
    save_stimuli(tmp_path, [first, second], progress=False)
    found = load_traces(tmp_path)["small"]
    assert found.site.tolist() == [0] * 6 + [1] * 6
    assert found.prediction.shape == (12, 9)
    np.testing.assert_array_equal(found.prediction[:6, :5], first.traces.prediction)
    assert np.isnan(found.prediction[:6, 5:]).all()
    np.testing.assert_array_equal(found.prediction[6:], second.traces.prediction)
    assert found.transparency.shape == (12, 8, 8)


def _only_site(sweep, site, rows, n_steps):
    traces = make_traces(n_steps=n_steps)
    own = {name: getattr(traces, name)[rows] for name in FIELDS}
    own["site"] = np.zeros(rows.sum(), np.int64)
    part = {
        name: getattr(sweep, name)[site : site + 1]
        for name in (
            "targets", "start", "images", "reached", "step", "hit", "stop_reason",
        )
    }  # fmt: skip
    return dataclasses.replace(
        sweep,
        site_ids=sweep.site_ids[site : site + 1],
        tolerance=sweep.tolerance[:1],
        traces=dataclasses.replace(traces, **own),
        **part,
    )


def test_no_traces(sweep, tmp_path):
    save_stimuli(tmp_path, [sweep], progress=False)
    assert load_traces(tmp_path) == {}
    assert not (tmp_path / "traces.npz").exists()


def test_foreign_traces_are_refused(sweep, traced, tmp_path):
    (tmp_path / "traces.npz").write_bytes(b"x")
    with pytest.raises(
        InputError, match=r"no traces of another set, found traces\.npz"
    ):
        save_stimuli(tmp_path, [sweep], progress=False)
    save_stimuli(tmp_path, [traced], progress=False)  # an interrupted write of its own
    assert list(load_traces(tmp_path)) == ["small"]


def _edit(folder, **changes):
    with np.load(folder / "traces.npz") as stored:
        arrays = dict(stored)
    arrays |= {f"small/{name}": value for name, value in changes.items()}
    kept = {name: value for name, value in arrays.items() if value is not None}
    np.savez(folder / "traces.npz", **kept)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": None}, r"model 'small': missing \['level'\]"),
        ({"extra": np.zeros(1)}, r"unknown \['extra'\]"),
        ({"level": np.zeros(11, int)}, "small/level: expected numbers with 1 axes"),
        ({"level": np.zeros(12)}, "small/level: .*found float64"),
        ({"seed": np.full(12, 3)}, r"small/seed: expected positions in seed_ids, .*3"),
        ({"transparency": np.zeros((12, 8), np.uint8)}, "transparency: .*3 axes"),
    ],
)
def test_doctored_traces(folder, changes, message):
    _edit(folder, **changes)
    with pytest.raises(InputError, match=message) as error:
        load_traces(folder)
    assert "traces.npz" in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_traces(folder):
    path = folder / "traces.npz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"traces\.npz: truncated or damaged"):
        load_traces(folder)
