"""A model that can be computed by hand, traces of a sweep of it, and their names."""

from types import SimpleNamespace

import numpy as np

from paramctl_jax.types import Backbone, EncodingModel, ImageSet, Network, Traces
from tests.evaluations import evaluation_of

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


GAINS = np.asarray([1.0, -2.0, 0.5])  # of the model's three sites


def hand_predict(model: EncodingModel, images: ImageSet) -> np.ndarray:
    """Mean pixel value in [0, 1], times one gain per site."""
    means = images.pixels.reshape(len(images), -1).mean(axis=1) / 255
    return means[:, None] * GAINS[None, : len(model.site_ids)]


def make_model(name: str = "small") -> EncodingModel:
    sites = ("site_x", *SITES)
    evaluation = evaluation_of(sites)
    network = Network(SimpleNamespace(), 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    backbone = Backbone(name, network, {}, {"layer": (8, 8, 3)})
    return EncodingModel(
        backbone=backbone,
        readout="layer",
        site_ids=sites,
        weights=np.random.default_rng(7).standard_normal((3, 192)),
        bias=np.zeros(3),
        penalty=np.ones(3),
        evaluation=evaluation,
    )
