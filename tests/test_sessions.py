"""A simulated subject that drifts overnight, and natural images that undo it (K11)."""

import numpy as np
import pytest

from paramctl_jax import animals, presenting
from paramctl_jax.calibration import anchor_ids, responses_of
from paramctl_jax.configuration import check_settings
from paramctl_jax.experiment import open_run
from paramctl_jax.presenting import as_trials, record_day1, record_day2
from paramctl_jax.recordings import group_trials
from paramctl_jax.types import ImageSet, InputError, Recordings, StimulusSet
from tests.nets import registered
from tests.test_study import small


def drifting(anchors=40, trials=None):
    config = small()
    del config["variants"]
    config["subject"] |= {"gain_drift": 0.4, "offset_drift": 1.0, "n_sites": 6}
    config["subject"] |= {"ncsnr": (3.0, 3.0)}
    config["presentation"] |= {"anchors": anchors}
    config["recordings"] |= {"trials": trials}
    return config


def nets(folder):
    (folder / "weights").mkdir()
    return registered(folder / "weights")


def test_anchors_bring_the_second_day_to_the_first_ones_scale(tmp_path, monkeypatch):
    with nets(tmp_path):
        run = open_run(drifting(trials={"outlier": None}), tmp_path / "run", False)
        natural = run.images.drop(run.seeds)
        names = natural.stimulus_ids[-30:]
        again = ImageSet(
            tuple(f"png_{i}" for i in range(30)), natural.select(names).pixels
        )
        monkeypatch.setattr(presenting, "stimulus_images", lambda _: again)
        empty = StimulusSet(tmp_path, ())
        monkeypatch.setattr(type(run), "stimuli", lambda _: empty)
        record_day1(run)
        record_day2(run)
        first = responses_of(run, "day1", anchors=()).select_stimuli(names).mean()
        second = responses_of(run, "day2", anchors=())
        raw = np.load(tmp_path / "run" / "recordings" / "day2.npz")
    assert len(anchor_ids(run)) == 40
    assert second.stimulus_ids == again.stimulus_ids  # the anchors have done their work
    assert second.units == "z"
    pairs = zip(first.T, second.mean().T, strict=True)
    slopes = [np.polyfit(a, b, 1)[0] for a, b in pairs]
    np.testing.assert_allclose(slopes, 1, atol=0.2)
    assert np.abs(second.mean().mean(axis=0) - first.mean(axis=0)).max() < 0.25
    shown = raw["responses"][np.isin(raw["stimulus_ids"], again.stimulus_ids)]
    assert np.abs(shown.mean(axis=0)).max() > 0.6  # the drift was there


def test_trials_are_the_repeats_round_by_round():
    responses = np.arange(12.0).reshape(2, 2, 3)
    recorded = Recordings(responses, ("a", "b"), ("s", "t"))
    trials = as_trials(recorded, "day2")
    assert trials.stimulus_ids == ("a", "b") * 3
    assert set(trials.session_ids) == {"day2"}
    np.testing.assert_array_equal(group_trials(trials).responses, responses)


@pytest.mark.parametrize(("anchors", "trials"), [(0, {}), (10, None)])
def test_drift_needs_both_trials_and_anchors(anchors, trials):
    config = drifting(anchors, trials)
    with pytest.raises(InputError, match="expected both or none"):
        check_settings(config)


def test_more_anchors_than_training_images(tmp_path):
    with nets(tmp_path):
        run = open_run(drifting(10**4, {}), tmp_path / "run", False)
        with pytest.raises(InputError, match=r"expected at most \d+, .* found 10000"):
            anchor_ids(run)


def test_a_rehearsal_is_on_the_scale_of_the_first_day(tmp_path):
    """Slopes in z per z: scaled by the trials of the anchors, as the run itself is."""
    with nets(tmp_path):
        config = drifting(trials={"outlier": None})
        run = open_run(config, tmp_path / "run", False)
        record_day1(run)
        scale = animals.Anchors.of(run)
        names = run.images.drop(run.seeds).stimulus_ids[-30:]
        truth = run.subject.truth(run.images.select(names))
        first = responses_of(run, "day1", anchors=()).select_stimuli(names).mean()
        key = run.key("rehearsal", "0")
        (second,) = scale.of_session(run, key, "day2", [64])
        trials = run.subject.trials(truth, names, 64, key, "day2").mean(axis=2)
        expected = scale.first(run).z(truth)
    for found in (second.z(trials), expected):
        pairs = zip(first.T, found.T, strict=True)
        slopes = [np.polyfit(b, a, 1)[0] for a, b in pairs]
        np.testing.assert_allclose(slopes, 1, atol=0.2)
    assert np.abs(trials - second.z(trials)).max() > 0.5  # the drift was there
