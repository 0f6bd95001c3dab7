"""Traces of a tiny sweep, and the names of its sites and seed images."""

import numpy as np

from paramctl_jax.types import Traces

SITES = ("site_a", "site_b")
SEEDS = ("ant_0001", "bee_0002", "cat_0003")


def make_traces(with_maps: bool = True, n_steps: int = 5) -> Traces:
    """Two paths per site and seed image, the second of each a step shorter."""
    rng = np.random.default_rng(1)
    site, seed, way = (index.ravel() for index in np.indices((2, 3, 2)))
    prediction = rng.standard_normal((12, n_steps)).astype(np.float32)
    prediction[way == 1, -1] = np.nan
    maps = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8) if with_maps else None
    return Traces(site, seed, np.full(12, -1), 2 * way - 1, prediction, maps)
