"""Bases against scikit-learn, and the collapse against the two steps it replaces."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from paramctl_jax.encoding import basis as module
from paramctl_jax.encoding import collapse, fit_basis, fit_pca, project, ridge_loo
from paramctl_jax.types import InputError


@pytest.fixture(params=[8192, 17], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", request.param)


def spectrum(n_images, n_features, seed=0):
    rng = np.random.default_rng(seed)
    scale = 10 * np.arange(1, n_features + 1) ** -0.5
    return rng.standard_normal((n_images, n_features)) * scale + 2.0


@pytest.mark.parametrize(
    ("shape", "count"), [((30, 100), 12), ((30, 100), 29), ((60, 8), 8)]
)
@pytest.mark.usefixtures("block")
def test_pca_equals_scikit_learn_up_to_sign(shape, count):
    features = spectrum(*shape)
    basis = fit_pca(features, count)
    oracle = PCA(count, svd_solver="full").fit(features)
    sign = np.sign(np.sum(basis.components * oracle.components_, axis=1))
    np.testing.assert_allclose(
        basis.components * sign[:, None], oracle.components_, atol=1e-10
    )
    np.testing.assert_allclose(basis.mean, oracle.mean_, rtol=1e-12)
    np.testing.assert_allclose(basis.variance, oracle.explained_variance_, rtol=1e-10)
    others = spectrum(5, shape[1], seed=9)
    np.testing.assert_allclose(
        project(basis, others) * sign, oracle.transform(others), atol=1e-9
    )
    identity = basis.components @ basis.components.T
    np.testing.assert_allclose(identity, np.eye(count), atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_null_modes_are_dropped(dtype):
    rng = np.random.default_rng(0)
    features = spectrum(20, 50).astype(dtype)
    assert len(fit_pca(features).components) == 19  # centring takes one
    low_rank = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 50))
    assert len(fit_pca(low_rank, 10).components) == 4
    duplicated = np.vstack([features[:10], features[:10]])
    assert len(fit_pca(duplicated).components) == 9


def test_unusable_input_is_refused():
    with pytest.raises(InputError, match="all 5 training images are equal"):
        fit_pca(np.full((5, 3), 2.0))
    with pytest.raises(InputError, match="at least 2 training images"):
        fit_pca(np.ones((1, 3)))
    with pytest.raises(InputError, match="components=0"):
        fit_pca(np.eye(3), 0)
    with pytest.raises(InputError, match="one of pca, none, found 'pac'"):
        fit_basis("pac", np.eye(3))
    with pytest.raises(InputError, match="found 3"):
        fit_basis("none", np.eye(3), 3)


@pytest.mark.parametrize("kind", ["pca", "none"])
@pytest.mark.usefixtures("block")
def test_collapse_equals_the_two_steps(kind):
    rng = np.random.default_rng(0)
    train, others = spectrum(25, 90), spectrum(7, 90, seed=5)
    basis = fit_basis(kind, train, 10 if kind == "pca" else None)
    weights = rng.standard_normal((project(basis, train).shape[1], 3))
    bias = rng.standard_normal(3)
    axes, offset = collapse(basis, weights, bias)
    two_steps = project(basis, others) @ weights + bias
    np.testing.assert_allclose(others @ axes.T + offset, two_steps, atol=1e-10)


def test_all_components_lose_nothing():
    # Ridge lives in the span of the training images, which full PCA keeps.
    rng = np.random.default_rng(0)
    features, responses = spectrum(25, 90), rng.standard_normal((25, 3))
    axes = {}
    for kind in ("pca", "none"):
        basis = fit_basis(kind, features)
        fit = ridge_loo(project(basis, features), responses, 10.0 ** np.arange(5))
        axes[kind] = collapse(basis, fit.weights, fit.bias)
    np.testing.assert_allclose(axes["pca"][0], axes["none"][0], atol=1e-10)
    np.testing.assert_allclose(axes["pca"][1], axes["none"][1], atol=1e-10)
