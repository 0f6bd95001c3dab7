"""Records that cross stages: what one stage writes and the next one reads.

Every record is a frozen dataclass of plain arrays. Measured data has the axes
``[image, site, repeat]`` (NaN for a missing repeat), designed sweeps have
``[site, seed, level]``, images are ``[..., height, width, channel]`` and sRGB.
Statistics live in float64 numpy; only `Backbone.variables` and the encoding axes
travel into compiled programs, always as arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, PyTree, UInt8


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: the file or flag, what was expected, what was found and,
    where there is one, the next step. Launchers print it and exit with code 1.
    """


class CheckpointError(InputError):
    """A weights file that cannot be used, or that cannot be trusted.

    The message names the file and the first reason; nothing in the file was executed.
    """


def indices_of(
    wanted: Sequence[str], available: Sequence[str], what: str
) -> Int[np.ndarray, " wanted"]:
    """Positions of `wanted` ids within `available`, in the order of `wanted`.

    Raises:
      InputError: naming the first ids that are not available.
    """
    position = {name: index for index, name in enumerate(available)}
    missing = [name for name in wanted if name not in position]
    if missing:
        raise InputError(
            f"{what}: {len(missing)} of {len(wanted)} ids are not there, first "
            f"{missing[:3]}; the {len(available)} available start with "
            f"{list(available[:3])}"
        )
    return np.asarray([position[name] for name in wanted], dtype=np.int64)


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images of one size, keyed by stimulus id.

    Attributes:
      stimulus_ids: one unique id per image.
      pixels: 8-bit sRGB, axes ``[image, height, width, channel]``.
    """

    stimulus_ids: tuple[str, ...]
    pixels: UInt8[np.ndarray, "image height width 3"]

    def __len__(self) -> int:
        return len(self.stimulus_ids)

    def select(self, stimulus_ids: Sequence[str]) -> ImageSet:
        """The named images, in the order of the names."""
        chosen = indices_of(stimulus_ids, self.stimulus_ids, "images")
        return ImageSet(tuple(stimulus_ids), self.pixels[chosen])

    def drop(self, others: ImageSet | Sequence[str]) -> ImageSet:
        """All images but the named ones, e.g. the fit's images without the seeds."""
        ids = others.stimulus_ids if isinstance(others, ImageSet) else others
        indices_of(ids, self.stimulus_ids, "images to drop")
        left_out = set(ids)
        return self.select([i for i in self.stimulus_ids if i not in left_out])


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Responses of many sites to repeated presentations of many images.

    Attributes:
      responses: axes ``[image, site, repeat]``, NaN where a repeat is missing.
      stimulus_ids: one unique id per image; stimuli are joined by id, never by row.
      site_ids: one unique id per site.
      units: of the responses, e.g. ``"z"`` or ``"spikes/s"``.
      window_ms: the half-open window ``[start, stop)`` after onset, if known.
      site_meta: further columns per site, each with one entry per site.
    """

    responses: Float[np.ndarray, "image site repeat"]
    stimulus_ids: tuple[str, ...]
    site_ids: tuple[str, ...]
    units: str = "z"
    window_ms: tuple[float, float] | None = None
    site_meta: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def select_sites(self, sites: Sequence[str] | Sequence[int]) -> Recordings:
        """The named (or numbered) sites, in the order given."""
        names = [
            site if isinstance(site, str) else self.site_ids[int(site)]
            for site in sites
        ]
        chosen = indices_of(names, self.site_ids, "sites")
        return dataclasses.replace(
            self,
            responses=self.responses[:, chosen],
            site_ids=tuple(names),
            site_meta={k: np.asarray(v)[chosen] for k, v in self.site_meta.items()},
        )

    def select_stimuli(self, stimulus_ids: Sequence[str]) -> Recordings:
        """The named stimuli, in the order given."""
        chosen = indices_of(stimulus_ids, self.stimulus_ids, "recorded stimuli")
        return dataclasses.replace(
            self,
            responses=self.responses[chosen],
            stimulus_ids=tuple(stimulus_ids),
        )

    def n_repeats(self) -> Int[np.ndarray, "image site"]:
        """Number of valid repeats per image and site."""
        return np.sum(np.isfinite(self.responses), axis=-1)

    def mean(self) -> Float[np.ndarray, "image site"]:
        """Repeat average; NaN where an image has no valid repeat at a site."""
        counts = self.n_repeats()
        total = np.nansum(self.responses, axis=-1)
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


@dataclasses.dataclass(frozen=True)
class Network:
    """The static, hashable half of a backbone: its program without its weights.

    Attributes:
      module: ``module.apply(variables, images) -> {readout: activations}`` with NHWC
        activations; equal architectures compare equal, so that two backbones of one
        architecture share one compiled program.
      input_size: side of the square input in pixels.
      mean: per channel, subtracted from the sRGB image in [0, 1].
      std: per channel, divided by.
    """

    module: Any
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A frozen network whose named activations can be read out.

    Attributes:
      name: as in the registry, the tables and the figures.
      network: the static half.
      variables: the weights, always passed to compiled programs as an argument.
      readouts: shape ``(height, width, channel)`` of every readout, first to last.
      provenance: where the weights came from: ``file``, ``sha256``, ``licence``.
    """

    name: str
    network: Network
    variables: PyTree
    readouts: Mapping[str, tuple[int, int, int]]
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EncodingEvaluation:
    """How well an encoding model predicts images that it never saw, per site.

    Attributes:
      site_ids: one per entry of the arrays.
      r: Pearson correlation over held-out images.
      r2: ``1 - SSE / SST`` over held-out images.
      ceiling: noise ceiling of r for the held-out images' own repeats (NaN: unknown).
      r_normalised: ``r / ceiling``; NaN where the ceiling is below .1 or unknown.
      r2_normalised: ``r2 / ceiling**2``; likewise.
      loo_r: Pearson correlation of exact leave-one-out predictions over the training
        images; for choosing sites and layers without looking at the held-out ones.
      train_ids: images of the fit.
      test_ids: held-out images.
    """

    site_ids: tuple[str, ...]
    r: Float[np.ndarray, " site"]
    r2: Float[np.ndarray, " site"]
    ceiling: Float[np.ndarray, " site"]
    r_normalised: Float[np.ndarray, " site"]
    r2_normalised: Float[np.ndarray, " site"]
    loo_r: Float[np.ndarray, " site"]
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{'site':>12} {'r':>6} {'R2':>6} {'r/NC':>6} {'NC':>6}"
        columns = (self.r, self.r2, self.r_normalised, self.ceiling)
        rows = [
            f"{site:>12} " + " ".join(f"{column[i]:6.3f}" for column in columns)
            for i, site in enumerate(self.site_ids)
        ]
        split = f"{len(self.train_ids)} training, {len(self.test_ids)} held-out images"
        return "\n".join([head, *rows, split])


