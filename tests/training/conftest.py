"""Synthetic classes that a network of a few channels can tell apart."""

import numpy as np
import pytest

from paramctl_jax.training import LabelledImages

SIDE = 16


def striped(n_images, seed):
    """Stripes of three orientations under noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = [np.sin(x * 1.3), np.sin(y * 1.3), np.sin((x + y) * 0.4)]
    labels = np.arange(n_images) % 3
    pixels = 128 + 70 * np.stack(waves)[labels][..., None]
    noisy = pixels + rng.normal(0, 25, (n_images, SIDE, SIDE, 3))
    return LabelledImages(
        np.clip(noisy, 0, 255).astype(np.uint8),
        labels.astype(np.int32),
        ("across", "down", "slanted"),
    )


@pytest.fixture(scope="session")
def stripes():
    return {"train": striped(96, 0), "val": striped(30, 1)}
