"""Linear bases: from raw features to what the read-out is fitted on, and back.

A basis maps features x to ``z = P (x - m)``, with ``P [component, feature]``. A
read-out ``y = z b + c`` fitted on z is one vector per site in raw features, ``P' b``.

The spatial x channel read-out (`factorised`) has a basis of its own for every site and
is fitted as a whole; a sparse autoencoder is not linear and is a readout of the network
(`backbones.sae`), fitted like any other.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy import sparse

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.gram import feature_mean
from paramctl_jax.encoding.pca import principal_components
from paramctl_jax.encoding.projection import channel_means, random_projection
from paramctl_jax.types import InputError, unknown

BASES = ("pca", "srp", "spatial_mean", "none")
"""The kinds of basis that `fit_basis` knows."""


@dataclasses.dataclass(frozen=True)
class Basis:
    """A linear basis of raw features.

    Attributes:
      kind: one of `BASES`.
      mean: subtracted from the features, float64: that of the training images (pca,
        none), or zero where the basis learns nothing from them (srp, spatial mean);
        the read-out centres what it is fitted on.
      components: orthonormal rows in order of variance (pca), a sparse matrix (srp,
        spatial mean), or None for the identity, which would be feature x feature.
      variance: of the training images along each component, ddof 1 (pca only).
    """

    kind: str
    mean: Float[np.ndarray, " feature"]
    components: Float[np.ndarray, "component feature"] | sparse.csr_array | None = None
    variance: Float[np.ndarray, " component"] | None = None

    @property
    def n_components(self) -> int:
        """How many numbers the basis makes of an image."""
        kept = self.mean if self.components is None else self.components
        return np.shape(kept)[0]


def fit_basis(
    kind: str,
    features: FeatureBlocks,
    *,
    shape: tuple[int, int, int],
    components: int | None = None,
    random_seed: int = 0,
) -> Basis:
    """Fits the named basis on the training images' features.

    Args:
      kind: ``"pca"``, see `principal_components`; ``"srp"``, see `random_projection`;
        ``"spatial_mean"``, see `channel_means`; ``"none"``, the features themselves.
      features: of the training images only, in the order channel, height, width.
      shape: height, width and channels of the readout.
      components: how many to keep at most; None for the default of each kind.
      random_seed: of srp.

    Returns:
      The basis in float64.

    Raises:
      InputError: unknown kind (the valid ones are listed), features that do not have
        this shape, or what the kind refuses.

    Example:
      >>> import numpy as np
      >>> features = FeatureBlocks(np.array([[1.0, 3.0, 0.0, 8.0]]))
      >>> basis = fit_basis("spatial_mean", features, shape=(1, 2, 2))
      >>> project(basis, features)
      array([[2., 4.]])
    """
    if kind not in BASES:
        raise unknown(kind, BASES, "basis")
    n_images, n_features = features.shape
    if n_features != np.prod(shape):
        raise InputError(
            f"features: expected {np.prod(shape)} columns for a readout of height, "
            f"width, channels {shape}, found {n_features}"
        )
    if kind == "pca":
        return Basis(kind, *principal_components(features, components))
    if kind == "srp":
        matrix = random_projection(n_images, n_features, components, random_seed)
        return Basis(kind, np.zeros(n_features), matrix)
    if components is not None:
        raise InputError(
            f"components: expected none with basis {kind!r}, found {components}; use "
            "basis 'pca' or 'srp' to limit them"
        )
    if kind == "spatial_mean":
        return Basis(kind, np.zeros(n_features), channel_means(shape))
    return Basis(kind, feature_mean(features))


def project(basis: Basis, features: FeatureBlocks) -> Float[np.ndarray, "image _"]:
    """Features in the basis, ``(x - mean) components'``, in float64 by blocks.

    Args:
      basis: fitted on training images.
      features: of any images.

    Returns:
      Coordinates of each image, ``[image, component]``.
    """
    if basis.components is None:
        return features.whole() - basis.mean[None]
    components = basis.components
    if isinstance(components, sparse.csr_array):
        components = components.tocsc()  # to take columns at no cost
    out = np.zeros((len(features), basis.n_components))
    for columns, block in features.blocks():
        block -= basis.mean[None, columns]
        # the sparse matrix stands on the left: scipy multiplies by its rows
        out += (components[:, columns] @ block.T).T
    return out


def collapse(
    basis: Basis,
    weights: Float[np.ndarray, "component site"],
    bias: Float[np.ndarray, " site"],
) -> tuple[Float[np.ndarray, "site feature"], Float[np.ndarray, " site"]]:
    """One encoding axis per site in raw features, and its bias.

    ``w = components' b`` and ``c = bias - mean . w``: ``x . w + c`` is what the
    read-out in the basis predicts.

    Args:
      basis: that the read-out was fitted in.
      weights: the read-out's weights.
      bias: the read-out's bias, in response units.

    Returns:
      Axes and biases in float64.

    Example:
      >>> import numpy as np
      >>> basis = Basis("pca", np.array([1.0, 1.0]), np.array([[0.6, 0.8]]))
      >>> axes, bias = collapse(basis, np.array([[5.0]]), np.array([2.0]))
      >>> axes, bias.round(6)
      (array([[3., 4.]]), array([-5.]))
    """
    axes = weights if basis.components is None else basis.components.T @ weights
    return np.ascontiguousarray(axes.T), bias - basis.mean @ axes
