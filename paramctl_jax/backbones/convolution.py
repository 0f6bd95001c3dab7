"""Convolution for passes through frozen networks: matrix products on CPU.

A convolution with taps K[i, j] of shape [c, d] is written with one matrix product,

    y[u, v] = sum_ij x[u + i - p, v + j - p] K[i, j]

either gathering both axes before the product (im2col: k^2 c numbers per pixel), or the
columns before and the rows after it,

    z[r, v, i] = [x[r, v - p], ..., x[r, v + k - 1 - p]] K[i]     (k c in, k d out)
    y[u, v]    = sum_i z[u + i - p, v, i]

which moves k (c + d) numbers instead; the smaller of the two is taken. The gradient is
the transposed program: gathering and adding change places, no kernel is flipped.

Why: XLA's CPU runs `lax.conv` inside `lax.scan` ten times slower than outside of it
(jax 0.12) and without bfloat16 instructions; its products have neither weakness.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Map = Float[Array, "batch _ _ _"]
Kernel = Float[Array, "size size _ _"]
Axes = tuple[int, ...]

ROWS, COLUMNS = 1, 2
SCRATCH = 2**24  # most numbers per image beside the activations
SMALL_MAP = 8  # side up to which products win outside of loops as well

_outside_loops = contextvars.ContextVar("outside_loops", default=False)


@contextlib.contextmanager
def outside_loops() -> Iterator[None]:
    """Large maps by XLA's own convolution, in what is traced inside.

    For programs without a loop around the network: a robust training step, called from
    Python, is 1.3 times faster so on two cores.
    """
    token = _outside_loops.set(True)
    try:
        yield
    finally:
        _outside_loops.reset(token)


def convolve(
    x: Map,
    kernel: Kernel | Float[np.ndarray, "size size _ _"],
    stride: int,
    padding: int,
    groups: int = 1,
) -> Map:
    """A square convolution, differentiable with respect to both operands.

    Args:
      x: ``[batch, height, width, channel]``.
      kernel: ``[size, size, channel / groups, features]``, of the same dtype.
      stride: along both axes.
      padding: zeros on every side.
      groups: of channels that do not mix.

    Returns:
      ``[batch, h, w, features]``, ``h = (height + 2 padding - size) // stride + 1``.
    """
    kernel = jnp.asarray(kernel)
    if not as_products(x, kernel, stride, padding, groups):
        return library(x, kernel, stride, padding, groups)
    size, _, channels, _ = kernel.shape
    if size == 1:
        return _dot(_pad(x, padding)[:, ::stride, ::stride], kernel[0, 0])
    if stride == 1:
        return _valid(x, kernel, padding)
    if _pixel_groups_pay(size, stride, channels):
        return _in_pixel_groups(x, kernel, stride, padding)
    taps = shifts(_pad(x, padding), size, (ROWS, COLUMNS), 0, stride=stride)
    return _dot(jnp.concatenate(taps, axis=-1), _matrix(kernel, (ROWS, COLUMNS)))


def as_products(x: Map, kernel: Kernel, stride: int, padding: int, groups: int) -> bool:
    """Whether this backend and these shapes are served better by matrix products.

    Not grouped ones, whose products are many and small, nor maps so large that the
    gathered pixels leave every cache: VGG's 64 channels at 224 pixels.
    """
    size, _, channels, features = kernel.shape
    pixels = x.shape[1] * x.shape[2] // stride**2
    scratch = pixels * size * min(size * channels, stride * channels + features)
    large = size > 1 and stride == 1 and x.shape[1] > SMALL_MAP
    return (
        jax.default_backend() == "cpu"
        and not (large and _outside_loops.get())
        and groups == 1
        and padding < max(size, 2)
        and (size == 1 or scratch <= SCRATCH)
    )


def library(x: Map, kernel: Kernel, stride: int, padding: int, groups: int) -> Map:
    """The same convolution by XLA's own operation."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _pixel_groups_pay(size: int, stride: int, channels: int) -> bool:
    """Whether filling the kernel up to a multiple of the stride costs little.

    Up to half more operations, or an image as the input, whose product is narrow.
    """
    filled = -(-size // stride) * stride
    return filled**2 < 1.5 * size**2 or channels <= 4


def _in_pixel_groups(x: Map, kernel: Kernel, stride: int, padding: int) -> Map:
    """Stride s as stride 1 on groups of s x s pixels (space to depth).

    K[s a + i, s b + j] meets the pixel (i, j) of the group (a, b); what is missing of
    the last groups is zero.
    """
    size, _, channels, features = kernel.shape
    taps = -(-size // stride)
    batch = x.shape[0]
    height, width = (
        (side + 2 * padding - size) // stride + taps for side in x.shape[1:3]
    )
    ends = [
        (padding, n * stride - side - padding, 0)
        for n, side in zip((height, width), x.shape[1:3], strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *ends, (0, 0, 0)))
    x = x.reshape(batch, height, stride, width, stride, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, -1)
    fill = (0, taps * stride - size)
    kernel = jnp.pad(kernel, (fill, fill, (0, 0), (0, 0)))
    kernel = kernel.reshape(taps, stride, taps, stride, channels, features)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(taps, taps, -1, features)
    return _dot(x, kernel[0, 0]) if taps == 1 else _valid(x, kernel, 0)


def _split(x: Map, kernel: Kernel) -> tuple[Axes, Axes]:
    """Axes gathered before the product, and those added after it.

    What moves fewer numbers: n k^2 c, or n k (c + d) and the kernel's rearrangement;
    so large maps add, small ones with many channels do not (measured: 3x3 from 14x14).
    """
    size, _, channels, features = kernel.shape
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    more = pixels * size * (size * channels - channels - features)
    if more <= kernel.size:
        return (ROWS, COLUMNS), ()
    return (COLUMNS,), (ROWS,)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _valid(x: Map, kernel: Kernel, padding: int) -> Map:
    """A convolution of stride 1."""
    before, after = _split(x, kernel)
    size = kernel.shape[0]
    gathered = _gather(x, size, before, padding)
    return _add(_dot(gathered, _matrix(kernel, before)), size, after, padding)


def _valid_forward(
    x: Map, kernel: Kernel, padding: int
) -> tuple[Map, tuple[Map, Kernel]]:
    return _valid(x, kernel, padding), (x, kernel)


def _valid_backward(
    padding: int, saved: tuple[Map, Kernel], g: Map
) -> tuple[Map, Kernel]:
    """With y = A(G(x) M): gradients G'(A'(g) M') and G(x)' A'(g)."""
    x, kernel = saved
    before, after = _split(x, kernel)
    size, rest = kernel.shape[0], kernel.shape[0] - 1 - padding
    g = _gather(g, size, after, rest, flip=True)
    matrix = _matrix(kernel, before)
    gx = _add(_dot(g, matrix, 1), size, before, rest, flip=True)
    gathered = _gather(x, size, before, padding)
    pixels = ((0, 1, 2), (0, 1, 2))
    gm = lax.dot_general(gathered, g, (pixels, ((), ())))
    order = _order(before)
    gm = gm.reshape([kernel.shape[axis] for axis in order])
    return gx, gm.transpose([order.index(axis) for axis in range(4)])


_valid.defvjp(_valid_forward, _valid_backward)


def _order(before: Axes) -> list[int]:
    """A kernel's axes: taps gathered, channels, taps added, features."""
    taps = [axis - 1 for axis in before]
    return [*taps, 2, *(axis for axis in (0, 1) if axis not in taps), 3]


def _matrix(kernel: Kernel, before: Axes) -> Float[Array, "inputs outputs"]:
    rows = kernel.shape[0] ** len(before) * kernel.shape[2]
    return kernel.transpose(_order(before)).reshape(rows, -1)


def _dot(x: Map, matrix: Float[Array, "_ _"], axis: int = 0) -> Map:
    """``x M``, or ``x M'`` for axis 1."""
    return lax.dot_general(x, matrix, (((3,), (axis,)), ((), ())))


def _pad(x: Map, padding: int, axes: Axes = (ROWS, COLUMNS)) -> Map:
    if not padding or not axes:
        return x
    return jnp.pad(x, [(padding, padding) if a in axes else (0, 0) for a in range(4)])


def shifts(
    x: Map, size: int, axes: Axes, padding: int, *, flip: bool = False, stride: int = 1
) -> list[Map]:
    """What every tap of a window sees, tap after tap; the last one first for `flip`."""
    x = _pad(x, padding, axes)
    taps = list(itertools.product(range(size), repeat=len(axes)))
    seen = []
    for tap in reversed(taps) if flip else taps:
        index = [slice(None)] * 4
        for axis, start in zip(axes, tap, strict=True):
            count = (x.shape[axis] - size) // stride
            index[axis] = slice(start, start + count * stride + 1, stride)
        seen.append(x[tuple(index)])
    return seen


def _gather(x: Map, size: int, axes: Axes, padding: int, *, flip: bool = False) -> Map:
    """``[..., tap channel]``: the window of every pixel along the given axes."""
    if not axes:
        return x
    return jnp.concatenate(shifts(x, size, axes, padding, flip=flip), axis=-1)


def _add(z: Map, size: int, axes: Axes, padding: int, *, flip: bool = False) -> Map:
    """The transpose of `_gather` (with the other `flip`, and size - 1 - padding)."""
    if not axes:
        return z
    features = z.shape[-1] // size ** len(axes)
    seen = shifts(z, size, axes, padding, flip=flip)
    # taps are summed in float32 and rounded once
    total = sum(
        part[..., tap * features : (tap + 1) * features].astype(jnp.float32)
        for tap, part in enumerate(seen)
    )
    return jnp.asarray(total).astype(z.dtype)
