"""Principal components of more features than there are images, in dual form."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.gram import gram_and_mean, times
from paramctl_jax.types import InputError

DEFAULT_COMPONENTS = 750
"""The most components that PCA keeps unless told otherwise."""


@dataclasses.dataclass(frozen=True)
class PrincipalModes:
    """Principal components as combinations of the images that they were fitted on.

    With centred features ``X = U diag(sqrt(l)) V'`` the components are the rows of
    ``V' = diag(l)^-1/2 U' X``; a read-out b on the scores is ``X' U diag(l)^-1/2 b`` in
    the features, so that V itself, component x feature, need never be formed.

    Attributes:
      features: of the images, n of them.
      mean: of the features.
      vectors: U, orthonormal columns in order of variance.
      values: l, squared lengths of the scores.
    """

    features: FeatureBlocks
    mean: Float[np.ndarray, " feature"]
    vectors: Float[np.ndarray, "image component"]
    values: Float[np.ndarray, " component"]

    @property
    def scores(self) -> Float[np.ndarray, "image component"]:
        """The images in their principal components, ``X V = U diag(l)^1/2``."""
        return self.vectors * np.sqrt(self.values)[None]

    def expand(
        self, weights: Float[np.ndarray, "component k"]
    ) -> Float[np.ndarray, "feature k"]:
        """Weights on the scores as weights on the features, ``V b``; one pass."""
        return times(self.features, self.vectors / np.sqrt(self.values)[None] @ weights)


def principal_modes(
    features: FeatureBlocks, count: int | None = None
) -> PrincipalModes:
    """Principal components in dual form, from ``K = X X' = U diag(l) U'`` over images.

    Modes with ``l <= N eps max(l)`` are dropped; centring always makes one. No
    whitening.

    Args:
      features: of the training images only.
      count: how many to keep at most; None for 750. Never more than the images span.

    Returns:
      The modes in float64; the sign of each is arbitrary.

    Raises:
      InputError: fewer than two images, `count` below 1, or equal features.
    """
    n_images = len(features)
    wanted = DEFAULT_COMPONENTS if count is None else count
    if n_images < 2 or wanted < 1:
        raise InputError(
            "pca: expected at least 2 training images and 1 component, found "
            f"{n_images} images and components={wanted}"
        )
    gram, mean = gram_and_mean(features)
    values, vectors = leading_modes(gram, wanted)
    if len(values) == 0:
        raise InputError(
            f"pca: the features of all {n_images} training images are equal; expected "
            "a readout that responds to the images"
        )
    return PrincipalModes(features, mean, vectors, values)


def principal_components(
    features: FeatureBlocks, count: int | None = None
) -> tuple[
    Float[np.ndarray, " feature"],
    Float[np.ndarray, "component feature"],
    Float[np.ndarray, " component"],
]:
    """Mean, orthonormal principal components and their variances.

    Args:
      features: of the training images only.
      count: how many to keep at most, see `principal_modes`.

    Returns:
      The features' mean; the components in order of variance; the images' variance
      along each, ddof 1. All float64; the components' sign is arbitrary.

    Raises:
      InputError: as `principal_modes`.

    Example:
      >>> import numpy as np
      >>> line = np.outer([-1.0, 0.0, 4.0], [3.0, 4.0])
      >>> mean, components, variance = principal_components(FeatureBlocks(line))
      >>> mean, np.abs(components).round(3), variance.round(3)
      (array([3., 4.]), array([[0.6, 0.8]]), array([175.]))
    """
    modes = principal_modes(features, count)
    components = modes.expand(np.eye(len(modes.values))).T
    return modes.mean, components, modes.values / (len(features) - 1)


def leading_modes(
    matrix: Float[np.ndarray, "side side"], count: int
) -> tuple[Float[np.ndarray, " mode"], Float[np.ndarray, "side mode"]]:
    """The largest eigenvalues of a Gram or covariance matrix, descending.

    Args:
      matrix: symmetric, positive semidefinite but for rounding.
      count: how many at most.

    Returns:
      Eigenvalues above ``side eps max``, and their vectors; none of a matrix of zeros.

    Example:
      >>> import numpy as np
      >>> leading_modes(np.diag([2.0, 0.0, 5.0]), 3)[0]
      array([5., 2.])
    """
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    null = len(matrix) * np.finfo(np.float64).eps * values[0]
    kept = min(int(np.sum(values > max(null, 0.0))), count)
    return values[:kept], vectors[:, :kept]
