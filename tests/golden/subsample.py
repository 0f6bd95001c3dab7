"""What a fixture keeps of an activation: its scale, its mean, some of its values."""

from __future__ import annotations

import numpy as np


def summarise(readout: str, values: np.ndarray, count: int) -> np.ndarray:
    """``[max |x|, mean x, x at drawn positions]`` of torch-ordered activations.

    The positions follow from the name, so that the fixture need not keep them.
    """
    random = np.random.RandomState(sum(readout.encode()))
    flat = values.ravel()
    at = flat[random.randint(0, flat.size, count)]
    return np.concatenate([[np.abs(flat).max(), flat.mean(dtype=np.float64)], at])


def draw_weights(
    shapes: dict[str, tuple[int, ...]], seed: int, scales: tuple[float, float]
) -> dict[str, np.ndarray]:
    """Weights whose activations neither vanish nor explode; no statistic is trivial.

    Args:
      shapes: of the state dict.
      seed: of the generator; names are drawn in sorted order.
      scales: range of batch norm's scales and running variances.
    """
    random = np.random.RandomState(seed)
    weights = {}
    for name, shape in sorted(shapes.items()):
        if len(shape) > 1:
            drawn = random.standard_normal(shape)
            drawn *= np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith(("bias", "running_mean")):
            drawn = 0.2 * random.standard_normal(shape)
        else:
            drawn = random.uniform(*scales, shape)
        weights[name] = drawn.astype(np.float32)
    return weights


def draw_images(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Normalised images, ``[image, height, width, channel]``."""
    random = np.random.RandomState(seed)
    return random.standard_normal((count, height, width, 3)).astype(np.float32)
