"""A tiny sweep with a read-out that can be computed by hand."""

import dataclasses

import numpy as np
import pytest
from hand_made import GAINS, SEEDS, SITES, hand_predict, make_model

from paramctl_jax.types import (
    ImageSet,
    Sweep,
)


def hand_features(backbone, images: ImageSet, readout: str, progress: bool):
    """The pixels, in the order channel, height, width."""
    assert (readout, progress) == ("layer", False)
    return images.pixels.transpose(0, 3, 1, 2).reshape(len(images), -1) / 255


TARGETS = np.asarray([[-1.3, -1.1, -0.9, -0.7], [0.1, 0.2, 0.3, 0.4]])
# Grey values off target [site, seed]: below 2 %, near 4 %, far above 5 % of the range.
OFFSETS = np.asarray([[0, 3, 20], [0, 6, 30]])


def make_images(rng: np.random.Generator) -> np.ndarray:
    """Means that are `OFFSETS` from what reaches `TARGETS`, around them a texture."""
    texture = np.tile(np.arange(-16, 16), 6)
    means = np.rint(TARGETS / GAINS[1:, None] * 255)[:, None, :] + OFFSETS[:, :, None]
    textures = rng.permuted(np.tile(texture, (2, 3, 4, 1)), axis=-1)
    images = means[..., None] + textures
    assert images.min() >= 0
    assert images.max() <= 255
    return images.reshape(2, 3, 4, 8, 8, 3).astype(np.uint8)


def make_sweep(name: str = "small") -> Sweep:
    """Of the model's sites x, a, b the last two are swept."""
    rng = np.random.default_rng(0)
    seeds = ImageSet(SEEDS, rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8))
    images = make_images(rng)
    predicted = images.reshape(2, 3, 4, -1).mean(axis=-1) / 255
    predicted = predicted * GAINS[1:, None, None]
    start = seeds.pixels.reshape(3, -1).mean(axis=1)[None] / 255 * GAINS[1:, None]
    return Sweep(
        model=make_model(name),
        site_ids=SITES,
        seeds=seeds,
        targets=TARGETS.copy(),
        start=start,
        images=images,
        reached=predicted + 0.001,
        step=np.arange(24).reshape(2, 3, 4),
        hit=np.ones((2, 3, 4), dtype=bool),
        stop_reason=np.full((2, 3, 4), "hit", dtype=object),
        tolerance=np.asarray([0.01, 0.01]),
    )


@pytest.fixture
def sweep(monkeypatch) -> Sweep:
    monkeypatch.setattr("paramctl_jax.stimuli.judge.predict", hand_predict)
    monkeypatch.setattr("paramctl_jax.stimuli.judge.extract_features", hand_features)
    return make_sweep()


@pytest.fixture
def other_sweep(sweep) -> Sweep:
    return dataclasses.replace(sweep, model=make_model("other"))
