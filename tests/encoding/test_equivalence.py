"""Paired equivalence: exact against a plain loop, calibrated in simulations."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from paramctl_jax.encoding.equivalence import compare_encoding
from paramctl_jax.types import EncodingEvaluation, InputError


def evaluation(recorded, predicted, image_ids=None, site_ids=None):
    """A record of these images; of its scores a comparison needs none."""
    n_images, n_sites = recorded.shape
    site, ends = np.full(n_sites, np.nan), np.full((n_sites, 2), np.nan)
    return EncodingEvaluation(
        site_ids=site_ids or tuple(f"s{i:04d}" for i in range(n_sites)),
        **dict.fromkeys(("r", "r2", "ceiling", "r_normalised", "r2_normalised"), site),
        **dict.fromkeys(("r_ci", "r2_ci", "r_normalised_ci", "r2_normalised_ci"), ends),
        cv_r=site,
        cv_r2=site,
        train_ids=("x",),
        test_ids=image_ids or tuple(f"im{i:04d}" for i in range(n_images)),
        recorded=recorded,
        predicted=predicted,
    )


def two_models(rng, n_images, r_a, r_b, shared=0.7):
    """Responses and two predictions with correlations r_a, r_b, [site] each.

    The parts of the predictions that do not follow the responses correlate by `shared`,
    as those of two networks fitted to the same recordings do.
    """
    shape = (n_images, len(r_a))
    y, common, own_a, own_b = rng.standard_normal((4, *shape))
    noise = [
        np.sqrt(shared) * common + np.sqrt(1 - shared) * own for own in (own_a, own_b)
    ]
    a, b = (
        r * y + np.sqrt(1 - r**2) * e for r, e in zip((r_a, r_b), noise, strict=True)
    )
    return evaluation(y, a), evaluation(y, b)


@pytest.mark.parametrize("measure", ["r", "r2"])
def test_tests_equal_a_plain_loop(measure):
    rng = np.random.default_rng(0)
    a, b = two_models(rng, 40, np.array([0.8, 0.5]), np.array([0.78, 0.7]))
    bound, n = 0.1, 200
    found = compare_encoding(
        a, b, measure=measure, bound=bound, n_bootstrap=n, random_seed=5
    )
    score = (
        (lambda y, p: stats.pearsonr(y, p).statistic) if measure == "r" else r2_score
    )
    counts = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=n)
    chosen = [np.repeat(np.arange(40), c) for c in counts]
    draws = np.empty((2, n))
    for site in range(2):
        y, p, q = (v[:, site] for v in (a.recorded, a.predicted, b.predicted))
        assert found.sites.difference[site] == pytest.approx(score(y, p) - score(y, q))
        d = np.array([score(y[c], p[c]) - score(y[c], q[c]) for c in chosen])
        draws[site] = d
        check(found.sites, site, d, bound)
    sites = np.random.default_rng([5, 1]).multinomial(2, [0.5, 0.5], size=n)
    check(found.mean, 0, np.sum(sites.T * draws, axis=0) / 2, bound)
    assert found.mean.difference[0] == pytest.approx(found.sites.difference.mean())


def check(tests, unit, d, bound):
    """One unit's intervals and p values against those of its draws."""
    n = len(d)
    np.testing.assert_allclose(tests.ci90[unit], np.quantile(d, [0.05, 0.95]))
    np.testing.assert_allclose(tests.ci95[unit], np.quantile(d, [0.025, 0.975]))
    beyond = max(np.sum(d <= -bound), np.sum(d >= bound))
    assert tests.p_equivalence[unit] == pytest.approx((beyond + 1) / (n + 1))
    smaller = min(np.sum(d <= 0), np.sum(d >= 0))
    assert tests.p_difference[unit] == pytest.approx(
        min(1, 2 * (smaller + 1) / (n + 1))
    )
    inside = np.quantile(d, 0.05) > -bound and np.quantile(d, 0.95) < bound
    assert tests.equivalent[unit] == inside


def test_calibration_per_site():
    # 300 sites are 300 experiments of 200 images.
    rng = np.random.default_rng(0)
    r = np.full(300, 0.7)
    at_bound = compare_encoding(*two_models(rng, 200, r, r - 0.05), n_bootstrap=500)
    assert np.mean(at_bound.sites.p_equivalence < 0.05) <= 0.08
    assert np.mean(at_bound.sites.equivalent) <= 0.08
    same = compare_encoding(*two_models(rng, 200, r, r, shared=0.9), n_bootstrap=500)
    assert np.mean(same.sites.equivalent) > 0.8
    assert 0.02 < np.mean(same.sites.p_difference < 0.05) < 0.09
    for comparison, truth in ((at_bound, 0.05), (same, 0.0)):
        low, high = comparison.sites.ci90.T
        assert 0.86 < np.mean((low <= truth) & (truth <= high)) < 0.94


def test_calibration_of_the_mean_over_sites():
    # Sites differ in the difference, too: N(bound, .03), 20 sites x 80 images.
    rng = np.random.default_rng(0)
    equivalent, different = [], []
    for _ in range(40):
        site = 0.03 * rng.standard_normal(20)
        models = two_models(rng, 80, np.full(20, 0.7), 0.65 + site)
        equivalent.append(compare_encoding(*models, n_bootstrap=200).mean.equivalent[0])
        models = two_models(rng, 80, np.full(20, 0.7), 0.7 + site)
        p = compare_encoding(*models, n_bootstrap=200).mean.p_difference[0]
        different.append(p < 0.05)
    assert np.mean(equivalent) <= 0.08
    assert np.mean(different) <= 0.08


