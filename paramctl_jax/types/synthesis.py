"""Sweeps and the stimulus sets made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from paramctl_jax.types.encoding import EncodingModel
from paramctl_jax.types.images import ImageSet


@dataclasses.dataclass(frozen=True)
class Traces:
    """What the optimisation loop saw: one row per lane, or per path through the levels.

    Attributes:
      site, seed: positions in the sweep's `site_ids` and `seeds`.
      level: position of the target level; -1 for a path, which serves many.
      direction: +1 where the prediction was to rise, -1 where it was to fall.
      prediction: clean prediction of the 8-bit image before every step; NaN after the
        end.
      transparency: accumulated ``|d loss / d pixel|`` of the steps, mean over channels,
        scaled to at most 1 per row and stored as 0 to 255; figures only. None where it
        was not asked for.
    """

    site: Int[np.ndarray, " row"]
    seed: Int[np.ndarray, " row"]
    level: Int[np.ndarray, " row"]
    direction: Int[np.ndarray, " row"]
    prediction: Float[np.ndarray, "row step"]
    transparency: UInt8[np.ndarray, "row height width"] | None = None


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
      stop_reason: per lane ``"hit"``, ``"unreached"`` (not within the steps; the best
        image is kept) or ``"nonfinite"`` (failed alone).
      tolerance: per site, in response units.
      traces: what the loop saw on the way; None where it was not kept.
      passes: what it cost: ``"search"``, crops run forward and backward, ``"clean"``,
        forward passes of single images.
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
    traces: Traces | None = None
    passes: Mapping[str, int] = dataclasses.field(default_factory=dict)


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
      stop_reason: ``"hit"``, ``"unreached"``, ``"nonfinite"`` or ``"seed"``.
      relative_error: ``|predicted - target| / (level range)``.
      rms: root-mean-square change from the seed, in [0, 1] pixel units.
      linf: largest change from the seed, in [0, 1] pixel units.
      clipped: fraction of channel values at 0 or 255.
      ssim: structural similarity of the PNG and its seed; 1 for no change.
      high_frequency: share of the change's power above 1/8 cycles per pixel; NaN for
        no change.
      off_axis: change of the readout's features across the encoding axis, in norms of
        the seed's features.

    The last three are NaN in sets of earlier versions.
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
    ssim: float = float("nan")
    high_frequency: float = float("nan")
    off_axis: float = float("nan")


@dataclasses.dataclass(frozen=True)
class StimulusSet:
    """A folder of PNGs with ``stimulus_set.csv``, one row per PNG."""

    directory: Path
    stimuli: tuple[Stimulus, ...]

    def __len__(self) -> int:
        return len(self.stimuli)
