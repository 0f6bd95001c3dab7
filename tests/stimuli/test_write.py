"""Stimulus sets as written: pixels, judgements from the PNG, refusals."""

import csv
import dataclasses

import numpy as np
import pytest

from paramctl_jax import artifacts
from paramctl_jax.images import read_image
from paramctl_jax.stimuli import load_stimuli, save_stimuli, stimulus_images
from paramctl_jax.stimuli.measures import high_frequency_share, ssim
from paramctl_jax.stimuli.table import to_csv
from paramctl_jax.types import ImageSet, InputError


@pytest.fixture
def stimuli(sweep, tmp_path):
    return save_stimuli(tmp_path / "set", [sweep], progress=False)


def test_one_png_per_lane_and_seed(stimuli):
    assert len(stimuli) == 2 * 3 * (4 + 1)
    names = sorted(path.name for path in stimuli.directory.iterdir())
    assert names == sorted(["stimulus_set.csv", *(s.filename for s in stimuli.stimuli)])
    assert [s.level for s in stimuli.stimuli[:5]] == [None, 0, 1, 2, 3]


def test_png_holds_the_sweep_pixels(stimuli, sweep):
    saved = stimulus_images(stimuli).pixels.reshape(2, 3, 5, 8, 8, 3)
    np.testing.assert_array_equal(saved[:, :, 1:], sweep.images)
    # Zero steps: the seed row is the seed image, byte for byte (known answer K16).
    for site in range(2):
        np.testing.assert_array_equal(saved[site, :, 0], sweep.seeds.pixels)


def test_judged_from_the_png_at_its_own_site(stimuli, sweep):
    gains = {"site_a": -2.0, "site_b": 0.5}
    span = {"site_a": 0.6, "site_b": 0.3}
    for s in stimuli.stimuli:
        pixels = read_image(stimuli.directory / s.filename)
        predicted = pixels.mean() / 255 * gains[s.site]
        seed = sweep.seeds.select([s.seed]).pixels[0].astype(float)
        assert s.predicted == pytest.approx(predicted, abs=1e-12)
        error = abs(predicted - s.target) / span[s.site]
        assert s.relative_error == pytest.approx(error)
        assert s.hit == (s.level is None or error <= 0.05)
        change = (pixels - seed) / 255
        assert s.rms == pytest.approx(np.sqrt((change**2).mean()))
        assert s.linf == pytest.approx(np.abs(change).max())
        assert s.clipped == np.isin(pixels, (0, 255)).mean()
        assert s.ssim == pytest.approx(ssim(pixels / 255, seed / 255))
        share = high_frequency_share(change)
        assert s.high_frequency == pytest.approx(share, nan_ok=True)


def test_drift_is_across_the_axis_of_its_own_site(stimuli, sweep):
    for s in stimuli.stimuli:
        pixels = read_image(stimuli.directory / s.filename)
        seed = sweep.seeds.select([s.seed]).pixels[0]
        features, before = (np.moveaxis(x / 255, -1, 0).ravel() for x in (pixels, seed))
        axis = sweep.model.weights[sweep.model.site_ids.index(s.site)][:, None]
        # what no multiple of the axis explains: a regression's residual
        residual = np.linalg.lstsq(axis, features - before, rcond=None)[1]
        drift = np.sqrt(residual[0]) / np.linalg.norm(before)
        assert s.off_axis == pytest.approx(drift, abs=1e-7)
        assert (s.off_axis == 0) == (s.level is None)


def test_features_that_are_not_finite_cost_the_drift_alone(
    sweep, tmp_path, monkeypatch
):
    def broken(*arguments, **settings):
        raise InputError("small: layer is not finite for 1 of 15 images")

    monkeypatch.setattr("paramctl_jax.stimuli.judge.extract_features", broken)
    stimuli = save_stimuli(tmp_path, [sweep], progress=False).stimuli
    assert all(np.isnan(s.off_axis) and np.isfinite(s.predicted) for s in stimuli)


def test_misses_are_kept_whatever_the_loop_said(stimuli, sweep):
    lanes = [s for s in stimuli.stimuli if s.level is not None]
    assert sweep.hit.all()
    assert [s.hit for s in lanes] == [s.seed != "cat_0003" for s in lanes]
    site, seed, level = 1, 2, 3
    lane = next(
        s for s in lanes if (s.site, s.seed, s.level) == ("site_b", "cat_0003", 3)
    )
    assert lane.step == sweep.step[site, seed, level] == 23
    assert lane.reached == sweep.reached[site, seed, level]
    assert lane.target == 0.4


def test_tolerance_is_the_callers(sweep, tmp_path):
    wide = save_stimuli(tmp_path, [sweep], tolerance=10.0, progress=False)
    assert all(s.hit for s in wide.stimuli)


def test_seed_rows(stimuli, sweep):
    rows = [s for s in stimuli.stimuli if s.level is None]
    assert len(rows) == 6
    for s, start in zip(rows, sweep.start.ravel(), strict=True):
        assert (s.hit, s.step, s.stop_reason) == (True, 0, "seed")
        assert s.target == s.start == s.reached == start
        assert s.predicted == pytest.approx(start)
        assert s.rms == s.linf == 0


