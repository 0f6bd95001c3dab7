"""Projections that no response and no image has to teach: sparse matrices by design."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from paramctl_jax.types import InputError

DISTORTION = 0.1
"""Relative error of squared distances that sets the default number of components."""


def random_projection(
    n_images: int, n_features: int, components: int | None = None, random_seed: int = 0
) -> sparse.csr_array:
    """Scikit-learn's sparse random projection for a readout of `n_features`.

    Entries are ``+- sqrt(s / k)`` with probability ``1 / (2 s)`` each, else 0, with
    ``s = sqrt(n_features)`` and k components. By default
    ``k = 4 ln(n) / (e^2 / 2 - e^3 / 3)`` keeps the squared distances of n images within
    a factor ``1 +- e``, e = .1. Nothing is learnt: width, number of components and seed
    fix the matrix, so that models of the same width share one.

    Args:
      n_images: training images, which set the default number of components.
      n_features: width of the readout.
      components: k; None for the default.
      random_seed: of the matrix.

    Returns:
      ``[component, feature]`` in float64.

    Raises:
      InputError: more components than features.

    Example:
      >>> matrix = random_projection(100, 400, components=50)
      >>> matrix.shape, round(matrix.nnz / (50 * 400), 2)
      ((50, 400), 0.05)

    Source: Achlioptas 2003; Li, Hastie & Church 2006; with this default Conwell et al.
    2024 (DeepNSD).
    """
    from sklearn.random_projection import (  # half a second of imports
        SparseRandomProjection,
        johnson_lindenstrauss_min_dim,
    )

    if components is None:
        components = int(johnson_lindenstrauss_min_dim(n_images, eps=DISTORTION))
        reason = f" (Johnson-Lindenstrauss for {n_images} images within {DISTORTION:g})"
    else:
        reason = ""
    if not 1 <= components <= n_features:
        raise InputError(
            f"srp: {components} components{reason} of a readout of {n_features} "
            "features, expected at least 1 and no more than there are features; use "
            "basis 'none' or fewer components"
        )
    shape_only = sparse.csr_array((n_images, n_features), dtype=np.float64)
    count: Any = components  # annotated there by its default, a name
    rule = SparseRandomProjection(count, density="auto", random_state=random_seed)
    return sparse.csr_array(rule.fit(shape_only).components_)


def channel_means(shape: tuple[int, int, int]) -> sparse.csr_array:
    """The mean over positions of every channel, as a matrix on flattened features.

    Args:
      shape: height, width and channels; tokens are a row of positions.

    Returns:
      ``[channel, feature]`` in float64 for features in the order channel, height,
      width; the identity where there is only one position.

    Example:
      >>> channel_means((1, 2, 2)).toarray()
      array([[0.5, 0.5, 0. , 0. ],
             [0. , 0. , 0.5, 0.5]])
    """
    height, width, channels = shape
    positions = height * width
    size = channels * positions
    starts = np.arange(0, size + 1, positions)
    values = np.full(size, 1 / positions)
    return sparse.csr_array((values, np.arange(size), starts), (channels, size))
