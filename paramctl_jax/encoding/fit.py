"""Fit one encoding axis per site: features, basis, ridge, collapse, evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax.backbones import check_readout
from paramctl_jax.encoding.basis import Basis, collapse, fit_basis, project
from paramctl_jax.encoding.evaluation import evaluate, split_ids
from paramctl_jax.encoding.features import extract_features
from paramctl_jax.encoding.prediction import predict_features
from paramctl_jax.encoding.ridge import DEFAULT_PENALTIES, RidgeFit, ridge_loo
from paramctl_jax.recordings import check_match, pearson, valid_sites
from paramctl_jax.types import (
    Backbone,
    EncodingModel,
    ImageSet,
    InputError,
    Recordings,
    indices_of,
)

JOINS = ("exact", "common")


def fit_encoding(
    backbone: Backbone,
    images: ImageSet,
    recordings: Recordings,
    readout: str,
    *,
    basis: str = "pca",
    components: int | None = None,
    penalties: Sequence[float] = DEFAULT_PENALTIES,
    test_fraction: float = 0.2,
    key: PRNGKeyArray | None = None,
    test_ids: Sequence[str] | None = None,
    features: Float[np.ndarray, "image feature"] | None = None,
    join: str = "exact",
    batch_size: int = 32,
    progress: bool = True,
) -> EncodingModel:
    """Fits a linear read-out of frozen features to every site.

    Features of the training images give the basis and the ridge weights, with the
    penalty of each site chosen by exact leave-one-out error; the held-out images are
    used for the evaluation only. The read-out is collapsed into one vector per site in
    raw features, computed in float64 and stored in float32.

    Args:
      backbone: frozen network.
      images: what was shown, joined with the recordings by stimulus id.
      recordings: responses; the average over each image's valid repeats is fitted.
      readout: layer to read.
      basis: ``"pca"`` or ``"none"``.
      components: how many the basis keeps at most; None for its default.
      penalties: candidate ridge penalties.
      test_fraction: share of images held out at random.
      key: of that random choice; not needed with `test_ids`.
      test_ids: held-out stimuli by name, instead of a random choice.
      features: raw features of `images` at `readout`, from `extract_features`, if
        several fits are to share them.
      join: ``"exact"`` if images and recordings must hold the same stimuli,
        ``"common"`` to fit on those that both hold.
      batch_size: images per compiled call of the feature extraction.
      progress: whether to show its progress bar.

    Returns:
      The encoding model with its evaluation.

    Raises:
      InputError: unknown readout, basis or join; stimuli that differ; a site that
        cannot be fitted; features of another size; no key.

    Example:
      >>> model = fit_encoding(                                     # doctest: +SKIP
      ...     backbone, images, recordings, "layer3.5", key=jax.random.key(1)
      ... )
      >>> print(model.evaluation)                                   # doctest: +SKIP
    """
    check_readout(backbone, readout)
    features = _check_features(backbone, images, readout, features)
    common, recordings = _join(images, recordings, join)
    _refuse_unusable(recordings)
    train_ids, test_ids = _split(common, test_fraction, key, test_ids)
    if features is None:
        chosen = images.select(common)
        features = extract_features(backbone, chosen, readout, batch_size, progress)
    else:
        features = features[indices_of(common, images.stimulus_ids, "images")]
    train = indices_of(train_ids, common, "training images")
    responses = recordings.mean()[train]
    fitted, ridge = _fit_train(features[train], responses, basis, components, penalties)
    axes, bias = collapse(fitted, ridge.weights, ridge.bias)
    weights = axes.astype(np.float32)
    test = indices_of(test_ids, common, "held-out images")
    evaluation = evaluate(
        recordings.select_stimuli(test_ids),
        predict_features(features[test], weights, bias),
        pearson(ridge.loo_prediction, responses),
        train_ids,
    )
    return EncodingModel(
        backbone=backbone,
        readout=readout,
        site_ids=recordings.site_ids,
        weights=weights,
        bias=bias,
        penalty=ridge.penalty,
        evaluation=evaluation,
        units=recordings.units,
        notes=(
            *_component_notes(fitted, components),
            *_penalty_notes(ridge, recordings.site_ids),
            *_ceiling_notes(evaluation.ceiling),
        ),
    )


def _fit_train(
    features: np.ndarray,
    responses: np.ndarray,
    basis: str,
    components: int | None,
    penalties: Sequence[float],
) -> tuple[Basis, RidgeFit]:
    """Everything that is learnt, from training images alone."""
    fitted = fit_basis(basis, features, components)
    projected = project(fitted, features)
    return fitted, ridge_loo(projected, responses, np.asarray(penalties, np.float64))


def _check_features(
    backbone: Backbone,
    images: ImageSet,
    readout: str,
    features: np.ndarray | None,
) -> np.ndarray | None:
    expected = (len(images), int(np.prod(backbone.readouts[readout])))
    if features is not None and features.shape != expected:
        raise InputError(
            f"features: expected shape {expected} for {len(images)} images at "
            f"{readout} of {backbone.name}, found {features.shape}"
        )
    return features


def _join(
    images: ImageSet, recordings: Recordings, join: str
) -> tuple[tuple[str, ...], Recordings]:
    """Stimulus ids in the images' order, and the recordings in that order."""
    if join not in JOINS:
        raise InputError(f"join: expected one of {', '.join(JOINS)}, found {join!r}")
    if join == "exact":
        check_match(images, recordings)
    recorded = set(recordings.stimulus_ids)
    common = tuple(name for name in images.stimulus_ids if name in recorded)
    if not common:
        raise InputError(
            f"join: none of {len(images)} images has a response; the images start with "
            f"{list(images.stimulus_ids[:2])}, the recorded stimuli with "
            f"{list(recordings.stimulus_ids[:2])}"
        )
    return common, recordings.select_stimuli(common)


