"""What every model says of every other model's stimuli."""

from __future__ import annotations

from collections.abc import Sequence

from paramctl_jax.encoding import predict
from paramctl_jax.stimuli.read import stimulus_images
from paramctl_jax.types import EncodingModel, StimulusSet


def peer_predictions(
    models: Sequence[EncodingModel], stimuli: StimulusSet, progress: bool = True
) -> dict[str, dict[str, float]]:
    """Each model's prediction of every saved PNG, at the stimulus's own target site.

    Args:
      models: the reviewers.
      stimuli: made by any of them; the PNGs are read from disk.
      progress: whether to show a progress bar per model.

    Returns:
      reviewer -> stimulus id -> prediction in response units, without stimuli whose
      site the reviewer was not fitted to. A model's predictions of its own stimuli are
      those of the stimulus set, bit for bit.

    Example:
      ``predictions = peer_predictions([robust, standard], stimuli)``
    """
    shown = stimulus_images(stimuli)
    found = {}
    for model in models:
        column = {site: index for index, site in enumerate(model.site_ids)}
        values = predict(model, shown, progress=progress)
        found[model.name] = {
            one.stimulus_id: float(values[row, column[one.site]])
            for row, one in enumerate(stimuli.stimuli)
            if one.site in column
        }
    return found
