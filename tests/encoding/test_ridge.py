"""Ridge against scikit-learn, explicit refits and closed forms, in both regimes."""

import logging

import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit

from paramctl_jax.encoding import modes as modes_module
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.linear import LinearFit, edge_notes, fold_of_images
from paramctl_jax.encoding.ridge import SELECTIONS, _search, ridge
from paramctl_jax.types import InputError

PENALTIES = 10.0 ** np.arange(-2, 6)
NO_FOLDS = np.zeros((0, 0), np.int64)


def problem(n_images, n_features, n_sites=5, decay=0.5, seed=0):
    """Features with a power-law spectrum, as a network's; noise differs by site."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_images, n_features))
    features *= 30 * np.arange(1, n_features + 1) ** -decay
    features += rng.standard_normal(n_features)
    signal = features @ rng.standard_normal((n_features, n_sites)) / 30
    noise = rng.standard_normal((n_images, n_sites)) * np.linspace(0.1, 8, n_sites)
    return features, signal + noise + 3.0


def fitted(features, responses, penalties=PENALTIES, **options):
    return ridge(FeatureBlocks(features), responses, np.asarray(penalties), **options)


def refits(features, responses, penalty, fold):
    """Predictions of every image by scikit-learn's fits without its fold."""
    predicted = np.empty_like(responses)
    for index in range(fold.max() + 1):
        out = fold == index
        refit = Ridge(alpha=penalty).fit(features[~out], responses[~out])
        predicted[out] = refit.predict(features[out])
    return predicted


