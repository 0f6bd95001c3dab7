"""Bases against scikit-learn, and the collapse against the two steps it replaces."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.random_projection import (
    SparseRandomProjection,
    johnson_lindenstrauss_min_dim,
)

from paramctl_jax.encoding.basis import BASES, collapse, fit_basis, project
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.pca import leading_modes, principal_components
from paramctl_jax.encoding.projection import random_projection
from paramctl_jax.encoding.ridge import ridge
from paramctl_jax.types import InputError

WIDE = 4500  # features, more than one block of columns


def spectrum(n_images, n_features, seed=0):
    rng = np.random.default_rng(seed)
    scale = 10 * np.arange(1, n_features + 1) ** -0.5
    return rng.standard_normal((n_images, n_features)) * scale + 2.0


def fit(kind, features, shape=None, **settings):
    shape = (1, 1, features.shape[1]) if shape is None else shape
    return fit_basis(kind, FeatureBlocks(features), shape=shape, **settings)


def projected(basis, features):
    return project(basis, FeatureBlocks(features))


@pytest.mark.parametrize(
    ("shape", "count"), [((30, 100), 12), ((30, WIDE), 29), ((60, 8), 8)]
)
def test_pca_equals_scikit_learn_up_to_sign(shape, count):
    features = spectrum(*shape)
    basis = fit("pca", features, components=count)
    oracle = PCA(count, svd_solver="full").fit(features)
    sign = np.sign(np.sum(basis.components * oracle.components_, axis=1))
    np.testing.assert_allclose(
        basis.components * sign[:, None], oracle.components_, atol=1e-10
    )
    np.testing.assert_allclose(basis.mean, oracle.mean_, rtol=1e-12)
    np.testing.assert_allclose(basis.variance, oracle.explained_variance_, rtol=1e-10)
    others = spectrum(5, shape[1], seed=9)
    np.testing.assert_allclose(
        projected(basis, others) * sign, oracle.transform(others), atol=1e-9
    )
    identity = basis.components @ basis.components.T
    np.testing.assert_allclose(identity, np.eye(count), atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_null_modes_are_dropped(dtype):
    rng = np.random.default_rng(0)
    features = spectrum(20, 50).astype(dtype)
    assert fit("pca", features).n_components == 19  # centring takes one
    low_rank = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 50))
    assert fit("pca", low_rank, components=10).n_components == 4
    duplicated = np.vstack([features[:10], features[:10]])
    assert fit("pca", duplicated).n_components == 9


def test_the_number_of_components_has_a_default():
    assert fit("pca", spectrum(760, 800)).n_components == 750


def test_a_matrix_of_zeros_has_no_leading_mode():
    values, vectors = leading_modes(np.zeros((3, 3)), 2)
    assert values.shape == (0,)
    assert vectors.shape == (3, 0)


@pytest.mark.parametrize("count", [50, None])
def test_srp_equals_scikit_learn(count):
    features = spectrum(20, WIDE)
    basis = fit("srp", features, components=count, random_seed=3)
    oracle = SparseRandomProjection(count or "auto", eps=0.1, random_state=3)
    expected = oracle.fit_transform(features)
    assert basis.n_components == expected.shape[1]
    np.testing.assert_allclose(projected(basis, features), expected, atol=1e-10)
    assert (basis.components != oracle.components_).nnz == 0


def test_srp_depends_on_width_count_and_seed_alone():
    first = fit("srp", spectrum(20, 900), components=100)
    again = fit("srp", spectrum(7, 900, seed=1) * 50, components=100)
    other = fit("srp", spectrum(20, 900), components=100, random_seed=1)
    assert isinstance(first.components, sparse.csr_array)
    assert (first.components != again.components).nnz == 0
    assert (first.components != other.components).nnz > 0
    # drawn from its own generator, and no other is touched
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    random_projection(20, 900, 10)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_srp_keeps_distances_as_johnson_and_lindenstrauss_promise():
    count = johnson_lindenstrauss_min_dim(30, eps=0.1)
    features = np.random.default_rng(0).standard_normal((30, 5000))
    basis = fit("srp", features)
    assert basis.n_components == count
    pairs = np.triu_indices(30, 1)
    distances = [
        np.sum((x[pairs[0]] - x[pairs[1]]) ** 2, axis=1)
        for x in (features, projected(basis, features))
    ]
    ratio = distances[1] / distances[0]
    assert np.all(np.abs(ratio - 1) < 0.1)
    # the ratio is 1 on average, with variance 2 / k of a Gaussian projection
    assert abs(ratio.mean() - 1) < 0.02
    assert 0.5 < ratio.std() / np.sqrt(2 / count) < 1.5


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 7, 3), (1, 1, 6)])
def test_spatial_mean_is_the_mean_over_positions(shape):
    height, width, channels = shape
    features = spectrum(9, height * width * channels).astype(np.float32)
    basis = fit("spatial_mean", features, shape)
    maps = features.astype(np.float64).reshape(9, channels, height, width)
    np.testing.assert_allclose(
        projected(basis, features), maps.mean(axis=(2, 3)), rtol=1e-13
    )
    assert basis.n_components == channels
    assert basis.components.nnz == features.shape[1]  # whatever the readout's size


def test_one_position_is_its_own_mean():
    features = spectrum(4, 6)
    basis = fit("spatial_mean", features, (1, 1, 6))
    np.testing.assert_array_equal(projected(basis, features), features)


SETTINGS = {
    "pca": {"components": 10},
    "srp": {"components": 10},
    "spatial_mean": {},
    "none": {},
}


@pytest.mark.parametrize("kind", BASES)
def test_collapse_equals_the_two_steps(kind):
    rng = np.random.default_rng(0)
    shape = (15, 20, 15)
    train, others = spectrum(25, WIDE), spectrum(7, WIDE, seed=5)
    basis = fit(kind, train, shape, **SETTINGS[kind])
    weights, bias = rng.standard_normal((basis.n_components, 3)), rng.normal(size=3)
    axes, offset = collapse(basis, weights, bias)
    two_steps = projected(basis, others) @ weights + bias
    np.testing.assert_allclose(others @ axes.T + offset, two_steps, atol=1e-8)
    assert axes.flags.c_contiguous


@pytest.mark.parametrize("kind", BASES)
def test_memory_maps_and_rows_give_the_same(kind, tmp_path):
    features = spectrum(12, WIDE).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    rows = np.array([7, 2, 9, 4, 0])
    shape = (15, 20, 15)
    results = []
    for blocks in (FeatureBlocks(mapped, rows), FeatureBlocks(features[rows])):
        basis = fit_basis(kind, blocks, shape=shape, **(SETTINGS[kind]))
        results.append(project(basis, blocks))
    np.testing.assert_array_equal(*results)
    assert results[0].dtype == np.float64


def test_all_components_lose_nothing():
    # Ridge lives in the span of the training images, which full PCA keeps.
    rng = np.random.default_rng(0)
    features, responses = spectrum(25, 90), rng.standard_normal((25, 3))
    axes = {}
    for kind in ("pca", "none"):
        basis = fit(kind, features)
        z = FeatureBlocks(projected(basis, features))
        learned = ridge(z, responses, 10.0 ** np.arange(5))
        axes[kind] = collapse(basis, learned.weights, learned.bias)
    np.testing.assert_allclose(axes["pca"][0], axes["none"][0], atol=1e-10)
    np.testing.assert_allclose(axes["pca"][1], axes["none"][1], atol=1e-10)


def test_unusable_input_is_refused():
    with pytest.raises(InputError, match="all 5 training images are equal"):
        fit("pca", np.full((5, 3), 2.0))
    with pytest.raises(InputError, match="at least 2 training images"):
        fit("pca", np.ones((1, 3)))
    with pytest.raises(InputError, match="components=0"):
        principal_components(FeatureBlocks(np.eye(3)), 0)
    with pytest.raises(InputError, match=r"'pac'; did you mean 'pca'.*spatial_mean"):
        fit("pac", np.eye(3))
    for kind in ("none", "spatial_mean"):
        with pytest.raises(InputError, match="found 3"):
            fit(kind, np.eye(3), components=3)
    with pytest.raises(InputError, match=r"expected 8 columns.*found 3"):
        fit("pca", np.eye(3), (2, 2, 2))


def test_srp_never_makes_more_of_fewer():
    expected = johnson_lindenstrauss_min_dim(10, eps=0.1)
    with pytest.raises(InputError, match=rf"srp: {expected} components.*'none'") as hit:
        fit("srp", spectrum(10, 40))
    assert "10 images" in str(hit.value)
    for count in (41, 0):
        with pytest.raises(InputError, match=f"srp: {count} components of"):
            fit("srp", spectrum(10, 40), components=count)
    assert random_projection(10, 40, 40).shape == (40, 40)
