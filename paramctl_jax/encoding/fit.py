"""Fit one encoding axis per site: join, split, features, axes, held-out evaluation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from paramctl_jax.artifacts import to_json
from paramctl_jax.backbones import check_readout
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.evaluation import evaluate
from paramctl_jax.encoding.features import extract_readouts
from paramctl_jax.encoding.join import Joined, join_and_split
from paramctl_jax.encoding.linear import edge_notes
from paramctl_jax.encoding.prediction import predict_features
from paramctl_jax.encoding.regression import learn_axes
from paramctl_jax.encoding.selection import choose_readout
from paramctl_jax.encoding.settings import EncodingSettings, settings_from
from paramctl_jax.progress import bar
from paramctl_jax.types import (
    Backbone,
    EncodingModel,
    ImageSet,
    InputError,
    Recordings,
    indices_of,
)


def fit_encoding(
    backbone: Backbone,
    images: ImageSet,
    recordings: Recordings,
    readout: str | Sequence[str],
    *,
    key: PRNGKeyArray | None = None,
    test_ids: Sequence[str] | None = None,
    split: str | Path | None = None,
    features: Mapping[str, np.ndarray] | None = None,
    feature_store: str | Path | None = None,
    batch_size: int = 32,
    progress: bool = True,
    **settings: Any,
) -> EncodingModel:
    """Fits a linear read-out of frozen features to every site.

    Features of the training images give the basis and the read-out, with the penalty
    of each site chosen by cross-validation within them; the held-out images are used
    for the evaluation only. The read-out is collapsed into one vector per site in raw
    features, computed in float64 and stored in float32.

    Args:
      backbone: frozen network.
      images: what was shown, joined with the recordings by stimulus id.
      recordings: responses; the average over each image's valid repeats is fitted.
      readout: layer to read; of several, one is chosen for all sites, by
        cross-validation within the training images, and the note says so.
      key: of the random choice of held-out images; not needed with `test_ids`.
      test_ids: held-out stimuli by name, instead of a random choice.
      split: file of a stored split, from `save_split`, likewise.
      features: raw features of `images` by readout, from `extract_readouts`, if
        several fits are to share them.
      feature_store: folder that keeps features from one call to the next, see
        `extract_readouts`.
      batch_size: images per device and compiled call of the feature extraction.
      progress: whether to show progress bars.
      **settings: see `EncodingSettings` (basis, components, regression, ...).

    Returns:
      The encoding model with its evaluation.

    Raises:
      InputError: unknown readout or setting; stimuli that differ; a site or image that
        cannot be fitted; features of another size; no key.

    Example:
      >>> import jax
      >>> from paramctl_jax.backbones import random_backbone
      >>> from paramctl_jax.data import load_photographs
      >>> images = load_photographs(32).select(load_photographs(32).stimulus_ids[:40])
      >>> backbone = random_backbone(
      ...     "small_standard", jax.random.key(0), input_size=32, through="layer1"
      ... )
      >>> contrast = images.pixels.std(axis=(1, 2, 3))[:, None, None]
      >>> recordings = Recordings(contrast, images.stimulus_ids, ("s0",))
      >>> model = fit_encoding(
      ...     backbone, images, recordings, "layer1.0", key=jax.random.key(1),
      ...     components=20, progress=False,
      ... )
      >>> model.weights.shape == (1, np.prod(backbone.readouts["layer1.0"]))
      True
    """
    models = fit_readouts(
        backbone,
        images,
        recordings,
        (readout,) if isinstance(readout, str) else readout,
        key=key,
        test_ids=test_ids,
        split=split,
        features=features,
        feature_store=feature_store,
        batch_size=batch_size,
        progress=progress,
        **settings,
    )
    return choose_model(models, settings.get("readout_policy", "inner_cv"))


def fit_readouts(
    backbone: Backbone,
    images: ImageSet,
    recordings: Recordings,
    readouts: Sequence[str],
    *,
    key: PRNGKeyArray | None = None,
    test_ids: Sequence[str] | None = None,
    split: str | Path | None = None,
    features: Mapping[str, np.ndarray] | None = None,
    feature_store: str | Path | None = None,
    batch_size: int = 32,
    progress: bool = True,
    **settings: Any,
) -> dict[str, EncodingModel]:
    """One encoding model per readout, on the same split, in one pass over the images.

    Args:
      backbone: frozen network.
      images: what was shown.
      recordings: responses.
      readouts: layers to read.
      key: as in `fit_encoding`, like all that follow.
      test_ids: held-out stimuli by name.
      split: file of a stored split.
      features: raw features of `images` by readout.
      feature_store: folder that keeps features.
      batch_size: images per device and compiled call.
      progress: whether to show progress bars.
      **settings: see `EncodingSettings`.

    Returns:
      Models by readout, in the order given.

    Raises:
      InputError: as `fit_encoding`.
    """
    chosen = settings_from(settings)
    readouts = tuple(dict.fromkeys(readouts))
    if not readouts:
        raise InputError("readout: expected at least one layer, found none")
    for readout in readouts:
        check_readout(backbone, readout)
    joined = join_and_split(images, recordings, chosen, key, test_ids, split)
    rows = indices_of(joined.stimulus_ids, images.stimulus_ids, "images")
    if features is not None:
        _check_features(backbone, len(images), features, readouts)
    else:
        features = extract_readouts(
            backbone, images.select(joined.stimulus_ids), readouts, batch_size,
            progress, store=feature_store,
        )  # fmt: skip
        rows = np.arange(len(rows))
    label = f"{backbone.name}: encoding fits"
    return {
        readout: _fit_one(backbone, readout, features[readout], rows, joined, chosen)
        for readout in bar(readouts, label=label, show=progress and len(readouts) > 1)
    }


def choose_model(
    models: Mapping[str, EncodingModel], policy: str = "inner_cv"
) -> EncodingModel:
    """The model of the best readout; its notes say how it was chosen.

    Args:
      models: of one backbone, by readout.
      policy: see `EncodingSettings.readout_policy`.
    """
    if len(models) == 1:
        return next(iter(models.values()))
    choice = choose_readout({n: m.evaluation for n, m in models.items()}, policy)
    best = models[choice.readout]
    scores = ", ".join(f"{name} {value:.3f}" for name, value in choice.scores.items())
    note = f"readout {choice.readout} {choice.note} (median R2: {scores})"
    return dataclasses.replace(best, notes=(note, *best.notes))


def _fit_one(
    backbone: Backbone,
    readout: str,
    features: Float[np.ndarray, "image feature"],
    rows: Int[np.ndarray, " row"],
    joined: Joined,
    settings: EncodingSettings,
) -> EncodingModel:
    train, test = rows[joined.train], rows[joined.test]
    responses = joined.recordings.mean()[joined.train]
    axes = learn_axes(
        FeatureBlocks(features, train),
        FeatureBlocks(features, rows),
        backbone.readouts[readout],
        responses,
        settings,
    )
    weights = axes.weights.astype(np.float32)
    evaluation = evaluate(
        joined.recordings.select_stimuli(joined.test_ids),
        predict_features(FeatureBlocks(features, test), weights, axes.bias),
        responses,
        axes.fit.cv_prediction,
        joined.train_ids,
        n_bootstrap=settings.n_bootstrap,
        random_seed=settings.random_seed,
    )
    return EncodingModel(
        backbone=backbone,
        readout=readout,
        site_ids=joined.recordings.site_ids,
        weights=weights,
        bias=axes.bias,
        penalty=axes.fit.penalty,
        evaluation=evaluation,
        units=joined.recordings.units,
        notes=(
            *joined.notes,
            *axes.notes,
            *edge_notes(axes.fit, joined.recordings.site_ids),
            *_ceiling_notes(evaluation.ceiling),
        ),
        settings=json.loads(to_json(dataclasses.asdict(settings))),  # plain values
    )


def _check_features(
    backbone: Backbone,
    n_images: int,
    features: Mapping[str, np.ndarray],
    readouts: Sequence[str],
) -> None:
    for readout in readouts:
        size = int(np.prod(backbone.readouts[readout]))
        found = features[readout].shape if readout in features else None
        if found != (n_images, size):
            raise InputError(
                f"features: expected shape {(n_images, size)} for {n_images} images at "
                f"{readout} of {backbone.name}, found {found or 'none'}"
            )


def _ceiling_notes(ceiling: np.ndarray) -> list[str]:
    unknown = int(np.isnan(ceiling).sum())
    if not unknown:
        return []
    return [
        f"noise ceiling unknown at {unknown} of {len(ceiling)} sites: fewer than 8 "
        "held-out images have two or more repeats"
    ]