SHAPES = [(40, 7), (40, 38), (40, 39), (40, 300)]


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_ridge_cv(shape):
    features, responses = problem(*shape)
    fit = fitted(features, responses)
    oracle = RidgeCV(PENALTIES, alpha_per_target=True, store_cv_results=True)
    oracle.fit(features, responses)
    np.testing.assert_array_equal(fit.penalty, oracle.alpha_)
    assert len(np.unique(fit.penalty)) > 1
    np.testing.assert_allclose(fit.weights.T, oracle.coef_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(fit.bias, oracle.intercept_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fit.cv_mse, oracle.cv_results_.mean(axis=0).T, rtol=1e-7)


@pytest.mark.parametrize("selection", ["loo", "kfold"])
@pytest.mark.parametrize("shape", [(40, 7), (40, 300)])
def test_leave_one_out_equals_explicit_refits(shape, selection, key):
    features, responses = problem(*shape)
    options = {"selection": selection, "n_folds": 40, "key": key}
    fit = fitted(features, responses, **options)
    for index in (0, 4):
        expected = refits(features, responses, PENALTIES[index], np.arange(40))
        mse = np.mean((responses - expected) ** 2, axis=0)
        np.testing.assert_allclose(fit.cv_mse[index], mse, rtol=1e-8)
    np.testing.assert_array_equal(fit.penalty, PENALTIES[fit.cv_mse.argmin(axis=0)])
    expected = refits(features, responses, fit.penalty, np.arange(40))
    np.testing.assert_allclose(fit.cv_prediction, expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("shape", "n_folds"), [((40, 7), 5), ((41, 38), 7), ((42, 300), 5)]
)
def test_folds_equal_explicit_refits(shape, n_folds):
    features, responses = problem(*shape)
    key = jax.random.key(n_folds)
    fit = fitted(features, responses, selection="kfold", n_folds=n_folds, key=key)
    fold = fold_of_images(len(features), n_folds, key)
    assert np.ptp(np.bincount(fold)) <= 1
    expected = np.stack([refits(features, responses, a, fold) for a in PENALTIES])
    mse = np.mean((responses - expected) ** 2, axis=1)
    np.testing.assert_allclose(fit.cv_mse, mse, rtol=1e-8)
    chosen = np.argmin(mse, axis=0)
    np.testing.assert_array_equal(fit.penalty, PENALTIES[chosen])
    assert len(np.unique(chosen)) > 1
    np.testing.assert_allclose(
        fit.cv_prediction, expected[chosen, :, range(5)].T, rtol=1e-8
    )
    final = Ridge(alpha=fit.penalty).fit(features, responses)
    np.testing.assert_allclose(fit.weights.T, final.coef_, rtol=1e-8, atol=1e-10)


def test_folds_agree_with_himalaya(key):
    himalaya = pytest.importorskip("himalaya.kernel_ridge")
    features, responses = problem(40, 300)
    fold = fold_of_images(40, 5, key)
    oracle = himalaya.KernelRidgeCV(
        alphas=PENALTIES, cv=PredefinedSplit(fold), fit_intercept=True, kernel="linear"
    ).fit(features, responses)
    fit = fitted(features, responses, selection="kfold", key=key)
    np.testing.assert_allclose(fit.penalty, oracle.best_alphas_)
    np.testing.assert_allclose(fit.cv_mse.min(axis=0), -oracle.cv_scores_, rtol=1e-8)
    centred = features - features.mean(axis=0)
    np.testing.assert_allclose(fit.weights, centred.T @ oracle.dual_coef_, atol=1e-10)


@pytest.mark.parametrize("shape", [(40, 7), (40, 300)])
def test_generalised_cross_validation_by_its_definition(shape):
    features, responses = problem(*shape)
    fit = fitted(features, responses, selection="gcv")
    count = len(features)
    z = features - features.mean(axis=0)
    y = responses - responses.mean(axis=0)
    for index, penalty in enumerate(PENALTIES):
        # (Z'Z + a)^-1 Z' = Z' (ZZ' + a)^-1, whichever is smaller
        gram = z @ z.T + penalty * np.eye(count)
        hat = np.ones((count, count)) / count + z @ z.T @ np.linalg.inv(gram)
        residual = y - hat @ y
        expected = np.mean(residual**2, axis=0) / (1 - np.trace(hat) / count) ** 2
        np.testing.assert_allclose(fit.cv_mse[index], expected, rtol=1e-5)
    np.testing.assert_array_equal(fit.penalty, PENALTIES[fit.cv_mse.argmin(axis=0)])
    loo = refits(features, responses, fit.penalty, np.arange(count))
    np.testing.assert_allclose(fit.cv_prediction, loo, rtol=1e-8)


def test_collinear_and_constant_features_change_nothing():
    features, responses = problem(40, 7)
    plain = fitted(features, responses)
    ones = np.full((40, 2), 7.0)
    padded = fitted(np.hstack([features, ones]), responses)
    np.testing.assert_allclose(padded.weights[:7], plain.weights, rtol=1e-9)
    np.testing.assert_allclose(padded.weights[7:], 0, atol=1e-12)
    # Two copies of a feature with weight w/2 each cost half as much as one with w.
    doubled = fitted(np.hstack([features, features]), responses, 2 * PENALTIES)
    np.testing.assert_allclose(
        doubled.weights[:7] + doubled.weights[7:], plain.weights, rtol=1e-9
    )


def test_wide_features_with_further_null_modes(key):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 300))
    responses = rng.standard_normal((40, 5))
    fit = fitted(features, responses)
    oracle = RidgeCV(PENALTIES, alpha_per_target=True, store_cv_results=True)
    oracle.fit(features, responses)
    np.testing.assert_allclose(fit.weights.T, oracle.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fit.cv_mse, oracle.cv_results_.mean(axis=0).T, rtol=1e-9)
    folds = fitted(features, responses, selection="kfold", key=key)
    fold = fold_of_images(40, 5, key)
    for index, penalty in enumerate(PENALTIES):
        expected = refits(features, responses, penalty, fold)
        mse = np.mean((responses - expected) ** 2, axis=0)
        np.testing.assert_allclose(folds.cv_mse[index], mse, rtol=1e-8)


