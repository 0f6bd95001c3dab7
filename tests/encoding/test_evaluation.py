"""Held-out scores with their intervals, and target levels."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from paramctl_jax.encoding.evaluation import evaluate, r_squared
from paramctl_jax.encoding.levels import relative_levels, target_levels
from paramctl_jax.recordings import noise_ceiling
from paramctl_jax.types import InputError, Recordings

INTERVALS = ("r_ci", "r2_ci", "r_normalised_ci", "r2_normalised_ci")
SCORES = ("r", "r2", "r_normalised", "r2_normalised")


def recorded(responses):
    ids = tuple(f"im{i:04d}" for i in range(len(responses)))
    sites = tuple(f"s{i}" for i in range(responses.shape[1]))
    return Recordings(responses, ids, sites)


def scores_of(recordings, predicted, **options):
    """Evaluation with a training set that does not matter."""
    train = np.zeros((1, predicted.shape[1]))
    return evaluate(recordings, predicted, train, train, ("x",), **options)


def simulated(n_images=40, n_sites=4, n_repeats=5, seed=0):
    """Noisy repeats of a drive, and predictions of it that are not perfect."""
    rng = np.random.default_rng(seed)
    drive = rng.standard_normal((n_images, n_sites))
    noise = rng.standard_normal((n_images, n_sites, n_repeats))
    predicted = 0.7 * drive + 0.4 * rng.standard_normal(drive.shape)
    return recorded(drive[..., None] + noise), predicted


def test_scores_equal_scipy_and_scikit_learn():
    recordings, predicted = simulated()
    rng = np.random.default_rng(1)
    train, cv = rng.standard_normal((2, 50, 4))
    train_ids = tuple(f"train{i}" for i in range(50))
    result = evaluate(recordings, predicted, train, cv, train_ids, n_bootstrap=9)
    average = recordings.responses.mean(axis=-1)
    for site in range(4):
        y, p = average[:, site], predicted[:, site]
        assert result.r[site] == pytest.approx(stats.pearsonr(y, p).statistic)
        assert result.r2[site] == pytest.approx(r2_score(y, p))
        y, p = train[:, site], cv[:, site]
        assert result.cv_r[site] == pytest.approx(stats.pearsonr(y, p).statistic)
        assert result.cv_r2[site] == pytest.approx(r2_score(y, p))
    ceiling = noise_ceiling(recordings.responses)
    np.testing.assert_array_equal(result.ceiling, ceiling)
    np.testing.assert_allclose(result.r_normalised, result.r / ceiling)
    np.testing.assert_allclose(result.r2_normalised, result.r2 / ceiling**2)
    assert (result.train_ids, result.test_ids) == (train_ids, recordings.stimulus_ids)
    np.testing.assert_array_equal(result.recorded, recordings.mean())
    np.testing.assert_array_equal(result.predicted, predicted)
    assert "held-out" in str(result)


def by_hand(responses, predicted):
    """The four scores of one site from the definitions, with scipy's correlation."""
    average = np.nanmean(responses, axis=-1)
    r, r2 = stats.pearsonr(average, predicted).statistic, r2_score(average, predicted)
    ceiling = noise_ceiling(responses[:, None])[0]
    if not ceiling > 0.1:
        return r, r2, np.nan, np.nan
    return r, r2, r / ceiling, r2 / ceiling**2


