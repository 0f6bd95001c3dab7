"""Make ``vit.npz``: what torch computes for vision transformers with drawn weights.

    python -m tests.golden.make_vit            # needs torch, timm and open_clip

Weights, under each publisher's own names, and images are drawn by numpy's frozen legacy
generator in the order of the sorted names, so that the fixture holds names, shapes and
outputs only. The references are the original implementations where they can be had:

* CLIP and CLIPAG: open_clip's `VisionTransformer` (CLIPAG's own code base), with
  OpenAI's QuickGELU and with the exact GELU.
* SigLIP2: timm's `VisionTransformer`, which is what open_clip wraps.
* DINOv2: timm's network with weights translated by timm from torch.hub's names. The
  original and timm resample position embeddings by the same call of torch.
* RADIO: its blocks are timm's `Block`. What is before and after them is transcribed
  from the public source, which cannot be installed.

Narrow networks of the same classes stand for the members in the default tests.
"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden import subsample

FIXTURE = Path(__file__).with_name("vit.npz")
summarise = partial(subsample.summarise, count=96)
# not the kernel of a linear map: class tokens, registers, positions, the pool's query
LEARNED = ("embedding", "pos_embed", "token", "latent")


@dataclasses.dataclass(frozen=True)
class Case:
    """One network of the fixture, and the sizes of the images that it is given."""

    member: str
    sizes: tuple[tuple[int, int], ...]
    seed: int
    n_images: int = 2
    patch: int = 4
    native: int = 9
    width: int = 32
    depth: int = 2
    heads: int = 4
    classes: int = 0
    narrow: bool = True

    @property
    def overrides(self) -> dict[str, int]:
        """What a narrow network has otherwise than the registered member."""
        names = ("patch", "native", "width", "depth", "heads", "classes")
        return {name: getattr(self, name) for name in names} if self.narrow else {}


def _full(member: str, **settings: Any) -> Case:
    base = {"width": 768, "depth": 12, "heads": 12, "narrow": False}
    return Case(member, **(base | settings))


SQUARE = ((224, 224),)
CASES = {
    "clip": Case("clip_vitb32", ((36, 36),), 1, 4, classes=20),
    "clipag": Case("clipag_vitb32", ((36, 36),), 1, 4, classes=20),  # equal weights
    "dinov2": Case("dinov2_vitb14_reg", ((16, 16), (20, 28)), 2, 4),
    "siglip2": Case("siglip2_vitb16", ((36, 36), (20, 20)), 3, 4),
    "radio": Case("radio_v2.5-b", ((36, 36), (28, 20), (48, 48)), 4, 4),
    "clip_vitb32": _full(
        "clip_vitb32", sizes=SQUARE, seed=11, patch=32, native=7, classes=512
    ),
    "clipag_vitb32": _full(
        "clipag_vitb32", sizes=SQUARE, seed=11, patch=32, native=7, classes=512
    ),
    "dinov2_vitb14_reg": _full(
        "dinov2_vitb14_reg", sizes=(*SQUARE, (98, 98)), seed=12, patch=14, native=37
    ),
    "siglip2_vitb16": _full(
        "siglip2_vitb16", sizes=SQUARE, seed=13, patch=16, native=14
    ),
    "radio_v2.5-b": _full(
        "radio_v2.5-b", sizes=(*SQUARE, (112, 80)), seed=14, patch=16, native=128
    ),
}


def draw_weights(
    shapes: dict[str, tuple[int, ...]], seed: int
) -> dict[str, np.ndarray]:
    """Weights with which attention is neither flat nor hard; no scale is trivial."""
    random = np.random.RandomState(seed)
    weights = {}
    for name, shape in sorted(shapes.items()):
        if any(part in name for part in LEARNED):
            drawn = 0.5 * random.standard_normal(shape)
        elif name.endswith(("in_proj_weight", "qkv.weight", "q.weight", "kv.weight")):
            drawn = 1.3 * random.standard_normal(shape) / np.sqrt(shape[1])
        elif len(shape) > 1:
            fan_in = shape[0] if name.endswith("visual.proj") else np.prod(shape[1:])
            drawn = random.standard_normal(shape) / np.sqrt(fan_in)
        elif name.endswith("bias"):
            drawn = 0.2 * random.standard_normal(shape)
        else:  # scales of norms and of layers
            drawn = random.uniform(0.3, 1.2, shape)
        weights[name] = drawn.astype(np.float32)
    return weights


def draw_images(case: Case, size: tuple[int, int]) -> np.ndarray:
    """Normalised images, ``[image, height, width, channel]``."""
    return subsample.draw_images(case.n_images, *size, seed=1000 + case.seed)


def reference(case: Case) -> Any:
    """The original network as a torch module; no weights are drawn for it here."""
    import torch

    make = {
        "clip_vitb32": _open_clip,
        "clipag_vitb32": _open_clip,
        "dinov2_vitb14_reg": _timm,
        "siglip2_vitb16": _timm,
        "radio_v2.5-b": _radio,
    }
    with torch.device("meta"):
        return make[case.member](case).eval()


def _open_clip(case: Case) -> Any:
    from open_clip import transformer
    from torch import nn

    quick = case.member == "clip_vitb32"
    return transformer.VisionTransformer(
        image_size=case.native * case.patch,
        patch_size=case.patch,
        width=case.width,
        layers=case.depth,
        heads=case.heads,
        mlp_ratio=4.0,
        output_dim=case.classes,
        act_layer=transformer.QuickGELU if quick else nn.GELU,
    )


def _timm(case: Case) -> Any:
    from timm.models.vision_transformer import VisionTransformer

    own: dict[str, Any] = {
        "dinov2_vitb14_reg": {
            "reg_tokens": 4,
            "no_embed_class": True,
            "init_values": 1e-5,
        },
        "siglip2_vitb16": {"class_token": False, "global_pool": "map"},
    }[case.member]
    return VisionTransformer(
        img_size=case.native * case.patch,
        patch_size=case.patch,
        embed_dim=case.width,
        depth=case.depth,
        num_heads=case.heads,
        num_classes=0,
        dynamic_img_size=True,
        **own,
    )


def _radio(case: Case) -> Any:
    import torch.nn.functional as F
    from timm.models.vision_transformer import Block
    from torch import empty, nn

    class Radio(nn.Module):
        """RADIO's patch generator in evaluation, and timm's blocks."""

        def __init__(self):
            super().__init__()
            width = case.width
            self.embedder = nn.Linear(3 * case.patch**2, width, bias=False)
            self.pos_embed = nn.Parameter(empty(1, case.native**2, width))
            self.token = nn.Parameter(empty(8, width))
            norm = partial(nn.LayerNorm, eps=1e-6)
            blocks = [
                Block(width, case.heads, qkv_bias=True, norm_layer=norm)
                for _ in range(case.depth)
            ]
            self.blocks = nn.ModuleList(blocks)

        def positions(self, rows, columns):
            side = case.native
            grid = self.pos_embed.unflatten(1, (side, side)).permute(0, 3, 1, 2)
            if (rows, columns) != (side, side):
                longer = (max(rows, columns),) * 2
                grid = F.interpolate(grid, longer, mode="bilinear", align_corners=True)
                grid = grid[:, :, :rows, :columns]
            return grid.flatten(2).mT

        def forward(self, x):
            rows, columns = (side // case.patch for side in x.shape[2:])
            # F.unfold lists a patch's values as (channel, row, column)
            patches = F.unfold(x, case.patch, stride=case.patch).mT
            patches = self.embedder(patches) + self.positions(rows, columns)
            x = F.pad(patches, (0, 0, len(self.token), 0))
            x[:, : len(self.token)] = self.token
            for block in self.blocks:
                x = block(x)
            return x[:, [0, 1, 2]].flatten(1)

    return Radio()


# torch.hub's names for what timm renames; `Radio`'s for what RADIO nests more deeply
_RADIO_NAMES = {
    "embedder.": "base_model.patch_generator.embedder.",
    "pos_embed": "base_model.patch_generator.pos_embed",
    "token": "base_model.patch_generator.cls_token.token",
    "blocks.": "base_model.blocks.",
}


def published_name(case: Case, name: str) -> str:
    """The publisher's name of a parameter of `reference`."""
    if case.member in ("clip_vitb32", "clipag_vitb32"):
        return f"visual.{name}"
    if case.member == "siglip2_vitb16":
        return f"visual.trunk.{name}"
    if case.member == "radio_v2.5-b":
        prefix = next(old for old in _RADIO_NAMES if name.startswith(old))
        return _RADIO_NAMES[prefix] + name.removeprefix(prefix)
    return {"reg_token": "register_tokens"}.get(name, name)


