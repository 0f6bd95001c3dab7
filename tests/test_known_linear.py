"""Known answers where everything is closed form, through the library's own scores.

All known answers, and where they are tests (``L0``: here; ``tests/`` left out):

===  ================================================================================
K1   test_known_answers (tiny net, through the PNGs), subject/test_closed_loop, L0
K2   L0; scoring/test_scoring_measures (simulated sweeps), test_scoring_power
K3   test_known_answers (tiny net), test_known_refits (L0, by the library's ridge)
K4   test_known_refits (L0), test_known_rivals (tiny nets, slow), test_same_r2
K5   L0; scoring/test_scoring_correlation (slopes and r of single sweeps)
K6   L0; scoring/test_scoring_correlation (noise-free)
K7   L0, test_known_refits
K8   L0 (recorded levels shuffled); scoring/test_scoring_inference (the null's draws)
K9   test_known_answers (through the PNGs), scoring/test_scoring_control (tables)
K10  L0; scoring/test_scoring_measures (every number of a site)
K11  test_drift
K12  test_known_refits (L0, tables); scoring/test_scoring_choice (single sweeps)
K13  scoring/test_scoring_choice (L0); test_known_rivals (joint contest of nets, slow)
K14  recordings/test_reliability; test_known_order (the subject's noise); test_subject
K15  test_known_order (PNGs, trials); synthesis/test_accentuate, test_lanes, test_work
K16  test_known_answers, stimuli/test_write; test_known_order (canvas above the input)
===  ================================================================================
"""

import dataclasses

import numpy as np
import pytest

from paramctl_jax.scoring import (
    control_score,
    control_table,
    expected_control,
    score_table,
)
from tests.linear_world import (
    LEVELS,
    N_SEEDS,
    PIXELS,
    accentuated,
    drawn,
    gain,
    numbers,
    recorded,
    scored,
)

DRAWS = {"n_bootstrap": 200}
N_DRAWS, N_SHUFFLED = 60, 40  # sites that are draws


def axes_of_gain(truth, other, wanted):
    """Axes w along whose paths the truth responds with slope v . w / w . w = wanted.

    With ``w = v + e``, e orthogonal to a unit v, the slope is ``1 / (1 + |e|^2)``.
    """
    return truth + np.sqrt(1 / wanted - 1) * other


def test_the_images_are_predicted_at_their_levels_exactly():
    truth, other, seeds = drawn(3)
    shown, images = accentuated({"m": truth + other}, seeds)
    said = np.array([s.predicted for s in shown.stimuli])
    wanted = np.array([s.target for s in shown.stimuli])
    np.testing.assert_allclose(said, wanted, atol=1e-13)
    assert images.shape == (3 * N_SEEDS * len(LEVELS), PIXELS)


def test_k1_the_model_itself_is_controlled_perfectly():
    truth, _, seeds = drawn(3)
    score = scored(truth, truth, seeds)
    for name in ("control", "slope", "r2_identity", "pooled_r"):
        np.testing.assert_allclose(numbers(score, name), 1.0, atol=1e-12)
    np.testing.assert_allclose(numbers(score, "intercept"), 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("wanted", "trial_sd", "repeats"),
    [(0.25, 1.5, 3), (0.35, 1.5, 3), (1.0, 4.0, 4), (1.0, 1.0, 8)],
)
def test_k2_noise_takes_from_r_what_the_attenuation_formula_says(
    wanted, trial_sd, repeats
):
    """Raw r near g s / sqrt((g s)^2 + sigma^2 / n); without its noise, r is 1.

    s with ddof 1: the noise within a sweep, too, has one degree of freedom less than
    levels. With ddof 0 the formula is up to .022 low at eleven levels.
    """
    truth, other, seeds = drawn(20)
    axes = axes_of_gain(truth, other, wanted)
    score = scored(axes, truth, seeds, trial_sd=trial_sd, repeats=repeats)
    expected = expected_control(wanted, float(LEVELS.std(ddof=1)), trial_sd, repeats)
    assert score.control_mean == pytest.approx(expected, abs=0.02)
    assert score.overall("slope") == pytest.approx(wanted, abs=0.03)
    if score.control_mean > 0.65:  # SE .014 in the hardest case, 200 sweeps at r .73
        assert score.overall("r_noise_corrected") == pytest.approx(1.0, abs=0.02)
        assert score.overall("r_within") == pytest.approx(expected, abs=0.02)


def test_k5_random_signs_have_slope_zero_on_average_and_r_of_one_or_minus_one():
    """Each site is a draw: ``w = v`` with signs flipped at random."""
    rng = np.random.default_rng(5)
    truth, _, seeds = drawn(N_DRAWS)
    axes = truth * rng.choice([-1.0, 1.0], size=truth.shape)
    score = scored(axes, truth, seeds[:2])
    slope, r = numbers(score, "slope"), numbers(score, "control")
    np.testing.assert_allclose(slope, gain(truth, axes), atol=1e-12)
    assert abs(slope.mean()) < 2 * slope.std() / np.sqrt(N_DRAWS)
    # sum_k +-v_k^2 / sum_k v_k^2: SD sqrt(sum v^4) / sum v^2, near sqrt(3 / pixels)
    assert slope.std() == pytest.approx(np.sqrt(3 / PIXELS), rel=0.2)
    np.testing.assert_allclose(np.abs(r), 1.0, atol=1e-9)
    assert {-1, 1} == set(np.sign(r))
    # noise far above the gain: r itself is null
    noisy = scored(axes, truth, seeds[:2], trial_sd=20.0)
    assert abs(noisy.control_mean) < 2 / np.sqrt(N_DRAWS * 2 * 10)


