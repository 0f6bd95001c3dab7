"""True axes of simulated sites: random, with mean 0 and SD 1 over natural images."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.backbones import check_readout
from paramctl_jax.encoding import extract_features
from paramctl_jax.lanes import named_key
from paramctl_jax.subject.truth import LinearTruth
from paramctl_jax.types import Backbone, ImageSet, InputError, unknown

Weights = Float[np.ndarray, "site feature"]
Features = Float[np.ndarray, "image feature"]

AXES = ("components", "channels", "spatial")


def random_truth(
    backbone: Backbone,
    images: ImageSet,
    readout: str,
    *,
    n_sites: int,
    axes: str = "components",
    components: int = 30,
    channels: int = 8,
    key: Key[Array, ""],
    progress: bool = True,
) -> LinearTruth:
    """Sites that read random combinations of a layer's features.

    ``components``: with the centred features ``F = U S V'`` of N images, site s has
    coefficients ``c_s``, a random unit vector over the leading whitened components,

        u_s(x) = sqrt(N) sum_k c_sk v_k . (phi(x) - mean) / S_k

    so that every component counts alike. ``channels``: a few random channels, weights
    normal at every position. ``spatial``: a Gaussian window around a random place times
    normal weights of all channels, as a receptive field. The last two are scaled to
    SD 1 over the images; all have mean 0.

    Args:
      backbone: whose features are read.
      images: natural images that define components, mean and SD.
      readout: layer of `backbone`.
      n_sites: at least 1, at most the layer's features.
      axes: one of `AXES`.
      components: for ``components``; at least 1, fewer than images.
      channels: for ``channels``; at least 1, at most those of the layer.
      key: randomness of the axes.
      progress: whether to show a progress bar.

    Returns:
      The truth, with sites ``sim_00`` and so on, in SDs of natural images ("z").

    Raises:
      InputError: a number out of range, or features that cannot give such axes.
    """
    if axes not in AXES:
        raise unknown(axes, AXES, "kind of a subject's axes")
    shape = backbone.readouts[check_readout(backbone, readout)]
    _check(int(np.prod(shape)), len(images), readout, n_sites)
    if axes == "spatial" and shape[0] * shape[1] == 1:
        raise InputError(
            f"axes='spatial': expected a readout with places, found {readout} with one"
        )
    features = extract_features(backbone, images, readout, progress=progress)
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    centred = features - mean[None, :]
    if axes == "components":
        weights = _component_axes(centred, n_sites, components, readout, key)
    else:
        patterns = (
            _channel_axes(shape, n_sites, channels, readout, key)
            if axes == "channels"
            else _spatial_axes(shape, n_sites, key)
        )
        weights = _with_unit_sd(patterns, centred, readout)
    return LinearTruth(
        backbone=backbone,
        readout=readout,
        site_ids=site_names(n_sites),
        weights=weights,
        bias=-weights @ mean,
    )


def site_names(n_sites: int) -> tuple[str, ...]:
    """``sim_00`` and so on."""
    return tuple(f"sim_{site:02d}" for site in range(n_sites))


def _check(n_features: int, n_images: int, readout: str, n_sites: int) -> None:
    if not 1 <= n_sites <= n_features:
        raise InputError(
            f"n_sites: expected at least 1 and at most {n_features}, the features of "
            f"{readout}, found {n_sites}"
        )
    if n_images < 2:
        raise InputError(f"images: expected at least 2 natural ones, found {n_images}")


def _component_axes(
    centred: Features, n_sites: int, components: int, readout: str, key: Key[Array, ""]
) -> Weights:
    if not 1 <= components < len(centred):
        raise InputError(
            f"components: expected 1 to {len(centred) - 1} for {len(centred)} images, "
            f"found {components}"
        )
    directions = whitened_components(centred, components, readout)
    drawn = np.asarray(jax.random.normal(key, (n_sites, components)), dtype=np.float64)
    coefficients = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return coefficients @ directions


def _channel_axes(
    shape: tuple[int, int, int],
    n_sites: int,
    channels: int,
    readout: str,
    key: Key[Array, ""],
) -> Weights:
    """Normal weights at every position of a few channels."""
    height, width, n_channels = shape
    if not 1 <= channels <= n_channels:
        raise InputError(
            f"channels: expected 1 to {n_channels}, those of {readout}, found "
            f"{channels}"
        )
    choice, values = named_key(key, "choice"), named_key(key, "values")
    order = np.argsort(jax.random.uniform(choice, (n_sites, n_channels)), axis=1)
    kept = np.argsort(order, axis=1) < channels
    drawn = np.asarray(jax.random.normal(values, (n_sites, n_channels, height * width)))
    return (drawn * kept[:, :, None]).reshape(n_sites, -1).astype(np.float64)


def _spatial_axes(
    shape: tuple[int, int, int], n_sites: int, key: Key[Array, ""]
) -> Weights:
    """A Gaussian window, SD a quarter of the side, times weights of the channels."""
    height, width, n_channels = shape
    places, values = named_key(key, "places"), named_key(key, "values")
    centre = np.asarray(jax.random.uniform(places, (n_sites, 2)), np.float64)
    rows, columns = (
        (np.arange(side)[None, :] + 0.5) / side - centre[:, axis, None]
        for axis, side in enumerate((height, width))
    )
    window = np.exp(-8 * (rows[:, :, None] ** 2 + columns[:, None, :] ** 2))
    drawn = np.asarray(jax.random.normal(values, (n_sites, n_channels)), np.float64)
    return np.einsum("sc,shw->schw", drawn, window).reshape(n_sites, -1)


def _with_unit_sd(patterns: Weights, centred: Features, readout: str) -> Weights:
    """The same directions, scaled to SD 1 over the images."""
    sd = (centred @ patterns.T).std(axis=0)
    if not np.all(sd > 0):
        raise InputError(
            f"subject: site {int(np.argmin(sd))} answers all {len(centred)} natural "
            f"images alike; choose another readout than {readout}, or more channels"
        )
    return patterns / sd[:, None]


def whitened_components(
    centred: Features, components: int, readout: str
) -> Float[np.ndarray, "component feature"]:
    """Directions whose scores over the images are uncorrelated and have SD 1.

    Dual form: with ``F F' = U L U'`` the scores are ``sqrt(N) U``, and the directions
    ``sqrt(N) L^-1 U' F``; nothing of the size feature x feature is made.

    Args:
      centred: features less their mean over images.
      components: how many, the leading ones.
      readout: for the message.

    Returns:
      One direction per component, by decreasing variance; their sign is fixed so that
      it does not hang on the LAPACK in use.

    Raises:
      InputError: non-finite features, or fewer than `components` dimensions in them.
    """
    if not np.all(np.isfinite(centred)):
        raise InputError(f"{readout}: expected finite features, found NaN or infinity")
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    n_images = len(centred)
    tiny = n_images * np.finfo(np.float32).eps * max(values[0], 0.0)
    found = int(np.count_nonzero(values > tiny))
    if found < components:
        raise InputError(
            f"components: expected at most {found}, the dimensions of {readout} over "
            f"{n_images} images, found {components}"
        )
    leading = vectors[:, :components]
    largest = leading[np.argmax(np.abs(leading), axis=0), np.arange(components)]
    leading = leading * np.sign(largest)[None, :]
    scale = np.sqrt(n_images) / values[:components]
    return scale[:, None] * (leading.T @ centred)
