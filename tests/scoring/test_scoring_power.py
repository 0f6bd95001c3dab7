"""Power against exact binomial counts, simulation and the attenuation formula."""

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import crossed_bootstrap, sign_flip_test
from paramctl_jax.scoring.experiments import crossed_intervals, sign_flips
from paramctl_jax.scoring.power import (
    Components,
    Power,
    power_curve,
    repeats_curve,
    smallest_design,
    variance_components,
)
from paramctl_jax.types import InputError


def design(rng, components, n, n_sites, n_seeds):
    return (
        rng.normal(0, components.site, (n, n_sites, 1))
        + rng.normal(0, components.seed, (n, 1, n_seeds))
        + rng.normal(0, components.residual, (n, n_sites, n_seeds))
    )


def test_variance_components_are_found_again():
    true = Components(0.2, 0.1, 0.15)
    designs = design(np.random.default_rng(0), true, 40, 60, 60)
    found = np.array([variance_components_of(d) for d in designs]).mean(axis=0)
    np.testing.assert_allclose(found, [0.2, 0.1, 0.15], atol=0.006)


def variance_components_of(values):
    found = variance_components(values)
    return found.site, found.seed, found.residual


def test_variance_components_by_hand():
    """MS_site 8, MS_seed 2, MS_res 0 for rows 0 1 / 2 3: v_site = 2, v_seed = .5."""
    found = variance_components_of(np.array([[0.0, 1.0], [2.0, 3.0]]))
    np.testing.assert_allclose(found, [np.sqrt(2), np.sqrt(0.5), 0], atol=1e-12)


def test_negative_variances_are_zero():
    checker = np.array([[1.0, -1.0], [-1.0, 1.0]])  # all interaction: MS_res = 4
    np.testing.assert_allclose(variance_components_of(checker), [0, 0, 2], atol=1e-12)


@pytest.mark.parametrize("values", [np.zeros((1, 5)), np.full((3, 3), np.nan)])
def test_variance_components_need_a_complete_crossed_design(values):
    with pytest.raises(InputError, match="variance components"):
        variance_components(values)


def test_many_intervals_are_those_of_one_at_a_time():
    values = np.random.default_rng(0).normal(size=(6, 5, 10))
    alone = [crossed_bootstrap(v, 300, random_seed=7) for v in values]
    np.testing.assert_allclose(crossed_intervals(values, 300, 7), alone, atol=1e-12)


@pytest.mark.parametrize("n_units", [1, 5, 10])
def test_many_sign_flips_are_those_of_one_at_a_time(n_units):
    units = np.random.default_rng(0).normal(0.4, 1, (20, n_units))
    p, p_min = sign_flips(units, 0)
    alone = [sign_flip_test(row) for row in units]
    np.testing.assert_allclose(p, [one for one, _ in alone], atol=1e-15)
    assert p_min == alone[0][1]


def test_many_units_are_sampled_close_to_exact():
    units = np.random.default_rng(1).normal(0.3, 1, (10, 20))
    p, _ = sign_flips(units, 0)
    exact = [sign_flip_test(row)[0] for row in units]
    np.testing.assert_allclose(p, exact, atol=0.035)  # 4 SE of 4095 draws


def test_five_sites_have_no_power_at_any_difference():
    (one,) = power_curve(2.0, [5], [10], Components(0.1, 0.1, 0.1), n_simulations=50)
    assert (one.by_sites, one.p_min_sites) == (0.0, 0.0625)
    assert (one.by_seeds, one.by_interval) == (1.0, 1.0)


def test_six_sites_without_other_effects_are_a_binomial_count():
    """With 6 units, p <= .05 only if all signs agree: power = q^6 + (1 - q)^6."""
    (one,) = power_curve(
        0.2, [6], [1], Components(0.2, 0.0, 0.0), n_simulations=4000, n_bootstrap=10
    )
    q = scipy.stats.norm.cdf(1.0)
    expected = q**6 + (1 - q) ** 6
    se = np.sqrt(expected * (1 - expected) / 4000)
    assert abs(one.by_sites - expected) < 4 * se


