"""Per-sweep r and slope against scipy and by hand."""

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import ols_slope, pearson_r


def test_r_and_slope_are_scipys_at_eleven_levels(noisy_design):
    predicted, recorded = noisy_design
    r, slope = pearson_r(predicted, recorded), ols_slope(predicted, recorded)
    assert r.shape == slope.shape == (5, 10)
    for cell in np.ndindex(5, 10):
        fit = scipy.stats.linregress(predicted[cell], recorded[cell])
        expected = scipy.stats.pearsonr(predicted[cell], recorded[cell]).statistic
        np.testing.assert_allclose(r[cell], expected, atol=1e-14)
        np.testing.assert_allclose(slope[cell], fit.slope, atol=1e-13)


def test_missing_levels_are_left_out_in_pairs(noisy_design):
    predicted, recorded = noisy_design[0][0].copy(), noisy_design[1][0].copy()
    predicted[:, 2], recorded[:, 7] = np.nan, np.nan
    kept = [i for i in range(11) if i not in (2, 7)]
    expected = scipy.stats.pearsonr(predicted[3, kept], recorded[3, kept]).statistic
    np.testing.assert_allclose(pearson_r(predicted, recorded)[3], expected, atol=1e-14)


def test_worked_by_hand():
    predicted, recorded = np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3])
    # deviations (-1.5 -.5 .5 1.5) and (-.5 -1.5 1.5 .5): products 3, squares 5 and 5.
    np.testing.assert_allclose(pearson_r(predicted, recorded), 3 / 5, atol=1e-15)
    np.testing.assert_allclose(ols_slope(predicted, recorded), 3 / 5, atol=1e-15)


@pytest.mark.parametrize("n_valid", [0, 1, 2])
def test_fewer_than_three_valid_levels_have_no_r(n_valid):
    predicted, recorded = np.arange(11.0), np.arange(11.0) ** 2
    recorded[n_valid:] = np.nan
    assert np.isnan(pearson_r(predicted, recorded))
    assert np.isnan(ols_slope(predicted, recorded))


def test_three_valid_levels_have_an_r():
    r = pearson_r(np.array([0.0, 1, 2, np.nan]), np.array([0.0, 1, 2, 9]))
    np.testing.assert_allclose(r, 1.0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e6])
def test_constant_values_have_no_r_and_are_not_zero(value):
    varied = np.random.default_rng(0).normal(size=11)
    constant = np.full(11, value)
    assert np.isnan(pearson_r(constant, varied))
    assert np.isnan(pearson_r(varied, constant))
    assert np.isnan(ols_slope(constant, varied))
    np.testing.assert_allclose(ols_slope(varied, constant), 0.0, atol=1e-9)


def test_float32_rounding_of_one_prediction_is_constant():
    one = np.float32(1.2345678)
    rounded = np.where(np.arange(11) % 2, one, np.nextafter(one, np.float32(2)))
    assert np.ptp(rounded) > 0
    assert np.isnan(pearson_r(rounded.astype(np.float64), np.arange(11.0)))


def test_a_large_offset_does_not_hide_a_small_range():
    predicted = 1e3 + 0.01 * np.arange(11.0)
    np.testing.assert_allclose(pearson_r(predicted, np.arange(11.0)), 1.0, atol=1e-9)


@pytest.mark.parametrize("gain", [0.01, 0.5, 3.0])
def test_k10_gain_scales_the_slope_and_leaves_r(noisy_design, gain):
    predicted, recorded = noisy_design
    np.testing.assert_allclose(
        pearson_r(predicted, gain * recorded + 2.0),
        pearson_r(predicted, recorded),
        atol=1e-12,
    )
    np.testing.assert_allclose(
        ols_slope(predicted, gain * recorded + 2.0),
        gain * ols_slope(predicted, recorded),
        atol=1e-12,
    )


def test_linear_truth_along_a_straight_path_in_closed_form():
    """x_t = x0 + (t - w.x0) w / w.w gives f_w = t, truth affine of slope v.w / w.w."""
    rng = np.random.default_rng(3)
    w, v, seeds = rng.normal(size=50), rng.normal(size=50), rng.normal(size=(4, 50))
    targets = np.linspace(-2, 6, 11)
    steps = (targets - (seeds @ w)[:, None]) / (w @ w)
    images = seeds[:, None, :] + steps[..., None] * w
    predicted, recorded = images @ w, images @ v
    np.testing.assert_allclose(predicted, np.tile(targets, (4, 1)), atol=1e-12)
    gain = (v @ w) / (w @ w)
    np.testing.assert_allclose(ols_slope(predicted, recorded), gain, atol=1e-12)
    np.testing.assert_allclose(pearson_r(predicted, recorded), np.sign(gain), atol=1e-9)
    np.testing.assert_allclose(
        pearson_r(predicted, -recorded), -np.sign(gain), atol=1e-9
    )


def test_an_axis_orthogonal_to_the_truth_has_slope_zero():
    rng = np.random.default_rng(4)
    v, x0 = rng.normal(size=50), rng.normal(size=50)
    w = rng.normal(size=50)
    w -= v * (w @ v) / (v @ v)
    images = x0 + (np.linspace(-2, 6, 11) - w @ x0)[:, None] / (w @ w) * w
    np.testing.assert_allclose(ols_slope(images @ w, images @ v), 0.0, atol=1e-12)
    assert np.isnan(pearson_r(images @ w, images @ v))


def test_random_axes_have_slope_zero_on_average_and_r_of_plus_or_minus_one():
    """K5: signs of the truth's weights flipped at random; r alone shows no null."""
    rng = np.random.default_rng(6)
    v = rng.normal(size=200)
    slopes, rs = [], []
    for _ in range(200):
        w = v * rng.choice([-1.0, 1.0], size=200)
        images = np.linspace(-2, 6, 11)[:, None] / (w @ w) * w
        slopes.append(ols_slope(images @ w, images @ v))
        rs.append(pearson_r(images @ w, images @ v))
    np.testing.assert_allclose(np.abs(rs), 1.0, atol=1e-6)
    assert abs(np.mean(slopes)) < 2.5 * np.std(slopes) / np.sqrt(200)
    assert np.std(slopes) > 0.03