def test_null_modes_weigh_nothing_at_a_small_penalty():
    rng = np.random.default_rng(0)
    latent, loading = rng.standard_normal((40, 5)), rng.standard_normal((5, 300))
    features = 100 * latent @ loading
    responses = latent @ rng.standard_normal((5, 5)) + rng.standard_normal((40, 5)) / 9
    fit = fitted(features, responses, 1e-6 * np.linspace(1, 2, 8))
    # In orthonormal coordinates of the five dimensions that there are:
    q, _ = np.linalg.qr(loading.T)
    oracle = Ridge(alpha=fit.penalty).fit(features @ q, responses)
    np.testing.assert_allclose(fit.weights, q @ oracle.coef_.T, atol=1e-12)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_penalty_without_freedom_is_never_chosen(selection, key):
    # More features than images and hardly a penalty: every fit passes through the
    # data. The response is so simple that its leave-one-out error would look small.
    features, _ = problem(40, 300)
    responses = features[:, :5] * 1e-3
    tiny = 10.0 ** np.arange(-19, -11)
    options = {"selection": selection, "key": key}
    both = np.concatenate([tiny[:4], PENALTIES[4:]])
    fit = fitted(features, responses, both, **options)
    assert np.isinf(fit.cv_mse[:4]).all()
    assert np.isfinite(fit.cv_mse[4:]).all()
    assert (fit.penalty >= PENALTIES[4]).all()
    assert np.isfinite(fit.cv_prediction).all()
    with pytest.raises(InputError, match="larger penalties"):
        fitted(features, responses, tiny, **options)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("n_features", [7, 300])
def test_ties_go_to_the_larger_penalty(selection, n_features, key):
    rng = np.random.default_rng(0)
    constant = np.full((40, 5), 0.1)  # whose mean is 0.10000000000000002
    features = rng.standard_normal((40, n_features))
    fit = fitted(features, constant, selection=selection, key=key)
    assert (fit.penalty == PENALTIES[-1]).all()
    np.testing.assert_array_equal(fit.weights, 0)
    np.testing.assert_allclose(fit.bias, 0.1)
    np.testing.assert_allclose(fit.cv_prediction, 0.1)


def test_penalties_count_once_in_any_order():
    rng = np.random.default_rng(0)
    features, responses = rng.standard_normal((2, 40, 5))
    fit = fitted(features, responses, [10.0, 1.0, 10.0])
    assert fit.penalties.tolist() == [1.0, 10.0]
    once = fitted(features, responses, [10.0, 10.0])
    assert not edge_notes(once, tuple("abcde"))  # one candidate is no edge


def test_closed_form_for_one_feature():
    x = np.array([[-3.0], [-1.0], [1.0], [3.0]])
    y = 2 * x + 5
    fit = fitted(x, y, [20.0])
    np.testing.assert_allclose(fit.weights, [[2 * 20 / (20 + 20)]])  # sum xy/(sum xx+a)
    np.testing.assert_allclose(fit.bias, [5.0])
    # sum xx = 20 is the mean of s^2 over the one mode
    relative = fitted(x, y, [1.0], relative=True)
    np.testing.assert_allclose(relative.penalties, [20.0])
    np.testing.assert_allclose(relative.weights, fit.weights)


@pytest.mark.parametrize("shape", [(40, 7), (40, 300)])
def test_relative_penalties_do_not_depend_on_the_features_scale(shape):
    features, responses = problem(*shape)
    fit = fitted(features, responses, relative=True)
    scaled = fitted(1000 * features, responses, relative=True)
    variance = np.sum((features - features.mean(axis=0)) ** 2) / min(shape[1], 39)
    np.testing.assert_allclose(fit.penalties, PENALTIES * variance)
    np.testing.assert_allclose(scaled.cv_prediction, fit.cv_prediction, rtol=1e-8)
    with pytest.raises(InputError, match="all 40 images have equal features"):
        fitted(np.ones(shape), responses, relative=True)


@pytest.mark.parametrize("shape", [(40, 7), (40, 300)])
def test_float32_features_are_fitted_in_float64_without_touching_the_setting(shape):
    features, responses = problem(*shape)
    features = features.astype(np.float32)
    fit = fitted(features, responses.astype(np.float32))
    exact = fitted(
        features.astype(np.float64), responses.astype(np.float32).astype(np.float64)
    )
    for name in ("weights", "bias", "penalty", "cv_mse", "cv_prediction"):
        np.testing.assert_array_equal(getattr(fit, name), getattr(exact, name))
        assert getattr(fit, name).dtype == np.float64
    assert not jax.config.jax_enable_x64
    assert jax.numpy.zeros(1).dtype == np.float32


