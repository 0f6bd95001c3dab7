"""The bundled and the torchvision-like ResNets in PyTorch, up to one readout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Block(nn.Module):
    """``relu(shortcut(x) + residual(x))`` under torchvision's names."""

    def __init__(self, inside: int, width: int, stride: int, spec: Mapping[str, Any]):
        super().__init__()
        self.pool = stride == 2 and spec["halving"] == "pool"
        stride = 1 if self.pool else stride
        bottleneck = spec["kind"] == "bottleneck"
        outside = 4 * width if bottleneck else width
        first = stride if spec["halving"] == "1x1" else 1
        if bottleneck:
            plan = [(inside, width, 1, first), (width, width, 3, stride // first)]
            plan.append((width, outside, 1, 1))
        else:
            plan = [(inside, width, 3, stride), (width, width, 3, 1)]
        self.depth = len(plan)
        for number, (a, b, size, step) in enumerate(plan, 1):
            convolution = nn.Conv2d(a, b, size, step, size // 2, bias=False)
            setattr(self, f"conv{number}", convolution)
            setattr(self, f"bn{number}", nn.BatchNorm2d(b))
        if inside != outside or stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False),
                nn.BatchNorm2d(outside),
            )
        else:
            self.downsample = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[image, channel, height, width]``."""
        x = F.avg_pool2d(x, 2) if self.pool else x
        y = x
        for number in range(1, self.depth + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = F.relu(y) if number < self.depth else y
        return F.relu(self.downsample(x) + y)


class Twin(nn.Module):
    """Pixels in [0, 1] to the activations of the readout."""

    def __init__(self, spec: Mapping[str, Any]):
        super().__init__()
        self.small, width = spec["stem"] == "small", spec["width"]
        stem = (4, 2, 1) if self.small else (7, 2, 3)
        self.conv1 = nn.Conv2d(3, width, *stem, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inside, self.stages = width, []
        for stage, blocks in enumerate(spec["layers"]):
            made = []
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                made.append(Block(inside, width * 2**stage, stride, spec))
                grows = 4 if spec["kind"] == "bottleneck" else 1
                inside = grows * width * 2**stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
            self.stages.append(f"layer{stage + 1}")
        self.last = f"{self.stages[-1]}_{spec['layers'][-1] - 1}"
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(spec["mean"]).reshape(shape), False)
        self.register_buffer("std", torch.tensor(spec["std"]).reshape(shape), False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps ``[image, 3, size, size]``, which must have the network's size."""
        x = F.relu(self.bn1(self.conv1((pixels - self.mean) / self.std)))
        x = x if self.small else F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x


class Problem:
    """What the parent wrote, as tensors, and the network.

    Attributes:
      axes, bias: per site.
      seeds: ``[seed, 3, size, size]`` in [0, 1].
      levels: ``[site, level]``; tolerance per site.
      model: the twin, eager, in the usual layout, batch norms unfolded.
    """

    def __init__(self, folder: Path):
        arrays = np.load(folder / "problem.npz")
        about = json.loads((folder / "problem.json").read_text())
        self.axes = torch.from_numpy(arrays["weights"])
        self.bias = torch.from_numpy(arrays["bias"])
        self.seeds = torch.from_numpy(arrays["seeds"]).permute(0, 3, 1, 2) / 255
        self.levels = arrays["levels"]
        extent = np.ptp(self.levels, axis=1)
        self.extent, self.tolerance = extent, about["tolerance"] * extent
        self.size = about["network"]["input_size"]
        self.model = Twin(about["network"])
        tensors = np.load(folder / "network.npz")
        given = {name: torch.from_numpy(tensors[name]) for name in tensors}
        missing = self.model.load_state_dict(given, strict=False)
        left = [n for n in missing.missing_keys if not n.endswith("batches_tracked")]
        if left or missing.unexpected_keys:
            raise RuntimeError(f"weights: {left}, {missing.unexpected_keys}")
        self.model.eval().requires_grad_(False)
        self._check(arrays["start"])

    def predict(self, pixels: torch.Tensor, site: int) -> torch.Tensor:
        """Predictions of ``[image, 3, size, size]`` in [0, 1]."""
        return self.model(pixels).flatten(1) @ self.axes[site] + self.bias[site]

    def lanes(self) -> list[tuple[int, int, int]]:
        """All of them: ``(site, seed, level)``."""
        shape = (len(self.axes), len(self.seeds), self.levels.shape[1])
        return [tuple(map(int, lane)) for lane in np.ndindex(*shape)]

    @torch.no_grad()
    def _check(self, start: np.ndarray) -> None:
        """The twin says of the seeds what our network says of them."""
        for site, expected in enumerate(start):
            found = self.predict(self.seeds, site).numpy()
            worst = np.abs(found - expected).max() / self.extent[site]
            if not worst < 1e-3:
                raise RuntimeError(f"site {site}: differs by {worst:.1e} of the range")


def folded(model: Twin) -> Twin:
    """Batch norms inside the convolutions, channels last; changes `model`."""
    for module in list(model.modules()):
        if isinstance(module, Block):
            for number in range(1, module.depth + 1):
                _fold(module, f"conv{number}", f"bn{number}")
            if isinstance(module.downsample, nn.Sequential):
                module.downsample = fuse_conv_bn_eval(*module.downsample)
    _fold(model, "conv1", "bn1")
    return model.to(memory_format=torch.channels_last)


def _fold(module: nn.Module, conv: str, norm: str) -> None:
    fused = fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm))
    setattr(module, conv, fused)
    setattr(module, norm, nn.Identity())
