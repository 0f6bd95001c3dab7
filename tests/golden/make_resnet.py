"""Make ``resnet.npz``: what torch computes for every ResNet with drawn weights.

    python -m tests.golden.make_resnet            # needs torch

Weights and images are drawn by numpy's frozen legacy generator in the order of the
sorted names, so that the fixture holds outputs only: of every block, of ``avgpool`` and
of ``fc``, the largest absolute value, the mean, and the values at drawn positions.
`torch_outputs` is written on `torch.nn.functional` after torchvision's definition; it
was compared once with torchvision 0.29.2 itself: equal bits for all six networks.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np

from tests.golden import subsample

FIXTURE = Path(__file__).with_name("resnet.npz")
summarise = partial(subsample.summarise, count=192)


@dataclasses.dataclass(frozen=True)
class Case:
    """One network of the fixture."""

    layers: tuple[int, int, int, int]
    kind: str
    stride_on: str  # which convolution of a bottleneck has the stride
    n_images: int
    size: int
    seed: int


CASES = {
    "resnet18": Case((2, 2, 2, 2), "basic", "conv1", 4, 64, 18),
    "resnet34": Case((3, 4, 6, 3), "basic", "conv1", 2, 75, 34),
    "resnet50": Case((3, 4, 6, 3), "bottleneck", "conv2", 2, 97, 50),
    "resnet50_v1": Case((3, 4, 6, 3), "bottleneck", "conv1", 2, 65, 51),
    "resnet101": Case((3, 4, 23, 3), "bottleneck", "conv2", 1, 80, 101),
    "resnet152": Case((3, 8, 36, 3), "bottleneck", "conv2", 1, 64, 152),
}


def parameter_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Torchvision's state dict of a network, without ``num_batches_tracked``."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(convolution: str, norm: str, out: int, channels: int, size: int) -> None:
        shapes[f"{convolution}.weight"] = (out, channels, size, size)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{leaf}"] = (out,)

    add("conv1", "bn1", 64, 3, 7)
    channels = 64
    for stage, blocks in enumerate(case.layers):
        width = 64 * 2**stage
        out = width if case.kind == "basic" else 4 * width
        for index in range(blocks):
            name = f"layer{stage + 1}.{index}"
            sizes = {"basic": (3, 3), "bottleneck": (1, 3, 1)}[case.kind]
            inner = channels
            for number, size in enumerate(sizes, start=1):
                to = out if number == len(sizes) else width
                add(f"{name}.conv{number}", f"{name}.bn{number}", to, inner, size)
                inner = to
            if index == 0 and (stage > 0 or channels != out):
                add(f"{name}.downsample.0", f"{name}.downsample.1", out, channels, 1)
            channels = out
    shapes["fc.weight"], shapes["fc.bias"] = (1000, channels), (1000,)
    return shapes


def draw_weights(case: Case) -> dict[str, np.ndarray]:
    """Weights under torch's names, as `subsample.draw_weights` draws them."""
    return subsample.draw_weights(parameter_shapes(case), case.seed, scales=(0.1, 0.7))


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
    import torch.nn.functional as F

    w = {name: torch.from_numpy(value) for name, value in weights.items()}

    def conv_norm(x, convolution, norm, stride=1):
        kernel = w[f"{convolution}.weight"]
        y = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        leaves = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(y, *(w[f"{norm}.{leaf}"] for leaf in leaves), eps=1e-5)

    def block(x, name, stride):
        count = 2 if case.kind == "basic" else 3
        y = x
        for number in range(1, count + 1):
            step = stride if f"conv{number}" == case.stride_on else 1
            y = conv_norm(y, f"{name}.conv{number}", f"{name}.bn{number}", step)
            y = F.relu(y) if number < count else y
        if f"{name}.downsample.0.weight" in w:
            x = conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        return F.relu(x + y)

    with torch.no_grad():
        out = {}
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        x = F.relu(conv_norm(x, "conv1", "bn1", 2))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage, blocks in enumerate(case.layers):
            for index in range(blocks):
                name = f"layer{stage + 1}.{index}"
                x = block(x, name, 2 if stage > 0 and index == 0 else 1)
                out[name] = x
        out["avgpool"] = F.adaptive_avg_pool2d(x, 1).flatten(1)
        out["fc"] = F.linear(out["avgpool"], w["fc.weight"], w["fc.bias"])
    return {name: value.numpy() for name, value in out.items()}


def main() -> None:
    """Writes the fixture."""
    stored = {}
    for name, case in CASES.items():
        outputs = torch_outputs(case, draw_weights(case), draw_images(case))
        for readout, values in outputs.items():
            stored[f"{name}/{readout}"] = summarise(readout, values).astype(np.float32)
    np.savez_compressed(FIXTURE, **stored)


if __name__ == "__main__":
    main()
