"""A backbone small enough to check by hand, with the interface of a real one."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.types import Backbone, ImageSet, Network, Recordings

SIZE = 6
CHANNELS = 5


@dataclasses.dataclass(frozen=True)
class TinyModule:
    """Two readouts: a rectified 1x1 convolution, and its square root per channel."""

    def apply(self, variables: Any, images: Any) -> dict[str, Any]:
        early = jnp.maximum(images @ variables["kernel"], 0.0)
        late = jnp.sqrt(early.mean(axis=(1, 2), keepdims=True) + 1.0)
        return {"early": early, "late": late}


def tiny_backbone(seed=0, sha256="sha256:00"):
    kernel = np.random.default_rng(seed).standard_normal((3, CHANNELS))
    return Backbone(
        name="tiny",
        network=Network(TinyModule(), SIZE, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
        variables={"kernel": kernel.astype(np.float32)},
        readouts={"early": (SIZE, SIZE, CHANNELS), "late": (1, 1, CHANNELS)},
        provenance={"sha256": sha256},
    )


def random_images(count, seed=0, size=SIZE):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    return ImageSet(tuple(f"im{index:03d}" for index in range(count)), pixels)


def features_by_hand(backbone, images):
    """The early readout in numpy float64, channel, height, width."""
    network = backbone.network
    x = (images.pixels / 255 - np.array(network.mean)) / np.array(network.std)
    early = np.maximum(x @ backbone.variables["kernel"].astype(np.float64), 0)
    return early.transpose(0, 3, 1, 2).reshape(len(images), -1)


def linear_recordings(features, ids, n_sites=3, n_repeats=4, noise=0.5, seed=1):
    """Sites that are linear in the features, plus trial noise, z-like."""
    rng = np.random.default_rng(seed)
    drive = features @ rng.standard_normal((features.shape[1], n_sites))
    drive = (drive - drive.mean(axis=0)) / drive.std(axis=0)
    trials = noise * rng.standard_normal((*drive.shape, n_repeats))
    names = tuple(f"s{index}" for index in range(n_sites))
    return Recordings(drive[..., None] + trials, tuple(ids), names)


@pytest.fixture
def backbone():
    return tiny_backbone()


@pytest.fixture
def images():
    return random_images(60)


@pytest.fixture
def recordings(backbone, images):
    return linear_recordings(features_by_hand(backbone, images), images.stimulus_ids)
