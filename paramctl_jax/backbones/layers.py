"""What the convolutional families share: torch's convolution and pooling in Flax.

Padding is explicit throughout: Flax's ``SAME`` pads strided convolutions on the other
side than torch.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

# height, width and channels change from layer to layer: only the rank is fixed here
Activation = Float[Array, "batch _ _ _"]


def conv(
    features: int,
    size: int,
    stride: int = 1,
    *,
    name: str,
    pad: int | None = None,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv:
    """A square convolution.

    Args:
      features: channels of the output.
      size: side of the kernel.
      stride: along both axes.
      name: torch's name of the module.
      pad: pixels on every side; None for ``size // 2``.
      groups: of channels that do not mix.
      bias: adds one per channel.
    """
    pad = size // 2 if pad is None else pad
    return nn.Conv(
        features,
        (size, size),
        strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        feature_group_count=groups,
        use_bias=bias,
        kernel_init=nn.initializers.he_normal(),
        name=name,
    )


def max_pool(x: Activation, size: int, stride: int, pad: int = 0) -> Activation:
    """The maximum of each window; what is padded never wins."""
    border: Any = ((pad, pad), (pad, pad))  # Flax annotates the names of paddings only
    return nn.max_pool(x, (size, size), strides=(stride, stride), padding=border)


def mean_pool(x: Activation) -> Activation:
    """The mean of each 2x2 pixel group; an odd last row or column is left out."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    groups = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return groups.mean(axis=(2, 4))
