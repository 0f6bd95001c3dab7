"""Same R2, different control: what natural images cannot tell apart, control can.

Natural images have the variance k^-2 in mode k. A model's error e costs it
``e' Sigma e`` on them, which is next to nothing in the low modes, but along the path of
``w = v + e`` the truth v responds with the slope ``v . w / w . w``, where all modes
count alike. G errs in modes 21-60, H in the 100 lowest, both by 5 % of the truth's
natural variance.
"""

import numpy as np
import pytest

from paramctl_jax.encoding import FeatureBlocks, compare_encoding, target_levels
from paramctl_jax.encoding.evaluation import evaluate
from paramctl_jax.encoding.ridge import ridge
from paramctl_jax.scoring import control_score, expected_control
from tests import linear_world
from tests.linear_world import accentuated, gain, heard, numbers, recorded

PIXELS, N_SITES, N_SEEDS = 400, 5, 10
VARIANCE = np.arange(1.0, PIXELS + 1) ** -2.0  # of natural images, by mode
NOISE = 0.8  # SD of a trial average, in natural SDs of the truth
TRUTH, MIDDLE, LOWEST = slice(0, 20), slice(20, 60), slice(300, 400)


def in_modes(rng, modes, variance):
    return linear_world.in_modes(rng, modes, variance, VARIANCE, N_SITES)


@pytest.fixture(scope="module")
def world():
    """The truth, both models, and the images, in pixels that mix all modes."""
    rng = np.random.default_rng(0)
    mixing = np.linalg.qr(rng.normal(size=(PIXELS, PIXELS)))[0]
    truth = in_modes(rng, TRUTH, 1.0)
    models = {
        "G": truth + in_modes(rng, MIDDLE, 0.05),
        "H": truth + in_modes(rng, LOWEST, 0.05),
    }
    natural = rng.normal(size=(2000, PIXELS)) * np.sqrt(VARIANCE) @ mixing
    models = {name: axes @ mixing for name, axes in models.items()}
    return truth @ mixing, models, natural, natural[:N_SEEDS]


def encoding_of(axes, recordings, images):
    """The library's evaluation, of images that no fit has seen."""
    nothing = np.zeros((3, len(axes)))
    return evaluate(
        recordings, images @ axes.T, nothing, nothing, ("x", "y", "z"), n_bootstrap=20
    )


def stimuli_of(models, truth, natural, seeds):
    levels = target_levels(heard(natural, truth))
    return *accentuated(models, seeds, levels), levels


def test_both_models_predict_natural_images_equally_well(world):
    truth, models, natural, _ = world
    fresh = natural[N_SEEDS:]
    day1 = heard(fresh, truth)
    g, h = (encoding_of(axes, day1, fresh) for axes in models.values())
    np.testing.assert_allclose([g.r2, h.r2], 0.95, atol=0.01)
    np.testing.assert_allclose(g.r2, h.r2, atol=0.01)
    for measure in ("r", "r2"):
        found = compare_encoding(g, h, measure=measure, bound=0.02, n_bootstrap=1000)
        assert found.mean.equivalent.all()
        assert found.sites.equivalent.all()
        assert found.verdict.startswith("equivalent within 0.02")


def test_their_equivalence_survives_noisy_recordings(world):
    truth, models, natural, _ = world
    fresh = natural[N_SEEDS:]
    day1 = heard(fresh, truth, noise=NOISE)
    g, h = (encoding_of(axes, day1, fresh) for axes in models.values())
    found = compare_encoding(g, h, n_bootstrap=1000)  # r within .05
    assert found.verdict.startswith("equivalent within 0.05")


def test_without_noise_the_slope_tells_them_apart_and_r_does_not(world):
    truth, models, natural, seeds = world
    shown, images, _ = stimuli_of(models, truth, natural, seeds)
    day2 = recorded(shown, images, truth)
    score = control_score(shown, day2, n_bootstrap=100)
    for name, axes in models.items():
        model = score.subjects[""][name]
        np.testing.assert_allclose(numbers(model, "control"), 1.0, atol=1e-9)
        found = numbers(model, "slope")
        np.testing.assert_allclose(found, gain(truth, axes), atol=1e-9)
    slope = [score.subjects[""][name].overall("slope") for name in "GH"]
    assert slope[0] > 10 * slope[1] > 0
    assert abs(score.comparisons[0].difference) < 1e-9


