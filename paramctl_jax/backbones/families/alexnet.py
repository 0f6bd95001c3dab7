"""AlexNet, twice: torchvision's, and the one of Mehrer et al. as an untrained control.

Both are plain chains of convolutions, ReLUs and max pools under torch's indices:
``features.0`` holds a kernel, ``features.1`` is the readout after its ReLU.

Sources: Krizhevsky 2014, One weird trick (torchvision's `alexnet`); the same paper as
TF-slim's `alexnet_v2` builds it, which Mehrer et al. 2020 trained from many seeds and
Brain-Score translated to torch (`AlexNet_training_seed_01`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from paramctl_jax.backbones.layers import Activation, conv, max_pool
from paramctl_jax.backbones.spec import Spec
from paramctl_jax.types import InputError


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution with bias, then a ReLU: two of torch's indices."""

    channels: int
    size: int
    stride: int = 1
    pad: int = 0


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """A max pool without padding: one of torch's indices."""

    size: int
    stride: int


@dataclasses.dataclass(frozen=True)
class Head:
    """Two hidden layers with ReLUs and a linear one.

    Attributes:
      pool: side of the map that an adaptive mean pool makes; 0 leaves the map as it is.
      indices: of the three linear layers in torch's ``classifier``.
      hidden: channels of the first two.
      kernel: side of the first layer's kernel where the layers are convolutions; 0
        where they are dense, on the flattened map.
    """

    pool: int
    indices: tuple[int, int, int]
    hidden: int = 4096
    kernel: int = 0


def _bins(size: int, bins: int) -> Float[np.ndarray, "bins size"]:
    """Rows of torch's adaptive pool: bin i is the mean over [i s/n, (i + 1) s/n).

    Starts are rounded down and ends up, so that bins overlap where n does not divide s.
    """
    weight = np.zeros((bins, size), np.float32)
    for i in range(bins):
        start, end = i * size // bins, math.ceil((i + 1) * size / bins)
        weight[i, start:end] = 1 / (end - start)
    return weight


def adaptive_mean_pool(x: Activation, side: int) -> Activation:
    """Means over a grid of side x side bins, of a map of any size.

    Args:
      x: ``[batch, height, width, channel]``.
      side: bins along either axis; more than pixels are allowed (they repeat).

    Returns:
      ``[batch, side, side, channel]``, equal to torch's ``AdaptiveAvgPool2d``.
    """
    _, height, width, _ = x.shape
    if (height, width) == (side, side):
        return x
    rows, columns = (
        jnp.asarray(_bins(length, side), x.dtype) for length in (height, width)
    )
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x, precision=exact)


class PlainNet(nn.Module):
    """A chain of layers that returns all its named readouts.

    Attributes:
      features: the convolutional part.
      head: the classifier.
      through: deepest readout that is built, see `stages`; empty for all.
      classes: outputs of the last layer.
    """

    features: tuple[Conv | MaxPool, ...]
    head: Head
    through: str = ""
    classes: int = 1000

    @property
    def stages(self) -> tuple[str, ...]:
        """What `through` may be, shallow to deep: every readout."""
        names, index = [], -1
        for layer in self.features:
            index += 2 if isinstance(layer, Conv) else 1
            names.append(f"features.{index}")
        first, second, last = self.head.indices
        pool = ["avgpool"] if self.head.pool else []
        hidden = [f"classifier.{first + 1}", f"classifier.{second + 1}"]
        return (*names, *pool, *hidden, f"classifier.{last}")

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, first to last.

        Raises:
          InputError: the images are so small that a layer has no output.
        """
        out: dict[str, Array] = {}
        size = x.shape[1:3]
        steps: list[Callable[[Array, str], Array]]
        steps = [partial(self._feature, layer) for layer in self.features]
        if self.head.pool:
            steps.append(lambda x, name: adaptive_mean_pool(x, self.head.pool))
        steps += [self._hidden, self._hidden, self._last]
        for name, step in zip(self.stages, steps, strict=True):
            x = out[name] = step(x, name)
            if 0 in x.shape:
                raise InputError(f"images of {size} pixels leave nothing at {name}")
            if name == self.through:
                break
        return out

    def _feature(self, layer: Conv | MaxPool, x: Activation, name: str) -> Activation:
        if isinstance(layer, MaxPool):
            return max_pool(x, layer.size, layer.stride)
        return nn.relu(_conv(layer, _before(name))(x))

    def _hidden(self, x: Array, name: str) -> Array:
        """One of the two hidden layers; `name` is that of its ReLU."""
        first = name == f"classifier.{self.head.indices[0] + 1}"
        if self.head.kernel:
            layer = Conv(self.head.hidden, self.head.kernel if first else 1)
            return nn.relu(_conv(layer, _before(name))(x))
        x = _flat(x) if first else x
        return nn.relu(nn.Dense(self.head.hidden, name=_before(name))(x))

    def _last(self, x: Array, name: str) -> Array:
        if self.head.kernel:
            return _flat(_conv(Conv(self.classes, 1), name)(x))
        return nn.Dense(self.classes, name=name)(x)


def _before(name: str) -> str:
    """The module whose ReLU has this name: ``features.4`` to ``features.3``."""
    part, index = name.split(".")
    return f"{part}.{int(index) - 1}"


def _conv(layer: Conv, name: str) -> nn.Module:
    return conv(
        layer.channels, layer.size, layer.stride, pad=layer.pad, bias=True, name=name
    )


def _flat(x: Activation) -> Float[Array, "batch feature"]:
    """Flattened in torch's order: channel, height, width."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


alexnet = partial(
    PlainNet,
    features=(
        Conv(64, 11, stride=4, pad=2),
        MaxPool(3, 2),
        Conv(192, 5, pad=2),
        MaxPool(3, 2),
        Conv(384, 3, pad=1),
        Conv(256, 3, pad=1),
        Conv(256, 3, pad=1),
        MaxPool(3, 2),
    ),
    head=Head(pool=6, indices=(1, 4, 6)),
)
# No padding at the first layer, 384 channels in the fourth, and a head of convolutions.
# Its last pool needs a map of 11x11, the images therefore 195 pixels.
alexnet_v2 = partial(
    PlainNet,
    features=(
        Conv(64, 11, stride=4),
        MaxPool(3, 2),
        Conv(192, 5, pad=2),
        MaxPool(3, 2),
        Conv(384, 3, pad=1),
        Conv(384, 3, pad=1),
        Conv(256, 3, pad=1),
        MaxPool(3, 2),
    ),
    head=Head(pool=0, indices=(0, 3, 6), kernel=5),
)

SPECS: dict[str, Spec] = {
    "alexnet": Spec(alexnet, readout="features.12"),
    "AlexNet_training_seed_01": Spec(alexnet_v2, smallest=195, readout="features.11"),
}
