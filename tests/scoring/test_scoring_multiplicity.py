"""Holm's adjustment against hand-worked numbers and the closure principle."""

import itertools

import numpy as np
import pytest

from paramctl_jax.scoring.multiplicity import holm, holm_comparisons
from paramctl_jax.types import Comparison, InputError


def by_closure(p):
    """Largest Bonferroni p of all sets of hypotheses that contain the one asked for."""
    m = len(p)
    adjusted = np.zeros(m)
    for size in range(1, m + 1):
        for subset in itertools.combinations(range(m), size):
            joint = min(1.0, size * min(p[i] for i in subset))
            for i in subset:
                adjusted[i] = max(adjusted[i], joint)
    return adjusted


def test_hand_worked_example():
    """.01 x 4, .015 x 3, then .03 x 2 = .06, and .04 x 1 raised to .06."""
    adjusted = holm(np.array([0.04, 0.01, 0.03, 0.015]))
    np.testing.assert_allclose(adjusted, [0.06, 0.04, 0.06, 0.045], atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_closed_test_it_abbreviates(seed):
    p = np.random.default_rng(seed).uniform(0, 0.4, 7) ** 2
    np.testing.assert_allclose(holm(p), by_closure(p), atol=1e-15)


def test_ties_share_one_value_and_nothing_exceeds_one():
    np.testing.assert_allclose(holm(np.array([0.2, 0.2, 0.9])), [0.6, 0.6, 0.9])
    np.testing.assert_allclose(holm(np.array([0.7, 0.5])), [1.0, 1.0])


def test_undefined_tests_stay_undefined_and_cost_nothing():
    p = np.array([np.nan, 0.02, 0.03, np.nan])
    np.testing.assert_allclose(holm(p), [np.nan, 0.04, 0.04, np.nan])
    assert holm(np.zeros(0)).shape == (0,)
    assert np.isnan(holm(np.full(2, np.nan))).all()


def test_order_does_not_matter():
    p = np.random.default_rng(1).uniform(0, 0.1, 9)
    order = np.random.default_rng(2).permutation(9)
    np.testing.assert_array_equal(holm(p)[order], holm(p[order]))


def test_family_wise_error_is_held():
    """Five true nulls, level .05: an error in .049 of the families, not in .226."""
    p = np.random.default_rng(0).uniform(size=(4000, 5))
    errors = np.mean([holm(family).min() <= 0.05 for family in p])
    assert abs(errors - (1 - 0.99**5)) < 4 * np.sqrt(0.049 * 0.951 / 4000)
    assert np.mean(p.min(axis=1) <= 0.05) > 0.2


def test_what_is_no_p_is_refused():
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        holm(np.array([0.2, 1.2]))


def test_comparisons_are_adjusted_within_their_subject():
    def pair(subject, p_seeds, p_sites):
        return Comparison(
            subject, "a", "b", 0.1, (0.0, 0.2), p_seeds, p_sites, 0.002, 0.0625
        )

    pairs = (pair("x", 0.01, 0.0625), pair("y", 0.02, np.nan), pair("x", 0.04, 0.5))
    expected = [[0.02, 0.125], [0.02, np.nan], [0.04, 0.5]]
    np.testing.assert_allclose(holm_comparisons(pairs), expected)
    assert holm_comparisons(()).shape == (0, 2)
