"""Splits, held-out scores and target levels."""

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from paramctl_jax.encoding import (
    evaluate,
    r_squared,
    relative_levels,
    split_ids,
    target_levels,
)
from paramctl_jax.recordings import noise_ceiling
from paramctl_jax.types import InputError, Recordings


def recorded(responses):
    ids = tuple(f"im{i}" for i in range(len(responses)))
    sites = tuple(f"s{i}" for i in range(responses.shape[1]))
    return Recordings(responses, ids, sites)


def test_split_is_a_partition_that_ignores_the_order(key):
    ids = [f"im{i}" for i in range(101)]
    train, test = split_ids(ids, 0.2, key)
    assert len(test) == 21  # rounded up
    assert sorted(train + test) == sorted(ids)
    assert list(train) == [name for name in ids if name in set(train)]
    again = split_ids(ids[::-1], 0.2, key)
    assert again == (train[::-1], test[::-1])
    assert set(split_ids(ids, 0.2, jax.random.key(1))[1]) != set(test)
    assert len(split_ids(ids[:100], 0.2, key)[1]) == 20
    assert split_ids(ids, 0.0, key) == (tuple(ids), ())


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 0.99, np.nan])
def test_a_split_that_leaves_nothing_is_refused(key, fraction):
    with pytest.raises(InputError, match="test_fraction"):
        split_ids(["a", "b", "c"], fraction, key)


def test_scores_equal_scipy_and_scikit_learn():
    rng = np.random.default_rng(0)
    drive = rng.standard_normal((30, 4, 1))
    recordings = recorded(drive + rng.standard_normal((30, 4, 5)))
    predicted = drive[..., 0] * 0.7 + 0.3 * rng.standard_normal((30, 4))
    result = evaluate(recordings, predicted, np.zeros(4), ("x", "y"))
    average = recordings.responses.mean(axis=-1)
    for site in range(4):
        y, p = average[:, site], predicted[:, site]
        assert result.r[site] == pytest.approx(stats.pearsonr(y, p).statistic)
        assert result.r2[site] == pytest.approx(r2_score(y, p))
    ceiling = noise_ceiling(recordings.responses)
    np.testing.assert_array_equal(result.ceiling, ceiling)
    np.testing.assert_allclose(result.r_normalised, result.r / ceiling)
    np.testing.assert_allclose(result.r2_normalised, result.r2 / ceiling**2)
    assert (result.train_ids, result.test_ids) == (("x", "y"), recordings.stimulus_ids)


def test_what_is_undefined_is_nan():
    rng = np.random.default_rng(0)
    noise_only = np.tile(np.array([-1.0, 1.0]), (10, 1, 1)) * rng.random((10, 1, 1))
    responses = np.concatenate([noise_only, np.ones((10, 1, 2))], axis=1)
    predicted = rng.standard_normal((10, 2))
    result = evaluate(recorded(responses), predicted, np.zeros(2), ())
    np.testing.assert_array_equal(result.ceiling, 0.0)
    assert np.isnan(result.r_normalised).all()
    assert np.isnan(result.r[1])
    assert np.isnan(result.r2[1])
    single = evaluate(recorded(responses[..., :1]), predicted, np.zeros(2), ())
    assert np.isnan(single.ceiling).all()
    assert np.isfinite(single.r[0])
    nothing = evaluate(recorded(responses[:0]), predicted[:0], np.zeros(2), ())
    for values in (nothing.r, nothing.r2, nothing.ceiling, nothing.r_normalised):
        assert np.isnan(values).all()
    assert np.isnan(r_squared(predicted[:1], predicted[:1])).all()


def test_levels_by_hand():
    # 101 averages 0..100: q01 = 1, q99 = 99, width 98.
    responses = np.random.default_rng(0).permutation(np.arange(101.0))[:, None, None]
    responses = np.concatenate([responses, -2 * responses], axis=1)
    responses = np.concatenate([responses - 1, responses + 1], axis=2)
    levels = target_levels(recorded(responses))
    assert levels.shape == (2, 11)
    np.testing.assert_allclose(levels[0], np.linspace(1 - 24.5, 99 + 49, 11))
    np.testing.assert_allclose(levels[1, [0, -1]], [-198 - 49, -2 + 98])
    unit = (levels[0] - 1) / 98
    np.testing.assert_allclose(unit, -0.25 + 0.175 * np.arange(11), atol=1e-12)
    plain = target_levels(recorded(responses), 2, (0.0, 0.0))
    np.testing.assert_allclose(plain[0], [1.0, 99.0])


def test_missing_repeats_do_not_matter_to_levels():
    responses = np.arange(20.0)[:, None, None]
    padded = np.concatenate([responses, np.full_like(responses, np.nan)], axis=2)
    np.testing.assert_array_equal(
        target_levels(recorded(padded)), target_levels(recorded(responses))
    )


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda r: r, {"count": 1}, "at least 2 target levels, found 1"),
        (lambda r: r, {"extend": (-0.6, -0.6)}, "ascending levels"),
        (lambda r: np.where(r > 5, np.nan, r), {}, r"every image; 1 of 2.*\['s1'\]"),
        (lambda r: np.where(r > 5, np.inf, r), {}, "every image; 1 of 2"),
        (lambda r: np.zeros_like(r), {}, "1st below 99th percentile.*2 of 2"),
    ],
)
def test_levels_that_cannot_be_made_are_refused(spoil, arguments, message):
    responses = np.stack([np.linspace(0, 1, 9), np.linspace(0, 9, 9)], axis=1)[
        ..., None
    ]
    with pytest.raises(InputError, match=message):
        target_levels(recorded(spoil(responses)), **arguments)


def test_relative_levels_by_hand():
    predicted = np.array([[0.0], [2.0], [4.0], [6.0]])
    found = relative_levels(np.array([[-1.0, 3.0, 4.0, 13.0]]), predicted)
    sd = np.sqrt(5.0)
    np.testing.assert_allclose(found.predicted_sd, [[-4 / sd, 0, 1 / sd, 10 / sd]])
    np.testing.assert_allclose(found.percentile, [[0, 50, 75, 100]])
    with pytest.raises(InputError, match="1 of 1 sites"):
        relative_levels(np.array([[0.0]]), np.ones((4, 1)))
