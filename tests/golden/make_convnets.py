"""Make ``convnets.npz``: what torch computes for DenseNet, AlexNet and VGG.

    python -m tests.golden.make_convnets            # needs torch and torchvision

The reference is torchvision's own code (0.29.2 made the file), called through hooks;
for `AlexNet_training_seed_01` it is the chain of torch modules of Brain-Score's
`alexnet_v2_pytorch`, written out below. Narrow members have the same structure: the
DenseNet through its constructor's arguments, the others by dividing the channels of
every layer of the full network.

Weights and images are drawn by numpy's frozen legacy generator in the order of the
sorted names, so that the fixture holds the names and shapes of the state dict and, of
every readout, the largest absolute value, the mean, and the values at drawn positions.
"""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden import subsample

FIXTURE = Path(__file__).with_name("convnets.npz")
summarise = partial(subsample.summarise, count=96)


@dataclasses.dataclass(frozen=True)
class Case:
    """One network of the fixture."""

    architecture: str
    n_images: int
    size: int
    seed: int
    narrow: bool = False


CASES = {
    "densenet121": Case("densenet121", 4, 64, 121),
    "densenet169": Case("densenet169", 2, 75, 169),
    "densenet201": Case("densenet201", 2, 64, 201),
    "densenet_narrow": Case("densenet", 4, 97, 1, narrow=True),
    "alexnet": Case("alexnet", 2, 224, 2),
    "alexnet_narrow": Case("alexnet", 4, 160, 3, narrow=True),
    "AlexNet_training_seed_01": Case("alexnet_v2", 2, 224, 4),
    "alexnet_v2_narrow": Case("alexnet_v2", 4, 230, 5, narrow=True),
    "vgg16": Case("vgg16", 2, 112, 16),
    "vgg16_narrow": Case("vgg16", 4, 90, 17, narrow=True),
}
# of the narrow members; the tests build the Flax module from the same numbers
NARROW_DENSENET = {"growth_rate": 8, "block_config": (1, 3, 2, 1), "num_classes": 10}
NARROW_STEM = 16
DIVISOR = 16
# which torch modules' outputs are readouts: by name in a DenseNet, else by type
READOUT = re.compile(
    r"features|features\.(pool0|denseblock\d+(\.denselayer\d+)?|transition\d+)"
)
READOUT_TYPES = ("ReLU", "MaxPool2d", "AdaptiveAvgPool2d")


def torch_module(case: Case):
    """The original network, in evaluation mode, its weights not yet set."""
    import torch
    import torchvision.models as tv

    with torch.device("meta"):
        if case.architecture == "densenet":
            net = tv.DenseNet(**NARROW_DENSENET, num_init_features=NARROW_STEM)
        elif case.architecture == "alexnet_v2":
            net = _alexnet_v2()
        else:
            net = getattr(tv, case.architecture)()
        if case.narrow and case.architecture != "densenet":
            _divide_channels(net)
    return net.to_empty(device="cpu").eval()


def _alexnet_v2():
    """AlexNet v2 as TF-slim, Mehrer et al. and Brain-Score have it."""
    from torch import nn

    def conv(channels, out, size, stride=1, pad=0):
        return [nn.Conv2d(channels, out, size, stride, pad), nn.ReLU()]

    class AlexNetV2(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                *conv(3, 64, 11, stride=4),
                nn.MaxPool2d(3, 2),
                *conv(64, 192, 5, pad=2),
                nn.MaxPool2d(3, 2),
                *conv(192, 384, 3, pad=1),
                *conv(384, 384, 3, pad=1),
                *conv(384, 256, 3, pad=1),
                nn.MaxPool2d(3, 2),
            )
            self.classifier = nn.Sequential(
                *conv(256, 4096, 5),
                nn.Dropout(),
                *conv(4096, 4096, 1),
                nn.Dropout(),
                nn.Conv2d(4096, 1000, 1),
            )

        def forward(self, x):
            return self.classifier(self.features(x)).flatten(1)

    return AlexNetV2()


def _divide_channels(net) -> None:
    """Replaces every layer by one of a `DIVISOR`-th of the channels."""
    from torch import nn

    for name, module in list(net.named_modules()):
        parent, _, child = name.rpartition(".")
        if isinstance(module, nn.Conv2d):
            geometry: Any = (module.kernel_size, module.stride, module.padding)
            channels = max(module.in_channels // DIVISOR, 3)
            narrow = nn.Conv2d(channels, module.out_channels // DIVISOR, *geometry)
        elif isinstance(module, nn.Linear):
            narrow = nn.Linear(
                module.in_features // DIVISOR, module.out_features // DIVISOR
            )
        else:
            continue
        setattr(net.get_submodule(parent), child, narrow)


def torch_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """The original's state dict, without ``num_batches_tracked``."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in torch_module(case).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def stored_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """`torch_shapes` of a case, from the fixture."""
    with np.load(FIXTURE) as file:
        lines = bytes(file[f"{name}/shapes"]).decode().split("\n")
    pairs = (line.split() for line in lines)
    return {key: tuple(map(int, sides.split(","))) for key, sides in pairs}


def draw_weights(case: Case, shapes: dict) -> dict[str, np.ndarray]:
    """Weights under torch's names, as `subsample.draw_weights` draws them."""
    return subsample.draw_weights(shapes, case.seed, scales=(0.5, 1.5))


def draw_images(case: Case) -> np.ndarray:
    """Normalised images, ``[image, height, width, channel]``."""
    return subsample.draw_images(
        case.n_images, case.size, case.size, seed=1000 + case.seed
    )


def torch_outputs(
    case: Case, weights: dict[str, np.ndarray], images: np.ndarray
) -> dict[str, np.ndarray]:
    """Every readout by torch, ``[image, channel, height, width]`` or ``[image, _]``."""
    import torch

    net = torch_module(case)
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    missing, extra = net.load_state_dict(tensors, strict=False)
    assert not extra
    assert all(name.endswith("num_batches_tracked") for name in missing)
    out: dict[str, torch.Tensor] = {}
    for name, module in net.named_modules():
        if _is_readout(case, name, module):
            module.register_forward_hook(_keep(out, name))
    with torch.no_grad():
        logits = net(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        if case.architecture.startswith("densenet"):
            # what the classifier sees: torchvision pools without a module
            out["features"] = out["features"].relu()
            out["avgpool"] = torch.nn.functional.adaptive_avg_pool2d(out["features"], 1)
            out["avgpool"] = out["avgpool"].flatten(1)
            out["classifier"] = logits
        else:
            out["classifier.6"] = logits
    return {name: value.numpy() for name, value in out.items()}


def _is_readout(case: Case, name: str, module) -> bool:
    if case.architecture.startswith("densenet"):
        return READOUT.fullmatch(name) is not None
    return type(module).__name__ in READOUT_TYPES


def _keep(out, name):
    def hook(module, inputs, output):
        out[name] = output.clone()  # a later ReLU in place would change the original

    return hook


def main() -> None:
    """Writes the fixture."""
    stored: dict[str, Any] = {}
    for name, case in CASES.items():
        shapes = torch_shapes(case)
        lines = [f"{key} {','.join(map(str, shape))}" for key, shape in shapes.items()]
        stored[f"{name}/shapes"] = np.array("\n".join(lines).encode())
        outputs = torch_outputs(case, draw_weights(case, shapes), draw_images(case))
        for readout, values in outputs.items():
            stored[f"{name}/{readout}"] = summarise(readout, values).astype(np.float32)
    np.savez_compressed(FIXTURE, **stored)


if __name__ == "__main__":
    main()
