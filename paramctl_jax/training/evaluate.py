"""What a trained network is worth: clean and attacked accuracy, and its lattice."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, UInt8

from paramctl_jax import images
from paramctl_jax.backbones import read
from paramctl_jax.training.attack import Attack, perturb
from paramctl_jax.training.dataset import LabelledImages
from paramctl_jax.types import Backbone, Network

_BATCH = 250


def accuracy(
    network: Network,
    variables: PyTree,
    data: LabelledImages,
    attack: Attack | None = None,
    limit: int | None = None,
) -> float:
    """Top-1 accuracy, under attack where one is given.

    Args:
      network: the architecture.
      variables: its weights.
      data: labelled images.
      attack: e.g. ten steps of PGD; None for clean images.
      limit: use only so many images, evenly spaced.

    Returns:
      The fraction classified correctly, in [0, 1].
    """
    attack = Attack() if attack is None else attack
    stop = len(data) if limit is None else min(limit, len(data))
    rows = np.linspace(0, len(data) - 1, stop).round().astype(int)
    correct = 0
    for start in range(0, stop, _BATCH):
        chosen = np.resize(rows[start : start + _BATCH], min(_BATCH, stop))
        right = _correct(
            network,
            attack,
            variables,
            data.pixels[chosen],
            data.labels[chosen],
            jax.random.fold_in(jax.random.key(0), start),
        )
        correct += int(np.asarray(right)[: stop - start].sum())
    return correct / stop


@partial(jax.jit, static_argnums=(0, 1))
def _correct(
    network: Network,
    attack: Attack,
    variables: PyTree,
    pixels: UInt8[Array, "image size size 3"],
    labels: Array,
    key: PRNGKeyArray,
) -> Array:
    def logits(batch: Array) -> Array:
        return network.module.apply(variables, images.normalise(batch, network))["fc"]

    def loss(batch: Array) -> Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits(batch), labels)
        return losses.sum()

    batch = pixels.astype(jnp.float32) / 255
    return logits(perturb(attack, loss, batch, key)).argmax(-1) == labels


def lattice_ratio(
    backbone: Backbone,
    pixels: UInt8[np.ndarray, "image size size 3"],
    readout: str,
    stride: int,
    key: PRNGKeyArray,
) -> float:
    """How unevenly the input gradient falls on pixel positions modulo the stride.

    ``max_p E[p] / mean_p E[p]``, where ``E[p]`` is the energy of the gradient of random
    read-outs, another one for every image, at all pixels whose row and column are ``p``
    modulo `stride`. The outermost `stride` pixels, dimmed by the zero padding, are left
    out where the image has more than two. A network that reads a sparse grid of pixels
    (strided 1x1 shortcuts) has a large ratio, and every image accentuated through it
    inherits the grid. The maximum over phases is biased upwards by sampling: give at
    least 50 images, of more than the minimal size.

    Args:
      backbone: the network.
      pixels: natural images at the network's input size, a multiple of `stride`.
      readout: e.g. ``layer4.0``.
      stride: total stride of the readout, e.g. 16.
      key: of the random read-outs.

    Returns:
      The ratio, at least 1.
    """
    n_features = math.prod(backbone.readouts[readout])
    axes = jax.random.normal(key, (len(pixels), n_features))
    gradient = _gradient(
        backbone.network, readout, backbone.variables, images.to_float(pixels), axes
    )
    energy = np.asarray(gradient, np.float64) ** 2
    if energy.shape[1] > 2 * stride:
        energy = energy[:, stride:-stride, stride:-stride]
    blocks = energy.shape[1] // stride
    folded: Float[np.ndarray, "i r s r s c"] = energy.reshape(
        len(energy), blocks, stride, blocks, stride, 3
    )
    phases = folded.sum(axis=(0, 1, 3, 5))
    return float(phases.max() / phases.mean())


@partial(jax.jit, static_argnums=(0, 1))
def _gradient(
    network: Network, readout: str, variables: PyTree, pixels: Array, axes: Array
) -> Array:
    """Gradient in the pixels of every image's own read-out."""
    return jax.grad(lambda x: jnp.sum(read(network, variables, x, readout) * axes))(
        pixels
    )
