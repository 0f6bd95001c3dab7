"""Controversial stimuli: driven up for one model and down for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path


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
