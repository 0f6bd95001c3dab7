"""What the images have in common: the centred Gram matrix, and products with features.

``X`` is images x features, ``m`` its mean over images. ``K = (X - m)(X - m)'`` is all
that ridge and PCA need of wide features to be solved over images; ``(X - m)' D`` brings
their solutions back to features. A block of columns holds all its rows, so that
centring it is exact, and the features are never copied whole, centred or in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.types import InputError

BLOCK = 1024
"""Features per block: 800 images take 7 MB in float64, which stays in the cache."""

STRIP = 512
"""Rows mirrored at a time from one triangle to the other."""


def gram(features: FeatureBlocks) -> Float[np.ndarray, "image image"]:
    """Centred Gram matrix ``K = (X - m)(X - m)'`` in float64.

    Args:
      features: of n images.

    Returns:
      n x n, symmetric to the last bit. In memory at once: this and one block.

    Raises:
      InputError: values that are not finite.

    Example:
      >>> import numpy as np
      >>> gram(FeatureBlocks(np.array([[1.0, 5.0], [3.0, 5.0]])))
      array([[ 1., -1.],
             [-1.,  1.]])
    """
    return gram_and_mean(features)[0]


def gram_and_mean(
    features: FeatureBlocks,
) -> tuple[Float[np.ndarray, "image image"], Float[np.ndarray, " feature"]]:
    """`gram` and the mean over images in one pass over the features.

    Raises:
      InputError: values that are not finite.
    """
    count, width = features.shape
    # BLAS's symmetric update: half the products, added in place, in Fortran order.
    total = np.zeros((count, count), order="F")
    mean = np.empty(width)
    for columns, centre, block in centred_blocks(features):
        mean[columns] = centre
        total = dsyrk(1.0, block.T, 1.0, total, trans=1, lower=1, overwrite_c=1)
    _mirror(total)
    return total.T, mean


def feature_mean(features: FeatureBlocks) -> Float[np.ndarray, " feature"]:
    """Mean of every feature over the images, in float64.

    Raises:
      InputError: values that are not finite.
    """
    mean = np.empty(features.shape[1])
    for columns, centre, _ in centred_blocks(features):
        mean[columns] = centre
    return mean


def times(
    features: FeatureBlocks, dual: Float[np.ndarray, "image k"]
) -> Float[np.ndarray, "feature k"]:
    """``(X - m)' D``: from coefficients over images to vectors over features.

    Args:
      features: of n images.
      dual: k columns of coefficients over the images.

    Returns:
      k columns over the features, in float64.

    Raises:
      InputError: values that are not finite.

    Example:
      >>> import numpy as np
      >>> features = FeatureBlocks(np.array([[1.0, 5.0], [3.0, 5.0]]))
      >>> times(features, np.array([[1.0], [2.0]])).tolist()
      [[1.0], [0.0]]
    """
    out = np.empty((features.shape[1], dual.shape[1]))
    for columns, _, block in centred_blocks(features):
        np.matmul(block.T, dual, out=out[columns])
    return out


def centred_blocks(
    features: FeatureBlocks, size: int | None = None
) -> Iterator[
    tuple[slice, Float[np.ndarray, " column"], Float[np.ndarray, "image column"]]
]:
    """Columns, their mean over the images and their values less that mean, by blocks.

    Args:
      features: of at least one image.
      size: columns per block; None for `BLOCK`.

    Raises:
      InputError: values that are not finite.
    """
    for columns, block in features.blocks(BLOCK if size is None else size):
        with np.errstate(invalid="ignore"):  # inf - inf; refused in the next line
            centre = block.mean(axis=0)
        if not np.isfinite(centre).all():
            raise InputError(_not_finite(features))
        block -= centre
        yield columns, centre, block


def _mirror(lower: np.ndarray) -> None:
    """Copies the lower triangle to the upper one in strips, not in one n x n copy."""
    for start in range(0, len(lower), STRIP):
        stop = min(start + STRIP, len(lower))
        lower[:start, start:stop] = lower[start:stop, :start].T
        square = lower[start:stop, start:stop]
        square[...] = np.tril(square) + np.tril(square, -1).T


def _not_finite(features: FeatureBlocks) -> str:
    rows = np.zeros(len(features), np.int64)
    for _, block in features.blocks():
        rows += np.sum(~np.isfinite(block), axis=1)
    bad = np.flatnonzero(rows)
    return (
        f"features hold {rows.sum()} values that are not finite, in {len(bad)} of "
        f"{len(rows)} images, first image {bad[0]} (counted from 0); leave them out"
    )
