"""K14-K16: reliability of a subject's own trials; order changes nothing; step zero."""

import dataclasses

import jax
import numpy as np
import pytest

from paramctl_jax.data import load_photographs
from paramctl_jax.encoding import predict
from paramctl_jax.images import read_image
from paramctl_jax.recordings import ncsnr, noise_ceiling, split_half_reliability
from paramctl_jax.stimuli import save_stimuli, stimulus_images
from paramctl_jax.subject import subject_of_model
from paramctl_jax.subject.noise import trial_noise
from paramctl_jax.synthesis import accentuate
from paramctl_jax.types import EncodingModel
from tests.evaluations import evaluation_of

SEEDS, READOUT = ("elephant_0006", "lotus_0005", "rooster_0003"), "layer1.0"
SITES, LEVELS = ("a", "b", "c"), np.array([[-1.0, 0.0, 1.5]] * 3)


def test_k14_a_subjects_trials_have_the_reliability_that_was_set(key):
    """Signal SD 1, noise SD 1 / ncsnr, 800 images, 8 trials: SB = NC^2, all +-.01."""
    ratio, shape = 0.8, (800, 60)
    signal = np.random.default_rng(14).normal(size=shape)
    names = [f"image_{index}" for index in range(shape[0])]
    noise = trial_noise(key, "day1", names, shape[1], 8) / ratio
    trials = signal[..., None] + noise
    expected = ratio**2 / (ratio**2 + 1 / 8)
    assert ncsnr(trials).mean() == pytest.approx(ratio, abs=0.01)
    assert (noise_ceiling(trials) ** 2).mean() == pytest.approx(expected, abs=0.01)
    found = split_half_reliability(trials, key, n_splits=20)
    assert found.mean() == pytest.approx(expected, abs=0.01)


@pytest.fixture(scope="module")
def model(tiny_backbone, photographs):
    """Three random axes of natural SD 1."""
    shape = tiny_backbone.readouts[READOUT]
    weights = np.random.default_rng(0).normal(size=(3, int(np.prod(shape))))
    model = EncodingModel(
        tiny_backbone,
        READOUT,
        SITES,
        weights.astype(np.float32),
        np.zeros(3),
        np.full(3, np.nan),
        evaluation_of(SITES, ("ant_0001",)),
    )
    natural = predict(model, photographs)
    scale = 1 / natural.std(axis=0)
    return dataclasses.replace(
        model,
        weights=(weights * scale[:, None]).astype(np.float32),
        bias=-natural.mean(axis=0) * scale,
    )


def renamed(model, name, sign=1):
    """A rival: the same network under another name, axes turned."""
    backbone = dataclasses.replace(model.backbone, name=name)
    return dataclasses.replace(
        model, backbone=backbone, weights=sign * model.weights, bias=sign * model.bias
    )


def stimuli_of(folder, models, photographs, sites=SITES, seeds=SEEDS, order=(0, 1, 2),
               slots=4):  # fmt: skip
    """A stimulus set; `order` is that of the levels."""
    rows = [SITES.index(site) for site in sites]
    sweeps = [
        accentuate(
            model,
            photographs.select(seeds),
            LEVELS[rows][:, list(order)],
            sites=sites,
            key=jax.random.key(15),
            slots=slots,
            devices=jax.devices()[:1],
            crops=2,
            progress=False,
        )
        for model in models
    ]
    return save_stimuli(folder, sweeps, progress=False)


def files_of(stimuli):
    """PNG bytes by what the stimulus is, and not by the number of its level."""
    return {
        (s.model, s.site, s.seed, None if s.level is None else round(s.target, 9)): (
            stimuli.directory / s.filename
        ).read_bytes()
        for s in stimuli.stimuli
    }


@pytest.fixture(scope="module")
def pair(model):
    return renamed(model, "net_a"), renamed(model, "net_b", -1)


@pytest.fixture(scope="module")
def usual(pair, photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual") / "set"
    return stimuli_of(folder, pair, photographs)


def test_k15_order_of_models_sites_seeds_and_levels_changes_no_png(
    pair, photographs, usual, tmp_path
):
    turned = stimuli_of(
        tmp_path / "set",
        pair[::-1],
        photographs,
        sites=("c", "a", "b"),
        seeds=(SEEDS[2], SEEDS[0], SEEDS[1]),
        order=(2, 0, 1),
    )
    expected, found = files_of(usual), files_of(turned)
    assert len(expected) == 2 * 3 * 3 * 4
    assert found == expected
    moved = [s for s in usual.stimuli if s.level is not None and s.rms > 0.001]
    assert len(moved) > 40  # not seeds that were left alone


@pytest.mark.parametrize("slots", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_k15_another_chunk_shape_changes_a_pixel_by_one_at_most(
    pair, photographs, usual, tmp_path, slots
):
    other = stimuli_of(tmp_path / "set", pair[:1], photographs, slots=slots)
    mine = {s.filename: usual.directory for s in usual.stimuli}
    assert {s.filename for s in other.stimuli} <= set(mine)
    difference = [
        np.abs(
            read_image(other.directory / s.filename).astype(int)
            - read_image(usual.directory / s.filename)
        ).max()
        for s in other.stimuli
    ]
    assert max(difference) <= 1, (max(difference), np.mean(np.array(difference) > 0))


def test_k15_order_of_what_is_shown_changes_no_trial(model, photographs):
    subject = subject_of_model(model, sigma=1.0)
    shown = photographs.select(photographs.stimulus_ids[:40])
    turned = photographs.select(photographs.stimulus_ids[:40][::-1])
    one, other = (
        subject.record(images, 3, jax.random.key(1), "day2", progress=False)
        for images in (shown, turned)
    )
    again = other.select_stimuli(one.stimulus_ids)
    noise = one.responses - one.mean()[..., None]
    np.testing.assert_allclose(
        again.responses - again.mean()[..., None], noise, atol=1e-12
    )
    np.testing.assert_allclose(again.responses, one.responses, atol=1e-4)
    assert np.std(noise) > 0.7


def test_k16_step_zero_on_a_canvas_above_the_networks_input(model, tmp_path):
    """48 pixels for a network of 32: the seed's bytes, and its own prediction."""
    photographs = load_photographs(48)
    start = predict(model, photographs.select(SEEDS)).T
    targets = np.stack([start[:, 0], start[:, 0] + 1], axis=1)
    sweep = accentuate(
        model,
        photographs.select(SEEDS[:1]),
        targets,
        key=jax.random.key(16),
        slots=3,
        crops=2,
        max_steps=40,
        progress=False,
    )
    stimuli = save_stimuli(tmp_path, [sweep], progress=False)
    saved = stimulus_images(stimuli)
    for row, one in zip(stimuli.stimuli, saved.pixels, strict=True):
        seed = photographs.select(SEEDS[:1]).pixels[0]
        if row.level == 1:
            assert row.rms > 0.001
            continue
        np.testing.assert_array_equal(one, seed)
        assert row.predicted == pytest.approx(start[SITES.index(row.site), 0], abs=1e-5)
        assert row.rms == row.linf == 0