def test_with_noise_their_scores_follow_the_attenuation_formula(world):
    """Within the sampling error of five recordings; the paired test sees it in each."""
    truth, models, natural, seeds = world
    shown, images, levels = stimuli_of(models, truth, natural, seeds)
    spread = levels.std(axis=1, ddof=1)
    control = {name: [] for name in models}
    for draw in range(5):
        day2 = recorded(shown, images, truth, trial_sd=NOISE, seed=draw)
        score = control_score(shown, day2, n_bootstrap=300)
        for name, values in control.items():
            values.append(numbers(score.subjects[""][name], "control"))
        (pair,) = score.comparisons
        assert (pair.a, pair.b) == ("G", "H")
        assert pair.ci[0] > 0.1
        assert pair.p_seeds == pair.p_min_seeds == 2 / 2**N_SEEDS
        assert pair.p_sites == pair.p_min_sites == 2 / 2**N_SITES
        assert score.subjects[""]["G"].p_permutation < 0.01
    for name, axes in models.items():
        expected = [
            expected_control(slope, sd, NOISE, 1)
            for slope, sd in zip(gain(truth, axes).tolist(), spread.tolist())  # noqa: B905
        ]
        # Var(r) is (1 - r^2)^2 / (levels - 1) or less; 50 sweeps per site
        np.testing.assert_allclose(
            np.mean(control[name], axis=0), expected, atol=3 * np.sqrt(1 / 10 / 50)
        )
        assert np.mean(control[name]) == pytest.approx(np.mean(expected), abs=0.04)


def test_two_backbones_fitted_alike_on_natural_images_control_differently():
    """By the library's ridge, from noisy recordings of the same images.

    Both backbones hold the truth's modes, and 40 more of equal natural variance: G the
    images' own, H low modes, amplified. On natural images their features are alike, so
    that fits, penalties and R2 are as well; but H's axes must move an image much less
    to move its features, and what noise put on these axes leads the image astray.
    """
    rng = np.random.default_rng(5)
    mixing = np.linalg.qr(rng.normal(size=(PIXELS, PIXELS)))[0]
    truth = in_modes(rng, TRUTH, 1.0) @ mixing
    natural = rng.normal(size=(1400, PIXELS)) * np.sqrt(VARIANCE) @ mixing
    seeds, train, test = np.split(natural, [N_SEEDS, 700])
    lowest = np.sqrt(VARIANCE[20:60] / VARIANCE[360:])[:, None] * mixing[360:]
    backbones = {"G": mixing[:60], "H": np.concatenate([mixing[:20], lowest])}
    day1 = heard(train, truth, noise=NOISE)
    models = {}
    for name, filters in backbones.items():
        features = FeatureBlocks(train @ filters.T)
        fit = ridge(features, day1.mean(), 10.0 ** np.arange(-4, 5))
        models[name] = fit.weights.T @ filters
    day1 = heard(test, truth)
    g, h = (encoding_of(axes, day1, test) for axes in models.values())
    assert (np.minimum(g.r2, h.r2) > 0.9).all()
    found = compare_encoding(g, h, n_bootstrap=1000, bound=0.02)
    assert found.verdict.startswith("equivalent within 0.02")
    shown, images, _ = stimuli_of(models, truth, natural, seeds)
    score = control_score(
        shown, recorded(shown, images, truth, trial_sd=NOISE), n_bootstrap=300
    )
    (pair,) = score.comparisons
    assert pair.ci[0] > 0.1
    assert pair.p_seeds == pair.p_min_seeds
    slope = [score.subjects[""][name].overall("slope") for name in "GH"]
    assert slope[0] > 3 * slope[1]