@dataclasses.dataclass(frozen=True)
class EncodingModel:
    """One backbone's encoding axes: ``prediction = features @ weights.T + bias``.

    Attributes:
      backbone: the frozen network.
      readout: the layer that is read.
      site_ids: one per axis.
      weights: encoding axes in raw features, order channel, height, width.
      bias: one per site.
      penalty: ridge penalty chosen per site.
      evaluation: on held-out images.
      units: of predictions, those of the recordings fitted.
      notes: warnings of the fit in plain words, e.g. a penalty at the grid's edge.
    """

    backbone: Backbone
    readout: str
    site_ids: tuple[str, ...]
    weights: Float[np.ndarray, "site feature"]
    bias: Float[np.ndarray, " site"]
    penalty: Float[np.ndarray, " site"]
    evaluation: EncodingEvaluation
    units: str = "z"
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The backbone's name, which names the model everywhere."""
        return self.backbone.name


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


@dataclasses.dataclass(frozen=True)
class SiteScore:
    """Parametric control of one site by one model.

    Attributes:
      seeds: seed ids in the order of `r`.
      r: Pearson r of predicted and recorded over the levels of each seed; NaN where a
        seed has fewer than three valid levels or constant values.
      control: mean of the defined `r`.
      slope: mean over seeds of the OLS slope of recorded on predicted.
      pooled_r: Pearson r over all levels of all seeds at once.
      n_seeds_used: number of defined `r`.
    """

    seeds: tuple[str, ...]
    r: Float[np.ndarray, " seed"]
    control: float
    slope: float
    pooled_r: float
    n_seeds_used: int


@dataclasses.dataclass(frozen=True)
class ModelScore:
    """Parametric control of one model over all its sites.

    Attributes:
      sites: score by site.
      control_mean: mean over sites of their `control`.
      control_sd, control_sd_ddof1: SD over sites, with ddof 0 and 1.
      control_ci: crossed seed x site bootstrap, 95 %.
      n_rows: rows of the table, duplicates included.
      n_duplicates: rows beyond the first of each point.
    """

    sites: Mapping[str, SiteScore]
    control_mean: float
    control_sd: float
    control_sd_ddof1: float
    control_ci: tuple[float, float]
    n_rows: int
    n_duplicates: int

    @property
    def n_sites(self) -> int:
        """Number of sites with a defined control score."""
        return sum(bool(np.isfinite(site.control)) for site in self.sites.values())

    @property
    def n_seeds_used(self) -> int:
        """Number of (site, seed) sweeps with a defined r."""
        return sum(site.n_seeds_used for site in self.sites.values())


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Control of model `a` minus control of model `b` on their common sites and seeds.

    Attributes:
      difference: mean over sites of the mean over common seeds of ``r_a - r_b``.
      ci: crossed seed x site bootstrap, 95 %.
      p_seeds, p_sites: exact two-sided sign-flip tests over seeds and over sites.
      p_min_seeds, p_min_sites: the smallest p that these tests can reach.
    """

    subject: str
    a: str
    b: str
    difference: float
    ci: tuple[float, float]
    p_seeds: float
    p_sites: float
    p_min_seeds: float
    p_min_sites: float


@dataclasses.dataclass(frozen=True)
class ControlScore:
    """Control scores by subject and model, and their paired comparisons."""

    subjects: Mapping[str, Mapping[str, ModelScore]]
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{subject + ' ' if subject else ''}{name}: control "
            f"{score.control_mean:.3f} ± {score.control_sd:.3f} "
            f"({score.n_sites} sites, {score.n_seeds_used} sweeps)"
            for subject, models in self.subjects.items()
            for name, score in models.items()
        ]
        return "\n".join(lines)
