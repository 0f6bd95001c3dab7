"""Compact neurons as a subject: natural SDs, the wanted reliability, and settings."""

import numpy as np
import pytest

from paramctl_jax.configuration import check_settings
from paramctl_jax.subject import (
    neuron_subject,
    neurons,
    subject_call,
    subject_in_words,
)
from paramctl_jax.subject.neurons import StandardTruth
from paramctl_jax.types import ImageSet, InputError


class Brightness:
    """Two sites: how bright an image is, and how dark, in other units."""

    site_ids = ("site03", "site11")
    units = "z"

    def responses(self, images, *, progress=False):
        bright = images.pixels.mean(axis=(1, 2, 3))
        return np.stack([bright, 7 - 0.1 * bright], axis=1)


@pytest.fixture
def natural():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (80, 1, 1, 3)) * np.ones((1, 4, 4, 1))
    return ImageSet(tuple(f"n{i:02d}" for i in range(80)), pixels.astype(np.uint8))


@pytest.fixture
def subject(monkeypatch, natural):
    monkeypatch.setattr(neurons, "compact_neurons", lambda *_: Brightness())
    return neuron_subject("folder", "1", natural, ncsnr=(0.5, 2.0), progress=False)


def test_responses_are_in_natural_sds(subject, natural):
    truth = subject.truth(natural)
    np.testing.assert_allclose(truth.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(truth.std(axis=0), 1)
    np.testing.assert_allclose(truth[:, 0], -truth[:, 1], atol=1e-9)
    assert (subject.site_ids, subject.units) == (("site03", "site11"), "z")
    assert isinstance(subject.source, StandardTruth)
    np.testing.assert_allclose(subject.truth(natural.select(["n07"])), truth[7:8])


def test_trials_have_the_wanted_reliability(subject, natural, key):
    trials = subject.record(natural, 400, key, 2, progress=False).responses
    noise = trials.std(axis=2, ddof=1).mean(axis=0)
    np.testing.assert_allclose(1 / noise, [0.5, 2.0], rtol=0.02)


def test_images_that_say_nothing_are_refused(monkeypatch, natural):
    monkeypatch.setattr(neurons, "compact_neurons", lambda *_: Brightness())
    grey = ImageSet(natural.stimulus_ids, np.full_like(natural.pixels, 128))
    with pytest.raises(InputError, match="answers all 80 natural images alike"):
        neuron_subject("folder", "1", grey, ncsnr=(0.5, 2.0), progress=False)
    with pytest.raises(InputError, match="0 < lowest <= highest"):
        neuron_subject("folder", "1", natural, ncsnr=(2.0, 0.5), progress=False)


def test_settings_that_name_neurons_are_this_call(natural):
    settings = {"neurons": "folder", "session": "201025", "ncsnr": (0.5, 0.8)}
    assert subject_call(settings) is neuron_subject
    assert "session 201025" in subject_in_words(settings, ["resnet50"])
    config = {"recordings": {}, "presentation": {}, "models": ("a",), "seeds": ("s",)}
    wrong = {**settings, "sits": ("site00",)}
    with pytest.raises(
        InputError, match=r"config.subject 'sits'; did you mean 'sites'"
    ):
        check_settings({**config, "subject": wrong})
    check_settings({**config, "subject": {**settings, "sites": ("site00",)}})