def _refuse_unusable(recordings: Recordings) -> None:
    kept, excluded = valid_sites(recordings)
    if excluded:
        site, reason = next(iter(excluded.items()))
        raise InputError(
            f"recordings: {len(excluded)} of {len(recordings.site_ids)} sites cannot "
            f"be fitted, first {site!r}: {reason}; keep the {len(kept)} others with "
            "recordings.select_sites(valid_sites(recordings)[0])"
        )


def _split(
    stimulus_ids: tuple[str, ...],
    test_fraction: float,
    key: PRNGKeyArray | None,
    test_ids: Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if test_ids is not None:
        indices_of(test_ids, stimulus_ids, "test_ids")
        held_out = set(test_ids)
        train = tuple(name for name in stimulus_ids if name not in held_out)
        return train, tuple(name for name in stimulus_ids if name in held_out)
    if key is None:
        raise InputError(
            "key: expected a jax key (or test_ids) to choose held-out images"
        )
    return split_ids(stimulus_ids, test_fraction, key)


def _component_notes(basis: Basis, components: int | None) -> list[str]:
    if components is None or basis.components is None:
        return []
    kept = len(basis.components)
    if kept == components:
        return []
    return [f"{components} components asked for; the training images span only {kept}"]


def _penalty_notes(fit: RidgeFit, site_ids: Sequence[str]) -> list[str]:
    """A choice at the grid's edge may have wanted to go further."""
    notes = []
    for name, edge in (("smallest", fit.penalties[0]), ("largest", fit.penalties[-1])):
        sites = [site_ids[int(index)] for index in np.flatnonzero(fit.penalty == edge)]
        if sites and len(fit.penalties) > 1:
            notes.append(
                f"{len(sites)} of {len(site_ids)} sites chose the {name} penalty "
                f"{edge:g}, first {', '.join(sites[:3])}; widen the grid"
            )
    return notes


def _ceiling_notes(ceiling: np.ndarray) -> list[str]:
    unknown = int(np.isnan(ceiling).sum())
    if not unknown:
        return []
    return [
        f"noise ceiling unknown at {unknown} of {len(ceiling)} sites: fewer than 8 "
        "held-out images have two or more repeats"
    ]
