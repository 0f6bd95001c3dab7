"""Gram matrices and products by blocks against whole-matrix numpy."""

import sys

import numpy as np
import pytest

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.gram import feature_mean, gram, gram_and_mean, times
from paramctl_jax.types import InputError

MODULE = sys.modules[gram.__module__]  # the room exports a function of its name


@pytest.fixture(params=[1024, 7], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    monkeypatch.setattr(MODULE, "BLOCK", request.param)
    monkeypatch.setattr(MODULE, "STRIP", 5)


def features_of(kind, tmp_path):
    whole = 3 * np.random.default_rng(0).standard_normal((23, 50)) + 100
    if kind == "float32":
        return FeatureBlocks(whole.astype(np.float32))
    if kind == "rows":
        return FeatureBlocks(whole, np.array([20, 3, 3, 7, 11]))
    if kind == "memory map":
        np.save(tmp_path / "features.npy", whole.astype(np.float32))
        return FeatureBlocks(np.load(tmp_path / "features.npy", mmap_mode="r"))
    return FeatureBlocks(np.asfortranarray(whole))


@pytest.mark.parametrize("kind", ["fortran", "float32", "rows", "memory map"])
@pytest.mark.usefixtures("block")
def test_blocks_equal_the_whole_matrix(kind, tmp_path):
    features = features_of(kind, tmp_path)
    whole = features.whole()
    centred = whole - whole.mean(axis=0)
    matrix, mean = gram_and_mean(features)
    np.testing.assert_allclose(matrix, centred @ centred.T, atol=1e-10)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix, gram(features))
    np.testing.assert_allclose(mean, whole.mean(axis=0), rtol=1e-14)
    np.testing.assert_array_equal(mean, feature_mean(features))
    dual = np.random.default_rng(1).standard_normal((len(features), 4))
    np.testing.assert_allclose(times(features, dual), centred.T @ dual, atol=1e-10)
    np.testing.assert_array_equal(features.whole(), whole)  # nothing changed in place


def test_centring_survives_a_mean_that_dwarfs_the_variance():
    small = np.random.default_rng(0).integers(-8, 8, (10, 40)).astype(np.float64)
    exact = small - small.mean(axis=0)
    matrix = gram(FeatureBlocks(small + 2.0**40))
    # An uncentred Gram matrix would have lost 2^80 * 2^-52 ~ 3e8 to rounding.
    np.testing.assert_allclose(matrix, exact @ exact.T, atol=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "use", [gram, feature_mean, lambda f: times(f, np.ones((6, 1)))]
)
def test_values_that_are_not_finite_are_named(bad, use):
    values = np.ones((6, 9))
    values[4, 2:5], values[5, 0] = bad, bad
    with pytest.raises(InputError, match=r"4 values .* 2 of 6 images, first image 4"):
        use(FeatureBlocks(values))
    both = np.ones((6, 9))
    both[:2, 0] = np.inf, -np.inf
    with pytest.raises(InputError, match="2 of 6 images"):
        use(FeatureBlocks(both))
