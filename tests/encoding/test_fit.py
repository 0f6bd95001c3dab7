"""The whole fit: recovery, no leakage, joins by id, and input it must refuse."""

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

from paramctl_jax.encoding import (
    DEFAULT_PENALTIES,
    extract_features,
    fit_encoding,
    load_encoding,
    predict,
    save_encoding,
)
from paramctl_jax.recordings import pearson, valid_sites
from paramctl_jax.types import InputError
from tests.encoding.conftest import (
    features_by_hand,
    linear_recordings,
    random_images,
    tiny_backbone,
)


@pytest.fixture
def fit(backbone, images, key):
    def run(recordings, readout="early", **changes):
        arguments = {"key": key, "progress": False, **changes}
        return fit_encoding(backbone, images, recordings, readout, **arguments)

    return run


def test_equals_the_same_steps_in_scikit_learn(backbone, images, recordings, fit):
    model = fit(recordings, components=20)
    features = extract_features(backbone, images, "early", progress=False)
    features = features.astype(np.float64)
    train = np.isin(images.stimulus_ids, model.evaluation.train_ids)
    responses = recordings.responses.mean(axis=-1)
    pca = PCA(20, svd_solver="full").fit(features[train])
    ridge = RidgeCV(DEFAULT_PENALTIES, alpha_per_target=True)
    ridge.fit(pca.transform(features[train]), responses[train])
    np.testing.assert_array_equal(model.penalty, ridge.alpha_)
    np.testing.assert_allclose(
        model.weights, ridge.coef_ @ pca.components_, rtol=1e-5, atol=1e-7
    )
    predicted = ridge.predict(pca.transform(features[~train]))
    expected = pearson(predicted, responses[~train])
    np.testing.assert_allclose(model.evaluation.r, expected, atol=1e-6)
    np.testing.assert_allclose(predict(model, images)[~train], predicted, atol=1e-5)


def test_a_linear_site_is_recovered(backbone, key):
    images = random_images(150)
    features = features_by_hand(backbone, images)
    late = np.sqrt(features.reshape(150, 5, -1).mean(axis=-1) + 1)
    recordings = linear_recordings(late, images.stimulus_ids, noise=0.2)
    model = fit_encoding(backbone, images, recordings, "late", key=key, progress=False)
    assert (model.evaluation.r > 0.98).all()
    assert (model.evaluation.loo_r > 0.98).all()
    np.testing.assert_allclose(model.evaluation.r_normalised, 1, atol=0.02)
    shuffled = dataclasses.replace(recordings, responses=recordings.responses[::-1])
    wrong = fit_encoding(backbone, images, shuffled, "late", key=key, progress=False)
    assert (wrong.evaluation.loo_r < 0.3).all()
    assert (wrong.evaluation.r < 0.5).all()


def test_held_out_images_do_not_touch_the_fit(backbone, images, recordings, fit):
    model = fit(recordings)
    test = np.isin(images.stimulus_ids, model.evaluation.test_ids)
    pixels, responses = images.pixels.copy(), recordings.responses.copy()
    pixels[test] = 255 - pixels[test]
    responses[test] = 100 * responses[test][::-1]
    other = fit_encoding(
        backbone,
        dataclasses.replace(images, pixels=pixels),
        dataclasses.replace(recordings, responses=responses),
        "early",
        key=jax.random.key(0),
        progress=False,
    )
    assert other.evaluation.test_ids == model.evaluation.test_ids
    for name in ("weights", "bias", "penalty"):
        np.testing.assert_array_equal(getattr(other, name), getattr(model, name))
    np.testing.assert_array_equal(other.evaluation.loo_r, model.evaluation.loo_r)
    assert (other.evaluation.r2 != model.evaluation.r2).all()


def test_rows_are_joined_by_id(images, recordings, fit):
    order = np.random.default_rng(3).permutation(len(images))
    shuffled = recordings.select_stimuli([images.stimulus_ids[i] for i in order])
    np.testing.assert_array_equal(fit(shuffled).weights, fit(recordings).weights)


def test_unequal_stimuli_need_to_be_asked_for(images, recordings, fit):
    fewer = recordings.select_stimuli(images.stimulus_ids[:50])
    with pytest.raises(InputError, match="50 recorded stimuli, 60 images"):
        fit(fewer)
    model = fit(fewer, join="common")
    used = model.evaluation.train_ids + model.evaluation.test_ids
    assert set(used) == set(images.stimulus_ids[:50])
    unknown = dataclasses.replace(fewer, stimulus_ids=tuple(f"x{i}" for i in range(50)))
    with pytest.raises(InputError, match="none of 60 images has a response"):
        fit(unknown, join="common")


def test_shared_features_give_the_same_fit(backbone, images, recordings, fit):
    features = extract_features(backbone, images, "early", progress=False)
    fewer = recordings.select_stimuli(images.stimulus_ids[10:])
    for given, join in ((recordings, "exact"), (fewer, "common")):
        shared = fit(given, features=features, join=join)
        np.testing.assert_array_equal(shared.weights, fit(given, join=join).weights)
    with pytest.raises(InputError, match=r"expected shape \(60, 180\)"):
        fit(recordings, features=features[:59])


