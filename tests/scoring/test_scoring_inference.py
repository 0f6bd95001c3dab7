"""Bootstrap, sign flips and permutations against brute force and theory."""

import itertools

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import (
    crossed_bootstrap,
    crossed_mean,
    level_permutation_null,
    sign_flip_test,
)
from paramctl_jax.scoring.experiments import crossed_intervals
from paramctl_jax.scoring.inference import crossed_draws
from paramctl_jax.types import InputError


def brute_force_p(units):
    """Count every sign pattern, one by one."""
    patterns = np.array(list(itertools.product([-1, 1], repeat=len(units))))
    sums = np.abs(patterns @ units)
    return np.mean(sums >= abs(np.sum(units)) - 1e-12)


@pytest.mark.parametrize("n_units", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_sign_flips_agree_with_brute_force(n_units, shift):
    units = np.random.default_rng(n_units).normal(shift, 1, n_units)
    p, p_min = sign_flip_test(units)
    np.testing.assert_allclose(p, brute_force_p(units), atol=1e-15)
    np.testing.assert_allclose(p_min, 2.0 ** (1 - n_units), atol=0)


def test_sign_flips_count_ties():
    units = np.array([1.0, 1, 1, 1, -1, -1])  # sum 2: all but the 20 patterns of sum 0
    np.testing.assert_allclose(sign_flip_test(units)[0], 44 / 64, atol=1e-15)


@pytest.mark.parametrize(("n_units", "smallest"), [(5, 0.0625), (10, 0.001953125)])
def test_smallest_attainable_p_is_reached_by_equal_signs(n_units, smallest):
    units = -np.random.default_rng(0).uniform(0.1, 1, n_units)
    assert sign_flip_test(units) == (smallest, smallest)


def test_sign_flips_leave_out_undefined_units_and_need_one():
    units = np.array([0.3, np.nan, 0.2, 0.5, np.nan])
    assert sign_flip_test(units) == (0.25, 0.25)
    assert np.isnan(sign_flip_test(np.full(4, np.nan))).all()
    assert sign_flip_test(np.zeros(5))[0] == 1.0


def test_many_units_are_sampled_close_to_exact():
    rng = np.random.default_rng(2)
    units = rng.normal(0.1, 1, 200)
    p, p_min = sign_flip_test(units, n_draws=20_000)
    # Normal limit of the sign-flip distribution: sum / sqrt(sum of squares).
    z = abs(units.sum()) / np.sqrt(np.sum(units**2))
    normal = 2 * scipy.stats.norm.sf(z)
    assert abs(p - normal) < 0.01
    assert 0.01 < normal < 0.5
    assert p_min == 1 / 20_001


def test_sampled_and_exact_p_agree_at_the_border():
    units = np.random.default_rng(9).normal(0.3, 1, 30)
    exact, p_min = sign_flip_test(units)
    sampled, _ = sign_flip_test(np.append(units, 0.0), n_draws=10_000)  # 31: sampled
    assert p_min == 2.0**-29
    assert abs(exact - sampled) < 0.015


def test_crossed_mean_weights_sites_equally():
    values = np.array([[1.0, np.nan, np.nan], [2.0, 4.0, 6.0], [np.nan] * 3])
    assert crossed_mean(values) == 2.5


def plain_bootstrap(values, n_draws, rng):
    """Resample by indexing, draw by draw; seeds all missing at a site drop the site."""
    n_sites, n_seeds = values.shape
    draws = []
    for _ in range(n_draws):
        sites, seeds = (
            rng.integers(n_sites, size=n_sites),
            rng.integers(n_seeds, size=n_seeds),
        )
        rows = [values[s, seeds] for s in sites]
        means = [np.nanmean(row) for row in rows if np.isfinite(row).any()]
        draws.append(np.mean(means))
    return np.quantile(draws, [0.025, 0.975])


@pytest.mark.parametrize("n_missing", [0, 12])
def test_bootstrap_agrees_with_resampling_by_index(n_missing):
    rng = np.random.default_rng(1)
    values = rng.normal(0.5, 0.1, (5, 1)) + rng.normal(0, 0.2, (5, 10))
    values.ravel()[rng.choice(50, n_missing, replace=False)] = np.nan
    expected = plain_bootstrap(values, 2000, np.random.default_rng(3))
    np.testing.assert_allclose(crossed_bootstrap(values), expected, atol=0.015)


def test_bootstrap_is_reproducible_and_tightens_with_confidence():
    values = np.random.default_rng(1).normal(0.5, 0.2, (5, 10))
    wide = crossed_bootstrap(values, 2000, random_seed=4)
    assert wide == crossed_bootstrap(values, 2000, random_seed=4)
    assert wide != crossed_bootstrap(values, 2000, random_seed=5)
    narrow = crossed_bootstrap(values, 2000, random_seed=4, confidence=0.5)
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]


