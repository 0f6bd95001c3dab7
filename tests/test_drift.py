"""K11: sites drift overnight; natural images shown on both days undo it."""

import numpy as np
import pytest

from paramctl_jax.recordings import responses_from_trials
from paramctl_jax.scoring import ols_slope, pearson_r, regression
from paramctl_jax.types import Trials

N_SITES, N_ANCHORS, N_LEVELS, N_REPEATS = 300, 50, 11, 4
ANCHORS = tuple(f"natural_{i}" for i in range(N_ANCHORS))
LEVELS = tuple(f"level_{i}" for i in range(N_LEVELS))


@pytest.fixture(scope="module")
def days():
    """Trials of both days, gain LogN(0, .1) and offset SD .3 on the second."""
    rng = np.random.default_rng(0)
    natural = rng.normal(0, 1, (N_ANCHORS, N_SITES))
    driven = np.linspace(-2, 4, N_LEVELS)[:, None] + np.zeros(N_SITES)

    def shown(values, gain, offset):
        trials = np.repeat(values, N_REPEATS, axis=0)
        trials = trials + rng.normal(0, 0.5, trials.shape)
        return gain * trials + offset

    gain, offset = np.exp(rng.normal(0, 0.1, N_SITES)), rng.normal(0, 0.3, N_SITES)
    first = shown(natural, 1.0, 0.0)
    second = shown(natural, gain, offset), shown(driven, gain, offset)
    return first, np.concatenate(second), driven


def recorded(responses, names, anchors):
    ids = tuple(np.repeat(names, N_REPEATS).tolist())
    sites = tuple(f"s{i}" for i in range(responses.shape[1]))
    session = ("day",) * len(ids)
    trials = Trials(responses, ids, sites, session, units="a.u.")
    return responses_from_trials(
        trials, anchors=anchors, outlier=None, z_score=anchors is not None
    )


def slopes_and_intercepts(predicted, responses):
    found = [
        regression(p[None], y[None], np.ones((1, N_LEVELS), bool))
        for p, y in zip(predicted.T, responses.T, strict=True)
    ]
    return np.asarray(found).T


def day2_levels(second, anchors):
    both = recorded(second, ANCHORS + LEVELS, anchors)
    return both.select_stimuli(LEVELS).mean()


def test_k11_anchors_put_both_days_on_one_scale(days):
    first, second, driven = days
    # what a model fitted to day 1 says, in that day's z
    scale = np.mean(first, axis=0), np.std(first, axis=0)
    predicted = (driven - scale[0]) / scale[1]
    slope, intercept = slopes_and_intercepts(predicted, day2_levels(second, ANCHORS))
    assert slope.mean() == pytest.approx(1.0, abs=0.02)
    assert slope.std() < 0.07
    assert abs(intercept.mean()) < 0.02
    assert intercept.std() < 0.11


def test_k11_without_anchors_the_drift_stays(days):
    first, second, driven = days
    scale = np.mean(first, axis=0), np.std(first, axis=0)
    predicted = (driven - scale[0]) / scale[1]
    raw = (day2_levels(second, None) - scale[0]) / scale[1]
    slope, intercept = slopes_and_intercepts(predicted, raw)
    assert 0.085 < slope.std() < 0.12
    assert 0.2 < intercept.std() < 0.33


def test_k11_r_within_a_sweep_does_not_see_the_drift(days):
    _, second, driven = days
    predicted = driven.T
    with_anchors = day2_levels(second, ANCHORS).T
    without = day2_levels(second, None).T
    np.testing.assert_allclose(
        pearson_r(predicted, with_anchors), pearson_r(predicted, without), atol=1e-9
    )
    assert not np.allclose(
        ols_slope(predicted, with_anchors), ols_slope(predicted, without), atol=0.01
    )
