"""What the images have in common: the centred Gram matrix, and products with features.

``X`` is images x features, ``m`` its mean over images. ``K = (X - m)(X - m)'`` is all
that ridge and PCA need of wide features to be solved over images; ``(X - m)' D`` brings
their solutions back to features. A block of columns holds all its rows, so that
centring it is exact, and the features are never copied whole, centred or in float64.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float
from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]
from threadpoolctl import threadpool_limits

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
    # BLAS's symmetric update: half the products, added in place, in Fortran order. The
    # upper triangle is a quarter faster than the lower one.
    total = np.zeros((count, count), order="F")
    mean = np.empty(width)
    for columns, centre, block in centred_blocks(features):
        mean[columns] = centre
        total = dsyrk(1.0, block.T, 1.0, total, trans=1, overwrite_c=1)
    matrix = total.T
    _mirror(matrix)
    return matrix, mean


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
    width = features.shape[1]
    out = np.empty((width, dual.shape[1]))

    def multiply(start: int) -> None:
        columns = slice(start, start + BLOCK)
        _, block = _centred(features, columns)
        np.matmul(block.T, dual, out=out[columns])

    # Thin products: blocks side by side, each with one thread. BLAS's own threads
    # mostly wait for each other here (twice the CPU time, measured).
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_workers()) as pool:
        for _ in pool.map(multiply, range(0, width, BLOCK)):
            pass  # raises what a block raised
    return out


def _workers() -> int:
    """As many blocks at a time as there are cores for this process, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


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
    size = BLOCK if size is None else size
    for start in range(0, features.shape[1], size):
        columns = slice(start, start + size)
        centre, block = _centred(features, columns)
        yield columns, centre, block


def _centred(
    features: FeatureBlocks, columns: slice
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, "image column"]]:
    block = features.block(columns)
    centre = _centre_in_place(block)
    if not np.isfinite(centre).all():
        raise InputError(_not_finite(features))
    return centre, block


def _centre_in_place(
    block: Float[np.ndarray, "image column"],
) -> Float[np.ndarray, " column"]:
    """Subtracts the mean over images and returns it; not finite where a value is not.

    The first image goes first, so that a feature that is equal for all images becomes
    exactly 0 and not the rounding error of its mean.
    """
    first = block[0].copy()
    with np.errstate(invalid="ignore"):  # inf - inf; the mean tells
        block -= first
        rest = block.mean(axis=0)
        block -= rest
        return first + rest


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
