"""The ResNet family under torchvision's names, from ResNet-152 to the bundled nets.

Submodules bear torchvision's names: ``layer4.1/conv2`` holds ``layer4.1.conv2.weight``.
Every readout is a block's output after the residual
addition and its ReLU, as torchvision's ``layer4[1]`` returns it.

Sources: He et al. 2016 (v1: stride on the first 1x1); torchvision (stride on the 3x3).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from paramctl_jax.backbones.convolution import convolve
from paramctl_jax.backbones.layers import Activation, conv, max_pool, mean_pool
from paramctl_jax.backbones.spec import Spec

STAGES = ("layer1", "layer2", "layer3", "layer4", "fc")


class HalvingConv(nn.Module):
    """A 4x4 convolution with stride 2 and padding 1: every pixel meets 2x2 taps."""

    features: int

    @nn.compact
    def __call__(self, x: Activation) -> Activation:
        """Maps ``[batch, 2h, 2w, channel]`` to ``[batch, h, w, features]``."""
        shape = (4, 4, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return convolve(x, kernel, stride=2, padding=1)


class Block(nn.Module):
    """A residual block: ``relu(shortcut(x) + residual(x))``.

    Attributes:
      width: channels of the stage; a bottleneck's output has four times as many.
      stride: 1, or 2 at the entry of a stage.
      kind: ``basic`` (two 3x3) or ``bottleneck`` (1x1, 3x3, 1x1 to 4 x width).
      halving: where the stride sits: on the ``3x3`` (torchvision), on the first
        ``1x1`` (the original v1), or as a mean ``pool`` before the block, which keeps
        every pixel in the shortcut's view (the bundled nets).
      residual_scale: initial scale of the last batch norm.
      widening: channels of a bottleneck's 3x3 over `width` (2 in wide ResNets).
    """

    width: int
    stride: int = 1
    kind: Literal["basic", "bottleneck"] = "bottleneck"
    halving: Literal["3x3", "1x1", "pool"] = "3x3"
    residual_scale: float = 1.0
    widening: int = 1

    @nn.compact
    def __call__(self, x: Activation, norm: Callable[..., Any]) -> Activation:
        """Applies the block; `norm` makes a batch norm from a name."""
        stride = self.stride
        if self.halving == "pool" and stride == 2:
            x, stride = mean_pool(x), 1
        last = partial(norm, scale_init=nn.initializers.constant(self.residual_scale))
        residual = self._residual(x, stride, norm, last)
        if x.shape != residual.shape:
            x = conv(residual.shape[-1], 1, stride, name="downsample.0")(x)
            x = norm(name="downsample.1")(x)
        return nn.relu(x + residual)

    def _residual(
        self, x: Activation, stride: int, norm: Callable[..., Any], last: Any
    ) -> Activation:
        if self.kind == "basic":
            y = nn.relu(norm(name="bn1")(conv(self.width, 3, stride, name="conv1")(x)))
            return last(name="bn2")(conv(self.width, 3, name="conv2")(y))
        first, second = (stride, 1) if self.halving == "1x1" else (1, stride)
        inner = self.widening * self.width
        y = nn.relu(norm(name="bn1")(conv(inner, 1, first, name="conv1")(x)))
        y = nn.relu(norm(name="bn2")(conv(inner, 3, second, name="conv2")(y)))
        return last(name="bn3")(conv(4 * self.width, 1, name="conv3")(y))


class ResNet(nn.Module):
    """A residual network that returns all its named readouts.

    Attributes:
      layers: number of blocks per stage.
      kind: of the blocks, see `Block`.
      width: channels of the first stage; doubled at each further one.
      halving: where the stride sits, see `Block`.
      stem: ``imagenet`` (7x7 stride 2, max pool) or ``small`` (4x4 stride 2).
      through: deepest stage that is built: ``layer1`` ... ``layer4``; empty for all.
      classes: outputs of ``fc``; 0 leaves it out.
      residual_scale: initial scale of each block's last batch norm, for training.
      widening: of the bottlenecks, see `Block`.
      train: batch statistics instead of running averages in every batch norm.
    """

    layers: tuple[int, int, int, int]
    kind: Literal["basic", "bottleneck"] = "bottleneck"
    width: int = 64
    halving: Literal["3x3", "1x1", "pool"] = "3x3"
    stem: Literal["imagenet", "small"] = "imagenet"
    through: str = ""
    classes: int = 1000
    residual_scale: float = 1.0
    widening: int = 1
    train: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """What `through` may be, shallow to deep."""
        return STAGES if self.classes else STAGES[:-1]

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, first to last."""
        norm = partial(
            nn.BatchNorm, use_running_average=not self.train, momentum=0.9, epsilon=1e-5
        )
        out: dict[str, Array] = {}
        x = self._stem(x, norm)
        for stage, blocks in enumerate(self.layers):
            name = STAGES[stage]
            for index in range(blocks):
                x = Block(
                    width=self.width * 2**stage,
                    stride=2 if stage > 0 and index == 0 else 1,
                    kind=self.kind,
                    halving=self.halving,
                    residual_scale=self.residual_scale,
                    widening=self.widening,
                    name=f"{name}.{index}",
                )(x, norm)
                out[f"{name}.{index}"] = x
            if name == self.through:
                return out
        out["avgpool"] = jnp.mean(x, axis=(1, 2))
        if self.classes:
            out["fc"] = nn.Dense(self.classes, name="fc")(out["avgpool"])
        return out

    def _stem(self, x: Activation, norm: Callable[..., Any]) -> Activation:
        if self.stem == "small":
            x = HalvingConv(self.width, name="conv1")(x)
            return nn.relu(norm(name="bn1")(x))
        x = conv(self.width, 7, 2, name="conv1")(x)
        return max_pool(nn.relu(norm(name="bn1")(x)), 3, 2, pad=1)


