"""Accuracy counted by hand, and the lattice of the input gradient."""

import functools
import typing
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax import training
from paramctl_jax.backbones import (
    REGISTRY,
    Spec,
    load_backbone,
    random_backbone,
    weight_folders,
)
from paramctl_jax.backbones.families import resnet
from paramctl_jax.data import load_photographs
from paramctl_jax.training import Attack, LabelledImages, accuracy, lattice_ratio
from paramctl_jax.types import Backbone, Network

LIMIT = 1.5  # lattice ratio of a bundled net
BUNDLED = sorted(Path(weight_folders()[-2]).glob("small_*.safetensors"))


class Brightness(nn.Module):
    """Class 1 is what is brighter than `threshold` on average."""

    threshold: float = 0.5
    classes: typing.ClassVar[int] = 2

    def __call__(self, x):
        bright = x.mean((1, 2, 3)) - self.threshold
        return {"fc": jnp.stack([-bright, bright], -1)}


GREY = Network(Brightness(), 4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def greys(values, labels):
    pixels = np.broadcast_to(
        np.asarray(values, np.uint8)[:, None, None, None], (len(values), 4, 4, 3)
    )
    return LabelledImages(pixels.copy(), np.asarray(labels, np.int32), ("a", "b"))


def test_accuracy_counts_every_image_once():
    # 301 images do not fill the second batch of 250: none may count twice
    values = np.arange(301) % 256
    right = (values > 127.5).astype(int)
    labels = np.where(np.arange(301) % 3 == 0, 1 - right, right)
    data = greys(values, labels)
    assert accuracy(GREY, {}, data) == pytest.approx(200 / 301)


def test_limit_takes_evenly_spaced_images():
    data = greys([0, 255, 0, 255, 0], [0, 0, 1, 0, 0])  # right at rows 0 and 4
    assert accuracy(GREY, {}, data, limit=2) == 1.0
    assert accuracy(GREY, {}, data, limit=3) == pytest.approx(2 / 3)
    assert accuracy(GREY, {}, data, limit=99) == pytest.approx(2 / 5)


def test_attack_turns_what_lies_within_its_radius():
    # linf moves the mean by epsilon: 20 levels turn what is nearer to 127.5 than that
    values = np.array([90, 100, 110, 120, 135, 145, 155, 165])
    data = greys(values, values > 127.5)
    attack = Attack("linf", 20 / 255, steps=3, step_size=1.0)
    assert accuracy(GREY, {}, data) == 1.0
    assert accuracy(GREY, {}, data, attack) == pytest.approx(4 / 8)


def noise(side, count=8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def ratio_of(build, monkeypatch):
    """Of random weights with a weak residual branch, as early in training."""
    monkeypatch.setitem(REGISTRY, "tiny", Spec(build, 96))
    backbone = random_backbone("tiny", jax.random.key(0), through="layer4")
    for name, block in backbone.variables["params"].items():
        if name.startswith("layer"):
            block["bn2"]["scale"] = block["bn2"]["scale"] * np.float32(0.1)
    return lattice_ratio(backbone, noise(96, 30), "layer4.0", 16, jax.random.key(1))


def test_strided_shortcuts_leave_a_lattice_and_pooling_does_not(monkeypatch):
    pooled = functools.partial(resnet.small_resnet, width=8, classes=3)
    strided = functools.partial(pooled, halving="3x3")
    smooth, lattice = (ratio_of(build, monkeypatch) for build in (pooled, strided))
    assert 1.0 <= smooth < LIMIT
    assert lattice > 3 * LIMIT


def test_lattice_ratio_of_a_known_gradient(monkeypatch):
    # a read-out that sees every fourth pixel only: all energy on one phase of 16
    def read(network, variables, pixels, readout):
        return pixels[:, ::4, ::4, :1].reshape(len(pixels), -1)

    monkeypatch.setattr(training.evaluate, "read", read)
    backbone = Backbone("sparse", GREY, {}, {"every_fourth": (4, 4, 1)})
    found = lattice_ratio(backbone, noise(16), "every_fourth", 4, jax.random.key(0))
    assert found == pytest.approx(16.0)


@pytest.mark.skipif(not BUNDLED, reason="no small_*.safetensors in weights/ yet")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if number else [])
        for number, path in enumerate(BUNDLED)
    ],
)
def test_bundled_nets_have_no_lattice(path):
    # at the photographs' size: a border of 16 of 64 pixels would leave too few
    backbone = load_backbone(path.stem, path, input_size=112, through="layer4")
    pixels = load_photographs().pixels[::5]
    found = lattice_ratio(backbone, pixels, "layer4.0", 16, jax.random.key(0))
    assert 1.0 <= found < LIMIT
