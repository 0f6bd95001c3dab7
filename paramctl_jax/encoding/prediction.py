"""From pixels to predicted responses: one graph for fit, synthesis and re-check."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from paramctl_jax.backbones import read
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.features import padded_block
from paramctl_jax.progress import bar
from paramctl_jax.types import EncodingModel, ImageSet, InputError, Network


def predict_pixels(
    network: Network,
    variables: PyTree,
    weights: Float[Array, "site feature"],
    bias: Float[Array, " site"],
    pixels: Float[Array, "image height width 3"],
    readout: str,
) -> Float[Array, "image site"]:
    """Predicted responses as a pure, differentiable function of pixels.

    ``features(pixels) weights' + bias``. The sum runs over up to a hundred thousand
    products of either sign, so it asks for full float32 precision everywhere.

    Args:
      network: static half of the backbone.
      variables: its weights.
      weights: encoding axes.
      bias: of each axis.
      pixels: sRGB in [0, 1], squares of any size.
      readout: layer that the axes were fitted on.

    Returns:
      Predictions in response units.
    """
    with jax.default_matmul_precision("highest"):
        features = read(network, variables, pixels, readout)
        return features @ weights.T + bias[None]


def predict(
    model: EncodingModel,
    images: ImageSet,
    batch_size: int = 32,
    progress: bool = False,
) -> Float[np.ndarray, "image site"]:
    """Predicted responses to images, through the same graph as the synthesis.

    Args:
      model: fitted encoding model.
      images: 8-bit sRGB squares of any size.
      batch_size: images per compiled call; the last block is padded to it.
      progress: whether to show a progress bar.

    Returns:
      Predictions in the model's units.

    Example:
      >>> predict(model, images).shape == (len(images), len(model.site_ids))
      ... # doctest: +SKIP
      True
    """
    backbone = model.backbone
    variables = jax.device_put(backbone.variables)
    weights = jnp.asarray(model.weights, jnp.float32)
    bias = jnp.asarray(model.bias, jnp.float32)
    out = np.empty((len(images), len(model.site_ids)))
    starts = range(0, len(images), batch_size)
    for start in bar(starts, label=f"{model.name}: predictions", show=progress):
        block = padded_block(images, start, batch_size)
        values = _predict_block(
            backbone.network, variables, weights, bias, block, model.readout
        )
        rows = out[start : start + batch_size]
        rows[:] = np.asarray(values)[: len(rows)]
    return out


def predict_features(
    features: FeatureBlocks,
    weights: Float[np.ndarray, "site feature"],
    bias: Float[np.ndarray, " site"],
) -> Float[np.ndarray, "image site"]:
    """Predictions from extracted features, ``features weights' + bias`` in float64.

    Args:
      features: raw features of any images, in memory or on disk.
      weights: encoding axes.
      bias: of each axis.

    Returns:
      Predictions in response units.

    Raises:
      InputError: values that are not finite.

    Example:
      >>> import numpy as np
      >>> features = FeatureBlocks(np.ones((1, 2)))
      >>> predict_features(features, np.array([[2.0, 3.0]]), np.array([1.0]))
      array([[6.]])
    """
    out = np.tile(bias.astype(np.float64), (len(features), 1))
    for columns, block in features.blocks():
        with np.errstate(invalid="ignore"):  # inf - inf; refused below
            out += block @ weights[:, columns].astype(np.float64).T
    bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if bad.size:
        raise InputError(
            f"features: {bad.size} of {len(out)} images cannot be predicted from, "
            f"first row {features.row_ids[bad[0]]} (counted from 0): expected finite "
            "values; leave these images out"
        )
    return out


_predict_block = functools.partial(jax.jit, static_argnames=("network", "readout"))(
    predict_pixels
)