def test_bootstrap_ignores_sites_and_seeds_without_values():
    values = np.random.default_rng(1).normal(0.5, 0.2, (5, 10))
    padded = np.full((7, 12), np.nan)
    padded[:5, :10] = values
    assert crossed_bootstrap(padded) == crossed_bootstrap(values)


def test_draws_are_behind_the_interval():
    values = np.random.default_rng(1).normal(0.5, 0.2, (4, 6))
    draws = crossed_draws(values, 500, random_seed=3)
    limits = np.quantile(draws, [0.025, 0.975])
    np.testing.assert_array_equal(crossed_bootstrap(values, 500, 3), limits)
    # A crossed mean of the design's own rows and columns has the design's mean.
    assert abs(draws.mean() - values.mean()) < 4 * draws.std() / np.sqrt(500)


def test_draws_of_undefined_sweeps_only_are_undefined():
    values = np.array([[0.2, np.nan], [np.nan, 0.4]])
    draws = crossed_draws(values, 400)
    assert 0.05 < np.mean(np.isnan(draws)) < 0.3  # 2 of 16: site 0 with seed 1 only
    assert np.isfinite(crossed_bootstrap(values, 400)).all()


def test_bootstrap_needs_two_values_and_a_draw():
    assert np.isnan(crossed_bootstrap(np.array([[0.3, np.nan]]))).all()
    with pytest.raises(InputError, match="n_bootstrap"):
        crossed_bootstrap(np.zeros((2, 2)), n_bootstrap=0)


def covered(limits):
    """Share of intervals [experiment, 2] that hold the truth, 0."""
    return np.mean((limits[:, 0] <= 0) & (limits[:, 1] >= 0))


def test_crossed_bootstrap_covers_where_resampling_pairs_does_not():
    """Five sites x ten seeds, nominal .95: .92 to .95; fifty pairs as independent fail.

    1500 experiments: the band is .92 to .95, 2.6 standard errors (.0066) wider.
    """
    rng, n = np.random.default_rng(0), 1500
    site, seed = rng.normal(0, 0.1, (n, 5, 1)), rng.normal(0, 0.1, (n, 1, 10))
    values = site + seed + rng.normal(0, 0.15, (n, 5, 10))
    assert 0.92 - 0.017 <= covered(crossed_intervals(values)) <= 0.95 + 0.017
    # The same draws, of seeds only: sites count as given, and the interval is narrow.
    of_seeds = crossed_intervals(values.mean(axis=1, keepdims=True))
    assert covered(of_seeds) < 0.80
    half = 1.96 * values.std(axis=(1, 2)) / np.sqrt(50)
    assert np.mean(np.abs(values.mean(axis=(1, 2))) <= half) < 0.70


def test_bootstrap_of_few_sites_that_differ_much_covers_less_than_it_says():
    """Percentile intervals from five units are narrow: about .87, and documented so."""
    rng, n = np.random.default_rng(1), 1500
    site, seed = rng.normal(0, 0.2, (n, 5, 1)), rng.normal(0, 0.05, (n, 1, 10))
    values = site + seed + rng.normal(0, 0.15, (n, 5, 10))
    assert 0.84 < covered(crossed_intervals(values)) < 0.90


def test_k8_shuffled_levels_have_mean_zero_and_sd_a_tenth(noisy_design):
    """SD = 1 / sqrt(I (L - 1)) per site, / sqrt(5) for the mean over five sites."""
    predicted, recorded = noisy_design
    null = level_permutation_null(predicted, recorded, 2000)
    assert null.shape == (2000, 5)
    np.testing.assert_allclose(null.mean(axis=0), 0.0, atol=0.009)
    np.testing.assert_allclose(null.std(axis=0), 0.1, atol=0.006)
    np.testing.assert_allclose(null.mean(axis=1).std(), 0.1 / np.sqrt(5), atol=0.003)
    np.testing.assert_allclose(np.mean(np.abs(null) > 0.196), 0.05, atol=0.01)


def test_shuffling_one_short_sweep_enumerates_its_permutations():
    predicted = np.array([0.0, 1.0, 3.0, np.nan, 9.0])
    recorded = np.array([1.0, 0.4, 2.0, 7.0, np.nan])
    orders = itertools.permutations([1.0, 0.4, 2.0])
    possible = sorted(np.corrcoef(predicted[:3], y)[0, 1] for y in orders)
    null = level_permutation_null(predicted[None, None], recorded[None, None], 600)
    values, counts = np.unique(np.round(null, 9), return_counts=True)
    np.testing.assert_allclose(values, possible, atol=1e-8)
    assert counts.min() > 60  # 100 expected of each


def test_shuffling_leaves_undefined_sites_undefined():
    predicted = np.stack([np.zeros((2, 11)), np.tile(np.arange(11.0), (2, 1))])
    recorded = np.random.default_rng(0).normal(size=(2, 2, 11))
    null = level_permutation_null(predicted, recorded, 50)
    assert np.isnan(null[:, 0]).all()
    assert np.isfinite(null[:, 1]).all()
