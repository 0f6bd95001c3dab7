"""Frozen networks and the encoding models fitted on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, PyTree


@dataclasses.dataclass(frozen=True)
class Network:
    """The static, hashable half of a backbone: its program without its weights.

    Attributes:
      module: ``module.apply(variables, images) -> {readout: activations}`` with NHWC
        activations; equal architectures compare equal, so that two backbones of one
        architecture share one compiled program.
      input_size: side of the square input in pixels.
      mean: per channel, subtracted from the sRGB image in [0, 1].
      std: per channel, divided by.
    """

    module: Any
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A frozen network whose named activations can be read out.

    Attributes:
      name: as in the registry, the tables and the figures.
      network: the static half.
      variables: the weights, always passed to compiled programs as an argument.
      readouts: shape ``(height, width, channel)`` of every readout, first to last.
      provenance: where the weights came from: ``file``, ``sha256``, ``licence``.
    """

    name: str
    network: Network
    variables: PyTree
    readouts: Mapping[str, tuple[int, int, int]]
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EncodingEvaluation:
    """How well an encoding model predicts images that it never saw, per site.

    The intervals are 95 % percentile bootstraps over held-out images.

    Attributes:
      site_ids: one per entry of the arrays.
      r: Pearson correlation over held-out images.
      r2: ``1 - SSE / SST`` over held-out images.
      ceiling: noise ceiling of r for the held-out images' own repeats (NaN: unknown).
      r_normalised: ``r / ceiling``; NaN where the ceiling is below .1 or unknown.
      r2_normalised: ``r2 / ceiling**2``; likewise.
      r_ci, r2_ci, r_normalised_ci, r2_normalised_ci: low and high end of each.
      cv_r: Pearson correlation over the training images between responses and
        predictions by fits without the image (leave-one-out or K folds, in the basis of
        all training images); for choosing sites and readouts without looking at the
        held-out images.
      cv_r2: ``1 - SSE / SST`` of the same predictions.
      train_ids: images of the fit.
      test_ids: held-out images.
      recorded: repeat averages of the held-out images.
      predicted: of the held-out images.
    """

    site_ids: tuple[str, ...]
    r: Float[np.ndarray, " site"]
    r2: Float[np.ndarray, " site"]
    ceiling: Float[np.ndarray, " site"]
    r_normalised: Float[np.ndarray, " site"]
    r2_normalised: Float[np.ndarray, " site"]
    r_ci: Float[np.ndarray, "site 2"]
    r2_ci: Float[np.ndarray, "site 2"]
    r_normalised_ci: Float[np.ndarray, "site 2"]
    r2_normalised_ci: Float[np.ndarray, "site 2"]
    cv_r: Float[np.ndarray, " site"]
    cv_r2: Float[np.ndarray, " site"]
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    recorded: Float[np.ndarray, "image site"]
    predicted: Float[np.ndarray, "image site"]

    def __str__(self) -> str:
        head = f"{'site':>12} {'r':>6} {'R2':>6} {'r/NC':>6} {'NC':>6}"
        columns = (self.r, self.r2, self.r_normalised, self.ceiling)
        rows = [
            f"{site:>12} " + " ".join(f"{column[i]:6.3f}" for column in columns)
            for i, site in enumerate(self.site_ids)
        ]
        split = f"{len(self.train_ids)} training, {len(self.test_ids)} held-out images"
        return "\n".join([head, *rows, split])


@dataclasses.dataclass(frozen=True)
class EncodingModel:
    """One backbone's encoding axes: ``prediction = features @ weights.T + bias``.

    Attributes:
      backbone: the frozen network.
      readout: the layer that is read.
      site_ids: one per axis.
      weights: encoding axes in raw features, order channel, height, width.
      bias: one per site.
      penalty: ridge penalty chosen per site.
      evaluation: on held-out images.
      units: of predictions, those of the recordings fitted.
      notes: warnings of the fit in plain words, e.g. a penalty at the grid's edge.
      settings: statistical choices of the fit by name, plain values.
    """

    backbone: Backbone
    readout: str
    site_ids: tuple[str, ...]
    weights: Float[np.ndarray, "site feature"]
    bias: Float[np.ndarray, " site"]
    penalty: Float[np.ndarray, " site"]
    evaluation: EncodingEvaluation
    units: str = "z"
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The backbone's name, which names the model everywhere."""
        return self.backbone.name
