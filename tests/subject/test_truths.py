"""Truths of simulated sites, and how their noise and sessions are set."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from paramctl_jax.subject import (
    CountNoise,
    Drift,
    ShapedTruth,
    UnpredictableTruth,
    mixed,
    noise_of_reliability,
    noisy_subject,
    random_truth,
    simulated_subject,
    subject_in_words,
)
from paramctl_jax.subject.shapes import SHAPES, static_nonlinearity
from paramctl_jax.types import ImageSet, InputError

N = 60


@dataclasses.dataclass(frozen=True)
class Given:
    """Responses by stimulus id, whatever the pixels."""

    values: np.ndarray
    site_ids: tuple[str, ...]
    units: str = "z"

    def responses(self, images, *, progress=False):
        return self.values[[int(name) for name in images.stimulus_ids]]


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (N, 2, 2, 3), dtype=np.uint8)
    return ImageSet(tuple(map(str, range(N))), pixels)


def given(seed, n_sites=3):
    values = np.random.default_rng(seed).normal(size=(N, n_sites))
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    return Given(values, tuple(f"sim_{i:02d}" for i in range(n_sites)))


@pytest.fixture(scope="module")
def truth_of(tiny_backbone, photographs):
    some = photographs.select(photographs.stimulus_ids[::6])

    def draw(axes, readout="layer2.0", **settings):
        settings = {"n_sites": 4, "key": jax.random.key(1), **settings}
        truth = random_truth(
            tiny_backbone, some, readout, axes=axes, progress=False, **settings
        )
        return truth, truth.responses(some)

    return draw


@pytest.mark.parametrize("axes", ["components", "channels", "spatial"])
def test_every_kind_has_mean_0_and_sd_1_in_nature(truth_of, axes):
    _, responses = truth_of(axes)
    np.testing.assert_allclose(responses.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(responses.std(axis=0), 1, atol=1e-6)


def test_sparse_sites_read_as_many_channels_as_asked(truth_of, tiny_backbone):
    truth, _ = truth_of("channels", channels=3)
    height, width, channels = tiny_backbone.readouts["layer2.0"]
    read = truth.weights.reshape(4, channels, height * width).any(axis=2)
    assert read.sum(axis=1).tolist() == [3] * 4
    assert len({tuple(site) for site in read.tolist()}) > 1


def test_a_local_site_is_one_window_times_channels(truth_of, tiny_backbone):
    truth, _ = truth_of("spatial")
    height, width, channels = tiny_backbone.readouts["layer2.0"]
    for site in truth.weights.reshape(4, channels, height * width):
        sizes = np.linalg.svd(site, compute_uv=False)
        assert sizes[1] < 1e-6 * sizes[0]  # rank one: where x what


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7071, 1.0])
def test_a_mixture_has_sd_1_and_follows_both_as_told(images, rho):
    first, second = given(1), given(2)
    both = mixed(first, second, rho, images).responses(images)
    np.testing.assert_allclose(both.std(axis=0), 1, atol=1e-12)
    a, b = first.responses(images), second.responses(images)
    expected = rho * a + np.sqrt(1 - rho**2) * b
    np.testing.assert_allclose(both, expected / expected.std(axis=0), atol=1e-12)


def test_unpredictable_responses_hang_on_bytes_alone(images, key):
    truth = UnpredictableTruth(("a", "b"), key)
    responses = truth.responses(images)
    assert stats.kstest(responses.ravel(), "norm").pvalue > 0.01
    renamed = ImageSet(tuple(f"x{i}" for i in range(N)), images.pixels)
    np.testing.assert_array_equal(truth.responses(renamed), responses)
    changed = images.pixels.copy()
    changed[0, 0, 0, 0] ^= 1
    other = truth.responses(ImageSet(images.stimulus_ids, changed))
    assert not np.any(other[0] == responses[0])
    np.testing.assert_array_equal(other[1:], responses[1:])


def test_shapes_are_increasing_and_the_rate_is_not_below_zero(images):
    drive = np.linspace(-4, 4, 101)[:, None]
    for name in SHAPES:
        assert np.all(np.diff(static_nonlinearity(name, drive), axis=0) >= 0), name
    assert static_nonlinearity("saturating", np.asarray([[50.0]]))[0, 0] < 3
    rates = ShapedTruth(given(3), "linear").responses(images)
    assert rates.min() == 0
    np.testing.assert_allclose(
        rates, np.maximum(0, 10 + 12 * given(3).responses(images))
    )


@pytest.mark.parametrize(
    ("kind", "fano"), [("gaussian", 1.0), ("poisson", 1.0), ("overdispersed", 2.5)]
)
def test_noise_gives_the_wanted_reliability(images, key, kind, fano):
    """NSD's estimator on many repeats; counts vary as their Fano factor says."""
    wanted = np.asarray([0.4, 0.8, 1.5])
    rates = ShapedTruth(given(4)) if kind != "gaussian" else given(4)
    subject = noisy_subject(rates, images, wanted, noise=kind, fano=fano)
    trials = subject.record(images, 800, key, "day1", progress=False).responses
    truth = subject.truth(images)
    noise = trials.var(axis=2, ddof=1)
    found = truth.std(axis=0) / np.sqrt(noise.mean(axis=0))
    np.testing.assert_allclose(found, wanted, rtol=0.03)
    assert np.abs(trials.mean(axis=2) - truth).max() < 6 * np.sqrt(noise.max() / 800)
    if kind != "gaussian":
        assert isinstance(subject.noise, CountNoise)
        counts = trials * subject.noise.window[:, None]
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
        high = truth > 5
        factor = counts.var(axis=2, ddof=1)[high] / counts.mean(axis=2)[high]
        assert factor.mean() == pytest.approx(fano, rel=0.03)