def test_named_test_images_are_held_out(images, recordings, fit):
    chosen = [images.stimulus_ids[i] for i in range(33, 9, -2)]
    model = fit(recordings, test_ids=chosen, key=None)
    assert model.evaluation.test_ids == tuple(sorted(chosen))
    assert len(model.evaluation.train_ids) == 48
    with pytest.raises(InputError, match=r"test_ids.*\['nowhere'\]"):
        fit(recordings, test_ids=["nowhere"])
    with pytest.raises(InputError, match="key: expected"):
        fit(recordings, key=None)


def test_missing_and_single_repeats(recordings, fit):
    responses = recordings.responses.copy()
    missing = np.random.default_rng(0).random(responses.shape) < 0.4
    missing[..., 0] = False
    responses[missing] = np.nan
    padded = fit(dataclasses.replace(recordings, responses=responses))
    averages = np.nanmean(responses, axis=-1, keepdims=True)
    single = fit(dataclasses.replace(recordings, responses=averages))
    np.testing.assert_allclose(padded.weights, single.weights, rtol=1e-5, atol=1e-8)
    assert np.isfinite(padded.evaluation.ceiling).all()
    assert np.isnan(single.evaluation.ceiling).all()
    assert np.isnan(single.evaluation.r_normalised).all()
    np.testing.assert_allclose(single.evaluation.r, padded.evaluation.r, atol=1e-6)
    assert any("noise ceiling unknown at 3 of 3" in note for note in single.notes)
    assert not any("ceiling" in note for note in padded.notes)


def test_everything_may_be_fitted_with_nothing_held_out(recordings, fit):
    model = fit(recordings, test_fraction=0.0)
    assert len(model.evaluation.train_ids) == 60
    assert np.isnan(model.evaluation.r).all()
    assert np.isfinite(model.evaluation.loo_r).all()


def test_notes_name_penalties_at_the_edge_and_missing_components(recordings, fit):
    low = fit(recordings, penalties=(1e5, 1e6), components=1000)
    assert any("chose the smallest penalty 100000" in note for note in low.notes)
    assert any("1000 components asked for" in note for note in low.notes)
    assert not fit(recordings, components=20).notes


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (np.nan, "no valid response to 1 of 60 images, first 'im007'"),
        (np.inf, "an infinite response"),
    ],
)
def test_a_site_that_cannot_be_fitted_is_named(recordings, fit, spoil, reason):
    recordings.responses[7, 1] = spoil
    with pytest.raises(InputError, match=f"1 of 3 sites.*'s1': {reason}"):
        fit(recordings)
    assert valid_sites(recordings)[0] == ("s0", "s2")


def test_a_constant_site_and_wrong_names_are_refused(recordings, fit):
    with pytest.raises(InputError, match="early, late"):
        fit(recordings, "layer9")
    with pytest.raises(InputError, match="one of pca, none"):
        fit(recordings, basis="ica")
    with pytest.raises(InputError, match="one of exact, common"):
        fit(recordings, join="inner")
    recordings.responses[:, 2] = 0.1
    with pytest.raises(InputError, match="'s2': the same response to every image"):
        fit(recordings)


def test_a_saved_model_is_the_same_model(tmp_path, backbone, images, recordings, fit):
    model = fit(recordings, penalties=(1e5, 1e6))
    path = tmp_path / "model.npz"
    save_encoding(path, model)
    loaded = load_encoding(path, backbone)
    for field in dataclasses.fields(model):
        if field.name not in ("backbone", "evaluation"):
            np.testing.assert_array_equal(
                getattr(loaded, field.name), getattr(model, field.name)
            )
    for field in dataclasses.fields(model.evaluation):
        found = getattr(loaded.evaluation, field.name)
        np.testing.assert_array_equal(found, getattr(model.evaluation, field.name))
        assert type(found) is type(getattr(model.evaluation, field.name))
    np.testing.assert_array_equal(predict(loaded, images), predict(model, images))
    unnoted = dataclasses.replace(
        model, notes=(), evaluation=fit(recordings, test_fraction=0.0).evaluation
    )
    save_encoding(path, unnoted)
    assert load_encoding(path, backbone).notes == ()
    assert load_encoding(path, backbone).evaluation.test_ids == ()


def test_a_model_is_tied_to_its_backbone(tmp_path, backbone, recordings, fit):
    path = tmp_path / "model.npz"
    save_encoding(path, fit(recordings))
    with pytest.raises(InputError, match=r"sha256:00.*sha256:ff"):
        load_encoding(path, tiny_backbone(sha256="sha256:ff"))
    shallow = dataclasses.replace(backbone, readouts={"late": (1, 1, 5)})
    with pytest.raises(InputError, match=r"180 features of early.*no such readout"):
        load_encoding(path, shallow)
    larger = dataclasses.replace(backbone, readouts={"early": (9, 9, 5)})
    with pytest.raises(InputError, match="input size"):
        load_encoding(path, larger)
    np.savez(tmp_path / "other.npz", responses=np.zeros(3))
    with pytest.raises(InputError, match="expected an encoding model"):
        load_encoding(tmp_path / "other.npz", backbone)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "bias"}
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(InputError, match=r"missing \['bias'\]"):
        load_encoding(tmp_path / "part.npz", backbone)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged"):
        load_encoding(path, backbone)
