"""VGG-16 without batch norm, under torchvision's names.

Source: Simonyan & Zisserman 2015, Very deep convolutional networks (configuration D).
"""

from __future__ import annotations

from functools import partial

from paramctl_jax.backbones.families.alexnet import Conv, Head, MaxPool, PlainNet
from paramctl_jax.backbones.spec import Spec

HEAD = Head(pool=7, indices=(0, 3, 6))


def blocks(
    channels: tuple[int, ...], counts: tuple[int, ...]
) -> tuple[Conv | MaxPool, ...]:
    """The convolutional part: per block some 3x3 convolutions, then a 2x2 max pool.

    Args:
      channels: of every convolution of a block.
      counts: number of convolutions of a block.
    """
    layers: list[Conv | MaxPool] = []
    for width, count in zip(channels, counts, strict=True):
        layers += [Conv(width, 3, pad=1)] * count
        layers.append(MaxPool(2, 2))
    return tuple(layers)


vgg16 = partial(
    PlainNet,
    features=blocks((64, 128, 256, 512, 512), (2, 2, 3, 3, 3)),
    head=HEAD,
)

# The last ReLU of block 5: the deepest feature map, before the pool that keeps one
# position of four and would pass an image's gradient to that one only.
SPECS: dict[str, Spec] = {"vgg16": Spec(vgg16, readout="features.29")}
