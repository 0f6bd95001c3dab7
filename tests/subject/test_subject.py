"""Truth and trials of the in-silico subject, against linear algebra by hand."""

import jax
import numpy as np
import pytest

from paramctl_jax.subject import Subject, linear_subject, subject_of_model
from paramctl_jax.types import (
    Backbone,
    EncodingModel,
    ImageSet,
    InputError,
    Network,
)
from tests.evaluations import evaluation_of

N_IMAGES, SIDE = 60, 4
NETWORK = Network(None, SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
BACKBONE = Backbone("pixels", NETWORK, {}, {"pixels": (SIDE, SIDE, 3)})


def pixel_features(backbone, images, readout, batch_size=32, progress=True):
    return (images.pixels.reshape(len(images), -1) / 255).astype(np.float32)


@pytest.fixture(autouse=True)
def _features_are_pixels(monkeypatch):
    for module in ("truth", "axes"):
        target = f"paramctl_jax.subject.{module}.extract_features"
        monkeypatch.setattr(target, pixel_features)


@pytest.fixture(scope="module")
def images():
    """Correlated pixels of very different variances, as in natural images."""
    rng = np.random.default_rng(0)
    scales = 60 / np.arange(1, 49)
    mixed = (
        rng.normal(size=(N_IMAGES, 48))
        * scales
        @ np.linalg.qr(rng.normal(size=(48, 48)))[0]
    )
    pixels = np.clip(128 + mixed, 0, 255).astype(np.uint8)
    ids = tuple(f"image_{i:03d}" for i in range(N_IMAGES))
    return ImageSet(ids, pixels.reshape(-1, SIDE, SIDE, 3))


def make_subject(images, key, *, n_sites=6, components=20, ncsnr=(0.4, 1.6)):
    return linear_subject(
        BACKBONE,
        images,
        "pixels",
        n_sites=n_sites,
        components=components,
        ncsnr=ncsnr,
        key=key,
        progress=False,
    )


@pytest.fixture(scope="module")
def subject(images):
    with pytest.MonkeyPatch.context() as patch:
        for module in ("truth", "axes"):
            target = f"paramctl_jax.subject.{module}.extract_features"
            patch.setattr(target, pixel_features)
        return make_subject(images, jax.random.key(3))


def test_natural_mean_0_and_sd_1(subject, images):
    truth = subject.truth(images)
    np.testing.assert_allclose(truth.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(truth.std(axis=0), 1, atol=1e-9)


def test_axes_lie_in_the_leading_components_evenly(subject, images):
    """Against a plain SVD: unit coefficients on whitened components, none beyond."""
    features = pixel_features(BACKBONE, images, "pixels").astype(np.float64)
    _, sizes, directions = np.linalg.svd(
        features - features.mean(0), full_matrices=False
    )
    coefficients = subject.source.weights @ directions.T * sizes / np.sqrt(N_IMAGES)
    np.testing.assert_allclose(coefficients[:, 20:], 0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(coefficients, axis=1), 1, atol=1e-9)
    # Whitened: the first half of the components has no more of an axis than the second.
    half = np.mean(np.sum(coefficients[:, :10] ** 2, axis=1))
    assert 0.3 < half < 0.7


def test_ncsnr_spreads_log_uniformly(subject):
    np.testing.assert_allclose(1 / subject.noise.sd, np.geomspace(0.4, 1.6, 6))
    assert subject.site_ids[0] == "sim_00"


def test_one_site_takes_the_middle(images, key):
    one = make_subject(images, key, n_sites=1, ncsnr=(0.5, 2.0))
    np.testing.assert_allclose(one.noise.sd, [1.0])


def test_axes_follow_the_key(images, key):
    again = make_subject(images, key).source.weights
    np.testing.assert_array_equal(again, make_subject(images, key).source.weights)
    other = make_subject(images, jax.random.key(9)).source.weights
    assert np.abs(again - other).max() > 0.1 * np.abs(again).max()


def test_ncsnr_is_recovered_from_the_trials(subject, images, key):
    """NSD's estimator (Allen 2022): variance of means less the noise's share."""
    trials = subject.record(images, 1000, key, session=1, progress=False).responses
    noise = trials.var(axis=2, ddof=1).mean(axis=0)
    total = trials.mean(axis=2).var(axis=0, ddof=1)
    estimate = np.sqrt((total - noise / 1000) / noise)
    expected = np.geomspace(0.4, 1.6, 6) * np.sqrt(N_IMAGES / (N_IMAGES - 1))
    np.testing.assert_allclose(estimate, expected, rtol=0.04)
    np.testing.assert_allclose(np.sqrt(noise), subject.noise.sd, rtol=0.02)
    truth = subject.truth(images)
    assert np.abs(trials.mean(axis=2) - truth).max() < 5 * subject.noise.sd[
        0
    ] / np.sqrt(1000)


def test_recordings_are_keyed_by_stimulus(subject, images, key):
    whole = subject.record(images, 3, key, session="day 1", progress=False)
    assert whole.responses.shape == (N_IMAGES, 6, 3)
    assert (whole.stimulus_ids, whole.units) == (images.stimulus_ids, "z")
    names = [images.stimulus_ids[i] for i in (41, 5, 17)]
    part = subject.record(images.select(names), 3, key, session="day 1", progress=False)
    np.testing.assert_allclose(
        part.responses, whole.select_stimuli(names).responses, atol=1e-12
    )
    other_day = subject.record(images, 3, key, session="day 2", progress=False)
    assert np.all(other_day.responses != whole.responses)


def _model(weights, bias):
    evaluation = evaluation_of(("a", "b"))
    return EncodingModel(
        backbone=BACKBONE,
        readout="pixels",
        site_ids=("a", "b"),
        weights=weights,
        bias=bias,
        penalty=np.ones(2),
        evaluation=evaluation,
        units="spikes/s",
    )


def test_subject_of_a_model_is_the_model(images, key):
    """K1 in small: predicted and recorded are the same numbers."""
    rng = np.random.default_rng(1)
    weights, bias = rng.normal(size=(2, 48)), np.asarray([3.0, -1.0])
    subject = subject_of_model(_model(weights, bias))
    recorded = subject.record(images, 2, key, session=1, progress=False)
    assert (recorded.site_ids, recorded.units) == (("a", "b"), "spikes/s")
    by_hand = images.pixels.reshape(N_IMAGES, -1) / 255 @ weights.T + bias
    for repeat in range(2):
        np.testing.assert_allclose(recorded.responses[..., repeat], by_hand, atol=1e-5)


def test_subject_of_a_model_with_noise(images, key):
    model = _model(np.zeros((2, 48)), np.asarray([3.0, -1.0]))
    trials = subject_of_model(model, 0.5).record(images, 50, key, 1, progress=False)
    np.testing.assert_allclose(trials.responses.std(axis=(0, 2)), 0.5, rtol=0.05)
    np.testing.assert_allclose(trials.responses.mean(axis=(0, 2)), [3, -1], atol=0.04)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ncsnr": (0.0, 1.0)}, r"ncsnr: .*0 < lowest.*\(0.0, 1.0\)"),
        ({"ncsnr": (-1.0, 1.0)}, "ncsnr: "),
        ({"ncsnr": (2.0, 1.0)}, "ncsnr: "),
        ({"ncsnr": (0.5, float("nan"))}, "ncsnr: "),
        ({"ncsnr": (0.5, float("inf"))}, "ncsnr: "),
        ({"components": 60}, "components: expected 1 to 59 for 60 images, found 60"),
        ({"components": 0}, "components: expected 1 to 59"),
        ({"components": 49}, "components: expected at most 48, .* of pixels over 60"),
        ({"n_sites": 49}, "n_sites: expected at least 1 and at most 48"),
        (
            {"n_sites": 0},
            "n_sites: .* at most 48, the features of pixels, found 0",
        ),
    ],
)
def test_bad_specifications(wrong, message, images, key):
    with pytest.raises(InputError, match=message) as error:
        make_subject(images, key, **wrong)
    assert "\n" not in str(error.value)


def test_identical_images_have_no_components(key):
    flat = ImageSet(("a", "b", "c"), np.zeros((3, SIDE, SIDE, 3), np.uint8))
    with pytest.raises(InputError, match="components: expected at most 0"):
        make_subject(flat, key, components=1)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_bad_sigma(sigma):
    with pytest.raises(InputError, match="sigma: expected a finite number >= 0"):
        subject_of_model(_model(np.zeros((2, 48)), np.zeros(2)), sigma)


@pytest.mark.parametrize(
    ("repeats", "n", "what"), [(0, 3, "repeats"), (2, 0, "images")]
)
def test_nothing_to_record(repeats, n, what, subject, images, key):
    with pytest.raises(InputError, match=f"{what}: expected at least"):
        subject.record(images.select(images.stimulus_ids[:n]), repeats, key, 1)


def test_record_is_frozen(subject):
    assert isinstance(subject, Subject)
    with pytest.raises(AttributeError):
        subject.noise = None