def test_intervals_equal_a_plain_loop_over_resampled_images():
    recordings, predicted = simulated(n_images=40, n_sites=3)
    responses = recordings.responses.copy()
    responses[:9, 0, 3:] = np.nan  # unequal repeats
    responses[5, 1] = np.nan  # an image that was not recorded at a site
    result = scores_of(recorded(responses), predicted, n_bootstrap=200, random_seed=3)
    draws = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=200)
    for site in range(3):
        shown = np.isfinite(responses[:, site]).any(axis=-1)
        values = []
        for counts in draws:
            chosen = np.repeat(np.arange(40), counts)
            chosen = chosen[shown[chosen]]
            values.append(by_hand(responses[chosen, site], predicted[chosen, site]))
        expected = np.quantile(np.array(values), [0.025, 0.975], axis=0).T
        found = [getattr(result, name)[site] for name in INTERVALS]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    whole = by_hand(responses[:, 0], predicted[:, 0])
    found = [getattr(result, name)[0] for name in SCORES]
    np.testing.assert_allclose(found, whole, rtol=1e-12)


def test_interval_of_r_agrees_with_scipys_bootstrap():
    recordings, predicted = simulated(n_images=80, n_sites=1)
    found = scores_of(recordings, predicted, n_bootstrap=4000).r_ci[0]
    centred = lambda x: x - x.mean(axis=-1, keepdims=True)  # noqa: E731

    def r(x, y, axis):
        x, y = centred(x), centred(y)
        return np.sum(x * y, axis) / np.sqrt(np.sum(x**2, axis) * np.sum(y**2, axis))

    expected = stats.bootstrap(
        (recordings.mean()[:, 0], predicted[:, 0]),
        r,
        n_resamples=4000,
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    np.testing.assert_allclose(found, expected, atol=0.015)


def test_intervals_cover_the_truth():
    # 300 sites are 300 experiments of 80 images: y = drive + noise / 2, and
    # p = drive + error, so r = 1 / sqrt(1.25 * 1.36), R2 = 1 - (.25 + .36) / 1.25.
    rng = np.random.default_rng(0)
    drive = rng.standard_normal((80, 300))
    trials = drive[..., None] + rng.standard_normal((80, 300, 4))
    predicted = drive + 0.6 * rng.standard_normal(drive.shape)
    result = scores_of(recorded(trials), predicted, n_bootstrap=400)
    ceiling = 1 / np.sqrt(1.25)
    r, r2 = ceiling / np.sqrt(1.36), 1 - 0.61 / 1.25
    truth = (r, r2, r / ceiling, r2 / ceiling**2)
    for name, value in zip(INTERVALS, truth, strict=True):
        low, high = getattr(result, name).T
        assert 0.90 < np.mean((low <= value) & (value <= high)) < 0.98, name


@pytest.mark.parametrize("chosen", [[2], [4, 0], [5, 4, 3, 2, 1, 0]])
def test_a_site_depends_on_no_other_site(chosen):
    recordings, predicted = simulated(n_sites=6)
    all_sites = scores_of(recordings, predicted, n_bootstrap=50)
    some = scores_of(
        recordings.select_sites(chosen), predicted[:, chosen], n_bootstrap=50
    )
    for name in (*SCORES, *INTERVALS):
        expected = getattr(all_sites, name)[chosen]
        np.testing.assert_allclose(getattr(some, name), expected, rtol=1e-12)


def test_the_order_of_the_images_changes_nothing():
    recordings, predicted = simulated()
    order = np.random.default_rng(1).permutation(len(predicted))
    shuffled = recordings.select_stimuli([recordings.stimulus_ids[i] for i in order])
    expected = scores_of(recordings, predicted, n_bootstrap=50)
    found = scores_of(shuffled, predicted[order], n_bootstrap=50)
    for name in INTERVALS:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-12
        )
    other = scores_of(recordings, predicted, n_bootstrap=50, random_seed=1)
    assert not np.allclose(other.r_ci, expected.r_ci)


