"""The network of one compact neuron: weights of one shape for all, one program.

    a_0 = relu(B_0(x - m) * K_0)                     112 x 112, 5 x 5 taps
    a_l = relu(B_l(P_l (a_{l-1} * D_l)))             l = 1 .. 4; 56, 28, 28, 28 pixels
    y   = sum_uvc beta_uvc a_4[u, v, c] + b

D_l has one 5 x 5 kernel per channel and stride 2 in the first two of its layers, P_l
mixes channels, B_l is the batch norm with its stored statistics, folded into what comes
before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from paramctl_jax.subject.compact_files import GRID, LAYERS, TAPS, Tensors

SIDE = 112
MEAN_PIXEL = (116.222, 109.270, 100.381)  # R, G, B of 0 to 255
STRIDES = (2, 2, 1, 1)  # of the layers after the first
EPSILON = 1e-5  # of the batch norms
LANES = 16  # 64 first filters take half the time of 49 (XLA on CPU)

Weight = Array | np.ndarray


class Block(NamedTuple):
    """One layer after the first, batch norm folded in.

    Attributes:
      depth: one kernel per channel.
      point: how channels are mixed.
      bias: per new channel.
    """

    depth: Float[Weight, "5 5 channel"]
    point: Float[Weight, "channel feature"]
    bias: Float[Weight, " feature"]


class Neuron(NamedTuple):
    """The weights of one neuron; filters it does not have are zero.

    Attributes:
      kernel: of the first layer, batch norm folded in.
      bias: of the first layer.
      blocks: the four further layers.
      readout: dense weights over positions and channels.
      offset: of the response.
    """

    kernel: Float[Weight, "5 5 3 feature"]
    bias: Float[Weight, " feature"]
    blocks: tuple[Block, ...]
    readout: Float[Weight, "28 28 channel"]
    offset: Float[Weight, ""]


def folded(tensors: Tensors) -> Neuron:
    """A neuron's weights with the batch norms in them, in float64."""
    scales, biases = zip(
        *(_norm(tensors, layer) for layer in range(LAYERS)), strict=True
    )
    points = [tensors[f"layer{n}_conv_point.weight"] for n in range(1, LAYERS)]
    depths = [tensors[f"layer{n}_conv_depth.weight"] for n in range(1, LAYERS)]
    rest = zip(depths, points, scales[1:], biases[1:], strict=True)
    return Neuron(
        kernel=tensors["layer0_conv.weight"].transpose(2, 3, 1, 0) * scales[0],
        bias=biases[0],
        blocks=tuple(
            Block(depth[:, 0].transpose(1, 2, 0), point[:, :, 0, 0].T * scale, bias)
            for depth, point, scale, bias in rest
        ),
        readout=tensors["Beta.weight"].reshape(GRID, GRID, -1),
        offset=tensors["Beta.bias"].reshape(()),
    )


def _norm(
    tensors: Tensors, layer: int
) -> tuple[Float[np.ndarray, " feature"], Float[np.ndarray, " feature"]]:
    """Scale s and bias t of ``B(z + c) = s z + t``, c the convolution's own bias."""
    convolution = f"layer{layer}_conv{'_point' if layer else ''}.bias"
    norm = {k: tensors[f"layer{layer}_bn.{k}"] for k in ("weight", "bias")}
    mean, variance = (tensors[f"layer{layer}_bn.running_{k}"] for k in ("mean", "var"))
    scale = norm["weight"] / np.sqrt(variance + EPSILON)
    return scale, scale * (tensors[convolution] - mean) + norm["bias"]


def of_one_shape(neurons: tuple[Neuron, ...]) -> tuple[Neuron, ...]:
    """Zero filters fill every layer up to one width, in float32."""
    used = [_widths(neuron) for neuron in neurons]
    wide = [-(-max(layer) // LANES) * LANES for layer in zip(*used, strict=True)]
    return tuple(_filled(neuron, wide) for neuron in neurons)


def _widths(neuron: Neuron) -> list[int]:
    return [len(neuron.bias), *(len(block.bias) for block in neuron.blocks)]


def _filled(neuron: Neuron, wide: Sequence[int]) -> Neuron:
    layers = zip(neuron.blocks, itertools.pairwise(wide), strict=True)
    return Neuron(
        kernel=_grown(neuron.kernel, (TAPS, TAPS, 3, wide[0])),
        bias=_grown(neuron.bias, wide[:1]),
        blocks=tuple(
            Block(
                depth=_grown(block.depth, (TAPS, TAPS, before)),
                point=_grown(block.point, (before, after)),
                bias=_grown(block.bias, (after,)),
            )
            for block, (before, after) in layers
        ),
        readout=_grown(neuron.readout, (GRID, GRID, wide[-1])),
        offset=_grown(neuron.offset, ()),
    )


def _grown(
    values: Float[Weight, "..."], shape: Sequence[int]
) -> Float[np.ndarray, "..."]:
    grown = np.zeros(shape, np.float32)
    grown[tuple(slice(side) for side in np.shape(values))] = values
    return grown


@jax.jit
def respond(
    neuron: Neuron, pixels: UInt8[Array, "image 112 112 3"]
) -> Float[Array, " image"]:
    """The response of one neuron to every image."""
    with jax.default_matmul_precision("highest"):
        mean = jnp.asarray([[[MEAN_PIXEL]]], jnp.float32)
        x = _first(pixels.astype(jnp.float32) - mean, neuron.kernel)
        x = jax.nn.relu(x + neuron.bias[None, None, None])
        for block, stride in zip(neuron.blocks, STRIDES, strict=True):
            x = _by_channel(x, block.depth, stride) @ block.point
            x = jax.nn.relu(x + block.bias[None, None, None])
        return jnp.einsum("nuvc,uvc->n", x, neuron.readout) + neuron.offset


def _first(
    x: Float[Array, "image height width 3"], kernel: Float[Weight, "5 5 3 feature"]
) -> Float[Array, "image height width feature"]:
    """Correlation with every kernel; zeros around the image."""
    names = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, jnp.asarray(kernel), (1, 1), "SAME", dimension_numbers=names
    )


def _by_channel(
    x: Float[Array, "image height width channel"],
    kernel: Float[Weight, "5 5 channel"],
    stride: int,
) -> Float[Array, "image h w channel"]:
    """Correlation of each channel with its own kernel, as a sum over the taps.

    A side of n pixels leaves ``ceil(n / stride)``. The zeros around it are 2 and 2 for
    stride 1; for stride 2 they are 1 before, and behind 3, of which the last one is
    never read. (XLA's grouped convolution takes several times as long on a CPU.)
    """
    before = 2 if stride == 1 else 1
    around = (before, TAPS - 1 - before)
    sides = [-(-side // stride) for side in x.shape[1:3]]
    x = jnp.pad(x, ((0, 0), around, around, (0, 0)))
    total = jnp.zeros((), x.dtype)
    for u, v in itertools.product(range(TAPS), repeat=2):
        rows, columns = (
            slice(start, start + stride * (side - 1) + 1, stride)
            for start, side in zip((u, v), sides, strict=True)
        )
        total = total + x[:, rows, columns] * kernel[None, None, None, u, v]
    return total
