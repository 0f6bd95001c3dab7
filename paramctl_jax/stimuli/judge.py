"""What a saved PNG is worth: its prediction, its hit, its distance from its seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from paramctl_jax.artifacts import sha256_file
from paramctl_jax.encoding import extract_features, predict
from paramctl_jax.images import read_image
from paramctl_jax.stimuli.measures import off_axis_drift, pixel_changes
from paramctl_jax.types import ImageSet, InputError, Stimulus, Sweep, indices_of


def judged_site(
    directory: Path,
    sweep: Sweep,
    site: int,
    drafts: Sequence[Stimulus],
    tolerance: float,
) -> list[Stimulus]:
    """Fills in the drafts of one site from their files; the memory of one site.

    Args:
      directory: where the PNGs are.
      sweep: that they were written from.
      site: its position in the sweep.
      drafts: per seed image, the seed's first, then its levels.
      tolerance: of a hit, as a fraction of the range of levels.

    Returns:
      The drafts with all their fields.
    """
    saved = ImageSet(
        tuple(draft.stimulus_id for draft in drafts),
        np.stack([read_image(directory / draft.filename) for draft in drafts]),
    )
    column = indices_of([sweep.site_ids[site]], sweep.model.site_ids, "sites")[0]
    predicted = predict(sweep.model, saved)[:, column]
    drift = _drift(sweep, saved, int(column))
    span = float(np.ptp(sweep.targets[site]))
    n_rows = sweep.targets.shape[1] + 1
    return [
        dataclasses.replace(
            draft,
            sha256=sha256_file(directory / draft.filename),
            off_axis=float(drift[i]),
            **_verdict(draft, float(predicted[i]), span, tolerance),
            **pixel_changes(saved.pixels[i], sweep.seeds.pixels[i // n_rows]),
        )
        for i, draft in enumerate(drafts)
    ]


def _verdict(
    draft: Stimulus, predicted: float, span: float, tolerance: float
) -> dict[str, float | bool]:
    relative_error = abs(predicted - draft.target) / span
    return {
        "predicted": predicted,
        "relative_error": relative_error,
        "hit": draft.level is None or relative_error <= tolerance,
    }


def _drift(sweep: Sweep, saved: ImageSet, column: int) -> Float[np.ndarray, " png"]:
    """Of every PNG's features from those of its seed's PNG, across the axis.

    In a second pass: a program that also hands out its features may add up in another
    order, and predictions must have the bits of every other one.
    """
    model, n_rows = sweep.model, sweep.targets.shape[1] + 1
    try:
        features = extract_features(
            model.backbone, saved, model.readout, progress=False
        )
    except InputError:  # features that are not finite; the images are worth keeping
        return np.full(len(saved), math.nan)
    axis = model.weights[column]
    return np.asarray(
        [
            off_axis_drift(row, features[i - i % n_rows], axis)
            for i, row in enumerate(features)
        ]
    )
