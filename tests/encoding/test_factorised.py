"""Factorised read-outs: known masks and channels are recovered, nothing else is."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from paramctl_jax.encoding import compression
from paramctl_jax.encoding.basis import collapse, fit_basis, project
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.compression import compress
from paramctl_jax.encoding.factorised import factorised, factors
from paramctl_jax.encoding.ridge import ridge
from paramctl_jax.types import InputError

SHAPE = (4, 3, 6)  # height, width, channels
PENALTIES = 10.0 ** np.arange(-4, 5)
N_TRAIN = 90


def maps(n_images, seed=0):
    """Correlated channels and positions, float32 as features are."""
    height, width, channels = SHAPE
    mix = np.random.default_rng(99).standard_normal((channels, channels))
    x = np.random.default_rng(seed).standard_normal((n_images, channels, height, width))
    x = x + np.roll(x, 1, axis=2) + np.roll(x, 1, axis=3)
    return np.einsum("dc,nchw->ndhw", mix, x).astype(np.float32)


def flat(x):
    return FeatureBlocks(x.reshape(len(x), -1))


def true_axes(n_sites, seed=1):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    masks = [
        np.exp(-((rows - rng.uniform(0, 3)) ** 2 + (columns - rng.uniform(0, 2)) ** 2))
        for _ in range(n_sites)
    ]
    return np.stack(masks), rng.standard_normal((n_sites, SHAPE[2]))


def responses(x, masks, channels, noise, seed=2):
    y = np.einsum("nchw,shw,sc->ns", x.astype(np.float64), masks, channels)
    y = y / y.std(axis=0)
    return y + noise * np.random.default_rng(seed).standard_normal(y.shape)


def correlation(a, b):
    return [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]


def fit(x, y, **settings):
    return factorised(flat(x), SHAPE, y, PENALTIES, **settings)


@pytest.fixture(scope="module")
def known():
    x, axes = maps(N_TRAIN), true_axes(3)
    y = responses(x, *axes, noise=0.05)
    return x, axes, y, fit(x, y)


def test_masks_and_channels_are_recovered(known):
    x, (masks, channels), y, found = known
    found_masks, found_channels = factors(found.weights, SHAPE)
    assert np.all(np.array(correlation(found_masks, masks)) > 0.99)
    assert np.all(np.array(correlation(found_channels, channels)) > 0.99)
    np.testing.assert_allclose(np.linalg.norm(found_masks, axis=(1, 2)), 1)
    assert np.all(found_masks.sum(axis=(1, 2)) > 0)
    assert found.notes == ()
    assert found.cv_mse.shape == (len(PENALTIES), 3)
    np.testing.assert_array_equal(
        found.penalty, PENALTIES[np.argmin(found.cv_mse, axis=0)]
    )
    # K folds without the image: as good as the noise allows, and no better
    error = np.mean((found.cv_prediction - y) ** 2)
    noise = np.mean((y - responses(x, masks, channels, 0.0)) ** 2)
    assert noise < error < 2 * noise


def test_weights_are_of_rank_one_and_the_ridge_solution_at_their_mask(known):
    x, _, y, found = known
    masks, channels = factors(found.weights, SHAPE)
    scale = np.linalg.svd(found.weights.T.reshape(3, SHAPE[2], -1), compute_uv=False)
    assert np.all(scale[:, 1] < 1e-12 * scale[:, 0])
    for site in range(3):
        at_mask = np.einsum("nchw,hw->nc", x.astype(np.float64), masks[site])
        oracle = Ridge(alpha=found.penalty[site]).fit(at_mask, y[:, site])
        np.testing.assert_allclose(channels[site], oracle.coef_, rtol=1e-7)
        np.testing.assert_allclose(found.bias[site], oracle.intercept_, rtol=1e-6)


def test_it_beats_pca_where_it_is_true_and_images_are_few():
    axes = true_axes(3)
    x, others = maps(N_TRAIN), maps(200, seed=7)
    y, unseen = responses(x, *axes, 0.7), responses(others, *axes, 0.0)
    found = fit(x, y)
    basis = fit_basis("pca", flat(x), shape=SHAPE)
    plain = ridge(FeatureBlocks(project(basis, flat(x))), y, PENALTIES)
    r = {}
    pairs = {
        "factorised": (found.weights.T, found.bias),
        "pca": collapse(basis, plain.weights, plain.bias),
    }
    for name, (weights, bias) in pairs.items():
        predicted = others.reshape(200, -1) @ weights.T + bias
        r[name] = np.array(correlation(predicted.T, unseen.T))
    assert np.all(r["factorised"] > r["pca"])
    # its own folds say so too, and are no better than the noise allows
    error = np.mean((found.cv_prediction - y) ** 2)
    assert error < np.mean((plain.cv_prediction - y) ** 2)
    assert error > np.mean((y - responses(x, *axes, 0.0)) ** 2)


def test_it_does_not_explain_what_is_not_factorised():
    x = maps(N_TRAIN)
    rng = np.random.default_rng(4)
    dense = x.reshape(N_TRAIN, -1) @ rng.standard_normal((np.prod(SHAPE), 1))
    y = np.hstack([dense / dense.std(), rng.standard_normal((N_TRAIN, 1))])
    found, plain = fit(x, y), ridge(flat(x), y, PENALTIES)
    error = np.mean((found.cv_prediction - y) ** 2, axis=0)
    assert error[0] > 3 * np.mean((plain.cv_prediction[:, 0] - y[:, 0]) ** 2)
    assert error[1] > 0.9 * y[:, 1].var()  # noise is not predicted


def test_folds_are_honest(known):
    # What a fold's images answer changes the predictions of the others only.
    x, _, y, found = known
    order = np.random.default_rng(0).permutation(N_TRAIN)
    held_out = np.array_split(order, 5)[0]
    changed = y[:, :1].copy()
    changed[held_out] += 10 * np.random.default_rng(5).standard_normal((18, 1))
    again = fit(x, changed)
    np.testing.assert_allclose(
        again.cv_prediction[held_out, 0], found.cv_prediction[held_out, 0], rtol=1e-6
    )
    others = np.setdiff1d(order, held_out)
    change = again.cv_prediction[others, 0] - found.cv_prediction[others, 0]
    assert np.abs(change).min() > 1e-6


def test_a_site_does_not_depend_on_its_company(known):
    x, _, y, found = known
    alone = fit(x, y[:, 2:])
    np.testing.assert_allclose(alone.weights[:, 0], found.weights[:, 2], rtol=1e-6)
    np.testing.assert_allclose(
        alone.cv_prediction[:, 0], found.cv_prediction[:, 2], rtol=1e-6
    )


def test_a_constant_site_has_its_mean(known):
    x, *_ = known
    found = fit(x, np.full((N_TRAIN, 1), 3.0))
    assert not found.weights.any()
    np.testing.assert_allclose(found.bias, 3)
    np.testing.assert_allclose(found.cv_prediction, 3)


def test_an_alternation_cut_short_is_noted(known):
    x, _, y, _ = known
    (note,) = fit(x, y, max_iterations=1).notes
    assert "3 of 3 sites had not settled after 1 alternations" in note


def test_a_single_position_leaves_ridge():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_TRAIN, 6))
    y = x @ rng.standard_normal((6, 1)) + 0.1 * rng.standard_normal((N_TRAIN, 1))
    found = factorised(FeatureBlocks(x), (1, 1, 6), y, PENALTIES)
    plain = ridge(FeatureBlocks(x), y, PENALTIES)  # one position: the same model
    np.testing.assert_allclose(found.weights, plain.weights, rtol=1e-9)


@pytest.mark.parametrize("mapped", [False, True])
def test_compression_keeps_the_leading_modes(monkeypatch, tmp_path, mapped):
    monkeypatch.setattr(compression, "MAX_CHANNELS", 3)
    monkeypatch.setattr(compression, "MAX_POSITIONS", 5)
    x = maps(40)
    features = x.reshape(40, -1)
    if mapped:
        np.save(tmp_path / "features.npy", features)
        features = np.load(tmp_path / "features.npy", mmap_mode="r")
    rows = np.arange(40)[::-2].copy()
    small = compress(FeatureBlocks(features, rows), SHAPE)
    x = x[rows].reshape(20, 6, 12).astype(np.float64)
    centred = x - x.mean(axis=0)
    modes = np.linalg.svd(np.concatenate(list(centred), axis=1))[0][:, :3]
    np.testing.assert_allclose(
        small.channels @ small.channels.T, modes @ modes.T, atol=1e-9
    )
    inner = np.concatenate(list(modes.T @ centred), axis=0)
    right = np.linalg.svd(inner)[2][:5].T
    np.testing.assert_allclose(
        small.positions @ small.positions.T, right @ right.T, atol=1e-9
    )
    np.testing.assert_allclose(
        small.tensor, small.channels.T @ x @ small.positions, atol=1e-9
    )
    kept = np.sum((small.tensor - small.tensor.mean(axis=0)) ** 2) / np.sum(centred**2)
    assert 0.3 < kept < 0.99
    assert "3 principal modes of 6 channels and 5 of 12 positions" in small.notes[0]
    assert f"{kept:.1%}" in small.notes[0]


def test_compressed_fits_predict_raw_features(monkeypatch, known):
    x, axes, y, _ = known
    monkeypatch.setattr(compression, "MAX_POSITIONS", 9)
    found = fit(x, y)
    assert "principal modes" in found.notes[0]
    others = maps(200, seed=7)
    predicted = others.reshape(200, -1) @ found.weights + found.bias
    assert min(correlation(predicted.T, responses(others, *axes, 0.0).T)) > 0.9
    masks, channels = factors(found.weights, SHAPE)
    rebuilt = np.einsum("sc,shw->schw", channels, masks).reshape(3, -1)
    np.testing.assert_allclose(rebuilt.T, found.weights, atol=1e-12)


def test_unusable_input_is_refused(known):
    x, _, y, _ = known
    with pytest.raises(InputError, match=r"expected 48 columns.*found 72"):
        factorised(flat(x), (4, 3, 4), y, PENALTIES)
    with pytest.raises(InputError, match="not finite"):
        fit(x, np.where(y > y.max() - 1e-9, np.nan, y))
    with pytest.raises(InputError, match="1 folds of 90 images"):
        fit(x, y, n_folds=1)
    with pytest.raises(InputError, match="5 folds of 3 images"):
        fit(x[:3], y[:3])
    with pytest.raises(InputError, match="0 sites and max_iterations=20"):
        fit(x, y[:, :0])
    with pytest.raises(InputError, match="max_iterations=0"):
        fit(x, y, max_iterations=0)
    for equal in (np.ones_like(x), np.zeros_like(x)):
        with pytest.raises(InputError, match="all 90 training images are equal"):
            fit(equal, y)
    with pytest.raises(InputError, match="penalties: expected positive"):
        factorised(flat(x), SHAPE, y, np.array([-1.0]))