def test_shared_noise_correlates_the_sites_of_a_trial(images, key):
    ratios = np.ones(3)
    subject = noisy_subject(given(5), images, ratios, shared=0.4)
    trials = subject.record(images, 50, key, "day1", progress=False).responses
    rest = trials - subject.truth(images)[:, :, None]
    r = np.corrcoef(np.moveaxis(rest, 1, 0).reshape(3, -1))
    np.testing.assert_allclose(r[np.triu_indices(3, 1)], 0.4, atol=0.06)
    np.testing.assert_allclose(rest.std(axis=(0, 2)), 1, rtol=0.05)
    assert abs(np.corrcoef(rest[:, 0, 0], rest[:, 0, 1])[0, 1]) < 0.4


def test_later_sessions_drift_and_the_first_does_not(images, key):
    subject = noisy_subject(
        given(6, 200), images, np.full(200, 1e6), drift=Drift(0.1, 0.3)
    )
    truth = subject.truth(images)
    first = subject.record(images, 1, key, "day1", progress=False).responses[..., 0]
    np.testing.assert_allclose(first, truth, atol=1e-4)
    second = subject.record(images, 1, key, "day2", progress=False).responses[..., 0]
    gain = second.std(axis=0) / truth.std(axis=0)
    offset = second.mean(axis=0)
    assert np.log(gain).std() == pytest.approx(0.1, rel=0.15)
    assert offset.std() == pytest.approx(0.3, rel=0.15)
    third = subject.record(images, 1, key, "day3", progress=False).responses[..., 0]
    assert np.abs(third - second).max() > 0.1


def test_a_lost_site_has_no_responses_all_session_long(images, key):
    subject = noisy_subject(given(7, 200), images, np.ones(200), drift=Drift(loss=0.25))
    day1, day2 = (
        subject.record(images, 2, key, day, progress=False).responses
        for day in ("day1", "day2")
    )
    assert np.isfinite(day1).all()
    lost = np.isnan(day2).any(axis=(0, 2))
    assert np.isnan(day2[:, lost]).all()
    assert lost.mean() == pytest.approx(0.25, abs=0.08)


def test_trials_of_fewer_repeats_are_the_first_of_more(images, key):
    subject = noisy_subject(
        ShapedTruth(given(8)), images, np.ones(3), noise="poisson", drift=Drift(0.1)
    )
    truth = subject.truth(images)
    few, many = (
        subject.trials(truth, images.stimulus_ids, n, key, "day2") for n in (2, 5)
    )
    np.testing.assert_array_equal(many[..., :2], few)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"axes": "component"}, "did you mean 'components'"),
        ({"axes": "channels", "channels": 0}, "channels: expected 1 to"),
        ({"axes": "channels", "channels": 999}, "those of layer2.0, found 999"),
        ({"rho": 1.5}, r"rho: expected a weight in \[0, 1\], found 1.5"),
        ({"shape": "relux"}, "did you mean 'relu'"),
        ({"noise": "poison"}, "did you mean 'poisson'"),
        ({"noise": "overdispersed"}, "fano: expected above 1 for overdispersed"),
        ({"noise": "poisson", "fano": 2.0}, "fano: expected 1 for poisson"),
        ({"shared": 1.0}, "shared: expected 0 <= shared < 1, found 1.0"),
        ({"gain_drift": -0.1}, "drift: expected gain and offset of at least 0"),
        ({"loss": 1.0}, r"a loss in \[0, 1\)"),
        ({"ncsnr": (0.0, 1.0)}, "ncsnr: expected"),
        ({"n_sites": 10**6}, "the features of layer2.0"),
    ],
)
def test_a_subject_that_cannot_be_is_refused_in_one_line(
    tiny_backbone, photographs, key, wrong, message
):
    settings = {"n_sites": 2, "components": 4, "ncsnr": (1.0, 1.0), "key": key}
    with pytest.raises(InputError, match=message) as error:
        simulated_subject(
            tiny_backbone,
            photographs.select(photographs.stimulus_ids[:8]),
            "layer2.0",
            progress=False,
            **{**settings, **wrong},
        )
    assert "\n" not in str(error.value)


def test_a_silent_site_has_no_reliability():
    with pytest.raises(InputError, match="site 1 answers all 5 natural images alike"):
        noise_of_reliability(
            "gaussian", np.stack([np.arange(5.0), np.ones(5)], 1), np.ones(2)
        )


def test_the_truth_in_words():
    settings = {"backbone": "n", "readout": "layer3.0", "second": "m", "rho": 0.5}
    said = subject_in_words({**settings, "noise": "poisson"}, ["a", "m"])
    assert said == (
        "In-silico subject: random linear read-outs of layer3.0 of n (25 % of the "
        "variance) and layer3.0 of m; m is under test, with Poisson spike counts."
    )
    assert "a network that is neither of the models" in subject_in_words(
        {"backbone": "n", "readout": "layer3.0"}, ["a", "m"]
    )


def test_one_place_is_no_receptive_field(tiny_backbone, photographs, key):
    channels = tiny_backbone.readouts["layer2.0"][2]
    pooled = dataclasses.replace(tiny_backbone, readouts={"layer2.0": (1, 1, channels)})
    few = photographs.select(photographs.stimulus_ids[:4])
    with pytest.raises(InputError, match=r"a readout with places, found layer2\.0"):
        random_truth(
            pooled, few, "layer2.0", n_sites=1, axes="spatial", key=key, progress=False
        )
