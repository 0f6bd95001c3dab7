"""Publishers' names for the tensors of a vision transformer, to timm's names.

Each layout is a pure function of all tensors of a file; None says that the file is not
of this layout. What is known not to belong to the vision tower is left out by name.
Whatever else is not understood keeps its name, so that the comparison of key sets
reports it.
"""

from __future__ import annotations

import math

import numpy as np

from paramctl_jax.backbones.layouts import image_tower
from paramctl_jax.backbones.spec import CLIP_MEAN, CLIP_STD, Tensors

_CLIP_PARTS = {
    "conv1.": "patch_embed.proj.",
    "transformer.resblocks.": "blocks.",
    "ln_pre.": "norm_pre.",
    "ln_post.": "norm.",
    ".ln_1.": ".norm1.",
    ".ln_2.": ".norm2.",
    ".attn.in_proj_": ".attn.qkv.",
    ".attn.out_proj.": ".attn.proj.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}
# The teachers' adaptors, and statistics of features, beside RADIO's backbone.
_RADIO_HEADS = (
    "_heads.",
    "_feature_projections.",
    "_feature_normalizer.",
    "_intermediate_feature_normalizer.",
    "adaptors.",
)
_RADIO_CLASS_TOKENS = 4
# Buffers that only repeat what is fixed here; any other value is not this network.
_RADIO_CONSTANTS = {
    "input_conditioner.norm_mean": CLIP_MEAN,
    "input_conditioner.norm_std": CLIP_STD,
    "summary_idxs": (0, 1, 2),
}


def clip(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """OpenAI's and open_clip's CLIP, whole or the vision tower alone.

    The projection ``y = x P`` becomes a linear head with a bias of zero, as in timm.
    """
    if "visual.class_embedding" in tensors:
        tensors = image_tower(tensors, "visual.")
    elif "class_embedding" not in tensors:
        return None
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _CLIP_PARTS.items():
            name = name.replace(old, new)
        if name == "class_embedding":
            renamed["cls_token"] = tensor.reshape(1, 1, -1)
        elif name == "positional_embedding":
            renamed["pos_embed"] = tensor[None]
        elif name == "proj":
            renamed["head.weight"] = tensor.T
            renamed["head.bias"] = np.zeros(tensor.shape[-1:], np.float32)
        else:
            renamed[name] = tensor
    return renamed


def dinov2(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """DINOv2 of torch.hub: the class token's own position is added to the token.

    The original adds the two in every forward pass; registers have no position.
    """
    if "register_tokens" not in tensors:
        return None
    renamed = dict(tensors)
    renamed.pop("mask_token", None)  # for masked training images only
    renamed["reg_token"] = renamed.pop("register_tokens")
    token, positions = tensors.get("cls_token"), tensors.get("pos_embed")
    if token is not None and positions is not None and positions.ndim == 3:
        own = positions[:, :1]
        if own.shape == token.shape:
            renamed["cls_token"] = token.astype(np.float32) + own.astype(np.float32)
            renamed["pos_embed"] = positions[:, 1:]
    return renamed


def open_clip_trunk(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """open_clip around timm's network: ``visual.trunk.`` beside a text tower."""
    if not any(name.startswith("visual.trunk.") for name in tensors):
        return None
    return image_tower(tensors, "visual.trunk.")


def radio(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """RADIO of torch.hub (``base_model.``) and transformers (``radio_model.model.``).

    The patch embedding is a matrix on ``(channel, row, column)``; class tokens and
    registers are one tensor, without a position.
    """
    bare = {name.removeprefix("radio_model."): t for name, t in tensors.items()}
    bare = {n.removeprefix("base_model."): t for n, t in bare.items()}
    bare = {n.removeprefix("model."): t for n, t in bare.items()}
    if "patch_generator.pos_embed" not in bare:
        return None
    renamed = {}
    for name, tensor in bare.items():
        if name.startswith(_RADIO_HEADS) or _is_known(name, tensor):
            continue
        if name == "patch_generator.pos_embed":
            renamed["pos_embed"] = tensor
        elif name == "patch_generator.embedder.weight":
            renamed["patch_embed.proj.weight"] = _as_kernel(tensor)
        elif name == "patch_generator.cls_token.token" and tensor.ndim == 2:
            renamed["cls_token"] = tensor[None, :_RADIO_CLASS_TOKENS]
            renamed["reg_token"] = tensor[None, _RADIO_CLASS_TOKENS:]
        else:
            renamed[name] = tensor
    return renamed


def _is_known(name: str, tensor: np.ndarray) -> bool:
    expected = np.asarray(_RADIO_CONSTANTS.get(name, ()))
    if expected.size == 0 or tensor.size != expected.size:
        return False
    found = tensor.astype(np.float64).ravel()
    return np.allclose(found, expected, rtol=0, atol=1e-3)  # bfloat16 has three digits


def _as_kernel(matrix: np.ndarray) -> np.ndarray:
    """``[features, 3 p p]`` to torch's ``[features, 3, p, p]``; else as it is."""
    size = math.isqrt(matrix.shape[-1] // 3) if matrix.ndim == 2 else 0
    if size == 0 or 3 * size * size != matrix.shape[-1]:
        return matrix
    return matrix.reshape(-1, 3, size, size)