def test_what_is_undefined_is_nan():
    rng = np.random.default_rng(0)
    noise_only = np.tile(np.array([-1.0, 1.0]), (10, 1, 1)) * rng.random((10, 1, 1))
    responses = np.concatenate([noise_only, np.full((10, 1, 2), 0.1)], axis=1)
    predicted = rng.standard_normal((10, 2))
    result = scores_of(recorded(responses), predicted)
    np.testing.assert_array_equal(result.ceiling, 0.0)
    for name in ("r_normalised", "r_normalised_ci", "r2_normalised_ci"):
        assert np.isnan(getattr(result, name)).all()
    for name in ("r", "r2", "r_ci", "r2_ci"):
        assert np.isnan(getattr(result, name)[1]).all()
    single = rng.standard_normal((10, 2, 1))
    result = scores_of(recorded(single), predicted)
    assert np.isnan(result.ceiling).all()
    assert np.isnan(result.r_normalised_ci).all()
    assert np.isfinite([result.r, result.r2]).all()
    assert np.isfinite([result.r_ci, result.r2_ci]).all()


def test_a_constant_or_failed_prediction_has_no_r():
    recordings, predicted = simulated(n_sites=4)
    predicted[:, 0], predicted[3, 1], predicted[3, 2] = 0.3, np.nan, np.inf
    result = scores_of(recordings, predicted, n_bootstrap=20)
    assert np.isnan(result.r[:3]).all()
    assert np.isnan(result.r_ci[:3]).all()
    assert np.isfinite(result.r2[[0, 3]]).all()
    assert np.isnan(result.r2[1:3]).all()
    assert np.isfinite(result.r_ci[3]).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_held_out_images_are_no_error(count):
    recordings, predicted = simulated()
    some = recordings.select_stimuli(recordings.stimulus_ids[:count])
    result = scores_of(some, predicted[:count])
    for name in (*SCORES, *INTERVALS, "ceiling"):
        assert np.isnan(getattr(result, name)).all()
    assert result.recorded.shape == (count, 4)


def test_too_many_degenerate_draws_leave_no_interval():
    # One image of six differs: (5/6)^6, a third of the draws, have constant responses.
    responses = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])[:, None, None]
    predicted = np.arange(6.0)[:, None]
    result = scores_of(recorded(responses), predicted)
    assert result.r[0] == pytest.approx(stats.pearsonr(responses[:, 0, 0], range(6))[0])
    assert np.isnan(result.r_ci).all()
    # Two of thirty: (28/30)^30, an eighth. Five of thirty: .4 %, and an interval.
    for differing, defined in ((2, False), (5, True)):
        responses = (np.arange(30.0) < differing).astype(float)[:, None, None]
        result = scores_of(recorded(responses), np.arange(30.0)[:, None])
        assert np.isfinite(result.r_ci).all() == defined


def test_images_missing_from_the_fit_do_not_count():
    rng = np.random.default_rng(0)
    recordings, predicted = simulated()
    train, cv = rng.standard_normal((2, 30, 4))
    train[4, 1] = np.nan
    ids = tuple(map(str, range(30)))
    result = evaluate(recordings, predicted, train, cv, ids, n_bootstrap=1)
    left = np.delete(np.arange(30), 4)
    assert result.cv_r2[1] == pytest.approx(r2_score(train[left, 1], cv[left, 1]))


@pytest.mark.parametrize(
    ("rows", "ids", "options", "message"),
    [
        (39, 1, {}, r"predicted: expected the shape \(40, 4\).*found \(39, 4\)"),
        (40, 2, {}, "train_ids: expected one for each of 1 images.*found 2"),
        (40, 1, {"n_bootstrap": 0}, "at least 1 draw, found 0"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(rows, ids, options, message):
    recordings, predicted = simulated()
    train, names = np.zeros((1, 4)), tuple("xy"[:ids])
    with pytest.raises(InputError, match=message):
        evaluate(recordings, predicted[:rows], train, train, names, **options)


def test_r_squared_of_a_nearly_constant_site_is_undefined():
    constant = np.full((7, 1), 0.1) * 3  # its mean is off by rounding
    assert np.isnan(r_squared(constant, np.zeros((7, 1)))).all()
    assert np.isnan(r_squared(np.eye(2), np.eye(2))).all()


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
