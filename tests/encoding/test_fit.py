"""The whole fit: recovery, no leakage, joins by id, and input it must refuse."""

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

from paramctl_jax.encoding import (
    DEFAULT_PENALTIES,
    EncodingSettings,
    extract_features,
    fit_encoding,
    fit_readouts,
    load_encoding,
    predict,
    save_encoding,
    save_split,
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
    assert (model.evaluation.cv_r > 0.98).all()
    np.testing.assert_allclose(model.evaluation.r_normalised, 1, atol=0.02)
    shuffled = dataclasses.replace(recordings, responses=recordings.responses[::-1])
    wrong = fit_encoding(backbone, images, shuffled, "late", key=key, progress=False)
    assert (wrong.evaluation.cv_r < 0.3).all()
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
    np.testing.assert_array_equal(other.evaluation.cv_r, model.evaluation.cv_r)
    assert (other.evaluation.r2 != model.evaluation.r2).all()


def test_rows_are_joined_by_id(images, recordings, fit):
    order = np.random.default_rng(3).permutation(len(images))
    shuffled = recordings.select_stimuli([images.stimulus_ids[i] for i in order])
    np.testing.assert_array_equal(fit(shuffled).weights, fit(recordings).weights)


def test_unequal_stimuli_are_never_dropped_in_silence(images, recordings, fit):
    fewer = recordings.select_stimuli(images.stimulus_ids[:50])
    for join in ("images", "exact"):
        with pytest.raises(InputError, match="50 recorded stimuli, 60 images"):
            fit(fewer, join=join)
    model = fit(fewer, join="common")
    used = model.evaluation.train_ids + model.evaluation.test_ids
    assert set(used) == set(images.stimulus_ids[:50])
    assert any("10 images without a response" in note for note in model.notes)
    unknown = dataclasses.replace(fewer, stimulus_ids=tuple(f"x{i}" for i in range(50)))
    with pytest.raises(InputError, match="none of 60 images has a response"):
        fit(unknown, join="common")


def test_more_recorded_stimuli_than_images_are_counted(backbone, images, recordings):
    fewer = images.select(images.stimulus_ids[:50])
    arguments = {"key": jax.random.key(0), "progress": False}
    model = fit_encoding(backbone, fewer, recordings, "early", **arguments)
    expected = "10 recorded stimuli without an image were not fitted, first 'im050'"
    assert expected in model.notes
    with pytest.raises(InputError, match="60 recorded stimuli, 50 images"):
        fit_encoding(backbone, fewer, recordings, "early", join="exact", **arguments)


def test_shared_features_give_the_same_fit(backbone, images, recordings, fit):
    features = {"early": extract_features(backbone, images, "early", progress=False)}
    fewer = recordings.select_stimuli(images.stimulus_ids[10:])
    for given, join in ((recordings, "exact"), (fewer, "common")):
        shared = fit(given, features=features, join=join)
        np.testing.assert_array_equal(shared.weights, fit(given, join=join).weights)
    with pytest.raises(InputError, match=r"expected shape \(60, 180\)"):
        fit(recordings, features={"early": features["early"][:59]})
    with pytest.raises(InputError, match=r"expected shape \(60, 180\)"):
        # of the joined images only: their rows could be taken for other images'
        fit(fewer, features={"early": features["early"][10:]}, join="common")


@pytest.mark.parametrize("basis", ["pca", "spatial_mean", "none"])
def test_features_that_are_not_finite_are_refused(images, recordings, fit, basis):
    for row, expected in ((0, "1 of 12 images cannot be predicted from, first row 0"),
                          (1, "in 1 of 48 images")):  # fmt: skip
        features = np.random.default_rng(0).normal(size=(60, 180)).astype(np.float32)
        features[row, 3] = np.nan
        with pytest.raises(InputError, match=expected):
            fit(
                recordings,
                features={"early": features},
                basis=basis,
                test_ids=images.stimulus_ids[::5],
            )


@pytest.mark.parametrize("basis", ["pca", "spatial_mean", "none"])
def test_equal_features_give_no_axis(recordings, fit, basis):
    """.1 is no binary fraction: the mean of equal features is not quite their value."""
    features = {"early": np.full((60, 180), 0.1)}
    if basis == "pca":
        with pytest.raises(InputError, match=r"the features of all 48 .* are equal"):
            fit(recordings, features=features)
        return
    model = fit(recordings, features=features, basis=basis)
    np.testing.assert_array_equal(model.weights, 0)
    assert any("3 of 3 sites have no weights" in note for note in model.notes)


def test_stored_features_give_the_same_fit(tmp_path, recordings, fit):
    plain = fit(recordings)
    for _ in range(2):  # written, then read
        stored = fit(recordings, feature_store=tmp_path)
        np.testing.assert_array_equal(stored.weights, plain.weights)
        np.testing.assert_array_equal(stored.evaluation.r, plain.evaluation.r)


def test_a_stored_split_is_shared(tmp_path, images, recordings, fit):
    first = fit(recordings)
    path = tmp_path / "split.json"
    save_split(path, first.evaluation.train_ids, first.evaluation.test_ids)
    again = fit(recordings, split=path, key=None)
    assert again.evaluation.test_ids == first.evaluation.test_ids
    np.testing.assert_array_equal(again.weights, first.weights)


def test_of_several_readouts_one_is_chosen_within_the_training_images(
    backbone, images, key
):
    features = features_by_hand(backbone, images)
    late = np.sqrt(features.reshape(len(images), 5, -1).mean(axis=-1) + 1)
    recordings = linear_recordings(late, images.stimulus_ids, noise=0.3)
    arguments = {"key": key, "progress": False}
    tried = fit_readouts(backbone, images, recordings, ("early", "late"), **arguments)
    best = fit_encoding(backbone, images, recordings, ("early", "late"), **arguments)
    inner = {name: np.median(m.evaluation.cv_r2) for name, m in tried.items()}
    assert best.readout == max(inner, key=inner.get) == "late"
    assert tried["early"].evaluation.test_ids == best.evaluation.test_ids
    assert "late" in best.notes[0]
    biased = fit_encoding(
        backbone, images, recordings, ("early", "late"), **arguments,
        readout_policy="test_argmax",
    )  # fmt: skip
    assert "biased" in biased.notes[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"basis": "pca", "components": 10},
        {"basis": "srp", "components": 60},
        {"basis": "spatial_mean"},
        {"basis": "none"},
        {"basis": "none", "selection": "gcv"},
        {"basis": "pca", "selection": "kfold", "n_folds": 4},
        {"basis": "factorised"},
        {"basis": "spatial_mean", "regression": "lasso"},
        {"basis": "spatial_mean", "regression": "sparse_positive"},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_every_way_to_fit_is_one_axis_per_site(images, recordings, fit, settings):
    """The axes predict pixels as the evaluation says, whatever was fitted."""
    model = fit(recordings, **settings)
    assert model.weights.shape == (3, 180)
    assert model.settings["basis"] == settings["basis"]
    held_out = images.select(model.evaluation.test_ids)
    np.testing.assert_allclose(
        predict(model, held_out), model.evaluation.predicted, atol=1e-4
    )
    assert np.isfinite(model.evaluation.cv_r).all()
    if settings.get("regression") == "sparse_positive":
        assert (model.weights >= 0).all()


def test_a_basis_that_saw_the_held_out_images_says_so(recordings, fit):
    honest = fit(recordings, components=10)
    leaky = fit(recordings, components=10, basis_images="all")
    assert any("held-out images too" in note for note in leaky.notes)
    assert not np.array_equal(honest.weights, leaky.weights)


def test_named_test_images_are_held_out(images, recordings, fit):
    chosen = [images.stimulus_ids[i] for i in range(33, 9, -2)]
    model = fit(recordings, test_ids=chosen, key=None)
    assert model.evaluation.test_ids == tuple(sorted(chosen))
    assert len(model.evaluation.train_ids) == 48
    with pytest.raises(InputError, match=r"test_ids.*\['nowhere'\]"):
        fit(recordings, test_ids=["nowhere"])
    with pytest.raises(InputError, match="key: expected"):
        fit(recordings, key=None)
    with pytest.raises(InputError, match="all 60 images are held out"):
        fit(recordings, test_ids=images.stimulus_ids)
    with pytest.raises(InputError, match="either test_ids or split"):
        fit(recordings, test_ids=chosen, split="split.json")


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
    assert np.isfinite(model.evaluation.cv_r).all()


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


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"basis": "pca", "regression": "sparse_positive"}, "sign means something"),
        ({"basis": "factorised", "regression": "lasso"}, "fitted by ridge"),
        ({"basis": "none", "components": 5}, "keeps all"),
        ({"selection": "lop"}, "did you mean 'loo'"),
        ({"n_folds": 1}, "expected at least 2"),
        ({"readout_policy": "best"}, "inner_cv, test_argmax"),
        ({"basis": "sae"}, "unknown encoding basis 'sae'"),
        ({"basis": "factorised", "components": 5}, "keeps all"),
        ({"basis": "factorised", "selection": "kfold"}, "has its own way"),
        ({"basis": "none", "basis_images": "all"}, "learns nothing from images"),
        ({"regression": "lasso", "selection": "gcv"}, "has its own way"),
        ({"random_seed": -1}, "at least 0"),
        ({"penalties": (1.0, -1.0)}, "list of positive finite numbers"),
        ({"bases": "pca"}, "unknown encoding setting 'bases'; did you mean 'basis'"),
    ],
)
def test_choices_that_mean_nothing_are_refused(recordings, fit, settings, expected):
    with pytest.raises(InputError, match=expected):
        fit(recordings, **settings)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("components", 2.5, "a whole number"),
        ("test_fraction", "0.2", "expected a number"),
        ("penalties", 5.0, "list of positive finite numbers"),
        ("penalties", ("a",), "list of positive finite numbers"),
    ],
)
def test_settings_of_another_type_are_refused(name, value, expected):
    """Types are checked in tests only; a user meets the settings' own check."""
    settings = EncodingSettings()
    object.__setattr__(settings, name, value)
    with pytest.raises(InputError, match=expected):
        settings.__post_init__()


def test_an_image_without_any_response_is_named(recordings, fit):
    recordings.responses[7] = np.nan
    with pytest.raises(InputError, match=r"1 of 60 images .* 'im007'"):
        fit(recordings)


def test_a_constant_site_and_wrong_names_are_refused(recordings, fit):
    with pytest.raises(InputError, match="early, late"):
        fit(recordings, "layer9")
    with pytest.raises(InputError, match=r"basis 'ica'.*pca, srp"):
        fit(recordings, basis="ica")
    with pytest.raises(InputError, match=r"join 'inner'.*images, exact"):
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
        if field.name == "settings":
            assert loaded.settings == model.settings
        elif field.name not in ("backbone", "evaluation"):
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
    resized = dataclasses.replace(backbone.network, input_size=12)
    with pytest.raises(InputError, match=r'"input_size": 6.*"input_size": 12'):
        load_encoding(path, dataclasses.replace(backbone, network=resized))
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
