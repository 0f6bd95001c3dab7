"""Gain, shape and noise against scipy, numpy and hand-worked examples."""

import math

import numpy as np
import pytest
from scipy import stats

from paramctl_jax.scoring import (
    calibration_error,
    expected_control,
    identity_r2,
    modulation_depth,
    noise_corrected_r,
    noise_variance,
    ols_slope,
    pearson_r,
    rank_correlations,
    regression,
    rising_share,
    score_table,
    within_r,
    within_slope,
)

LEVELS = np.linspace(-3.0, 5.0, 11)


@pytest.fixture
def sweeps():
    """Ten seeds at eleven levels, each with an offset of its own; one value missing."""
    rng = np.random.default_rng(3)
    predicted = LEVELS + rng.normal(0, 0.1, (10, 11))
    recorded = (
        0.4 * predicted + rng.normal(0, 1, (10, 1)) + rng.normal(0, 0.7, (10, 11))
    )
    recorded[2, 5] = np.nan
    return predicted, recorded


def valid_pairs(predicted, recorded):
    return [
        (p[np.isfinite(y)], y[np.isfinite(y)])
        for p, y in zip(predicted, recorded, strict=True)
    ]


def test_rank_correlations_are_scipys(sweeps):
    rho, tau = rank_correlations(*sweeps)
    pairs = valid_pairs(*sweeps)
    expected = [stats.spearmanr(p, y).statistic for p, y in pairs]
    assert rho == pytest.approx(np.mean(expected))
    expected = [stats.kendalltau(p, y).statistic for p, y in pairs]
    assert tau == pytest.approx(np.mean(expected))


def test_within_slope_and_r_are_those_of_a_line_with_an_intercept_per_seed(sweeps):
    """Least squares with one dummy column per seed, by numpy."""
    pairs = valid_pairs(*sweeps)
    p, y = (np.concatenate(part) for part in zip(*pairs, strict=True))
    dummy = np.repeat(np.eye(10), [len(a) for a, _ in pairs], axis=0)
    solved = np.linalg.lstsq(np.column_stack([p, dummy]), y, rcond=None)[0]
    assert within_slope(*sweeps) == pytest.approx(solved[0])
    centred = [np.concatenate([v - v.mean() for v in part]) for part in zip(*pairs)]  # noqa: B905
    assert within_r(*sweeps) == pytest.approx(stats.pearsonr(*centred).statistic)


def test_regression_is_polyfits_and_identity_r2_sklearns(sweeps):
    from sklearn.metrics import mean_absolute_error, r2_score

    predicted, recorded = sweeps
    valid = np.isfinite(recorded)
    slope, intercept = regression(predicted, recorded, valid)
    np.testing.assert_allclose(
        (slope, intercept), np.polyfit(predicted[valid], recorded[valid], 1)
    )
    args = recorded[valid], predicted[valid]
    assert identity_r2(predicted, recorded, valid) == pytest.approx(r2_score(*args))
    error = calibration_error(predicted, recorded, valid)
    assert error == pytest.approx(mean_absolute_error(*args))


def test_shape_worked_by_hand():
    p = np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]])
    y = np.array([[0.0, 2.0, 1.0, 4.0], [1.0, 1.0, 5.0, 2.0]])
    # rises of 3 steps: up, down, up; then equal (half), up, down
    assert rising_share(p, y) == pytest.approx((2 / 3 + 1.5 / 3) / 2)
    assert modulation_depth(2 * p, y) == pytest.approx((4 / 6 + 1 / 6) / 2)
    # in the order of predictions, whatever the order of levels
    order = [2, 0, 3, 1]
    assert rising_share(p[:, order], y[:, order]) == rising_share(p, y)


def test_constant_gain_leaves_r_and_scales_slopes(sweeps, table_of):
    """K10: a subject with a gain of .25 on its responses."""
    predicted, recorded = (values[None] for values in sweeps)
    full = score_table(table_of(predicted, recorded)).subjects[""]["m"].sites["s0"]
    weak = score_table(table_of(predicted, 0.25 * recorded)).subjects[""]["m"]
    weak = weak.sites["s0"]
    for name in ("control", "pooled_r", "spearman", "kendall", "rising", "r_within"):
        assert getattr(weak, name) == pytest.approx(getattr(full, name)), name
    for name in ("slope", "within_slope", "intercept"):
        assert getattr(weak, name) == pytest.approx(0.25 * getattr(full, name)), name


def test_noise_variance_pools_by_degrees_of_freedom():
    rng = np.random.default_rng(0)
    trials = rng.normal(0, 1.5, (40, 11, 5))
    trials[:20, :, 3:] = np.nan
    sd = np.nanstd(trials, axis=-1, ddof=1)
    n = np.isfinite(trials).sum(axis=-1).astype(float)
    squares = np.nansum((trials - np.nanmean(trials, axis=-1, keepdims=True)) ** 2)
    assert noise_variance(sd, n) == pytest.approx(squares / (n - 1).sum())
    assert noise_variance(sd, n) == pytest.approx(1.5**2, rel=0.1)
    assert math.isnan(noise_variance(sd * np.nan, n))


