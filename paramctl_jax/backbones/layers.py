"""What the convolutional families share: torch's convolution and pooling in Flax.

Padding is explicit throughout: Flax's ``SAME`` pads strided convolutions on the other
side than torch.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int8

from paramctl_jax.backbones.convolution import COLUMNS, ROWS, convolve, shifts

# height, width and channels change from layer to layer: only the rank is fixed here
Activation = Float[Array, "batch _ _ _"]


class Conv(nn.Module):
    """A square convolution by `convolve`, with the parameters of Flax's ``nn.Conv``.

    Attributes:
      features: channels of the output.
      size: side of the kernel.
      stride: along both axes.
      pad: pixels on every side.
      groups: of channels that do not mix.
      use_bias: adds one per channel.
    """

    features: int
    size: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Activation) -> Activation:
        """Maps ``[batch, h, w, channel]`` to ``[batch, h', w', features]``."""
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        x = convolve(x, kernel, self.stride, self.pad, self.groups)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.reshape(1, 1, 1, -1)
        return x


def conv(
    features: int,
    size: int,
    stride: int = 1,
    *,
    name: str,
    pad: int | None = None,
    groups: int = 1,
    bias: bool = False,
) -> Conv:
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
    return Conv(features, size, stride, pad, groups, bias, name=name)


def mean_pool(x: Activation) -> Activation:
    """The mean of each 2x2 pixel group; an odd last row or column is left out."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    groups = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return groups.mean(axis=(2, 4))


def max_pool(x: Activation, size: int, stride: int, pad: int = 0) -> Activation:
    """The maximum of each window; what is padded never wins.

    The gradient goes to the first pixel that has the maximum, row by row. On CPU by
    `_max_pool`: XLA's own gradient writes four index maps there, and scatters.
    """
    if jax.default_backend() == "cpu":
        return _max_pool(x, size, stride, pad)
    border: Any = ((pad, pad), (pad, pad))  # Flax annotates the names of paddings only
    return nn.max_pool(x, (size, size), strides=(stride, stride), padding=border)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: Activation, size: int, stride: int, padding: int) -> Activation:
    return _winners(x, size, stride, padding)[0]


def _winners(
    x: Activation, size: int, stride: int, padding: int
) -> tuple[Activation, Int8[Array, "batch _ _ _"]]:
    """The maximum of every window, and the first tap that has it, row by row."""
    edge = (padding, padding, 0)
    lowest = jnp.asarray(-jnp.inf, x.dtype)
    x = lax.pad(x, lowest, ((0, 0, 0), edge, edge, (0, 0, 0)))
    best, *others = shifts(x, size, (ROWS, COLUMNS), 0, stride=stride)
    winner = jnp.zeros(best.shape, jnp.int8)
    for tap, other in enumerate(others, start=1):
        winner = jnp.where(other > best, jnp.int8(tap), winner)
        best = jnp.maximum(best, other)
    return best, winner


def _max_pool_forward(
    x: Activation, size: int, stride: int, padding: int
) -> tuple[Activation, tuple[Array, Array]]:
    best, winner = _winners(x, size, stride, padding)
    return best, (winner, x[:0])


def _max_pool_backward(
    size: int, stride: int, padding: int, saved: tuple[Array, Array], g: Activation
) -> tuple[Activation]:
    """The pixel s a + i is tap s q + i of the window a - q, along either axis."""
    winner, like = saved
    reach = -(-size // stride)  # windows that a pixel lies in, along an axis
    _, height, width, channels = like.shape
    sides = [-(-(side + padding) // stride) for side in (height, width)]
    total = jnp.float32(0)
    tap = np.arange(stride)
    for down, right in itertools.product(range(reach), repeat=2):
        row, column = stride * down + tap[:, None], stride * right + tap
        taps = np.where((row < size) & (column < size), row * size + column, -1)
        taps = jnp.asarray(taps, jnp.int8).reshape(1, 1, stride, 1, stride, 1)
        at = _windows(winner, sides, (down, right)), _windows(g, sides, (down, right))
        total = total + jnp.where(at[0] == taps, at[1], 0).astype(jnp.float32)
    total = total.astype(g.dtype).reshape(
        g.shape[0], sides[0] * stride, sides[1] * stride, channels
    )
    inside = slice(padding, padding + height), slice(padding, padding + width)
    return (total[:, *inside],)


def _windows(x: Array, sides: list[int], back: tuple[int, int]) -> Array:
    """``[batch, row, 1, column, 1, channel]``: the window `back` of each pixel group.

    No window is filled with -2, which is no tap.
    """
    ends = [
        (step, side - size - step, 0)
        for step, side, size in zip(back, sides, x.shape[1:3], strict=True)
    ]
    x = lax.pad(x, jnp.asarray(-2, x.dtype), ((0, 0, 0), *ends, (0, 0, 0)))
    return x[:, :, None, :, None]


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
