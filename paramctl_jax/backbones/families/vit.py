"""Vision transformers under timm's names: CLIP, CLIPAG, DINOv2, SigLIP2 and RADIO.

Every readout of a block is its output after both residual additions. Position
embeddings stay as they were published and are resampled inside the graph, by each
project's own rule, where the input has another size than the one they were trained at.

Sources: Radford et al. 2021 (CLIP); Ganz & Elad 2024 (CLIPAG); Oquab et al. 2024 and
Darcet et al. 2024 (DINOv2, registers); Tschannen et al. 2025 (SigLIP2); Heinrich et al.
2025 (RADIOv2.5).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from paramctl_jax.backbones.families import vit_layouts
from paramctl_jax.backbones.families.vit_layers import (
    AttentionPool,
    Block,
    Norm,
    PatchEmbed,
    Tokens,
    resample,
    small,
)
from paramctl_jax.backbones.spec import CLIP_MEAN, CLIP_STD, Layout, Spec


class VisionTransformer(nn.Module):
    """A vision transformer that returns all its named readouts.

    The tokens are class tokens, registers, patches row by row. Read out are, per block,
    all tokens (``blocks.N``) and the mean of all (``blocks.N.avgtoken``); where there
    are class tokens, the first of them (``blocks.N.clstoken``) and the mean of the
    patches alone (``blocks.N.avgpatch``); in RADIO those of the summary side by side
    (``blocks.N.summary``); then what `end` says.

    Attributes:
      patch: side of a patch in pixels.
      native: side of the position embeddings' own grid in patches.
      width: channels of a token.
      depth: number of blocks.
      heads: of every attention.
      class_tokens: number of class tokens, 0 for none.
      registers: number of further tokens that carry no patch.
      class_position: the class token has a position embedding of its own.
      patch_bias: the patch embedding has a bias.
      pre_norm: a norm before the first block.
      layer_scale: see `Block`.
      activation: of the MLPs, a key of `ACTIVATIONS`.
      epsilon: of the norms.
      resampling: of position embeddings, see `resample`.
      end: after the last block: ``head``: `norm`, then a linear map of the class token
        (the class token itself if `classes` is 0); ``attn_pool``: `norm`, then
        attention pooling; ``summary``: class tokens side by side, without a norm.
      classes: outputs of ``head``.
      summary_tokens: number of class tokens in ``summary``, side by side.
      through: deepest stage that is built, one of `stages`; empty for all.
    """

    patch: int
    native: int
    width: int = 768
    depth: int = 12
    heads: int = 12
    class_tokens: int = 1
    registers: int = 0
    class_position: bool = False
    patch_bias: bool = True
    pre_norm: bool = False
    layer_scale: bool = False
    activation: str = "gelu"
    epsilon: float = 1e-6
    resampling: Literal["bicubic", "aligned"] = "bicubic"
    end: Literal["head", "attn_pool", "summary"] = "head"
    classes: int = 0
    summary_tokens: int = 3
    through: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """What `through` may be, shallow to deep."""
        norm = () if self.end == "summary" else ("norm",)
        blocks = tuple(f"blocks.{index}" for index in range(self.depth))
        return (*blocks, *norm, self.end)

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, first to last."""
        out: dict[str, Array] = {}
        x = self._embed(x)
        for index in range(self.depth):
            name = f"blocks.{index}"
            x = Block(
                heads=self.heads,
                activation=self.activation,
                epsilon=self.epsilon,
                layer_scale=self.layer_scale,
                name=name,
            )(x)
            out |= self._read(name, x)
            if name == self.through:
                return out
        return out | self._finish(x)

    def _embed(self, x: Float[Array, "batch height width 3"]) -> Tokens:
        x = PatchEmbed(
            self.patch, self.width, self.patch_bias, name="patch_embed.proj"
        )(x)
        batch, rows, columns, width = x.shape
        own = self.class_tokens if self.class_position else 0
        shape = (1, own + self.native**2, width)
        positions = self.param("pos_embed", small, shape)
        grid = positions[0, own:].reshape(self.native, self.native, width)
        grid = resample(grid, rows, columns, self.resampling)
        tokens = [(x + grid[None]).reshape(batch, rows * columns, width)]
        if self.registers:
            tokens.insert(0, self._learned("reg_token", self.registers, batch))
        if self.class_tokens:
            first = self._learned("cls_token", self.class_tokens, batch)
            tokens.insert(0, first + positions[:, :own] if own else first)
        x = jnp.concatenate(tokens, axis=1)
        return self._norm("norm_pre")(x) if self.pre_norm else x

    def _learned(self, name: str, count: int, batch: int) -> Tokens:
        tokens = self.param(name, small, (1, count, self.width))
        return jnp.broadcast_to(tokens, (batch, count, self.width))

    def _norm(self, name: str) -> Norm:
        return Norm(self.epsilon, name=name)

    def _read(self, name: str, x: Tokens) -> dict[str, Float[Array, "batch ..."]]:
        out = {name: x, f"{name}.avgtoken": x.mean(axis=1)}
        before = self.class_tokens + self.registers
        if before:
            out[f"{name}.clstoken"] = x[:, 0]
            out[f"{name}.avgpatch"] = x[:, before:].mean(axis=1)
        if self.end == "summary":
            out[f"{name}.summary"] = self._summary(x)
        return out

    def _summary(self, x: Tokens) -> Float[Array, "batch _"]:
        return x[:, : self.summary_tokens].reshape(x.shape[0], -1)

    def _finish(self, x: Tokens) -> dict[str, Float[Array, "batch ..."]]:
        if self.end == "summary":
            return {"summary": self._summary(x)}
        x = self._norm("norm")(x)
        if self.through == "norm":
            return {"norm": x}
        if self.end == "attn_pool":
            pool = AttentionPool(
                self.heads, self.activation, self.epsilon, name="attn_pool"
            )
            return {"norm": x, "attn_pool": pool(x)}
        head = nn.Dense(self.classes, name="head") if self.classes else lambda y: y
        return {"norm": x, "head": head(x[:, 0])}


