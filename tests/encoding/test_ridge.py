"""Ridge against scikit-learn, explicit refits and closed forms, in both regimes."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from paramctl_jax.encoding import ridge_loo
from paramctl_jax.encoding.ridge import _fit, _tall, _wide
from paramctl_jax.types import InputError

PENALTIES = 10.0 ** np.arange(-2, 6)


def problem(n_images, n_features, n_sites=5, decay=0.5, seed=0):
    """Features with a power-law spectrum, as a network's; noise differs by site."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_images, n_features))
    features *= 30 * np.arange(1, n_features + 1) ** -decay
    features += rng.standard_normal(n_features)
    signal = features @ rng.standard_normal((n_features, n_sites)) / 30
    noise = rng.standard_normal((n_images, n_sites)) * np.linspace(0.1, 8, n_sites)
    return features, signal + noise + 3.0


SHAPES = [(40, 7), (40, 39), (40, 300)]


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_ridge_cv(shape):
    features, responses = problem(*shape)
    fit = ridge_loo(features, responses, PENALTIES)
    oracle = RidgeCV(PENALTIES, alpha_per_target=True, store_cv_results=True)
    oracle.fit(features, responses)
    np.testing.assert_array_equal(fit.penalty, oracle.alpha_)
    assert len(np.unique(fit.penalty)) > 1
    np.testing.assert_allclose(fit.weights.T, oracle.coef_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(fit.bias, oracle.intercept_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        fit.loo_mse, oracle.cv_results_.mean(axis=0).T, rtol=1e-7
    )


@pytest.mark.parametrize("shape", [(15, 4), (15, 60)])
def test_leave_one_out_equals_explicit_refits(shape):
    features, responses = problem(*shape, n_sites=2)
    fit = ridge_loo(features, responses, np.array([0.1, 10.0, 1000.0]))
    expected = np.empty_like(responses)
    for image in range(len(features)):
        rest = np.arange(len(features)) != image
        refit = Ridge(alpha=fit.penalty).fit(features[rest], responses[rest])
        expected[image] = refit.predict(features[image : image + 1])[0]
    np.testing.assert_allclose(fit.loo_prediction, expected, rtol=1e-9, atol=1e-9)
    chosen = np.searchsorted(fit.penalties, fit.penalty)
    mse = np.mean((responses - expected) ** 2, axis=0)
    np.testing.assert_allclose(fit.loo_mse[chosen, [0, 1]], mse, rtol=1e-9)


@pytest.mark.parametrize("shape", [(40, 39), (40, 60)])
def test_tall_and_wide_factorisations_agree(shape):
    features, responses = problem(*shape)
    penalties = 10.0 ** np.arange(0, 5)
    with jax.enable_x64(True):
        tall = _fit(features, responses, penalties, factorise=_tall)
        wide = _fit(features, responses, penalties, factorise=_wide)
        for a, b in zip(tall, wide, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


def test_collinear_and_constant_features_change_nothing():
    features, responses = problem(40, 7)
    plain = ridge_loo(features, responses, PENALTIES)
    ones = np.full((40, 2), 7.0)
    padded = ridge_loo(np.hstack([features, ones]), responses, PENALTIES)
    np.testing.assert_allclose(padded.weights[:7], plain.weights, rtol=1e-9)
    np.testing.assert_allclose(padded.weights[7:], 0, atol=1e-12)
    # Two copies of a feature with weight w/2 each cost half as much as one with w.
    doubled = ridge_loo(np.hstack([features, features]), responses, 2 * PENALTIES)
    np.testing.assert_allclose(
        doubled.weights[:7] + doubled.weights[7:], plain.weights, rtol=1e-9
    )


def test_wide_features_with_further_null_modes():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 300))
    responses = rng.standard_normal((40, 5))
    fit = ridge_loo(features, responses, PENALTIES)
    oracle = RidgeCV(PENALTIES, alpha_per_target=True, store_cv_results=True)
    oracle.fit(features, responses)
    np.testing.assert_allclose(fit.weights.T, oracle.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        fit.loo_mse, oracle.cv_results_.mean(axis=0).T, rtol=1e-9
    )


def test_a_penalty_without_freedom_is_never_chosen():
    # As many features as images and hardly a penalty: every fit passes through the
    # data. The response is so simple that its leave-one-out error would look small.
    features, _ = problem(40, 300)
    responses = features[:, :5] * 1e-3
    tiny = 10.0 ** np.arange(-19, -11)
    fit = ridge_loo(features, responses, np.concatenate([tiny[:4], PENALTIES[4:]]))
    assert np.isinf(fit.loo_mse[:4]).all()
    assert np.isfinite(fit.loo_mse[4:]).all()
    assert (fit.penalty >= PENALTIES[4]).all()
    with pytest.raises(InputError, match="larger penalties"):
        ridge_loo(features, responses, tiny)


def test_ties_go_to_the_larger_penalty():
    rng = np.random.default_rng(0)
    fit = ridge_loo(rng.standard_normal((40, 7)), np.ones((40, 5)), PENALTIES)
    assert (fit.penalty == PENALTIES[-1]).all()
    np.testing.assert_allclose(fit.weights, 0, atol=1e-15)
    np.testing.assert_allclose(fit.bias, 1.0)


def test_closed_form_for_one_feature():
    x = np.array([[-3.0], [-1.0], [1.0], [3.0]])
    y = 2 * x + 5
    fit = ridge_loo(x, y, np.array([20.0]))
    np.testing.assert_allclose(fit.weights, [[2 * 20 / (20 + 20)]])  # sum xy/(sum xx+a)
    np.testing.assert_allclose(fit.bias, [5.0])


def test_float32_features_are_fitted_in_float64_without_touching_the_setting():
    features, responses = problem(40, 300)
    features = features.astype(np.float32)
    fit = ridge_loo(features, responses, PENALTIES)
    exact = ridge_loo(features.astype(np.float64), responses, PENALTIES)
    np.testing.assert_array_equal(fit.weights, exact.weights)
    assert fit.weights.dtype == np.float64
    assert not jax.config.jax_enable_x64
    assert jax.numpy.zeros(1).dtype == np.float32


def test_a_sites_fit_does_not_depend_on_other_sites():
    features, responses = problem(40, 300)
    together = ridge_loo(features, responses, PENALTIES)
    alone = ridge_loo(features, responses[:, 2:3], PENALTIES)
    np.testing.assert_array_equal(together.penalty[2:3], alone.penalty)
    np.testing.assert_allclose(together.weights[:, 2:3], alone.weights, rtol=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"penalties": np.array([1.0, 0.0])},
            r"positive finite numbers, found \[0.0\]",
        ),
        ({"penalties": np.array([np.inf])}, r"found \[inf\]"),
        ({"penalties": np.array([])}, "found none"),
        ({"features": np.ones((2, 3)), "responses": np.ones((2, 1))}, "at least 3"),
        ({"features": np.full((6, 3), np.nan)}, "features hold 18 values"),
        ({"responses": np.full((6, 1), np.inf)}, "responses hold 6 values"),
    ],
)
def test_unusable_input_is_refused(change, message):
    rng = np.random.default_rng(0)
    arguments = {
        "features": rng.standard_normal((6, 3)),
        "responses": rng.standard_normal((6, 1)),
        "penalties": np.array([1.0]),
    }
    with pytest.raises(InputError, match=message):
        ridge_loo(**{**arguments, **change})
