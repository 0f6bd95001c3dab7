"""CLIP's modified ResNet under OpenAI's names, its image tower alone.

Against torchvision's ResNet: a stem of three 3x3 convolutions and a mean pool; every
stride is a 2x2 mean pool before the convolution that follows (so every convolution but
the first has stride 1); and the last pooling is attention, with the mean token as its
only query. Submodules bear the names of OpenAI's ``visual``, so that ``layer4.1/conv2``
holds ``visual.layer4.1.conv2.weight``.

Sources: Radford et al. 2021, "Learning transferable visual models from natural language
supervision"; names as in github.com/openai/CLIP and open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from paramctl_jax.backbones.layers import Activation, conv, mean_pool
from paramctl_jax.backbones.layouts import image_tower
from paramctl_jax.backbones.spec import CLIP_MEAN, CLIP_STD, Spec, Tensors

STAGES = ("layer1", "layer2", "layer3", "layer4", "attnpool")


class Bottleneck(nn.Module):
    """A residual block: ``relu(shortcut(x) + residual(x))``, pooled where it strides.

    Attributes:
      width: channels of the 3x3 convolution; the output has four times as many.
      stride: 1, or 2 at the entry of a stage.
    """

    width: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Activation, norm: Callable[..., Any]) -> Activation:
        """Applies the block; `norm` makes a batch norm from a name."""
        y = nn.relu(norm(name="bn1")(conv(self.width, 1, name="conv1")(x)))
        y = nn.relu(norm(name="bn2")(conv(self.width, 3, name="conv2")(y)))
        if self.stride == 2:
            x, y = mean_pool(x), mean_pool(y)
        y = norm(name="bn3")(conv(4 * self.width, 1, name="conv3")(y))
        if x.shape != y.shape:
            x = conv(4 * self.width, 1, name="downsample.0")(x)
            x = norm(name="downsample.1")(x)
        return nn.relu(x + y)


def resize_positions(
    table: Float[Array, "token channel"], grid: int, height: int, width: int
) -> Float[Array, "_ channel"]:
    """Position embeddings of a square grid for another one; the first token's stay.

    Bicubic with antialiasing where the grid shrinks. OpenAI's module knows its own grid
    only; the resizing is timm's (``resample_abs_pos_embed``).

    Args:
      table: of the mean token and of the ``grid x grid`` pixels, row by row.
      grid: side of the table's grid.
      height: of the new grid.
      width: of the new grid.

    Returns:
      ``[1 + height * width, channel]``; the table itself where nothing changes.
    """
    if (height, width) == (grid, grid):
        return table
    channels = table.shape[-1]
    pixels = table[1:].reshape(grid, grid, channels)
    pixels = jax.image.resize(pixels, (height, width, channels), "cubic")
    return jnp.concatenate([table[:1], pixels.reshape(-1, channels)])


class AttentionPool(nn.Module):
    """Multi-head attention of the mean token to itself and to all pixels.

    ``c_proj(softmax(q k' / sqrt(channels / heads)) v)``, with the query of the mean
    token alone: the original computes every token's output and keeps the first.

    Attributes:
      features: channels of the output.
      heads: of the attention.
      grid: side of the map that the position embedding was made for.
    """

    features: int
    heads: int
    grid: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"]
    ) -> Float[Array, "batch feature"]:
        """Maps a feature map to one vector per image."""
        batch, height, width, channels = x.shape
        tokens = x.reshape(batch, height * width, channels)
        tokens = jnp.concatenate([tokens.mean(axis=1, keepdims=True), tokens], axis=1)
        tokens = tokens + self._positions(height, width, channels)

        def split(tokens: Array, name: str) -> Array:
            projected = nn.Dense(channels, name=name)(tokens)
            return projected.reshape(*tokens.shape[:2], self.heads, -1)

        query = split(tokens[:, :1], "q_proj")
        key, value = split(tokens, "k_proj"), split(tokens, "v_proj")
        query = query * (channels // self.heads) ** -0.5
        logits = jnp.einsum("bqhc,bkhc->bhqk", query, key)
        pooled = jnp.einsum("bhqk,bkhc->bqhc", nn.softmax(logits), value)
        return nn.Dense(self.features, name="c_proj")(pooled.reshape(batch, channels))

    def _positions(self, height: int, width: int, channels: int) -> Array:
        """``[1, token, channel]`` for this size of map."""
        table = self.param(
            "positional_embedding",
            nn.initializers.normal(channels**-0.5),
            (self.grid**2 + 1, channels),
        )
        return resize_positions(table, self.grid, height, width)[None]


class ClipResNet(nn.Module):
    """The image tower of a CLIP ResNet, which returns all its named readouts.

    The position embedding of the attention pool is resized where the images are not
    those of training, see `resize_positions`; the convolutions take any size.

    Attributes:
      layers: number of blocks per stage.
      features: channels of ``attnpool``, the image embedding before its normalisation.
      heads: of the attention pool.
      width: channels of the first stage; doubled at each further one.
      grid: side of the last map in training, 1/32 of the images'.
      through: deepest stage that is built: ``layer1`` ... ``layer4``; empty for all.
    """

    layers: tuple[int, int, int, int]
    features: int
    heads: int
    width: int = 64
    grid: int = 7
    through: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """What `through` may be, shallow to deep."""
        return STAGES

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, first to last."""
        norm = partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)
        out: dict[str, Array] = {}
        x = self._stem(x, norm)
        for stage, blocks in enumerate(self.layers):
            for index in range(blocks):
                name = f"{STAGES[stage]}.{index}"
                stride = 2 if stage > 0 and index == 0 else 1
                x = Bottleneck(self.width * 2**stage, stride, name=name)(x, norm)
                out[name] = x
            if STAGES[stage] == self.through:
                return out
        pool = AttentionPool(self.features, self.heads, self.grid, name="attnpool")
        out["attnpool"] = pool(x)
        return out

    def _stem(self, x: Activation, norm: Callable[..., Any]) -> Activation:
        half = self.width // 2
        for index, (features, stride) in enumerate(
            ((half, 2), (half, 1), (self.width, 1)), start=1
        ):
            x = conv(features, 3, stride, name=f"conv{index}")(x)
            x = nn.relu(norm(name=f"bn{index}")(x))
        return mean_pool(x)


def openai_layout(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """The image tower of OpenAI's archive or of an open_clip state dict.

    Drops the ``visual.`` prefix, the text tower, and the sizes stored as tensors; a
    name that belongs to none of these stays, for the loader to report.
    """
    if "visual.conv1.weight" not in tensors:
        return None
    return image_tower(tensors, "visual.")


_TIMM_CONV = re.compile(r"conv([123])(?:_1x1|_kxk)?\.(conv|bn)\.")
_TIMM_HEAD = {
    "head.pos_embed": "attnpool.positional_embedding",
    **{
        f"head.{timm}.{leaf}": f"attnpool.{name}_proj.{leaf}"
        for timm, name in {"q": "q", "k": "k", "v": "v", "proj": "c"}.items()
        for leaf in ("weight", "bias")
    },
}


def _from_timm(name: str) -> str:
    """``stages.1.0.conv2_kxk.bn.bias`` to ``layer2.0.bn2.bias``."""
    if name in _TIMM_HEAD:
        return _TIMM_HEAD[name]
    name = name.removeprefix("stem.")
    name = re.sub(r"^stages\.(\d)\.", lambda m: f"layer{int(m[1]) + 1}.", name)
    name = name.replace("shortcut.conv.conv.", "downsample.0.")
    name = name.replace("shortcut.conv.bn.", "downsample.1.")
    return _TIMM_CONV.sub(r"\2\1.", name)


def timm_layout(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """The same network as timm names it (``resnet50_clip``, a ByobNet)."""
    if "stem.conv1.conv.weight" not in tensors:
        return None
    return {_from_timm(name): tensor for name, tensor in tensors.items()}


SPECS: dict[str, Spec] = {
    "resnet50_clip": Spec(
        partial(ClipResNet, layers=(3, 4, 6, 3), features=1024, heads=32),
        mean=CLIP_MEAN,
        std=CLIP_STD,
        readout="layer4.1",
        layouts=(openai_layout, timm_layout),
    ),
}
