"""Split halves and ceilings against enumeration, closed forms and known values."""

import itertools
import statistics

import jax
import numpy as np
import pytest
from scipy import stats

from paramctl_jax.recordings.ceiling import ncsnr, noise_ceiling
from paramctl_jax.recordings.correlation import pearson
from paramctl_jax.recordings.reliability import (
    spearman_brown,
    split_half_correlations,
    split_half_reliability,
    top_sites,
)
from paramctl_jax.types import InputError


def simulate(n_images, n_repeats, snr, seed=0):
    """Signal SD `snr`, noise SD 1, one site per value of `snr`."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n_images, len(snr), 1)) * np.asarray(snr)[:, None]
    return signal + rng.standard_normal((n_images, len(snr), n_repeats))


def all_half_correlations(responses):
    """r of every possible halving of one site, image by image."""
    options = []
    for repeats in responses:
        valid = repeats[np.isfinite(repeats)]
        size = len(valid) // 2
        orders = itertools.permutations(valid)
        halves = {
            (np.mean(o[:size]), np.mean(o[size : 2 * size])) for o in orders if size
        }
        options.append(halves or {(np.nan, np.nan)})
    values = []
    for choice in itertools.product(*options):
        a, b = np.array(choice).T
        used = np.isfinite(a)
        values.append(np.corrcoef(a[used], b[used])[0, 1])
    return np.array(values)


@pytest.mark.parametrize("missing", [[], [(0, 0, 2)], [(1, 0, 0), (1, 0, 1)]])
def test_every_halving_is_one_of_the_possible_ones(key, missing):
    responses = simulate(4, 3, [1.0], seed=3)
    for where in missing:
        responses[where] = np.nan
    possible = all_half_correlations(responses[:, 0])
    found = split_half_correlations(responses, key, n_splits=800)[:, 0]
    nearest = np.abs(found[:, None] - possible[None]).min(axis=1)
    assert nearest.max() < 1e-12
    assert found.mean() == pytest.approx(possible.mean(), abs=0.05)
    assert len(np.unique(found.round(9))) > 0.6 * len(np.unique(possible.round(9)))


def test_two_repeats_of_one_order_are_the_columns_correlation(key):
    # With a common offset between repeats every halving is a swap per image.
    responses = simulate(40, 2, [2.0])
    found = split_half_correlations(responses, key, n_splits=50)[:, 0]
    column_r = stats.pearsonr(responses[:, 0, 0], responses[:, 0, 1])[0]
    assert found.mean() == pytest.approx(column_r, abs=0.02)
    assert found.std() > 0


@pytest.mark.parametrize("snr", [0.3, 0.8, 1.5])
def test_known_signal_to_noise_is_recovered(key, snr):
    # K14, the mean of 40 sites: at N = 800 one site alone is off by up to .05.
    responses = simulate(800, 8, [snr] * 40)
    expected = snr**2 / (snr**2 + 1 / 8)
    assert ncsnr(responses).mean() == pytest.approx(snr, abs=0.01)
    ceiling = noise_ceiling(responses)
    assert (ceiling**2).mean() == pytest.approx(expected, abs=0.01)
    reliability = split_half_reliability(responses, key, n_splits=20)
    assert reliability.mean() == pytest.approx(expected, abs=0.01)
    # The identity SB = NC_R2 holds site by site, up to the halvings drawn.
    assert np.abs(reliability - ceiling**2).max() < 0.02


def ragged():
    """Twelve images, three sites, one to five repeats, missing ones anywhere."""
    responses = simulate(12, 5, [0.7, 1.0, 2.0], seed=4)
    missing = np.random.default_rng(5).random(responses.shape) < 0.3
    missing[..., 2] = False
    missing[3] = [[True, True, False, True, True]] * 3
    return np.where(missing, np.nan, responses)


def test_ragged_ncsnr_and_ceiling_by_plain_loops():
    responses = ragged()
    for site in range(3):
        repeats = [[v for v in row if v == v] for row in responses[:, site].tolist()]
        assert {1, 5} <= {len(row) for row in repeats} or site
        noise = statistics.mean(
            statistics.variance(row) for row in repeats if len(row) > 1
        )
        inverse = statistics.mean(1 / len(row) for row in repeats)
        total = statistics.variance([statistics.mean(row) for row in repeats])
        squared = max(total - noise * inverse, 0.0) / noise
        assert ncsnr(responses)[site] == pytest.approx(squared**0.5, rel=1e-12)
        assert noise_ceiling(responses)[site] == pytest.approx(
            (squared / (squared + inverse)) ** 0.5, rel=1e-12
        )


def test_ragged_split_halves_by_plain_loops(key):
    responses = ragged()
    expected = np.empty((4, 3))
    for split, site in np.ndindex(*expected.shape):
        draws = jax.random.uniform(jax.random.fold_in(key, split), (12, 5)).tolist()
        halves = []
        for row, draw in zip(responses[:, site].tolist(), draws, strict=True):
            drawn = [v for _, v in sorted(zip(draw, row, strict=True)) if v == v]
            size = len(drawn) // 2
            if size:
                parts = drawn[:size], drawn[size : 2 * size]
                halves.append([statistics.mean(part) for part in parts])
        first, second = zip(*halves, strict=True)
        expected[split, site] = statistics.correlation(first, second)
    found = split_half_correlations(responses, key, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    corrected = 2 * expected / (1 + expected)
    assert (expected > -0.5).all()
    np.testing.assert_allclose(
        split_half_reliability(responses, key, 4), corrected.mean(axis=0), rtol=1e-10
    )


def test_a_sites_value_does_not_depend_on_other_sites(key):
    responses = simulate(30, 5, [0.5, 1.0, 2.0])
    responses[::3, 1, 3:] = np.nan
    together = split_half_correlations(responses, key, 10)
    alone = split_half_correlations(responses[:, 1:2], key, 10)
    np.testing.assert_allclose(together[:, 1:2], alone, rtol=1e-12)


def test_reliability_is_reproducible_and_follows_the_key(key):
    responses = simulate(20, 4, [1.0])
    first = split_half_reliability(responses, key, 5)
    np.testing.assert_array_equal(first, split_half_reliability(responses, key, 5))
    other = split_half_reliability(responses, jax.random.key(1), 5)
    assert first[0] != other[0]


def test_spearman_brown_by_hand():
    r = np.array([0.5, 0.0, -0.5, -0.51, -1.0, np.nan])
    expected = [2 / 3, 0.0, -2.0, np.nan, np.nan, np.nan]
    np.testing.assert_allclose(spearman_brown(r), expected)
    np.testing.assert_allclose(spearman_brown(np.array([0.5]), 4.0), [0.8])


def test_strongly_negative_halves_are_undefined(key):
    # Repeats of one image mirror each other: the halves correlate at -1.
    values = np.arange(1.0, 11.0)[:, None, None]
    responses = np.concatenate([values, -values], axis=-1)
    assert np.isnan(split_half_reliability(responses, key, 3)).all()


@pytest.mark.parametrize(
    "responses",
    [
        np.ones((10, 1, 4)) * 0.1,
        np.arange(10.0)[:, None, None],
        np.full((9, 1, 3), np.nan),
    ],
    ids=["constant", "single repeat", "all missing"],
)
def test_undefined_reliability_is_nan(key, responses):
    assert np.isnan(split_half_reliability(responses, key, 2)).all()


def test_ncsnr_by_hand():
    # Repeats m - 1 and m + 1: variance 2 each; eight means 0..7 (variance 6), but the
    # last image has one repeat, of value 7: mean(1/n) = (7 / 2 + 1) / 8 = .5625.
    responses = np.arange(8.0)[:, None, None] + np.array([-1.0, 1.0])
    extra = np.array([[[8.0, np.nan]]])
    responses = np.concatenate([responses, extra])
    inverse = (8 * 0.5 + 1) / 9
    signal = np.var(np.arange(9.0), ddof=1) - 2 * inverse
    np.testing.assert_allclose(ncsnr(responses), [np.sqrt(signal / 2)])
    np.testing.assert_allclose(
        noise_ceiling(responses), [np.sqrt((signal / 2) / (signal / 2 + inverse))]
    )


@pytest.mark.parametrize(
    ("responses", "snr", "ceiling"),
    [
        (np.tile(np.arange(9.0)[:, None, None] / 7, (1, 1, 3)), np.inf, 1.0),
        (np.tile(np.array([-1.0, 1.0]), (9, 1, 1)), 0.0, 0.0),
        (np.full((9, 1, 3), 0.1), 0.0, 0.0),
        (np.arange(9.0)[:, None, None], np.nan, np.nan),
        (np.arange(14.0).reshape(7, 1, 2), np.nan, np.nan),
        (np.full((9, 1, 3), np.nan), np.nan, np.nan),
    ],
    ids=["no noise", "no signal", "constant", "one repeat", "seven images", "missing"],
)
def test_edges_of_the_ceiling(responses, snr, ceiling):
    np.testing.assert_equal(ncsnr(responses)[0], snr)
    np.testing.assert_equal(noise_ceiling(responses)[0], ceiling)


def test_pearson_equals_scipy_and_is_undefined_where_it_must_be():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 11, 3))
    expected = [stats.pearsonr(a[:, i], b[:, i])[0] for i in range(3)]
    np.testing.assert_allclose(pearson(a, b), np.array(expected), rtol=1e-12)
    assert np.isnan(pearson(a[:2], b[:2])).all()
    assert np.isnan(pearson(np.full((11, 3), 0.1), b)).all()
    mask = rng.random((11, 3)) < 0.7
    masked = [stats.pearsonr(a[mask[:, i], i], b[mask[:, i], i])[0] for i in range(3)]
    np.testing.assert_allclose(pearson(a, b, mask), np.array(masked), rtol=1e-12)


def test_top_sites_orders_and_never_ranks_nan():
    reliability = np.array([0.2, np.nan, 0.9, 0.2, 0.5])
    assert top_sites(reliability, 3) == (2, 4, 0)
    assert top_sites(reliability, 4) == (2, 4, 0, 3)
    for count in (0, 5):
        with pytest.raises(InputError, match="expected 1 to 4"):
            top_sites(reliability, count)


def test_no_splits_is_an_error(key):
    with pytest.raises(InputError, match="n_splits"):
        split_half_reliability(np.zeros((3, 1, 2)), key, 0)


@pytest.mark.parametrize("scale", [2.0**600, 2.0**-600])
def test_numbers_whose_squares_overflow_or_vanish_are_treated_alike(key, scale):
    responses = simulate(40, 4, [0.8, 1.5])
    for measure in (ncsnr, noise_ceiling, lambda x: split_half_reliability(x, key, 5)):
        np.testing.assert_array_equal(measure(scale * responses), measure(responses))