def test_verdicts():
    rng = np.random.default_rng(0)
    r = np.full(10, 0.8)
    same = compare_encoding(*two_models(rng, 200, r, r), n_bootstrap=500)
    assert same.verdict.startswith("equivalent within 0.05: mean difference in r")
    unlike = compare_encoding(*two_models(rng, 200, r, r - 0.3), n_bootstrap=500)
    assert unlike.verdict.startswith("different: mean difference in r 0.")
    few = compare_encoding(
        *two_models(rng, 10, r, r, shared=0.0), n_bootstrap=500, measure="r2"
    )
    assert few.verdict.startswith("undecided: mean difference in R2")
    assert "is not equivalence" in few.verdict
    small = compare_encoding(
        *two_models(rng, 2000, r, r - 0.02), n_bootstrap=500, bound=0.1
    )
    assert small.verdict.startswith("equivalent within 0.1, small but not zero: ")
    assert small.mean.p_difference[0] < 0.05
    for text in ("mean", "s0009", small.verdict):
        assert text in str(small)


def test_a_model_is_equivalent_to_itself():
    rng = np.random.default_rng(0)
    a, _ = two_models(rng, 30, np.full(3, 0.5), np.full(3, 0.5))
    found = compare_encoding(a, a, n_bootstrap=99)
    np.testing.assert_array_equal(found.sites.ci95, 0.0)
    np.testing.assert_array_equal(found.sites.p_difference, 1.0)
    np.testing.assert_array_equal(found.sites.p_equivalence, 0.01)
    assert found.sites.equivalent.all()
    assert found.mean.equivalent.all()


def test_swapped_models_swap_the_sign():
    rng = np.random.default_rng(0)
    a, b = two_models(rng, 40, np.full(3, 0.7), np.full(3, 0.6))
    there, back = (
        compare_encoding(*pair, n_bootstrap=200) for pair in ((a, b), (b, a))
    )
    np.testing.assert_array_equal(there.sites.difference, -back.sites.difference)
    np.testing.assert_allclose(there.mean.ci90, -back.mean.ci90[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(there.mean.p_equivalence, back.mean.p_equivalence)


def test_images_and_sites_are_matched_by_id():
    rng = np.random.default_rng(0)
    a, b = two_models(rng, 40, np.full(20, 0.7), np.full(20, 0.6))
    expected = compare_encoding(a, b, n_bootstrap=100)
    images, sites = rng.permutation(40), rng.permutation(20)
    take = np.ix_(images, sites)
    image_ids = tuple(a.test_ids[i] for i in images)
    site_ids = tuple(a.site_ids[i] for i in sites)
    moved_a, moved_b = (
        evaluation(side.recorded[take], side.predicted[take], image_ids, site_ids)
        for side in (a, b)
    )
    found = compare_encoding(a, moved_b, n_bootstrap=100)
    assert same(found.sites, expected.sites, slice(None))
    assert same(found.mean, expected.mean, slice(None))
    found = compare_encoding(moved_a, b, n_bootstrap=100)
    assert found.site_ids == site_ids
    assert same(found.sites, expected.sites, sites)
    assert same(found.mean, expected.mean, slice(None))


def same(found, expected, order):
    return all(
        np.allclose(
            getattr(found, field.name), getattr(expected, field.name)[order], rtol=1e-12
        )
        for field in dataclasses.fields(found)
    )


def test_sites_without_a_test_are_named_and_left_out_of_the_mean():
    rng = np.random.default_rng(0)
    a, b = two_models(rng, 40, np.full(3, 0.7), np.full(3, 0.7))
    predicted = a.predicted.copy()
    predicted[:, 1] = 0.5  # no r, but an R2
    flat = evaluation(a.recorded, predicted)
    found = compare_encoding(flat, b, n_bootstrap=100)
    assert np.isnan(found.sites.difference[1])
    assert np.isnan(found.sites.p_equivalence[1])
    assert np.isnan(found.sites.p_difference[1])
    assert found.sites.equivalent.tolist()[1] is False
    assert found.mean.difference[0] == pytest.approx(
        found.sites.difference[[0, 2]].mean()
    )
    assert "1 of 3 sites left out, first s0001" in found.notes[0]
    assert found.notes[0] in str(found)
    assert not compare_encoding(flat, b, measure="r2", n_bootstrap=100).notes
    nothing = compare_encoding(
        evaluation(a.recorded, np.zeros((40, 3))), b, n_bootstrap=100
    )
    assert nothing.verdict.startswith("undefined")
    assert not nothing.mean.equivalent.any()


def test_what_cannot_be_compared_is_refused():
    rng = np.random.default_rng(0)
    a, b = two_models(rng, 10, np.full(2, 0.7), np.full(2, 0.7))

    def refused(message, other, **options):
        with pytest.raises(InputError, match=message):
            compare_encoding(a, other, **options)

    ids = (*a.test_ids[:-1], "new")
    refused(
        r"same held-out images.*2 on one side only.*\['im0009', 'new'\]",
        evaluation(b.recorded, b.predicted, image_ids=ids),
    )
    refused(
        "same sites", evaluation(b.recorded, b.predicted, site_ids=("s0000", "other"))
    )
    changed = b.recorded.copy()
    changed[3, 1] += 0.1
    refused(
        "recorded responses differ at 1 of 2 sites, first 's0001'",
        evaluation(changed, b.predicted),
    )
    refused("measure: expected 'r' or 'r2', found 'rho'", b, measure="rho")
    for bound in (0.0, -0.1, np.nan):
        refused("bound: expected a positive number", b, bound=bound)
    refused("at least 1 draw", b, n_bootstrap=0)
    short = evaluation(a.recorded[:2], a.predicted[:2])
    with pytest.raises(InputError, match="at least 3 held-out images, found 2"):
        compare_encoding(short, short)
