"""A ResNet in plain words, for those who cannot import it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def describe(backbone: Any, readout: str) -> dict[str, Any]:
    """What `nets.Twin` needs to build the network up to `readout`."""
    module, network = backbone.network.module, backbone.network
    stage, block = readout.removeprefix("layer").split(".")
    layers = [*module.layers[: int(stage) - 1], int(block) + 1]
    return {
        "layers": layers,
        "kind": module.kind,
        "width": module.width,
        "halving": module.halving,
        "stem": module.stem,
        "input_size": network.input_size,
        "mean": list(network.mean),
        "std": list(network.std),
    }


def used(
    tensors: Mapping[str, np.ndarray], spec: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The tensors up to the readout."""
    last = len(spec["layers"])

    def kept(name: str) -> bool:
        first, *rest = name.split(".")
        if not first.startswith("layer"):
            return first in ("conv1", "bn1")
        stage = int(first.removeprefix("layer"))
        return stage < last or (stage == last and int(rest[0]) < spec["layers"][-1])

    return {name: tensor for name, tensor in tensors.items() if kept(name)}
