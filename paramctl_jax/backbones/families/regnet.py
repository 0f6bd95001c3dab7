"""RegNetY under timm's names: grouped bottlenecks with squeeze and excitation.

Submodules bear timm's names: ``s3.b1/conv2.conv`` holds ``s3.b1.conv2.conv.weight``.
A readout is a block's output after the residual addition and its ReLU.

Sources: Radosavovic et al. 2020, "Designing network design spaces"; Goyal et al. 2021,
"Self-supervised pretraining of visual features in the wild" (SEER); timm's ``RegNet``.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from paramctl_jax.backbones.layers import Activation, conv
from paramctl_jax.backbones.spec import Spec

STAGES = ("s1", "s2", "s3", "s4", "avgpool", "head.fc")
SQUEEZE = 0.25  # of a block's input channels; RegNetY's, whatever the block's own width


def _conv_norm(
    x: Activation, features: int, size: int, stride: int, groups: int, name: str
) -> Activation:
    """Convolution and batch norm, of which a block has up to four."""
    x = conv(features, size, stride, groups=groups, name=f"{name}.conv")(x)
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=f"{name}.bn")(x)


class SqueezeExcite(nn.Module):
    """A gain per channel from all channels' means: ``x * sigmoid(fc2(relu(fc1(m))))``.

    Attributes:
      squeezed: channels between the two 1x1 convolutions.
    """

    squeezed: int

    @nn.compact
    def __call__(self, x: Activation) -> Activation:
        """Maps a feature map to one of the same shape."""
        gain = x.mean(axis=(1, 2), keepdims=True)
        gain = nn.relu(conv(self.squeezed, 1, bias=True, name="fc1")(gain))
        gain = conv(x.shape[-1], 1, bias=True, name="fc2")(gain)
        return x * nn.sigmoid(gain)


class Block(nn.Module):
    """A residual block: ``relu(shortcut(x) + residual(x))``.

    Attributes:
      width: channels inside and of the output (RegNetY does not narrow its middle).
      group: channels per group of the 3x3 convolution.
      stride: 1, or 2 at the entry of a stage.
    """

    width: int
    group: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Activation) -> Activation:
        """Applies the block."""
        width, stride = self.width, self.stride
        squeezed = round(x.shape[-1] * SQUEEZE)
        y = nn.relu(_conv_norm(x, width, 1, 1, 1, "conv1"))
        y = nn.relu(_conv_norm(y, width, 3, stride, width // self.group, "conv2"))
        y = SqueezeExcite(squeezed, name="se")(y)
        y = _conv_norm(y, width, 1, 1, 1, "conv3")
        if x.shape != y.shape:
            x = _conv_norm(x, width, 1, stride, 1, "downsample")
        return nn.relu(x + y)


class RegNet(nn.Module):
    """A RegNetY that returns all its named readouts.

    Attributes:
      layers: number of blocks per stage.
      widths: channels of each stage.
      group: channels per group of the 3x3 convolutions.
      stem: channels of the first convolution.
      classes: outputs of ``head.fc``; 0 leaves it out, as self-supervised weights do.
      through: deepest stage that is built, of `stages`; empty for all.
    """

    layers: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    group: int
    stem: int = 32
    classes: int = 1000
    through: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """What `through` may be, shallow to deep."""
        return STAGES if self.classes else STAGES[:-1]

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, first to last."""
        out: dict[str, Array] = {}
        x = nn.relu(_conv_norm(x, self.stem, 3, 2, 1, "stem"))
        for stage, (blocks, width) in enumerate(
            zip(self.layers, self.widths, strict=True)
        ):
            for index in range(blocks):
                name = f"{STAGES[stage]}.b{index + 1}"
                stride = 2 if index == 0 else 1
                x = Block(width, self.group, stride, name=name)(x)
                out[name] = x
            if STAGES[stage] == self.through:
                return out
        out["avgpool"] = jnp.mean(x, axis=(1, 2))
        if self.classes and self.through != "avgpool":
            out["head.fc"] = nn.Dense(self.classes, name="head.fc")(out["avgpool"])
        return out


# RegNetY-64GF: 276 million parameters without the head.
regnety_640 = partial(
    RegNet, layers=(2, 5, 12, 1), widths=(328, 984, 1968, 4920), group=328
)

SPECS: dict[str, Spec] = {
    # SEER: self-supervised, without a head
    "regnety_640": Spec(partial(regnety_640, classes=0), readout="s4.b1"),
}
