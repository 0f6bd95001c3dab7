"""DenseNets under torchvision's names: 121, 169 and 201 layers.

Every layer sees the concatenation of all outputs before it in its block:

    x_{l+1} = [x_l, conv3x3(relu(norm2(conv1x1(relu(norm1(x_l))))))]

A dense layer's readout is what it adds (the right part), a block's is all of it.

Sources: Huang et al. 2017, Densely connected convolutional networks (DenseNet-BC);
names of torchvision, and of tf.keras.applications for `from_keras`.
"""

from __future__ import annotations

import re
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from paramctl_jax.backbones.layers import Activation, conv, max_pool, mean_pool
from paramctl_jax.backbones.spec import Spec, Tensors

_EPSILON = 1e-5
_KERAS_EPSILON = 1.001e-5
_GROWTHS_IN_BOTTLENECK = 4  # width of the 1x1 convolution in units of the growth

_norm = partial(nn.BatchNorm, use_running_average=True, epsilon=_EPSILON)


class DenseLayer(nn.Module):
    """``conv2(relu(norm2(conv1(relu(norm1(x))))))``: a bottleneck, then a 3x3.

    Attributes:
      growth: channels that the layer adds.
    """

    growth: int

    @nn.compact
    def __call__(self, x: Activation) -> Activation:
        """Maps all channels so far to the new ones."""
        bottleneck = _GROWTHS_IN_BOTTLENECK * self.growth
        x = conv(bottleneck, 1, name="conv1")(nn.relu(_norm(name="norm1")(x)))
        return conv(self.growth, 3, name="conv2")(nn.relu(_norm(name="norm2")(x)))


class Transition(nn.Module):
    """Between two blocks: half the channels, then 2x2 means."""

    @nn.compact
    def __call__(self, x: Activation) -> Activation:
        """Maps ``[batch, h, w, c]`` to ``[batch, h // 2, w // 2, c // 2]``."""
        half = x.shape[-1] // 2
        x = conv(half, 1, name="conv")(nn.relu(_norm(name="norm")(x)))
        return mean_pool(x)


class DenseNet(nn.Module):
    """A densely connected network that returns all its named readouts.

    Attributes:
      layers: number of dense layers per block.
      growth: channels that each of them adds.
      stem: channels of the first convolution.
      through: deepest stage that is built, see `stages`; empty for all.
      classes: outputs of the classifier.
    """

    layers: tuple[int, ...]
    growth: int = 32
    stem: int = 64
    through: str = ""
    classes: int = 1000

    @property
    def stages(self) -> tuple[str, ...]:
        """What `through` may be, shallow to deep."""
        names = ["features.pool0"]
        for block in range(1, len(self.layers)):
            names += [f"features.denseblock{block}", f"features.transition{block}"]
        last = f"features.denseblock{len(self.layers)}"
        return (*names, last, "features", "classifier")

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, first to last."""
        out: dict[str, Array] = {}
        for name in self.stages:
            x = self._stage(name, x, out)
            if name == self.through:
                break
        return out

    def _stage(self, name: str, x: Array, out: dict[str, Array]) -> Array:
        """Applies one stage and adds its readouts to `out`."""
        kind = name.rstrip("0123456789")
        if kind == "features.pool":
            x = self._pooled_stem(x)
        elif kind == "features.denseblock":
            x = self._block(name, self.layers[int(name[len(kind) :]) - 1], x, out)
        elif kind == "features.transition":
            x = Transition(name=name)(x)
        elif kind == "features":
            x = nn.relu(_norm(name="features.norm5")(x))
        else:
            x = out["avgpool"] = jnp.mean(x, axis=(1, 2))
            x = nn.Dense(self.classes, name="classifier")(x)
        out[name] = x
        return x

    def _pooled_stem(self, x: Activation) -> Activation:
        x = conv(self.stem, 7, 2, name="features.conv0")(x)
        return max_pool(nn.relu(_norm(name="features.norm0")(x)), 3, 2, pad=1)

    def _block(
        self, name: str, count: int, x: Activation, out: dict[str, Array]
    ) -> Activation:
        for number in range(1, count + 1):
            layer = f"{name}.denselayer{number}"
            out[layer] = DenseLayer(self.growth, name=layer)(x)
            x = jnp.concatenate([x, out[layer]], axis=-1)
        return x


_INDEXED = re.compile(r"(.*\.denselayer\d+\.(?:norm|conv))\.([12]\..*)")


def from_indexed(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """Torchvision's published files: ``denselayer1.norm.1`` is ``denselayer1.norm1``.

    Modules with dots in their names, from before torch forbade them.
    """
    matches = {name: _INDEXED.fullmatch(name) for name in tensors}
    if not any(matches.values()):
        return None
    return {
        match[1] + match[2] if match else name: tensors[name]
        for name, match in matches.items()
    }


_KERAS_MODULES = {
    r"conv1[/_]conv": "features.conv0",
    r"conv1[/_]bn": "features.norm0",
    r"conv(\d+)_block(\d+)_0_bn": "features.denseblock{0}.denselayer{1}.norm1",
    r"conv(\d+)_block(\d+)_1_conv": "features.denseblock{0}.denselayer{1}.conv1",
    r"conv(\d+)_block(\d+)_1_bn": "features.denseblock{0}.denselayer{1}.norm2",
    r"conv(\d+)_block(\d+)_2_conv": "features.denseblock{0}.denselayer{1}.conv2",
    r"pool(\d+)_bn": "features.transition{0}.norm",
    r"pool(\d+)_conv": "features.transition{0}.conv",
    r"bn": "features.norm5",
    r"fc1000|predictions": "classifier",
}
_KERAS_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def from_keras(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """tf.keras.applications' DenseNets, ``/`` of a name also written as ``|``.

    Kernels are transposed (HWIO to OIHW, IO to OI). Keras adds 1.001e-5 to the
    variances where torch adds 1e-5: the difference goes into the running variance. The
    preprocessing is the same. Names that are none of Keras' are left as they are.
    """
    names = {name.replace("|", "/"): name for name in tensors}
    if "conv2_block1_0_bn/gamma" not in names:
        return None
    found = {}
    for name, original in names.items():
        layer, _, leaf = name.rpartition("/")
        tensor = tensors[original]
        if leaf == "kernel" and tensor.ndim > 1:
            tensor = np.moveaxis(tensor, (-1, -2), (0, 1))
        if leaf == "moving_variance":
            tensor = tensor + np.float32(_KERAS_EPSILON - _EPSILON)
        found[_torch_name(layer, leaf) or original] = tensor
    return found


def _torch_name(layer: str, leaf: str) -> str:
    """Torchvision's name of a Keras tensor; empty for what is none."""
    for pattern, module in _KERAS_MODULES.items():
        match = re.fullmatch(pattern, layer)
        if match and leaf in _KERAS_LEAVES:
            numbers = [int(group) for group in match.groups()]
            # Keras counts the stem as the first block
            numbers[:1] = [number - 1 for number in numbers[:1]]
            return f"{module.format(*numbers)}.{_KERAS_LEAVES[leaf]}"
    return ""


def _spec(layers: tuple[int, int, int, int]) -> Spec:
    # third block: a 14x14 map, of all that three blocks computed
    return Spec(
        partial(DenseNet, layers=layers),
        readout="features.denseblock3",
        layouts=(from_indexed, from_keras),
    )


SPECS: dict[str, Spec] = {
    "densenet121": _spec((6, 12, 24, 16)),
    "densenet169": _spec((6, 12, 32, 32)),
    "densenet201": _spec((6, 12, 48, 32)),
}