def published_shapes(case: Case, network: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a file of the publisher."""
    shapes = {
        published_name(case, name): tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
    }
    if case.member == "dinov2_vitb14_reg":
        count, width = 1 + case.native**2, case.width
        shapes |= {"pos_embed": (1, count, width), "mask_token": (1, width)}
    return shapes


def load(case: Case, network: Any, weights: dict[str, np.ndarray]) -> None:
    """Puts published weights into `reference`."""
    import torch

    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    if case.member == "dinov2_vitb14_reg":
        from timm.models.vision_transformer import checkpoint_filter_fn

        tensors = checkpoint_filter_fn(tensors, network)
    else:
        tensors = {
            name: tensors[published_name(case, name)] for name in network.state_dict()
        }
    network.load_state_dict(tensors, assign=True)


def torch_outputs(
    case: Case, network: Any, images: np.ndarray
) -> dict[str, np.ndarray]:
    """Every readout by torch, tokens as ``[image, token, channel]``."""
    import torch

    found: dict[str, Any] = {}

    def keep(name):
        return lambda module, inputs, output: found.update({name: output})

    clip = case.member in ("clip_vitb32", "clipag_vitb32")
    blocks = network.transformer.resblocks if clip else network.blocks
    hooks = {f"blocks.{index}": block for index, block in enumerate(blocks)}
    if clip:
        hooks["norm"] = network.ln_post
    elif case.member != "radio_v2.5-b":
        hooks["norm"] = network.norm
    handles = [m.register_forward_hook(keep(name)) for name, m in hooks.items()]
    end = {"siglip2_vitb16": "attn_pool", "radio_v2.5-b": "summary"}
    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        found[end.get(case.member, "head")] = network(x)
    for handle in handles:
        handle.remove()
    skip = {"dinov2_vitb14_reg": 5, "siglip2_vitb16": 0, "radio_v2.5-b": 8}
    prefix = skip.get(case.member, 1)
    for index in range(case.depth):
        tokens = found[f"blocks.{index}"]
        found[f"blocks.{index}.avgtoken"] = tokens.mean(1)
        if prefix:
            found[f"blocks.{index}.clstoken"] = tokens[:, 0]
            found[f"blocks.{index}.avgpatch"] = tokens[:, prefix:].mean(1)
        if case.member == "radio_v2.5-b":
            found[f"blocks.{index}.summary"] = tokens[:, (0, 1, 2)].flatten(1)
    return {name: value.numpy() for name, value in found.items()}


def main() -> None:
    """Writes the fixture."""
    stored: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        network = reference(case)
        shapes = published_shapes(case, network)
        stored[f"{name}/shapes"] = np.frombuffer(json.dumps(shapes).encode(), np.uint8)
        load(case, network, draw_weights(shapes, case.seed))
        for size in case.sizes:
            outputs = torch_outputs(case, network, draw_images(case, size))
            for readout, values in outputs.items():
                key = f"{name}/{size[0]}x{size[1]}/{readout}"
                stored[key] = summarise(readout, values).astype(np.float32)
    np.savez_compressed(FIXTURE, allow_pickle=False, **stored)


if __name__ == "__main__":
    main()
