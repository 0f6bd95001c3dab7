"""Make ``clip_regnet.npz``: CLIP's ResNet, RegNetY, wide ResNets by their originals.

    python -m tests.golden.make_clip_regnet  # needs torchvision, timm and open_clip

The references are the published implementations themselves: `ModifiedResNet` of
open_clip (3.3.0), and of timm (1.0.31) where the position embedding is resized, which
OpenAI's and open_clip's cannot; `RegNet` of timm; `ResNet` of torchvision (0.29.2).
Weights and images are drawn by numpy's frozen legacy generator in the order of the
sorted names, so that the fixture holds names with shapes, and outputs: of every block
and of everything after the last, the largest absolute value, the mean, and the values
at drawn positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden import subsample

FIXTURE = Path(__file__).with_name("clip_regnet.npz")
summarise = partial(subsample.summarise, count=192)

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Case:
    """One network of the fixture."""

    kind: str  # of the reference, see `reference`
    n_images: int
    height: int
    width: int
    seed: int


CASES = {
    "clip_narrow": Case("clip_narrow", 4, 224, 224, 31),
    # a 3x9 map: the position embedding shrinks in one direction and grows in the other
    "clip_resized": Case("clip_timm", 4, 97, 290, 31),
    "resnet50_clip": Case("clip", 2, 224, 224, 32),
    "regnet_narrow": Case("regnet_narrow", 4, 75, 75, 33),
    "regnety_640": Case("regnet", 2, 96, 96, 34),
    "wide_narrow": Case("wide_narrow", 4, 65, 65, 35),
    "wide_resnet50_2": Case("wide", 2, 97, 97, 36),
}
# too big for the default tests
FULL_SIZE = ("resnet50_clip", "regnety_640", "wide_resnet50_2")


def reference(kind: str) -> Any:
    """The original network in evaluation mode, without values for its weights."""
    import timm
    import torch
    import torchvision
    from open_clip.modified_resnet import ModifiedResNet
    from timm.models import byobnet, regnet
    from torchvision.models.resnet import Bottleneck, ResNet

    narrow = (16, 32, 64, 128)
    build = {
        "clip": lambda: ModifiedResNet([3, 4, 6, 3], 1024, heads=32),
        "clip_narrow": lambda: ModifiedResNet([1, 2, 1, 1], 12, heads=8, width=16),
        "clip_timm": lambda: byobnet.ByobNet(
            dataclasses.replace(
                byobnet.model_cfgs["resnet50_clip"],
                blocks=tuple(
                    byobnet.ByoBlockCfg("bottle", d=d, c=4 * c, s=s, br=0.25)
                    for d, c, s in zip((1, 2, 1, 1), narrow, (1, 2, 2, 2), strict=True)
                ),
                stem_chs=(8, 8, 16),
            ),
            num_classes=12,
            img_size=224,
        ),
        "regnet": lambda: timm.create_model("regnety_640", num_classes=0),
        # widths 16, 32, 80, 168 in 1, 1, 3, 2 blocks; a stem that no ratio divides
        "regnet_narrow": lambda: regnet.RegNet(
            regnet.RegNetCfg(7, 16, 20.0, 2.2, 8, se_ratio=0.25, stem_width=18),
            num_classes=10,
        ),
        "wide": torchvision.models.wide_resnet50_2,
        "wide_narrow": lambda: ResNet(
            Bottleneck, [1, 1, 1, 1], num_classes=10, width_per_group=128
        ),
    }[kind]
    with torch.device("meta"):
        return build().eval()


def names_and_shapes(case: Case) -> Shapes:
    """The original's state dict, without ``num_batches_tracked``."""
    # timm's names differ from OpenAI's; the two networks are the same
    kind = "clip_narrow" if case.kind == "clip_timm" else case.kind
    return {
        name: tuple(tensor.shape)
        for name, tensor in reference(kind).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def to_text(shapes: Shapes) -> str:
    """One line per tensor, as it is stored."""
    return "\n".join(f"{name} {' '.join(map(str, s))}" for name, s in shapes.items())


def from_text(text: str) -> Shapes:
    """The inverse of `to_text`."""
    lines = [line.split(" ") for line in text.splitlines()]
    return {name: tuple(map(int, sizes)) for name, *sizes in lines}


def draw_weights(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """Weights whose activations neither vanish nor explode; no statistic is trivial."""
    random = np.random.RandomState(seed)
    weights = {}
    for name, shape in sorted(shapes.items()):
        if name.endswith("positional_embedding"):
            drawn = 0.5 * random.standard_normal(shape)
        elif len(shape) > 1:
            # He's variance; uniform, because 276 million normal deviates take long
            drawn = random.uniform(-1, 1, shape)
            drawn *= np.sqrt(6 / np.prod(shape[1:]))
        elif name.endswith(("bias", "running_mean")):
            drawn = 0.2 * random.standard_normal(shape)
        else:  # batch norm: scale and running variance
            drawn = random.uniform(0.1, 0.7, shape)
        weights[name] = drawn.astype(np.float32)
    return weights


def draw_images(case: Case) -> np.ndarray:
    """Normalised images, ``[image, height, width, channel]``."""
    return subsample.draw_images(
        case.n_images, case.height, case.width, seed=1000 + case.seed
    )


def timm_state(weights: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """OpenAI's names of the image tower as timm translates them."""
    from timm.models import byobnet

    prefixed = {f"visual.{name}": tensor for name, tensor in weights.items()}
    return byobnet.checkpoint_filter_fn(prefixed, model)


def _readouts(model: Any, kind: str) -> dict[str, str]:
    """``{module name: readout}`` of the original, in the order of the forward pass."""
    blocks = ("Bottleneck", "BottleneckBlock")
    found = {
        name: name
        for name, module in model.named_modules()
        if type(module).__name__ in blocks
    }
    if kind == "clip_timm":
        renamed = (name.split(".") for name in found)
        return {
            **{f"stages.{s}.{b}": f"layer{int(s) + 1}.{b}" for _, s, b in renamed},
            "head": "attnpool",
        }
    last = {
        "clip": {"attnpool": "attnpool"},
        "regnet": {"head.global_pool": "avgpool", "head.fc": "head.fc"},
        "wide": {"avgpool": "avgpool", "fc": "fc"},
    }[kind.removesuffix("_narrow")]
    return found | last


def torch_outputs(
    case: Case, weights: dict[str, np.ndarray], images: np.ndarray
) -> dict[str, np.ndarray]:
    """Every readout of the original, ``[image, channel, height, width]`` or vectors."""
    import torch

    model = reference(case.kind)
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    if case.kind == "clip_timm":
        state = timm_state(state, model)
    unused = {k: torch.zeros(()) for k in model.state_dict() if k.endswith("_tracked")}
    model.load_state_dict(state | unused, assign=True)
    out = {}

    def keep(readout: str) -> Any:
        def hook(module: Any, inputs: Any, value: Any) -> None:
            is_vector = tuple(value.shape[2:]) == (1, 1) and readout == "avgpool"
            out[readout] = (value.flatten(1) if is_vector else value).numpy().copy()

        return hook

    modules = dict(model.named_modules())
    for name, readout in _readouts(model, case.kind).items():
        modules[name].register_forward_hook(keep(readout))
    with torch.inference_mode():
        model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    if isinstance(modules.get("head.fc"), torch.nn.Identity):
        del out["head.fc"]  # timm's place of the head that was left out
    return out


def load(name: str) -> tuple[Shapes, dict[str, np.ndarray]]:
    """What is stored of a case: the original's names with shapes, and the outputs."""
    with np.load(FIXTURE) as file:
        outputs = {
            key.removeprefix(f"{name}/"): file[key]
            for key in file.files
            if key.startswith(f"{name}/")
        }
        return from_text(str(file[f"{name}:names"])), outputs


def main() -> None:
    """Writes the fixture."""
    stored = {}
    for name, case in CASES.items():
        shapes = names_and_shapes(case)
        weights = draw_weights(shapes, case.seed)
        outputs = torch_outputs(case, weights, draw_images(case))
        stored[f"{name}:names"] = np.array(to_text(shapes))
        for readout, values in outputs.items():
            stored[f"{name}/{readout}"] = summarise(readout, values).astype(np.float32)
    np.savez_compressed(FIXTURE, **stored)


if __name__ == "__main__":
    main()
