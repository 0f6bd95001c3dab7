"""Photographs, a real network, PNGs on disk and trials, without the synthesis."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from paramctl_jax.backbones import random_backbone
from paramctl_jax.data import load_photographs
from paramctl_jax.encoding import predict
from paramctl_jax.stimuli import load_stimuli, save_stimuli, stimulus_images
from paramctl_jax.subject import linear_subject, subject_of_model
from paramctl_jax.types import EncodingModel, InputError, Sweep
from tests.evaluations import evaluation_of

READOUT = "layer1.0"


@pytest.fixture(scope="module")
def photographs():
    photographs = load_photographs(32)
    return photographs.select(photographs.stimulus_ids[::8])


@pytest.fixture(scope="module")
def backbone():
    return random_backbone(
        "resnet18", jax.random.key(5), input_size=32, through="layer1"
    )


@pytest.fixture(scope="module")
def subject(backbone, photographs):
    return linear_subject(
        backbone,
        photographs,
        READOUT,
        n_sites=3,
        components=20,
        ncsnr=(0.5, 2.0),
        key=jax.random.key(1),
        progress=False,
    )


@pytest.fixture(scope="module")
def model(backbone, subject):
    names = subject.site_ids
    return EncodingModel(
        backbone=backbone,
        readout=READOUT,
        site_ids=names,
        weights=subject.source.weights,
        bias=subject.source.bias,
        penalty=np.ones(3),
        evaluation=evaluation_of(names),
    )


@pytest.fixture
def sweep(model, photographs):
    """Levels of contrast in place of an accentuation; the targets are arbitrary."""
    seeds = photographs.select(photographs.stimulus_ids[:3])
    gains = np.linspace(0.4, 1, 5)[:, None, None, None]
    changed = np.rint(128 + gains * (seeds.pixels[:, None] - 128.0)).astype(np.uint8)
    start = predict(model, seeds).T
    shape = (3, 3, 5)
    return Sweep(
        model=model,
        site_ids=model.site_ids,
        seeds=seeds,
        targets=np.tile(np.linspace(-2, 2, 5), (3, 1)),
        start=start,
        images=np.tile(changed, (3, 1, 1, 1, 1, 1)),
        reached=np.zeros(shape),
        step=np.zeros(shape, dtype=np.int64),
        hit=np.zeros(shape, dtype=bool),
        stop_reason=np.full(shape, "max_steps"),
        tolerance=np.full(3, 0.1),
    )


def test_subject_that_is_the_model_follows_it(sweep, model, tmp_path):
    """K1: without noise, r = 1 and slope 1 over the levels of every seed."""
    save_stimuli(tmp_path, [sweep], progress=False)
    stimuli = load_stimuli(tmp_path)
    recorded = subject_of_model(model).record(
        stimulus_images(stimuli), 2, jax.random.key(0), "day 2", progress=False
    )
    assert recorded.stimulus_ids == tuple(s.stimulus_id for s in stimuli.stimuli)
    for site in model.site_ids:
        responses = recorded.select_sites([site]).mean()[:, 0]
        for seed in sweep.seeds.stimulus_ids:
            rows = [
                i
                for i, s in enumerate(stimuli.stimuli)
                if (s.site, s.seed) == (site, seed) and s.level is not None
            ]
            predicted = [stimuli.stimuli[i].predicted for i in rows]
            fit = stats.linregress(predicted, responses[rows])
            assert fit.rvalue > 0.9999
            assert fit.slope == pytest.approx(1, abs=0.01)


def test_seed_png_is_predicted_like_the_seed(sweep, tmp_path):
    """K16: nothing was rounded, so that only the batch can move the prediction."""
    stimuli = save_stimuli(tmp_path, [sweep], progress=False).stimuli
    seeds = [s for s in stimuli if s.level is None]
    np.testing.assert_allclose(
        [s.predicted for s in seeds], [s.start for s in seeds], atol=1e-4
    )


def test_a_subset_of_sites_reads_its_own_axes(sweep, model, tmp_path):
    last = dataclasses.replace(
        sweep,
        site_ids=model.site_ids[2:],
        targets=sweep.targets[2:],
        start=sweep.start[2:],
        images=sweep.images[2:],
        reached=sweep.reached[2:],
        step=sweep.step[2:],
        hit=sweep.hit[2:],
        stop_reason=sweep.stop_reason[2:],
        tolerance=sweep.tolerance[2:],
    )
    stimuli = save_stimuli(tmp_path, [last], progress=False)
    expected = predict(model, stimulus_images(stimuli))[:, 2]
    found = [s.predicted for s in stimuli.stimuli]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ncsnr_of_real_features(subject, photographs):
    trials = subject.record(
        photographs, 1000, jax.random.key(2), 1, progress=False
    ).responses
    noise = trials.std(axis=2, ddof=1).mean(axis=0)
    signal = trials.mean(axis=2).std(axis=0)
    np.testing.assert_allclose(signal / noise, [0.5, 1.0, 2.0], rtol=0.06)


def test_unknown_readout(backbone, photographs):
    with pytest.raises(InputError, match=r"layer9"):
        linear_subject(
            backbone,
            photographs,
            "layer9",
            n_sites=1,
            components=2,
            ncsnr=(1.0, 1.0),
            key=jax.random.key(0),
            progress=False,
        )