@pytest.mark.parametrize(
    ("selection", "shape"),
    [("loo", (40, 7)), ("loo", (40, 300)), ("kfold", (40, 300))],
)
def test_a_sites_fit_does_not_depend_on_other_sites(selection, shape, key):
    features, responses = problem(*shape)
    options = {"selection": selection, "key": key}
    together = fitted(features, responses, **options)
    reverse = fitted(features, responses[:, ::-1], **options)
    alone = fitted(features, responses[:, 2:3], **options)
    for name in ("penalty", "weights", "cv_mse", "cv_prediction"):
        here = getattr(together, name)[..., 2]
        for other in (getattr(reverse, name)[..., 2], getattr(alone, name)[..., 0]):
            np.testing.assert_allclose(here, other, rtol=1e-10)


def test_rows_and_blocks_of_a_memory_map(tmp_path):
    features, responses = problem(40, 300)
    np.save(tmp_path / "features.npy", features)
    stored = np.load(tmp_path / "features.npy", mmap_mode="r")
    rows = np.arange(40)[::-1][:30]
    fit = ridge(FeatureBlocks(stored, rows), responses[rows], PENALTIES)
    plain = fitted(features[rows], responses[rows])
    np.testing.assert_array_equal(fit.weights, plain.weights)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_nothing_recompiles_on_the_second_call(selection, caplog):
    messages = []
    for seed in (0, 1):
        caplog.clear()
        features, responses = problem(23, 70 + seed, seed=seed)
        with jax.log_compiles(True), caplog.at_level(logging.WARNING):
            key = jax.random.key(seed)
            fitted(features, responses, selection=selection, key=key)
        messages.append([m for m in caplog.messages if "Compiling" in m])
    assert any("_search" in message for message in messages[0])
    assert messages[1] == []  # not even for another number of features


def test_memory_does_not_hold_penalty_by_image_by_site():
    count, sites, penalties = 50, 40, 30
    shapes = (((count, count), (count,), ()), (count, sites), (penalties,))
    with jax.enable_x64(True):
        u, squares, outside = (jax.ShapeDtypeStruct(s, np.float64) for s in shapes[0])
        y, grid = (jax.ShapeDtypeStruct(s, np.float64) for s in shapes[1:])
        text = _search.lower(
            modes_module.Modes(u, squares, outside), y, grid, NO_FOLDS, "loo"
        ).as_text()
    assert f"{count}x{sites}x" in text
    assert f"{penalties}x{count}x{sites}" not in text


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
        ({"features": np.ones((6, 0))}, "6 images and 0 features"),
        ({"features": np.full((6, 3), np.nan)}, "features hold 18 values"),
        ({"features": np.full((6, 9), np.nan)}, "features hold 54 values"),
        ({"responses": np.full((6, 1), np.inf)}, "responses hold 6 values"),
        ({"responses": np.ones((1, 6))}, r"\(1, 6\); transpose them to \(6, 1\)"),
        ({"responses": np.ones((5, 2))}, r"6 images, found shape \(5, 2\); give one"),
        ({"selection": "lop"}, "did you mean 'loo'"),
        ({"selection": "kfold"}, "key: expected a jax key"),
        (
            {"selection": "kfold", "n_folds": 7, "key": jax.random.key(0)},
            "n_folds: expected from 2 to the 6 images, found 7",
        ),
        (
            {"selection": "kfold", "n_folds": 0, "key": jax.random.key(0)},
            "found 0",
        ),
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
        fitted(**{**arguments, **change})


def test_edges_are_those_of_what_a_site_considered():
    grid = np.array([1e-3, 1.0, 10.0, 100.0])
    mse = np.full((4, 4), 2.0)
    mse[0] = np.inf  # left no freedom: 1 is the smallest
    penalty = np.array([1.0, 10.0, 100.0, 100.0])
    weights = np.array([[1.0, 1.0, 1.0, 0.0]])
    fit = LinearFit(weights, np.zeros(4), penalty, grid, mse, np.zeros((3, 4)))
    assert edge_notes(fit, ["a", "b", "c", "d"]) == [
        "1 of 4 sites chose the smallest penalty 1, first a; widen the grid",
        "1 of 4 sites chose the largest penalty 100, first c; widen the grid",
        "1 of 4 sites have no weights, their mean was predicted best, first d",
    ]
    one = LinearFit(weights, np.zeros(4), penalty, grid[:1], mse[1:2], np.zeros((3, 4)))
    assert len(edge_notes(one, ["a", "b", "c", "d"])) == 1  # there was no choice
