"""Parts of a vision transformer under timm's names: positions, blocks, pooling.

Sources: Dosovitskiy et al. 2021 (ViT); Touvron et al. 2021 (layer scale); Zhai et al.
2022 (attention pooling).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from paramctl_jax.backbones.convolution import convolve
from paramctl_jax.types import InputError

Tokens = Float[Array, "batch token channel"]
Heads = Float[Array, "batch _ head _"]

small = nn.initializers.normal(0.02)


def _quick_gelu(x: Tokens) -> Tokens:
    """``x sigmoid(1.702 x)``, the approximation that OpenAI's CLIP was trained with."""
    return x * nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": partial(nn.gelu, approximate=False),
    "quick_gelu": _quick_gelu,
}


def _aligned_weights(native: int, size: int) -> Float[np.ndarray, "size native"]:
    """Linear interpolation of a line of points at which the two ends stay the ends."""
    at = np.linspace(0, native - 1, size)[:, None]
    return np.maximum(0, 1 - np.abs(at - np.arange(native))).astype(np.float32)


def resample(
    positions: Float[Array, "native native channel"],
    rows: int,
    columns: int,
    rule: Literal["bicubic", "aligned"],
) -> Float[Array, "rows columns channel"]:
    """Position embeddings on another grid; on their own grid they are untouched.

    Args:
      positions: on the grid they were trained on.
      rows: of patches in the input.
      columns: of patches in the input.
      rule: ``bicubic``: Keys' kernel with a = -1/2, antialiased (timm; DINOv2's models
        with registers). ``aligned``: linear onto the square of the longer side, corner
        on corner, of which the upper left part is taken (RADIO's patch generator).
    """
    native, _, channels = positions.shape
    if rows == columns == native:
        return positions
    if rule == "bicubic":
        shape = (rows, columns, channels)
        return jax.image.resize(positions, shape, "cubic", antialias=True)
    weights = _aligned_weights(native, max(rows, columns))
    return jnp.einsum(
        "rh,cw,hwd->rcd",
        jnp.asarray(weights[:rows], positions.dtype),
        jnp.asarray(weights[:columns], positions.dtype),
        positions,
        precision=jax.lax.Precision.HIGHEST,
    )


class PatchEmbed(nn.Module):
    """A convolution whose stride is its size; a product per patch on CPU."""

    patch: int
    features: int
    use_bias: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"]
    ) -> Float[Array, "batch row column features"]:
        """Maps ``[batch, p h, p w, channel]`` to ``[batch, h, w, features]``."""
        _, height, width, channels = x.shape
        size = self.patch
        if height % size or width % size:
            raise InputError(
                f"expected an image whose sides are multiples of the patch of {size} "
                f"pixels, found {height}x{width}"
            )
        shape = (size, size, channels, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        x = convolve(x, kernel, stride=size, padding=0)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.reshape(1, 1, 1, -1)
        return x


class Norm(nn.Module):
    """``(x - mean) / sqrt(variance + epsilon) scale + bias`` over channels.

    Computed in float32 and rounded once to the tokens' own precision; Flax's would mix
    the two.

    Attributes:
      epsilon: added to the variance.
    """

    epsilon: float

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        """Maps tokens to tokens of the same shape."""
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape).astype(jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape).astype(jnp.float32)
        y = x.astype(jnp.float32)
        y = y - y.mean(axis=-1, keepdims=True)
        variance = jnp.square(y).mean(axis=-1, keepdims=True)
        gain = jax.lax.rsqrt(variance + self.epsilon) * scale.reshape(1, 1, -1)
        return (y * gain + bias.reshape(1, 1, -1)).astype(x.dtype)


class LayerScale(nn.Module):
    """A factor per channel, before a residual addition."""

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        """``gamma x``."""
        gamma = self.param("gamma", nn.initializers.constant(1e-5), (x.shape[-1],))
        return x * gamma.reshape(1, 1, -1)


def _split(x: Tokens, parts: int, heads: int) -> list[Heads]:
    """Queries, keys and values of all heads: ``[batch, token, head, channel]`` each."""
    batch, tokens, _ = x.shape
    x = x.reshape(batch, tokens, parts, heads, -1)
    return [x[:, :, part] for part in range(parts)]


def _attend(queries: Heads, keys: Heads, values: Heads) -> Tokens:
    """``softmax(q k' / sqrt(d)) v`` per head, the heads side by side.

    The softmax is in float32, both products in the tokens' own precision.
    """
    logits = jnp.einsum("bqhc,bkhc->bhqk", queries, keys).astype(jnp.float32)
    weights = nn.softmax(logits * queries.shape[-1] ** -0.5).astype(values.dtype)
    out = jnp.einsum("bhqk,bkhc->bqhc", weights, values)
    return out.reshape(*out.shape[:2], -1)


def _mlp(x: Tokens, name: str, activation: Callable[[Array], Array]) -> Tokens:
    hidden = activation(nn.Dense(4 * x.shape[-1], name=f"{name}.fc1")(x))
    return nn.Dense(x.shape[-1], name=f"{name}.fc2")(hidden)


class Block(nn.Module):
    """``x + attention(norm1(x))``, then ``x + mlp(norm2(x))``.

    Attributes:
      heads: of the attention.
      activation: of the MLP, a key of `ACTIVATIONS`.
      epsilon: of both norms.
      layer_scale: a learned factor per channel before each addition.
    """

    heads: int
    activation: str
    epsilon: float
    layer_scale: bool

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        """Applies the block."""
        norm = partial(Norm, self.epsilon)
        y = nn.Dense(3 * x.shape[-1], name="attn.qkv")(norm(name="norm1")(x))
        y = _attend(*_split(y, 3, self.heads))
        x = x + self._scale(nn.Dense(x.shape[-1], name="attn.proj")(y), "ls1")
        y = _mlp(norm(name="norm2")(x), "mlp", ACTIVATIONS[self.activation])
        return x + self._scale(y, "ls2")

    def _scale(self, x: Tokens, name: str) -> Tokens:
        return LayerScale(name=name)(x) if self.layer_scale else x


class AttentionPool(nn.Module):
    """One learned query over all tokens, then an MLP (Zhai et al. 2022).

    Attributes:
      heads: of the attention.
      activation: of the MLP, a key of `ACTIVATIONS`.
      epsilon: of the norm.
    """

    heads: int
    activation: str
    epsilon: float

    @nn.compact
    def __call__(self, x: Tokens) -> Float[Array, "batch channel"]:
        """Maps ``[batch, token, channel]`` to ``[batch, channel]``."""
        batch, _, width = x.shape
        latent = self.param("latent", small, (1, 1, width))
        queries = nn.Dense(width, name="q")(jnp.broadcast_to(latent, (batch, 1, width)))
        keys, values = _split(nn.Dense(2 * width, name="kv")(x), 2, self.heads)
        y = _attend(_split(queries, 1, self.heads)[0], keys, values)
        y = nn.Dense(width, name="proj")(y)
        norm = Norm(self.epsilon, name="norm")
        return (y + _mlp(norm(y), "mlp", ACTIVATIONS[self.activation]))[:, 0]