# The bundled nets: one basic block per stage, mean pooling between stages, so that
# the input gradient carries no lattice (a chain of strided 1x1 shortcuts would read
# a sparse grid of pixels); 1.25 million parameters.
small_resnet = partial(
    ResNet,
    layers=(1, 1, 1, 1),
    kind="basic",
    width=32,
    halving="pool",
    stem="small",
    classes=100,
    residual_scale=0.5,
)
_SMALL = Spec(small_resnet, input_size=64, multiple=2, readout="layer4.0")
# Training radii of Salman et al. 2020: one architecture, one recipe.
L2_RADII = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
LINF_RADII = ("0.5", "1.0", "2.0", "4.0", "8.0")  # of 255


def _spec(layers: tuple[int, int, int, int], **settings: Any) -> Spec:
    """A ResNet at 224 pixels, read out near its end as in Prince et al. 2025."""
    return Spec(partial(ResNet, layers=layers, **settings), readout="layer4.1")


SPECS: dict[str, Spec] = {
    "resnet18": _spec((2, 2, 2, 2), kind="basic"),
    "resnet34": _spec((3, 4, 6, 3), kind="basic"),
    "resnet50": _spec((3, 4, 6, 3)),
    "resnet50_v2": _spec((3, 4, 6, 3)),
    # He et al.'s original: the stride of a stage sits on the first 1x1 convolution.
    "resnet50_v1": _spec((3, 4, 6, 3), halving="1x1"),
    "resnet50_robust": _spec((3, 4, 6, 3)),
    "resnet50_robust_linf4": _spec((3, 4, 6, 3)),
    "resnet50_robust_l2_3": _spec((3, 4, 6, 3)),
    "resnet50_dino": _spec((3, 4, 6, 3), classes=0),
    **{f"resnet50_l2_eps{radius}": _spec((3, 4, 6, 3)) for radius in L2_RADII},
    **{f"resnet50_linf_eps{radius}": _spec((3, 4, 6, 3)) for radius in LINF_RADII},
    "resnet101": _spec((3, 4, 23, 3)),
    "resnet152": _spec((3, 8, 36, 3)),
    "wide_resnet50_2": _spec((3, 4, 6, 3), widening=2),
    "small_standard": _SMALL,
    "small_robust": _SMALL,
    "small_linf_eps1": _SMALL,
    "small_linf_eps4": _SMALL,
    "small_subject_standard": _SMALL,
    "small_subject_robust": _SMALL,
}
