"""Sweeps and the stimulus sets made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from paramctl_jax.types.encoding import EncodingModel
from paramctl_jax.types.images import ImageSet


@dataclasses.dataclass(frozen=True)
class Sweep:
    """All lanes of one encoding model: sites x seed images x target levels.

    Attributes:
      model: the encoding model whose axes were followed.
      site_ids: the sites swept, a subset of the model's.
      seeds: the seed images at canvas size.
      targets: target levels in response units.
      start: the model's prediction of every un-accentuated seed.
      images: the 8-bit image nearest its target, as checked in the loop.
      reached: prediction of ``images`` in the loop.
      step: optimisation step at which ``images`` was found.
      hit: whether ``|reached - target| <= tolerance``.
      stop_reason: ``"hit"``, ``"max_steps"`` or ``"nonfinite"`` per lane.
      tolerance: per site, in response units.
    """

    model: EncodingModel
    site_ids: tuple[str, ...]
    seeds: ImageSet
    targets: Float[np.ndarray, "site level"]
    start: Float[np.ndarray, "site seed"]
    images: UInt8[np.ndarray, "site seed level height width 3"]
    reached: Float[np.ndarray, "site seed level"]
    step: Int[np.ndarray, "site seed level"]
    hit: Bool[np.ndarray, "site seed level"]
    stop_reason: np.ndarray
    tolerance: Float[np.ndarray, " site"]


@dataclasses.dataclass(frozen=True)
class Stimulus:
    """One PNG of a stimulus set and everything known about it.

    Attributes:
      stimulus_id: unique, begins with a letter.
      filename: of the PNG, relative to the set's directory.
      model, site, seed: what it was made for and from.
      level: index of the target level; None for the un-accentuated seed image.
      target: asked for; the seed image's own prediction where `level` is None.
      predicted: what the model says of the saved PNG.
      hit: whether ``|predicted - target| <= .05 * (level range)``, judged from the PNG.
      sha256: ``"sha256:<hex>"`` of the PNG file.
      start: prediction of the un-accentuated seed.
      reached: prediction inside the optimisation loop.
      step: optimisation step at which the saved image was found.
      stop_reason: ``"hit"``, ``"max_steps"``, ``"nonfinite"`` or ``"seed"``.
      relative_error: ``|predicted - target| / (level range)``.
      rms: root-mean-square change from the seed, in [0, 1] pixel units.
      linf: largest change from the seed, in [0, 1] pixel units.
      clipped: fraction of channel values at 0 or 255.
    """

    stimulus_id: str
    filename: str
    model: str
    site: str
    seed: str
    level: int | None
    target: float
    predicted: float
    hit: bool
    sha256: str
    start: float
    reached: float
    step: int
    stop_reason: str
    relative_error: float
    rms: float
    linf: float
    clipped: float


@dataclasses.dataclass(frozen=True)
class StimulusSet:
    """A folder of PNGs with ``stimulus_set.csv``, one row per PNG."""

    directory: Path
    stimuli: tuple[Stimulus, ...]

    def __len__(self) -> int:
        return len(self.stimuli)
