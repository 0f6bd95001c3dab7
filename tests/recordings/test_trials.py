"""Trials to responses against plain loops, hand computations and scipy."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from paramctl_jax.recordings.sessions import (
    outlier_trials,
    session_scale,
    z_scored,
)
from paramctl_jax.recordings.trials import group_trials, responses_from_trials
from paramctl_jax.types import InputError, Trials


def trials_of(responses, stimulus_ids, session_ids=None, **fields):
    responses = np.asarray(responses)
    sites = tuple(f"s{i}" for i in range(responses.shape[1]))
    sessions = session_ids or ("d1",) * len(stimulus_ids)
    return Trials(responses, tuple(stimulus_ids), sites, tuple(sessions), **fields)


def zscore(values):
    return np.asarray(stats.zscore(values))


@pytest.fixture
def two_days():
    """Rates of 3 sites, 2 days x 40 trials of 10 images, days of differing scale."""
    rng = np.random.default_rng(0)
    images = [f"im{i}" for i in rng.permutation(np.repeat(np.arange(10), 8))]
    days = ["d1"] * 40 + ["d2"] * 40
    rates = rng.gamma(5.0, 2.0, (80, 3))
    rates[40:] = 3 * rates[40:] + 7
    return trials_of(rates, images, days, window_ms=(70.0, 170.0))


def test_repeats_in_order_of_presentation_images_of_appearance():
    shown = ["b", "a", "b", "c", "b", "a"]
    responses = np.arange(12.0).reshape(6, 2)
    responses[5, 1] = np.nan
    meta = {"area": np.array(["V4", "IT"])}
    trials = trials_of(responses, shown, units="Hz", site_meta=meta, notes=("read",))
    grouped = group_trials(trials)
    assert grouped.stimulus_ids == ("b", "a", "c")
    nan = np.nan
    np.testing.assert_array_equal(
        grouped.responses[:, 0], [[0, 4, 8], [2, 10, nan], [6, nan, nan]]
    )
    np.testing.assert_array_equal(
        grouped.responses[:, 1], [[1, 5, 9], [3, nan, nan], [7, nan, nan]]
    )
    assert (grouped.units, grouped.notes) == ("Hz", ("read",))
    np.testing.assert_array_equal(grouped.site_meta["area"], meta["area"])


def test_grouping_equals_a_plain_loop(two_days):
    grouped = group_trials(two_days)
    assert grouped.window_ms == (70.0, 170.0)
    for row, name in enumerate(grouped.stimulus_ids):
        shown = [i for i, other in enumerate(two_days.stimulus_ids) if other == name]
        np.testing.assert_array_equal(
            grouped.responses[row], two_days.responses[shown].T
        )


def test_an_empty_trial_takes_no_repeat_but_its_image_stays():
    nan = np.nan
    trials = trials_of([[nan], [1.0], [2.0], [nan]], ["a", "a", "a", "b"])
    grouped = group_trials(trials)
    np.testing.assert_array_equal(grouped.responses[:, 0], [[1.0, 2.0], [nan, nan]])
    assert grouped.notes == ("2 of 4 trials left out: no response at any site",)


@pytest.mark.parametrize(
    ("shape", "n_ids", "n_sessions", "message"),
    [
        ((3, 2), 2, 2, "shape .2, 3. .* found shape .3, 2. .* transpose"),
        ((2, 3), 2, 1, "1 session ids"),
        ((0, 3), 0, 0, "at least one trial"),
    ],
)
def test_trials_that_do_not_fit_together_are_refused(shape, n_ids, n_sessions, message):
    sites = ("s0", "s1", "s2")
    ids, days = ("a", "b")[:n_ids], ("d", "d")[:n_sessions]
    trials = Trials(np.zeros(shape), ids, sites, days)
    for step in (group_trials, responses_from_trials):
        with pytest.raises(InputError, match=message):
            step(trials)


def test_outliers_are_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    values = rng.standard_t(2.0, (90, 4)) * [1.0, 5.0, 0.1, 1.0]
    values[rng.random(values.shape) < 0.1] = np.nan
    days = [f"d{i % 3}" for i in range(90)]
    flags = outlier_trials(trials_of(values, ["a"] * 90, days), 4.0)
    assert 4 < flags.sum() < 60
    for (trial, site), flag in np.ndenumerate(flags):
        same = [v for v, day in zip(values, days, strict=True) if day == days[trial]]
        x = np.array([v[site] for v in same])
        x = x[~np.isnan(x)]
        mad = stats.median_abs_deviation(x, scale=1 / 1.4826)
        assert flag == (abs(values[trial, site] - np.median(x)) > 4 * mad)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2, 3, 4, 5, 6, 7, 8, 1e6],
        [5.0] * 11 + [1e6],
        [1.0, 2, 3, 4, 5, 6, 7, 8, 1e6, np.nan, np.nan],
        [1.0, 2, 3, 4, 5, 6, 7, 8, 9, np.inf],
        [np.nan] * 12,
    ],
    ids=["nine trials", "MAD 0", "nine responses", "infinite", "none"],
)
def test_no_trial_is_rejected_where_the_spread_says_nothing(values):
    trials = trials_of(np.array(values)[:, None], ["a"] * len(values))
    assert not outlier_trials(trials).any()


def test_an_outlier_is_judged_within_its_own_session():
    values = np.tile(np.arange(10.0), 2)[:, None]
    values[10:] += 1000
    values[3] = 1003.0  # ordinary on the second day, not on the first
    trials = trials_of(values, ["a"] * 20, ["d1"] * 10 + ["d2"] * 10)
    assert np.flatnonzero(outlier_trials(trials)).tolist() == [3]


def test_outlier_trials_go_at_all_sites_and_are_counted(two_days):
    two_days.responses[[5, 50], 1] = 1e5
    two_days.responses[50, 2] = 1e5
    found = responses_from_trials(two_days, z_score=False)
    assert found.notes == (
        "2 of 80 trials left out: a site more than 15 robust SD from its session's "
        "median, most often 's1' (2 of them)",
    )
    assert found.n_repeats().sum() == 78 * 3
    kept = responses_from_trials(two_days, z_score=False, outlier=None)
    assert not kept.notes
    np.testing.assert_array_equal(kept.responses, group_trials(two_days).responses)


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan])
def test_a_threshold_must_be_positive(two_days, threshold):
    with pytest.raises(InputError, match="outlier: expected more than 0"):
        responses_from_trials(two_days, outlier=threshold)


def test_each_session_is_z_scored_on_its_anchor_trials(two_days):
    anchors = ["im0", "im3", "im4", "im7"]
    found = responses_from_trials(two_days, anchors=anchors)
    assert not found.notes
    assert found.units == "z"
    ids, days = np.array(two_days.stimulus_ids), np.array(two_days.session_ids)
    for row, name in enumerate(found.stimulus_ids):
        expected = []
        for trial in np.flatnonzero(ids == name):
            anchor = np.isin(ids, anchors) & (days == days[trial])
            reference = two_days.responses[anchor]
            mean, sd = reference.mean(axis=0), reference.std(axis=0)
            expected.append((two_days.responses[trial] - mean) / sd)
        np.testing.assert_allclose(found.responses[row], np.array(expected).T)


def test_all_trials_set_the_scale_without_anchors(two_days):
    z = z_scored(two_days, session_scale(two_days)).responses
    for day in (slice(0, 40), slice(40, 80)):
        np.testing.assert_allclose(z[day], zscore(two_days.responses[day]))


def test_responses_outside_the_anchors_do_not_move_the_scale(two_days):
    anchors = ["im0", "im3", "im4", "im7"]
    other = ~np.isin(two_days.stimulus_ids, anchors)
    moved = np.where(other[:, None], two_days.responses + 3, two_days.responses)
    first = session_scale(two_days, anchors)
    second = session_scale(dataclasses.replace(two_days, responses=moved), anchors)
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.sd, second.sd)


def test_too_few_anchor_trials_are_replaced_by_all_and_told(two_days):
    ids = list(two_days.stimulus_ids)
    ids[:40] = ["anchor"] * 4 + ["other"] * 36
    ids[40:] = ["anchor"] * 5 + ["other"] * 35
    trials = dataclasses.replace(two_days, stimulus_ids=tuple(ids))
    trials.responses[40, 2] = np.nan
    scale = session_scale(trials, ["anchor"])
    np.testing.assert_allclose(scale.mean[0], trials.responses[:40].mean(axis=0))
    np.testing.assert_allclose(scale.mean[1, :2], trials.responses[40:45, :2].mean(0))
    np.testing.assert_allclose(scale.sd[1, 2], trials.responses[41:, 2].std())
    everywhere, one_site = responses_from_trials(trials, anchors=["anchor"]).notes
    assert everywhere == (
        "session 'd1': fewer than 5 anchor trials at 3 of 3 sites ('s0', 's1', 's2'), "
        "z-scored there on all trials of the session"
    )
    assert one_site.startswith("session 'd2': fewer than 5 anchor trials at 1 of 3")


def test_a_constant_site_has_no_z_in_that_session_and_is_named(two_days):
    two_days.responses[40:, 1] = 0.1
    found = responses_from_trials(two_days)
    assert found.notes == (
        "session 'd2': no variance over the trials that set the scale at 1 of 3 sites "
        "('s1'), whose responses there count as missing",
    )
    assert np.isfinite(found.responses).sum(axis=(0, 2)).tolist() == [80, 40, 80]
    first_day = session_scale(two_days)
    assert np.isnan(first_day.sd).tolist() == [[False] * 3, [False, True, False]]


def test_a_site_that_was_not_recorded_on_a_day_is_no_news(two_days):
    two_days.responses[40:, 1] = np.nan
    found = responses_from_trials(two_days, anchors=two_days.stimulus_ids)
    assert not found.notes
    assert np.isfinite(found.site_meta["floor"]).all()


def test_an_infinite_response_spoils_only_its_own_site(two_days):
    clean = responses_from_trials(two_days)
    two_days.responses[7, 1] = np.inf
    found = responses_from_trials(two_days)
    others = [0, 2]
    np.testing.assert_array_equal(
        found.responses[:, others], clean.responses[:, others]
    )
    assert np.isinf(found.responses[:, 1]).sum() == 1
    assert np.isnan(found.responses[:, 1]).sum() == 0


def test_counts_are_not_truncated():
    counts = np.array([[1], [2], [2], [4]])
    trials = trials_of(counts.astype(np.float32), "abcd")
    object.__setattr__(trials, "responses", counts)  # as a reader might leave them
    found = responses_from_trials(trials)
    np.testing.assert_allclose(
        found.responses[:, 0, 0], zscore([1.0, 2, 2, 4]), rtol=1e-12
    )
    assert found.responses.dtype == np.float64


def test_the_floor_is_the_z_of_a_silent_site(two_days):
    rates = two_days.responses
    found = responses_from_trials(two_days)
    silent = [
        -rates[day].mean(axis=0) / rates[day].std(axis=0)
        for day in (slice(0, 40), slice(40, 80))
    ]
    expected = np.minimum(np.mean(silent, axis=0), found.mean().min(axis=0))
    np.testing.assert_allclose(found.site_meta["floor"], expected)
    assert (found.site_meta["floor"] < found.mean().min(axis=0)).all()


def test_the_floor_is_no_higher_than_the_lowest_average():
    # Below baseline: the z of 0 lies above every response, so the lowest one counts.
    rates = np.array([[0.0, 0.0, 6.0, 100.0, 101.0, 102.0]]).T
    days = ["d1"] * 3 + ["d2"] * 3
    found = responses_from_trials(trials_of(-rates, "abcdef", days))
    assert found.site_meta["floor"][0] == found.mean().min()


@pytest.mark.parametrize("units", ["z", "dF/F"])
def test_units_without_a_silent_level_have_no_floor(two_days, units):
    trials = dataclasses.replace(two_days, units=units)
    assert "floor" not in responses_from_trials(trials).site_meta
    assert "floor" not in responses_from_trials(two_days, z_score=False).site_meta


def test_sites_in_another_order_have_the_same_responses(two_days):
    two_days.responses[5, 1] = 1e5
    order = [2, 0, 1]
    turned = dataclasses.replace(
        two_days,
        responses=two_days.responses[:, order],
        site_ids=tuple(two_days.site_ids[i] for i in order),
    )
    first, second = map(responses_from_trials, (two_days, turned))
    np.testing.assert_array_equal(
        second.select_sites(first.site_ids).responses, first.responses
    )


def test_sessions_scaled_by_different_images_are_told(two_days):
    anchors = ["im0", "im3", "im4", "im7"]
    ids = np.array(two_days.stimulus_ids)
    ids[40:][ids[40:] == "im0"] = "im1"
    trials = dataclasses.replace(two_days, stimulus_ids=tuple(ids.tolist()))
    (note,) = responses_from_trials(trials, anchors=anchors).notes
    assert note.startswith("3 of 4 anchors were shown in every session that has any")
    assert "the fewest (3) in 'd2'" in note
    assert not responses_from_trials(trials, anchors=anchors[1:]).notes