def simulate(gain, trial_sd, n_repeats, n_draws=300, n_seeds=10, seed=0):
    """[draw, seed, level] of predictions and averages over trials, and their SDs."""
    rng = np.random.default_rng(seed)
    predicted = np.broadcast_to(LEVELS, (n_draws, n_seeds, 11))
    trials = rng.normal(0, trial_sd, (*predicted.shape, n_repeats))
    trials += gain * predicted[..., None]
    return predicted, trials.mean(axis=-1), trials.std(axis=-1, ddof=1)


@pytest.mark.parametrize(("gain", "trial_sd", "n"), [(0.25, 1.5, 3), (1.0, 1.0, 8)])
def test_expected_control_is_the_simulated_one(gain, trial_sd, n):
    """K2: .59 and .99."""
    predicted, recorded, _ = simulate(gain, trial_sd, n)
    found = float(np.mean(pearson_r(predicted, recorded)))
    expected = expected_control(gain, float(LEVELS.std()), trial_sd, n)
    assert found == pytest.approx(expected, abs=0.02)


def test_noise_correction_gives_one_for_a_linear_subject():
    """K2: without trial noise r would be 1; raw it is near .75."""
    draws = zip(*simulate(0.35, 1.5, 3), strict=True)
    raw, corrected = [], []
    for predicted, recorded, sd in draws:
        n = np.full(recorded.shape, 3.0)
        raw.append(within_r(predicted, recorded))
        found, why = noise_corrected_r(predicted, recorded, n, noise_variance(sd, n))
        assert why == ""
        corrected.append(found)
    assert 0.65 < np.mean(raw) < 0.8
    assert np.mean(corrected) == pytest.approx(1.0, abs=0.02)
    assert max(corrected) > 1  # never clipped


def test_noise_correction_says_why_there_is_none():
    predicted, recorded, sd = (values[0] for values in simulate(0.0, 1.0, 2))
    n = np.full(recorded.shape, 2.0)
    found, why = noise_corrected_r(predicted, recorded, n, 2 * noise_variance(sd, n))
    assert math.isnan(found)
    assert "variance is signal" in why
    found, why = noise_corrected_r(predicted, recorded, n * np.nan, 1.0)
    assert math.isnan(found)
    assert "not known" in why
    found, why = noise_corrected_r(predicted * 0, recorded, n, 1.0)
    assert "varying predictions" in why


def test_the_score_of_a_table_with_noise_has_the_corrected_r(table_of):
    predicted, recorded, sd = simulate(0.35, 1.5, 3, n_draws=4)
    known = table_of(predicted, recorded, recorded_sd=sd, n_repeats=3.0)
    model = score_table(known, n_bootstrap=100).subjects[""]["m"]
    for index, site in enumerate(model.sites.values()):
        n = np.full(sd[index].shape, 3.0)
        expected, _ = noise_corrected_r(
            predicted[index], recorded[index], n, noise_variance(sd[index], n)
        )
        assert site.r_noise_corrected == pytest.approx(expected)
        assert site.slope == pytest.approx(
            np.mean(ols_slope(predicted[index], recorded[index]))
        )
    assert model.notes == ()


def test_a_model_is_corrected_over_all_sites_and_not_over_the_clear_ones(table_of):
    """Two sites that follow and three that do not; here the truth is known."""
    gains = np.array([0.4, 0.4, 0.03, 0.03, 0.03])[:, None, None, None]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        predicted = np.broadcast_to(LEVELS, (5, 10, 11))
        followed = gains * predicted[..., None]
        followed = followed + rng.normal(0, 0.3, (5, 10, 11, 1))
        trials = followed + rng.normal(0, 1.5, (5, 10, 11, 3))
        sd = trials.std(axis=-1, ddof=1)
        table = table_of(predicted, trials.mean(-1), recorded_sd=sd, n_repeats=3.0)
        model = score_table(table, n_bootstrap=10).subjects[""]["m"]
        found.append(model.overall("r_noise_corrected"))
    signal = gains.squeeze() * LEVELS.std()
    expected = signal.sum() / np.sqrt(5 * np.sum(signal**2 + 0.3**2))  # .635
    assert np.mean(found) == pytest.approx(expected, abs=0.04)
    centred = [v - v.mean(axis=2, keepdims=True) for v in (predicted, trials.mean(-1))]
    raw = stats.pearsonr(*(v.ravel() for v in centred)).statistic
    assert model.overall("r_within") == pytest.approx(raw)


def test_too_little_signal_is_noted(table_of):
    predicted, recorded, sd = simulate(0.0, 1.0, 2, n_draws=2, seed=4)
    table = table_of(predicted, recorded, recorded_sd=3 * sd, n_repeats=2.0)
    score = score_table(table, n_bootstrap=100)
    why = "have no noise-corrected r: less than 0.1 of the variance is signal"
    assert f"m: 2 of 2 sites {why}" in score.notes
    assert f"m: the sites together {why}" in score.notes