clip_vitb32 = partial(
    VisionTransformer,
    patch=32,
    native=7,
    class_position=True,
    patch_bias=False,
    pre_norm=True,
    activation="quick_gelu",
    epsilon=1e-5,
    classes=512,
)
dinov2_vitb14_reg = partial(
    VisionTransformer, patch=14, native=37, registers=4, layer_scale=True
)
siglip2_vitb16 = partial(
    VisionTransformer, patch=16, native=14, class_tokens=0, end="attn_pool"
)
# Four teachers (CLIP, SigLIP, DINOv2, SAM) have a class token each; SAM's is left out
# of the summary. Registers fill up to eight. There is no norm after the last block.
radio_b = partial(
    VisionTransformer,
    patch=16,
    native=128,
    class_tokens=4,
    registers=4,
    patch_bias=False,
    resampling="aligned",
    end="summary",
)


def _spec(build: Any, block: int, layout: Layout, **preprocessing: Any) -> Spec:
    """Read out at all tokens of the block that the study's first round chose."""
    return Spec(build, readout=f"blocks.{block}", layouts=(layout,), **preprocessing)


_CLIP: dict[str, Any] = {"mean": CLIP_MEAN, "std": CLIP_STD, "multiple": 32}
_HALF = (0.5, 0.5, 0.5)

SPECS: dict[str, Spec] = {
    "clip_vitb32": _spec(clip_vitb32, 9, vit_layouts.clip, **_CLIP),
    # trained from OpenAI's weights with open_clip's default activation, the exact GELU
    "clipag_vitb32": _spec(
        partial(clip_vitb32, activation="gelu"), 9, vit_layouts.clip, **_CLIP
    ),
    "dinov2_vitb14_reg": _spec(dinov2_vitb14_reg, 8, vit_layouts.dinov2, multiple=14),
    "siglip2_vitb16": _spec(
        siglip2_vitb16,
        7,
        vit_layouts.open_clip_trunk,
        mean=_HALF,
        std=_HALF,
        multiple=16,
    ),
    "radio_v2.5-b": _spec(
        radio_b, 9, vit_layouts.radio, mean=CLIP_MEAN, std=CLIP_STD, multiple=16
    ),
}