def test_k5_a_permutation_of_weights_that_share_a_sign_is_no_null():
    """E[slope] = (sum v)^2 / (k |v|^2), far from 0 where v has a mean."""
    rng = np.random.default_rng(6)
    truth = np.tile(1 + 0.5 * rng.normal(size=PIXELS), (N_DRAWS, 1))
    axes = rng.permuted(truth, axis=1)
    score = scored(axes, truth, rng.normal(size=(1, PIXELS)))
    slope, v = numbers(score, "slope"), truth[0]
    expected = v.sum() ** 2 / (PIXELS * (v @ v))
    assert expected > 0.7
    assert abs(slope.mean() - expected) < 3 * slope.std() / np.sqrt(N_DRAWS)


def test_k6_an_axis_orthogonal_to_the_truth_controls_nothing():
    """Slope 0; with noise, c has mean 0 and SD 1 / sqrt(seeds x (levels - 1))."""
    truth, other, seeds = drawn(20)
    clean = scored(other[:5], truth[:5], seeds)
    np.testing.assert_allclose(numbers(clean, "slope"), 0.0, atol=1e-12)
    assert np.isnan(clean.control_mean)  # constant responses have no r
    noisy = scored(other, truth, seeds, trial_sd=1.0, repeats=3)
    control = numbers(noisy, "control")
    assert abs(control.mean()) < 2 * 0.1 / np.sqrt(20)
    assert control.std() == pytest.approx(0.1, abs=2 * 0.1 / np.sqrt(40))
    assert np.mean(np.abs(control) < 0.196) >= 0.9
    assert noisy.p_permutation > 0.05


def test_k6_uncorrelated_on_natural_images_is_not_orthogonal_along_the_path():
    """w Sigma v = 0 and w . v != 0: encoding sees nothing, control does."""
    truth, other, seeds = drawn(5)
    variance = np.arange(1.0, PIXELS + 1) ** -1.0
    natural = np.sum(truth * variance * other, axis=1)
    own = np.sum(truth * variance * truth, axis=1)
    axes = other - (natural / own)[:, None] * truth
    np.testing.assert_allclose(np.sum(axes * variance * truth, axis=1), 0, atol=1e-12)
    score = scored(axes, truth, seeds)
    np.testing.assert_allclose(
        numbers(score, "slope"), gain(truth, axes), rtol=1e-9, atol=0
    )
    assert np.abs(gain(truth, axes)).min() > 0.005
    np.testing.assert_allclose(np.abs(numbers(score, "control")), 1.0, atol=1e-9)


def test_k7_a_sign_flipped_read_out_has_minus_the_score():
    truth, other, seeds = drawn(5)
    for axes in (truth, axes_of_gain(truth, other, 0.4)):
        flipped = scored(-axes, truth, seeds)
        np.testing.assert_allclose(numbers(flipped, "control"), -1.0, atol=1e-9)
        np.testing.assert_allclose(
            numbers(flipped, "slope"), -gain(truth, axes), atol=1e-12
        )
        assert (numbers(flipped, "r2_identity") < 0).all()
        noisy = scored(-axes, truth, seeds, trial_sd=1.5, repeats=3)
        straight = scored(axes, truth, seeds, trial_sd=1.5, repeats=3)
        assert noisy.control_mean == pytest.approx(-straight.control_mean, abs=0.05)
        assert noisy.p_permutation > 0.95


def test_k8_levels_shuffled_within_seeds_have_mean_zero_and_sd_a_tenth():
    """Each site is a draw: SD = 1 / sqrt(10 seeds x (11 - 1) levels)."""
    truth, other, seeds = drawn(N_SHUFFLED)
    shown, images = accentuated({"m": axes_of_gain(truth, other, 0.5)}, seeds)
    responses = recorded(shown, images, truth, trial_sd=0.5)
    table = control_table(shown, responses)
    assert np.corrcoef(table.predicted, table.recorded)[0, 1] > 0.8
    sweeps = table.recorded.reshape(N_SHUFFLED * N_SEEDS, len(LEVELS))
    shuffled = np.random.default_rng(8).permuted(sweeps, axis=1).ravel()
    after = score_table(dataclasses.replace(table, recorded=shuffled), **DRAWS)
    control = numbers(after.subjects[""]["m"], "control")
    assert abs(control.mean()) < 2 * 0.1 / np.sqrt(N_SHUFFLED)
    assert control.std() == pytest.approx(0.1, abs=2 * 0.1 / np.sqrt(2 * N_SHUFFLED))


def test_k10_a_constant_gain_leaves_r_and_scales_the_slope():
    truth, other, seeds = drawn(5)
    shown, images = accentuated({"m": axes_of_gain(truth, other, 0.4)}, seeds)
    full = recorded(shown, images, truth, trial_sd=1.0, repeats=3)
    weak = recorded(shown, images, 0.2 * truth, trial_sd=0.2, repeats=3)
    one, other = (
        control_score(shown, r, **DRAWS).subjects[""]["m"] for r in (full, weak)
    )
    np.testing.assert_allclose(
        numbers(other, "control"), numbers(one, "control"), rtol=1e-9
    )
    np.testing.assert_allclose(
        numbers(other, "slope"), 0.2 * numbers(one, "slope"), rtol=1e-9
    )