def test_tests_hold_their_level_without_a_difference():
    (one,) = power_curve(0.0, [10], [10], Components(0.1, 0.0, 0.1), n_simulations=3000)
    # Over sites the units are independent: exact level 51/1024 or less.
    assert abs(one.by_sites - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 3000)
    assert abs(one.difference) < 0.005


def test_power_grows_with_seeds_and_sites_with_the_difference():
    components = Components(0.05, 0.15, 0.3)
    found = power_curve(0.15, [5, 10], [5, 10, 20], components, n_simulations=800)
    assert [(p.n_sites, p.n_seeds) for p in found][:4] == [
        (5, 5), (5, 10), (5, 20), (10, 5)
    ]  # fmt: skip
    by_interval = np.array([p.by_interval for p in found]).reshape(2, 3)
    assert (np.diff(by_interval, axis=1) > 0).all()
    (small,) = power_curve(0.05, [5], [10], components, n_simulations=800)
    assert small.by_interval < found[1].by_interval


def test_repeats_bring_r_to_the_attenuation_formula():
    """r near g sd / sqrt((g sd)^2 + misfit^2 + trial^2 / n), for both models."""
    still = Components(0.0, 0.0, 0.0)
    n_repeats = [1, 4, 16]
    found = repeats_curve(
        (0.5, 0.2), [2], [5], n_repeats, level_sd=2.5, trial_sd=1.5, gain_sds=still,
        misfit_sd=0.3, n_simulations=1000, n_bootstrap=10,
    )  # fmt: skip
    for one, repeats in zip(found, n_repeats, strict=True):
        signal = np.array([0.5, 0.2]) * 2.5
        noise = 0.3**2 + 1.5**2 / repeats
        r = signal / np.sqrt(signal**2 + noise)
        assert abs(one.difference - (r[0] - r[1])) < 0.02


def test_repeats_buy_power_and_results_are_reproducible():
    asked = {
        "gains": (0.4, 0.2),
        "n_sites": [5],
        "n_seeds": [10],
        "level_sd": 2.5,
        "trial_sd": 3.0,
        "gain_sds": Components(0.05, 0.05, 0.1),
        "n_simulations": 300,
        "n_bootstrap": 300,
    }
    found = repeats_curve(n_repeats=[1, 4, 16], **asked)
    assert found[0].by_seeds < found[1].by_seeds < found[2].by_seeds
    (alone,) = repeats_curve(n_repeats=[4], **asked)
    assert alone == found[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_sites": []}, "at least 1"),
        ({"n_seeds": [0]}, "at least 1"),
        ({"n_repeats": [0]}, "at least 1"),
        ({"n_levels": 2}, "3 levels"),
        ({"level_sd": 0.0}, "level_sd"),
        ({"trial_sd": -1.0}, "SDs"),
    ],
)
def test_impossible_designs_are_refused(changed, message):
    asked = {
        "gains": (0.4, 0.2),
        "n_sites": [5],
        "n_seeds": [10],
        "n_repeats": [2],
        "level_sd": 2.0,
        "trial_sd": 1.0,
        "gain_sds": Components(0.1, 0.1, 0.1),
    }
    with pytest.raises(InputError, match=message):
        repeats_curve(**(asked | changed))


def test_negative_components_are_refused():
    with pytest.raises(InputError, match="components"):
        power_curve(0.1, [5], [5], Components(-0.1, 0.1, 0.1))


def test_the_smallest_sufficient_design_is_found():
    def power(n_sites, n_seeds, by_interval, by_seeds):
        return Power(
            n_sites, n_seeds, 4, 0.1, 0.0, by_seeds, by_interval, 0.0625, 0.002
        )

    curve = (power(5, 10, 0.5, 0.85), power(5, 40, 0.9, 1.0), power(10, 15, 0.81, 0.9))
    assert smallest_design(curve) == curve[2]
    assert smallest_design(curve, by="seeds") == curve[0]
    assert smallest_design(curve, 0.95) is None
    with pytest.raises(InputError, match="did you mean 'sites'"):
        smallest_design(curve, by="site")
