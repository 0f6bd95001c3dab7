"""Where every stimulus of a set stands in the arrays that a rehearsal is scored on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from paramctl_jax.scoring.sweeps import natural_order
from paramctl_jax.types import StimulusSet

Values = Float[np.ndarray, "model site seed level"]


@dataclasses.dataclass(frozen=True)
class Design:
    """Which stimulus every point of the experiment is.

    Attributes:
      sites, seeds: in natural order, as `score_table` has them.
      stimulus: index in the set; -1 where there is no such stimulus.
      predicted: what the model says of its PNG; NaN likewise.
    """

    sites: tuple[str, ...]
    seeds: tuple[str, ...]
    stimulus: Int[np.ndarray, "model site seed level"]
    predicted: Values

    def arranged(self, responses: Float[np.ndarray, "image site"]) -> Values:
        """Responses of each stimulus's own site; columns are the design's sites."""
        site = np.arange(len(self.sites))[None, :, None, None]
        return np.where(self.stimulus < 0, np.nan, responses[self.stimulus, site])

    def targets(self, n_images: int) -> Bool[np.ndarray, "image site"]:
        """Whether a site is the one that a stimulus was made for."""
        found = np.zeros((n_images, len(self.sites)), dtype=bool)
        _, site, _, _ = np.nonzero(self.stimulus >= 0)
        found[self.stimulus[self.stimulus >= 0], site] = True
        return found


def design_of(
    stimuli: StimulusSet, models: Sequence[str], include_seed: bool = False
) -> Design:
    """Sorts the stimuli of a set into models, sites, seeds and levels.

    Args:
      stimuli: of a run.
      models: names, in the order wanted; stimuli of others are left out.
      include_seed: whether the un-accentuated seeds count as one more level, the last,
        as in `control_score`.

    Returns:
      One size for all models; what a model lacks is NaN.
    """
    shown = {
        index: s
        for index, s in enumerate(stimuli.stimuli)
        if s.model in models and (include_seed or s.level is not None)
    }
    sites, seeds = (
        natural_order(getattr(s, name) for s in shown.values())
        for name in ("site", "seed")
    )
    levels = {s.level for s in shown.values()}
    column = {level: i for i, level in enumerate(sorted(levels, key=_seed_last))}
    shape = (len(models), len(sites), len(seeds), len(levels))
    stimulus, predicted = np.full(shape, -1), np.full(shape, np.nan)
    for index, s in shown.items():
        cell = (models.index(s.model), sites.index(s.site), seeds.index(s.seed))
        stimulus[*cell, column[s.level]] = index
        predicted[*cell, column[s.level]] = s.predicted
    return Design(sites, seeds, stimulus, predicted)


def _seed_last(level: int | None) -> int | float:
    return np.inf if level is None else level
