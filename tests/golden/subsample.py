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


def draw_images(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Normalised images, ``[image, height, width, channel]``."""
    random = np.random.RandomState(seed)
    return random.standard_normal((count, height, width, 3)).astype(np.float32)
