"""Linear bases: from raw features to what the read-out is fitted on, and back.

A basis maps features x to ``z = P (x - m)``, with ``P [component, feature]``. A
read-out ``y = z b + c`` fitted on z is one vector per site in raw features, ``P' b``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from paramctl_jax.types import InputError

DEFAULT_COMPONENTS = 750
"""The most components that PCA keeps unless told otherwise."""

BLOCK = 8192
"""Features per float64 block: 800 images take 50 MB, whatever the readout's size."""


@dataclasses.dataclass(frozen=True)
class Basis:
    """A linear basis fitted on training images.

    Attributes:
      kind: as in `BASES`.
      mean: subtracted from the features, float64.
      components: orthonormal rows in order of variance, float64; None stands for the
        identity, which would be feature x feature.
      variance: of the training images along each component, ddof 1; None likewise.
    """

    kind: str
    mean: Float[np.ndarray, " feature"]
    components: Float[np.ndarray, "component feature"] | None = None
    variance: Float[np.ndarray, " component"] | None = None


def fit_pca(
    features: Float[np.ndarray, "image feature"], n_components: int | None = None
) -> Basis:
    """Principal components of the training features, computed in dual form.

    ``K = X X' = U diag(l) U'`` over images, ``components = diag(l)^-1/2 U' X`` for
    centred X: nothing of size feature x feature is formed. Modes with
    ``l < N eps max(l)`` are dropped; centring always makes one. No whitening.

    Args:
      features: of the training images only.
      n_components: how many to keep at most; None for 750. Never more than the
        images span.

    Returns:
      The basis in float64.

    Raises:
      InputError: fewer than two images, `n_components` below 1, or equal features.

    Example:
      >>> import numpy as np
      >>> line = np.outer([-1.0, 0.0, 4.0], [3.0, 4.0])
      >>> fit_pca(line).components.round(3) * np.sign(fit_pca(line).components[0, 0])
      array([[0.6, 0.8]])
    """
    n_images = len(features)
    wanted = DEFAULT_COMPONENTS if n_components is None else n_components
    if n_images < 2 or wanted < 1:
        raise InputError(
            "pca: expected at least 2 training images and 1 component, found "
            f"{n_images} images and components={n_components}"
        )
    mean = features.mean(axis=0, dtype=np.float64)
    gram = np.zeros((n_images, n_images))
    for _, block in _centred_blocks(features, mean):
        gram += block @ block.T
    values, vectors = _leading_modes(gram, wanted)
    dual = vectors / np.sqrt(values)
    components = np.empty((len(values), features.shape[1]))
    for columns, block in _centred_blocks(features, mean):
        components[:, columns] = dual.T @ block
    return Basis("pca", mean, components, values / (n_images - 1))


def fit_none(
    features: Float[np.ndarray, "image feature"], n_components: int | None = None
) -> Basis:
    """The raw features themselves, centred on the training images.

    Args:
      features: of the training images only.
      n_components: must be None.

    Returns:
      A basis without components.

    Raises:
      InputError: if `n_components` is given.
    """
    if n_components is not None:
        raise InputError(
            f"components: expected none with basis 'none', found {n_components}; "
            "use basis 'pca' to limit them"
        )
    return Basis("none", features.mean(axis=0, dtype=np.float64))


BASES: dict[str, Callable[[np.ndarray, int | None], Basis]] = {
    "pca": fit_pca,
    "none": fit_none,
}
"""How each kind of basis is fitted."""


def fit_basis(
    kind: str,
    features: Float[np.ndarray, "image feature"],
    n_components: int | None = None,
) -> Basis:
    """Fits the named basis on the training images' features.

    Raises:
      InputError: unknown kind (the valid ones are listed), or what the fit refuses.
    """
    if kind not in BASES:
        raise InputError(f"basis: expected one of {', '.join(BASES)}, found {kind!r}")
    return BASES[kind](features, n_components)


def project(
    basis: Basis, features: Float[np.ndarray, "image feature"]
) -> Float[np.ndarray, "image component"]:
    """Features in the basis, ``(x - mean) components'``, in float64 by blocks.

    Args:
      basis: fitted on training images.
      features: of any images.

    Returns:
      Coordinates of each image.
    """
    if basis.components is None:
        return features - basis.mean
    out = np.zeros((len(features), len(basis.components)))
    for columns, block in _centred_blocks(features, basis.mean):
        out += block @ basis.components[:, columns].T
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
    """
    axes = weights if basis.components is None else basis.components.T @ weights
    return np.ascontiguousarray(axes.T), bias - basis.mean @ axes


def _centred_blocks(
    features: np.ndarray, mean: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Column blocks of the centred features in float64."""
    for start in range(0, features.shape[1], BLOCK):
        columns = slice(start, start + BLOCK)
        yield columns, features[:, columns] - mean[columns]


def _leading_modes(gram: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, descending, and their vectors, without null modes."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    null = len(gram) * np.finfo(np.float64).eps * values[0]
    rank = int(np.sum(values > null))
    if rank == 0:
        raise InputError(
            f"pca: the features of all {len(gram)} training images are equal; expected "
            "a readout that responds to the images"
        )
    kept = min(rank, count)
    return values[:kept], vectors[:, :kept]
