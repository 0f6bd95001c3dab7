"""From features of the training images to one axis per site, whatever the basis."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax.encoding.basis import collapse, fit_basis, project
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.factorised import factorised
from paramctl_jax.encoding.linear import LinearFit
from paramctl_jax.encoding.pca import principal_modes
from paramctl_jax.encoding.ridge import DEFAULT_PENALTIES, ridge
from paramctl_jax.encoding.settings import EncodingSettings
from paramctl_jax.encoding.sparse import lasso


@dataclasses.dataclass(frozen=True)
class Axes:
    """What the training images taught, in raw features.

    Attributes:
      weights: one encoding axis per site.
      bias: of each.
      fit: the read-out in its basis, with its cross-validated predictions.
      notes: in plain words.
    """

    weights: Float[np.ndarray, "site feature"]
    bias: Float[np.ndarray, " site"]
    fit: LinearFit
    notes: tuple[str, ...] = ()


def learn_axes(
    train: FeatureBlocks,
    all_images: FeatureBlocks,
    shape: tuple[int, int, int],
    responses: Float[np.ndarray, "image site"],
    settings: EncodingSettings,
) -> Axes:
    """Fits basis and read-out, and collapses them into raw features.

    A read-out ``y = z b + c`` on ``z = P (x - m)`` is ``y = x . P'b + (c - m . P'b)``:
    whatever was fitted, a site is one vector and a bias.

    Args:
      train: raw features of the training images.
      all_images: those of the held-out images too; read only where
        ``settings.basis_images`` says so.
      shape: height, width and channels of the readout.
      responses: repeat averages of the training images, in response units.
      settings: basis, regression and the choice of penalties.

    Returns:
      Axes in float64.
    """
    if settings.basis == "factorised":
        fit = factorised(
            train,
            shape,
            responses,
            _penalties(settings),
            n_folds=settings.n_folds,
            random_seed=settings.random_seed,
        )
        return Axes(np.ascontiguousarray(fit.weights.T), fit.bias, fit, fit.notes)
    if settings.basis == "none":  # the read-out sees the features themselves
        fit = _regress(train, responses, settings)
        return Axes(np.ascontiguousarray(fit.weights.T), fit.bias, fit, fit.notes)
    source = train if settings.basis_images == "train" else all_images
    if settings.basis == "pca":
        return _learn_pca(train, source, responses, settings)
    basis = fit_basis(
        settings.basis,
        source,
        shape=shape,
        components=settings.components,
        random_seed=settings.random_seed,
    )
    fit = _regress(FeatureBlocks(project(basis, train)), responses, settings)
    weights, bias = collapse(basis, fit.weights, fit.bias)
    notes = _basis_notes(basis.n_components, settings)
    return Axes(weights, bias, fit, (*notes, *fit.notes))


def _learn_pca(
    train: FeatureBlocks,
    source: FeatureBlocks,
    responses: Float[np.ndarray, "image site"],
    settings: EncodingSettings,
) -> Axes:
    """As any basis, but the components, component x feature, are never formed."""
    modes = principal_modes(source, settings.components)
    rows: np.ndarray = np.arange(len(train))
    if source is not train:
        position = {row: index for index, row in enumerate(source.row_ids.tolist())}
        rows = np.asarray([position[row] for row in train.row_ids.tolist()])
    fit = _regress(FeatureBlocks(modes.scores[rows]), responses, settings)
    axes = modes.expand(fit.weights)
    notes = _basis_notes(len(modes.values), settings)
    bias = fit.bias - modes.mean @ axes
    return Axes(np.ascontiguousarray(axes.T), bias, fit, (*notes, *fit.notes))


def _regress(
    design: FeatureBlocks,
    responses: Float[np.ndarray, "image site"],
    settings: EncodingSettings,
) -> LinearFit:
    if settings.regression == "ridge":
        return ridge(
            design,
            responses,
            _penalties(settings),
            selection=settings.selection,
            n_folds=settings.n_folds,
            key=_key(settings),
        )
    grid = settings.penalties
    return lasso(
        design,
        responses,
        penalties=None if grid is None else np.asarray(grid, np.float64),
        n_folds=settings.n_folds,
        key=_key(settings),
        positive=settings.regression == "sparse_positive",
    )


def _penalties(settings: EncodingSettings) -> Float[np.ndarray, " penalty"]:
    given = settings.penalties
    return np.asarray(DEFAULT_PENALTIES if given is None else given, np.float64)


def _key(settings: EncodingSettings) -> PRNGKeyArray:
    return jax.random.key(settings.random_seed)


def _basis_notes(kept: int, settings: EncodingSettings) -> list[str]:
    notes = []
    if settings.basis_images == "all":
        notes.append(
            "the basis was fitted on the held-out images too: their evaluation is "
            "not that of images never seen"
        )
    if settings.components is not None and kept < settings.components:
        notes.append(
            f"{settings.components} components asked for; the training images span "
            f"only {kept}"
        )
    return notes
