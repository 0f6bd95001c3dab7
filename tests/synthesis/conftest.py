import dataclasses

import numpy as np
import pytest

from paramctl_jax.encoding import predict
from paramctl_jax.types import EncodingModel
from tests.evaluations import evaluation_of
from tests.synthesis.sweeps import READOUT, SEEDS


@pytest.fixture(scope="package")
def model(tiny_backbone, photographs):
    """Two random axes, scaled to natural SD 1."""
    height, width, channel = tiny_backbone.readouts[READOUT]
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, height * width * channel)).astype(np.float32)
    nan = np.full(2, np.nan)
    evaluation = evaluation_of(("a", "b"), ("ant_0001",))
    model = EncodingModel(
        tiny_backbone, READOUT, ("a", "b"), weights, np.zeros(2), nan, evaluation
    )
    natural = predict(model, photographs)
    scale = 1 / natural.std(axis=0)
    return dataclasses.replace(
        model,
        weights=(weights * scale[:, None]).astype(np.float32),
        bias=-natural.mean(axis=0) * scale,
    )


@pytest.fixture(scope="package")
def seeds(photographs):
    return photographs.select(SEEDS)
