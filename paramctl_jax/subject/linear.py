"""A subject with random read-outs of known reliability."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.encoding import extract_features
from paramctl_jax.subject.subject import Subject
from paramctl_jax.types import Backbone, ImageSet, InputError


def linear_subject(
    backbone: Backbone,
    images: ImageSet,
    readout: str,
    *,
    n_sites: int,
    components: int,
    ncsnr: tuple[float, float],
    key: Key[Array, ""],
    progress: bool = True,
) -> Subject:
    """Random axes in the leading principal components of natural images' features.

    With the centred features ``F = U S V'`` of N images, site s has coefficients
    ``c_s``, a random unit vector over the first `components` whitened components:

        truth_s(x) = sqrt(N) sum_k c_sk v_k . (phi(x) - mean) / S_k

    so that its mean over the images is 0, its SD 1, and every component counts alike.
    Trial noise has the SD ``sigma = 1 / ncsnr``, where ncsnr, the SD of the signal over
    that of the noise, is log-uniform over the sites, least reliable first.

    Args:
      backbone: the subject's own network.
      images: natural images that define the components and the natural SD.
      readout: layer of `backbone`.
      n_sites: at least 1.
      components: at least 1, fewer than images.
      ncsnr: lowest and highest, above 0.
      key: randomness of the axes.
      progress: whether to show a progress bar.

    Returns:
      The subject, with sites ``sim_00`` and so on, in units of natural SDs ("z").

    Raises:
      InputError: a number out of range, or features with fewer dimensions.

    Example:
      ``linear_subject(net, images, "layer3.1", n_sites=8, components=60,
      ncsnr=(.5, 1.5), key=key)``
    """
    low, high = _check(len(images), n_sites, components, ncsnr)
    features = extract_features(backbone, images, readout, progress=progress)
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    directions = whitened_components(features - mean[None, :], components, readout)
    drawn = np.asarray(jax.random.normal(key, (n_sites, components)), dtype=np.float64)
    coefficients = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    weights = coefficients @ directions
    ratios = np.geomspace(low, high, n_sites) if n_sites > 1 else np.sqrt([low * high])
    return Subject(
        backbone=backbone,
        readout=readout,
        site_ids=tuple(f"sim_{site:02d}" for site in range(n_sites)),
        weights=weights,
        bias=-weights @ mean,
        sigma=1 / ratios,
    )


def _check(
    n_images: int, n_sites: int, components: int, ncsnr: tuple[float, float]
) -> tuple[float, float]:
    if n_sites < 1:
        raise InputError(f"n_sites: expected at least 1, found {n_sites}")
    if not 1 <= components < n_images:
        raise InputError(
            f"components: expected 1 to {n_images - 1} for {n_images} images, found "
            f"{components}"
        )
    low, high = ncsnr
    if not 0 < low <= high < np.inf:
        raise InputError(
            f"ncsnr: expected (lowest, highest) with 0 < lowest <= highest, found "
            f"{tuple(ncsnr)}"
        )
    return float(low), float(high)


def whitened_components(
    centred: Float[np.ndarray, "image feature"], components: int, readout: str
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