def test_two_models_share_a_set(sweep, other_sweep, tmp_path):
    both = save_stimuli(tmp_path, [sweep, other_sweep], progress=False)
    assert len(both) == 60
    assert [s.model for s in both.stimuli] == ["small"] * 30 + ["other"] * 30
    assert to_csv(load_stimuli(tmp_path).stimuli) == to_csv(both.stimuli)


def test_round_trip_and_same_bytes_again(stimuli, sweep, tmp_path):
    loaded = load_stimuli(stimuli.directory)
    assert to_csv(loaded.stimuli) == to_csv(stimuli.stimuli)
    again = save_stimuli(tmp_path / "again", [sweep], progress=False)
    assert to_csv(again.stimuli) == to_csv(stimuli.stimuli)
    for name in (s.filename for s in again.stimuli):
        old, new = stimuli.directory / name, again.directory / name
        assert old.read_bytes() == new.read_bytes()


def test_table_as_other_software_reads_it(stimuli):
    with (stimuli.directory / "stimulus_set.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:2] == ["stimulus_id", "filename"]
    assert rows[0]["level"] == ""
    for row, s in zip(rows, stimuli.stimuli, strict=True):
        assert float(row["predicted"]) == s.predicted  # all digits
        for column in ("stimulus_id", "filename", "sha256"):
            with pytest.raises(ValueError, match="could not convert"):
                float(row[column])
        assert row["sha256"] == artifacts.sha256_file(stimuli.directory / s.filename)


def test_existing_set_is_refused(stimuli, sweep):
    before = {p.name: p.read_bytes() for p in stimuli.directory.iterdir()}
    with pytest.raises(
        InputError, match=r"expected no stimulus set.*another directory"
    ):
        save_stimuli(stimuli.directory, [sweep], progress=False)
    assert before == {p.name: p.read_bytes() for p in stimuli.directory.iterdir()}


def test_pngs_of_something_else_are_refused(sweep, tmp_path):
    (tmp_path / "holiday.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"another set, found 1, first holiday\.png"):
        save_stimuli(tmp_path, [sweep], progress=False)


def test_interrupted_write_leaves_no_table(sweep, tmp_path, monkeypatch):
    calls = []

    def interrupted(path, data):
        calls.append(path)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return artifacts.atomic_write(path, data)

    monkeypatch.setattr("paramctl_jax.stimuli.write.atomic_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_stimuli(tmp_path, [sweep], progress=False)
    assert len(list(tmp_path.glob("*.png"))) == 19
    with pytest.raises(InputError, match=r"stimulus_set\.csv: cannot be read"):
        load_stimuli(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(
        "paramctl_jax.stimuli.judge.predict", lambda model, images: np.zeros((15, 3))
    )
    monkeypatch.setattr(
        "paramctl_jax.stimuli.judge.extract_features",
        lambda *a, **k: np.ones((15, 192)),
    )
    assert len(save_stimuli(tmp_path, [sweep], progress=False)) == 30


def test_nonfinite_lane_is_kept_and_missed(sweep, tmp_path):
    sweep.stop_reason[0, 0, 0] = "nonfinite"
    sweep.reached[0, 0, 0] = np.nan
    save_stimuli(tmp_path, [sweep], progress=False)
    lane = load_stimuli(tmp_path).stimuli[1]
    assert lane.stop_reason == "nonfinite"
    assert np.isnan(lane.reached)
    assert np.isfinite(lane.predicted)


def _nothing(sweep):
    return []


def _no_seeds(sweep):
    empty = ImageSet((), sweep.seeds.pixels[:0])
    return [
        dataclasses.replace(
            sweep,
            seeds=empty,
            images=sweep.images[:, :0],
            start=sweep.start[:, :0],
            reached=sweep.reached[:, :0],
            step=sweep.step[:, :0],
            hit=sweep.hit[:, :0],
            stop_reason=sweep.stop_reason[:, :0],
        )
    ]


def _other_size(sweep):
    seeds = ImageSet(sweep.seeds.stimulus_ids, sweep.seeds.pixels[:, :4, :4])
    return [dataclasses.replace(sweep, seeds=seeds)]


def _flat_levels(sweep):
    return [dataclasses.replace(sweep, targets=np.ones_like(sweep.targets))]


def _twice(sweep):
    return [sweep, sweep]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_nothing, "expected at least one sweep"),
        (_no_seeds, "model small: expected at least one lane"),
        (_other_size, r"model small: expected images .*\(2, 3, 4, 4, 4, 3\), found"),
        (_flat_levels, "site site_a: expected at least two different target levels"),
        (_twice, "expected unique stimulus ids, found 'small-site_a-ant_0001-seed'"),
    ],
)
def test_bad_sweeps(make, message, sweep, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        save_stimuli(tmp_path / "set", make(sweep), progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "set").exists()
