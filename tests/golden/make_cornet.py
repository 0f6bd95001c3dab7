"""Make ``cornet.npz``: what torch computes for CORnet-Z with drawn weights.

    python -m tests.golden.make_cornet            # needs torch

The reference is the chain of torch modules that the CORnet repository defines, written
out below. Weights and images are drawn by numpy's frozen legacy generator in the order
of the sorted names; stored are, of every readout, the largest absolute value, the mean,
and the values at drawn positions.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from tests.golden import subsample

FIXTURE = Path(__file__).with_name("cornet.npz")
summarise = partial(subsample.summarise, count=192)
SIZE, N_IMAGES = 97, 4
CHANNELS = {"V1": (3, 64), "V2": (64, 128), "V4": (128, 256), "IT": (256, 512)}
SHAPES = {
    **{
        f"{area}.conv.weight": (out, channels, *((7, 7) if area == "V1" else (3, 3)))
        for area, (channels, out) in CHANNELS.items()
    },
    **{f"{area}.conv.bias": (out,) for area, (_, out) in CHANNELS.items()},
    "decoder.linear.weight": (1000, 512),
    "decoder.linear.bias": (1000,),
}


def draw() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights under torch's names, and normalised NHWC images."""
    random = np.random.RandomState(0)
    weights = {}
    for name, shape in sorted(SHAPES.items()):
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2
        weights[name] = (scale * random.standard_normal(shape)).astype(np.float32)
    images = random.standard_normal((N_IMAGES, SIZE, SIZE, 3)).astype(np.float32)
    return weights, images


def torch_outputs() -> dict[str, np.ndarray]:
    """Every readout by torch, ``[image, channel, ...]``."""
    import torch
    from torch import nn

    weights, images = draw()
    out = {}
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        for area, (channels, width) in CHANNELS.items():
            size, stride = (7, 2) if area == "V1" else (3, 1)
            conv = nn.Conv2d(channels, width, size, stride, padding=size // 2)
            conv.weight.copy_(torch.from_numpy(weights[f"{area}.conv.weight"]))
            conv.bias.copy_(torch.from_numpy(weights[f"{area}.conv.bias"]))
            x = nn.MaxPool2d(3, 2, padding=1)(nn.ReLU()(conv(x)))
            out[area] = x
        out["decoder.avgpool"] = nn.AdaptiveAvgPool2d(1)(x).flatten(1)
        linear = nn.Linear(512, 1000)
        linear.weight.copy_(torch.from_numpy(weights["decoder.linear.weight"]))
        linear.bias.copy_(torch.from_numpy(weights["decoder.linear.bias"]))
        out["decoder.linear"] = linear(out["decoder.avgpool"])
    return {name: value.numpy() for name, value in out.items()}


if __name__ == "__main__":
    np.savez_compressed(
        FIXTURE,
        **{
            name: summarise(name, value).astype(np.float32)
            for name, value in torch_outputs().items()
        },
    )
