"""Lasso against scikit-learn, a closed form and the conditions of its optimum."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import Lasso, LassoCV
from sklearn.model_selection import PredefinedSplit

from paramctl_jax.encoding import sparse
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.linear import edge_notes, fold_of_images
from paramctl_jax.encoding.sparse import lasso, sparse_positive
from paramctl_jax.types import InputError

PENALTIES = 10.0 ** np.linspace(-1.5, 0.5, 8)


def problem(n_images=60, n_features=30, n_sites=3, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_images, n_features)) + 1.5
    weights = np.zeros((n_features, n_sites))
    weights[:4] = rng.standard_normal((4, n_sites)) * 2
    noise = rng.standard_normal((n_images, n_sites)) * np.linspace(0.2, 3, n_sites)
    return features, features @ weights + noise + 5


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("shape", [(60, 20), (60, 100)])
def test_agrees_with_lasso_cv(shape, positive, key):
    features, responses = problem(*shape)
    fit = lasso(
        FeatureBlocks(features),
        responses,
        penalties=PENALTIES[::-1],
        key=key,
        positive=positive,
    )
    fold = fold_of_images(60, 5, key)
    for site, y in enumerate(responses.T):
        oracle = LassoCV(
            alphas=PENALTIES,
            cv=PredefinedSplit(fold),
            positive=positive,
            max_iter=10_000,
            tol=1e-5,
        ).fit(features, y)
        assert fit.penalty[site] == oracle.alpha_
        mse = oracle.mse_path_.mean(axis=1)[::-1]
        np.testing.assert_allclose(fit.cv_mse[:, site], mse, rtol=1e-6)
        np.testing.assert_allclose(fit.weights[:, site], oracle.coef_, atol=1e-3)
        refit = Lasso(fit.penalty[site], positive=positive, tol=1e-8).fit(
            features[fold != 2], y[fold != 2]
        )
        expected = refit.predict(features[fold == 2])
        np.testing.assert_allclose(
            fit.cv_prediction[fold == 2, site], expected, atol=2e-2
        )
    assert len(np.unique(fit.penalty)) > 1
    assert not positive or (fit.weights >= 0).all()
    assert fit.notes == ()


@pytest.mark.parametrize("fit_of", [lasso, sparse_positive])
def test_orthogonal_features_are_soft_thresholded(fit_of, key):
    # Z'Z = N I: every weight is the slope alone, less the penalty.
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(np.hstack([np.ones((40, 1)), rng.random((40, 6))]))
    z = np.sqrt(40) * basis[:, 1:]
    slope = np.array([3.0, -2.0, 0.4, -0.4, 1.0, 0.0])[:, None]
    fit = fit_of(FeatureBlocks(z + 7), z @ slope, penalties=np.array([0.5]), key=key)
    shrunk = np.sign(slope) * np.maximum(np.abs(slope) - 0.5, 0)
    if fit_of is sparse_positive:
        shrunk = np.maximum(shrunk, 0)
    np.testing.assert_allclose(fit.weights, shrunk, atol=1e-10)
    np.testing.assert_allclose(fit.bias, -7 * shrunk.sum(axis=0), atol=1e-9)


def test_default_candidates_reach_from_no_weight_down(key):
    features, responses = problem()
    fit = lasso(FeatureBlocks(features), responses, key=key)
    z, y = features - features.mean(axis=0), responses - responses.mean(axis=0)
    for site in range(3):
        own = fit.penalties[np.isfinite(fit.cv_mse[:, site])]
        none = np.abs(z.T @ y[:, site]).max() / 60
        assert own[-2] < none <= own[-1]
        np.testing.assert_allclose(own[-1] / own[0], 1e3)
    assert (fit.weights != 0).sum() < fit.weights.size / 2
    assert edge_notes(fit, ["a", "b", "c"]) == []


def test_a_sites_fit_does_not_depend_on_other_sites(key):
    features, responses = problem()
    together = lasso(FeatureBlocks(features), responses * [1.0, 50.0, 1.0], key=key)
    alone = lasso(FeatureBlocks(features), responses[:, 2:], key=key)
    np.testing.assert_array_equal(together.weights[:, 2], alone.weights[:, 0])
    np.testing.assert_array_equal(
        together.cv_prediction[:, 2], alone.cv_prediction.T[0]
    )
    own = np.isfinite(together.cv_mse[:, 2])
    np.testing.assert_array_equal(together.penalties[own], alone.penalties)


@pytest.mark.parametrize("penalties", [None, np.array([10.0, 1000.0])])
def test_a_site_that_nothing_predicts_has_no_weights_and_says_so(key, penalties):
    features, responses = problem()
    responses[:, 1] = 0.1
    fit = lasso(FeatureBlocks(features), responses, penalties=penalties, key=key)
    none = [1] if penalties is None else [0, 1, 2]
    np.testing.assert_array_equal(np.flatnonzero(~fit.weights.any(axis=0)), none)
    np.testing.assert_allclose(fit.bias[none], responses[:, none].mean(axis=0))
    (note,) = edge_notes(fit, ["a", "b", "c"])
    count, first = ("1", "b") if penalties is None else ("3", "a, b, c")
    assert note == (
        f"{count} of 3 sites have no weights, their mean was predicted best, "
        f"first {first}"
    )


def test_what_does_not_converge_is_noted_not_raised(key, monkeypatch):
    monkeypatch.setattr(sparse, "MAX_ITERATIONS", 1)
    features, responses = problem()
    fit = lasso(FeatureBlocks(features), responses, penalties=PENALTIES, key=key)
    assert "of 3 of 3 sites had not converged after 1 iterations" in fit.notes[0]
    assert np.isfinite(fit.weights).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": None}, "key: expected a jax key"),
        ({"n_folds": 1}, "n_folds: expected from 2 to the 6 images, found 1"),
        ({"n_folds": 7}, "found 7"),
        ({"penalties": np.array([0.0, 1.0])}, r"found \[0.0\]"),
        ({"responses": np.ones((3, 6))}, r"6 images.*\(3, 6\); transpose.*\(6, 3\)"),
        ({"responses": np.full((6, 1), np.nan)}, "6 values that are not finite"),
        ({"features": FeatureBlocks(np.full((6, 3), np.inf))}, "hold 18 values"),
        ({"features": FeatureBlocks(np.ones((6, 20_001)))}, "20001 features of 6"),
    ],
)
def test_unusable_input_is_refused(change, message):
    arguments = {
        "features": FeatureBlocks(np.eye(6)),
        "responses": np.eye(6)[:, :2],
        "key": jax.random.key(0),
    }
    with pytest.raises(InputError, match=message):
        lasso(**{**arguments, **change})
