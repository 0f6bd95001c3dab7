"""Known answers of several models of one subject, in closed form and by ridge (L0)."""

import numpy as np
import pytest

from paramctl_jax.encoding import FeatureBlocks, target_levels
from paramctl_jax.encoding.evaluation import r_squared
from paramctl_jax.encoding.ridge import ridge
from paramctl_jax.scoring import control_score, peer_review
from tests.linear_world import (
    accentuated,
    drawn,
    gain,
    heard,
    in_modes,
    numbers,
    recorded,
    sites_of,
)

DRAWS = {"n_bootstrap": 200}
N_SITES, VARIANCE = 5, np.arange(1.0, 401) ** -1.0  # of natural images, by mode


@pytest.fixture(scope="module")
def refits():
    """A subject, and two models fitted to its noisy responses to 800 images.

    A reads the leading 60 modes, as a PCA of the subject's own features would; B those
    of another backbone, 100 random mixtures of all modes.
    """
    rng = np.random.default_rng(0)
    truth = in_modes(rng, slice(0, 20), 1.0, VARIANCE, N_SITES)
    natural = rng.normal(size=(1210, 400)) * np.sqrt(VARIANCE)
    seeds, train, test = np.split(natural, [10, 810])
    day1 = heard(train, truth, noise=1 / np.sqrt(5))
    filters = {
        "A": np.eye(60, 400),
        "B": rng.normal(size=(100, 400)),
    }
    models = {}
    for name, rows in filters.items():
        features = FeatureBlocks(train @ rows.T)
        fit = ridge(features, day1.mean(), 10.0 ** np.arange(-8, 3), relative=True)
        models[name] = fit.weights.T @ rows
    return truth, models, seeds, test, target_levels(day1)


def score_of(refits, models, **noise):
    truth, _, seeds, _, levels = refits
    shown, images = accentuated(models, seeds, levels)
    return control_score(shown, recorded(shown, images, truth, **noise), **DRAWS)


def test_k3_a_refit_controls_the_subject_it_was_fitted_to(refits):
    truth, models, _, test, _ = refits
    r2 = [r_squared(test @ truth.T, test @ w.T) for w in models.values()]
    assert r2[0].min() > 0.97
    assert r2[1].min() > 0.75  # B is no straw man: it predicts natural images
    score = score_of(refits, models).subjects[""]["A"]
    assert (numbers(score, "control") > 0.95).all()
    assert (numbers(score, "slope") > 0.7).all()
    assert (numbers(score, "slope") < 1.15).all()
    np.testing.assert_allclose(
        numbers(score, "slope"), gain(truth, models["A"]), rtol=1e-9
    )


def test_k4_another_backbone_controls_less_and_the_paired_test_sees_it(refits):
    score = score_of(refits, refits[1], trial_sd=1.5, repeats=3)
    a, b = (score.subjects[""][name] for name in "AB")
    assert (numbers(b, "control") < numbers(a, "control")).all()
    assert (numbers(b, "slope") < numbers(a, "slope")).all()
    (pair,) = score.comparisons
    assert pair.difference == pytest.approx(a.control_mean - b.control_mean)
    assert pair.ci[0] > 0.05
    assert pair.p_seeds == pair.p_min_seeds == 2 / 2**10
    assert pair.p_sites == pair.p_min_sites == 2 / 2**5


def test_k4_a_refit_against_itself_shows_no_difference(refits):
    """What the test saw above was the backbone, not the recording's noise (SD .005)."""
    twins = {"A": refits[1]["A"], "A again": refits[1]["A"]}
    score = score_of(refits, twins, trial_sd=1.5, repeats=3)
    (pair,) = score.comparisons
    assert abs(pair.difference) < 0.02


def test_k7_a_sign_flipped_refit_has_minus_its_score(refits):
    model = refits[1]["A"]
    there, back = (
        score_of(refits, {"m": sign * model}).subjects[""]["m"] for sign in (1, -1)
    )
    for name in ("control", "slope"):
        np.testing.assert_allclose(
            numbers(back, name), -numbers(there, name), rtol=1e-9
        )


def test_k12_a_mixture_is_controlled_by_what_it_is_made_of():
    """Truth ``rho a + sqrt(1 - rho^2) b``; one score table holds both models."""
    a, b, seeds = drawn(2, seed=12)
    shown, images = accentuated({"A": a, "B": b + 0.1 * a}, seeds[:5])
    slopes, differences = [], []
    for rho in (0.0, 0.25, 0.5, 0.75, 1.0):
        truth = rho * a + np.sqrt(1 - rho**2) * b
        responses = recorded(shown, images, truth, trial_sd=2.0, repeats=3)
        score = control_score(shown, responses, **DRAWS)
        differences.append(score.comparisons[0].difference)
        clean = control_score(shown, recorded(shown, images, truth), **DRAWS)
        slopes.append([clean.subjects[""][m].overall("slope") for m in "AB"])
        np.testing.assert_allclose(slopes[-1][0], gain(truth, a)[0], atol=1e-12)
        np.testing.assert_allclose(
            slopes[-1][1], gain(truth, b + 0.1 * a)[0], atol=1e-12
        )
    rising, falling = np.diff(slopes, axis=0).T
    assert (rising > 0).all()
    assert (falling < 0).all()
    assert (np.diff(differences) > 0).all()
    assert differences[0] < -0.3 < 0.3 < differences[-1]


def test_a_peer_predicts_with_the_slope_of_the_truth_over_its_own():
    """Along the path of w, f_v on f_b has the slope (v . w) / (b . w)."""
    rng = np.random.default_rng(13)
    truth, other, seeds = drawn(5)
    axes = {"w": truth + other, "b": truth + 0.2 * rng.normal(size=truth.shape)}
    shown, images = accentuated(axes, seeds)
    names = {site: row for row, site in enumerate(sites_of(truth))}
    said = {
        reviewer: {
            s.stimulus_id: float(image @ own[names[s.site]])
            for s, image in zip(shown.stimuli, images, strict=True)
        }
        for reviewer, own in axes.items()
    }
    review = peer_review(shown, recorded(shown, images, truth), said, n_bootstrap=20)
    assert review.makers == review.reviewers == ("w", "b")
    expected = [
        [
            np.mean(np.sum(truth * w, axis=1) / np.sum(b * w, axis=1))
            for b in axes.values()
        ]
        for w in axes.values()
    ]
    np.testing.assert_allclose(review.slope, expected, atol=1e-12)
    np.testing.assert_allclose(review.control, 1.0, atol=1e-9)
