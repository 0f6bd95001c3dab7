"""Controversial stimuli: driven up for one model and down for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from paramctl_jax.types.encoding import EncodingModel
from paramctl_jax.types.images import ImageSet


@dataclasses.dataclass(frozen=True)
class ControversialSweep:
    """All lanes of a contest: sites x the model driven up x seed images x levels.

    Attributes:
      models: the rivals; axis ``high`` runs over them.
      contest: what was brought to the levels, see `synthesis.contests`.
      site_ids: where.
      seeds: the seed images at canvas size.
      levels: commitments asked for, in SD of natural predictions.
      center, scale: mean and SD of every model's predictions of natural images.
      start: of the un-accentuated seeds, in SD; a joint contest is measured from its
        first level.
      images: the 8-bit image nearest its level, as checked in the loop.
      reached: of ``images`` in the loop, in SD.
      step: optimisation step at which ``images`` was found.
      stop_reason: ``"hit"``, ``"unreached"`` or ``"nonfinite"``.
      passes: what it cost: ``"search"``, crops run forward and backward by every model;
        ``"clean"``, forward passes of single images by every model.
    """

    models: tuple[EncodingModel, ...]
    contest: str
    site_ids: tuple[str, ...]
    seeds: ImageSet
    levels: Float[np.ndarray, " level"]
    center: Float[np.ndarray, "model site"]
    scale: Float[np.ndarray, "model site"]
    start: Float[np.ndarray, "site high seed"]
    images: UInt8[np.ndarray, "site high seed level height width 3"]
    reached: Float[np.ndarray, "site high seed level"]
    step: Int[np.ndarray, "site high seed level"]
    stop_reason: np.ndarray
    passes: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class ControversialStimulus:
    """One PNG of a controversial set, and what every model says of it.

    With ``z_m = (f_m - mean_m) / sd_m``, mean and SD of the model's own predictions of
    natural images, the commitment of the model to be driven up is ``z``, that of every
    other model ``-z``.

    Attributes:
      stimulus_id: unique, begins with a letter.
      filename: of the PNG, relative to the set's directory.
      high: the model driven up; empty for the un-accentuated seed image.
      site, seed: what it was made for and from.
      level: commitment that was asked for, in SD.
      predicted: by model, in response units, from the saved PNG.
      z: by model, standardised.
      controversiality: the smallest commitment of all models; NaN for a seed image.
      accepted: whether `controversiality` reached the threshold of the set, for this
        stimulus and for the same seed image driven the other way.
      selected: whether it is among those to be shown.
      sha256: ``"sha256:<hex>"`` of the PNG file.
      rms: root-mean-square change from the seed, in [0, 1] pixel units.
      step: optimisation step at which the saved image was found.
    """

    stimulus_id: str
    filename: str
    high: str
    site: str
    seed: str
    level: float
    predicted: Mapping[str, float]
    z: Mapping[str, float]
    controversiality: float
    accepted: bool
    selected: bool
    sha256: str
    rms: float
    step: int


@dataclasses.dataclass(frozen=True)
class ControversialSet:
    """A folder of controversial PNGs with ``controversial_set.csv``.

    Attributes:
      directory: of the PNGs.
      models: names, in the order of the columns.
      stimuli: one per PNG.
    """

    directory: Path
    models: tuple[str, ...]
    stimuli: tuple[ControversialStimulus, ...]

    def __len__(self) -> int:
        return len(self.stimuli)
