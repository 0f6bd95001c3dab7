"""Control scores of sites and models, and their comparisons."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PooledScore:
    """All levels of all seeds of a site at once, predictions clamped to its floor.

    Attributes:
      r: Pearson r; NaN with fewer than three points or constant values.
      slope, intercept: least-squares line of recorded on predicted.
      r2_identity: ``1 - SSE / SST`` of the predictions as they are.
      n_points: behind the numbers.
    """

    r: float
    slope: float
    intercept: float
    r2_identity: float
    n_points: int


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
      slopes: OLS slope of recorded on predicted over the levels of each seed; empty
        where only `slope` is known.
      within_slope: slope within seeds, all seeds pooled.
      intercept: recorded at a prediction of 0, by the line through all points.
      r2_identity: ``1 - SSE / SST`` of the predictions as they are, all points.
      calibration_error: mean of ``|recorded - predicted|``, response units.
      spearman, kendall: rank correlations over levels, means over seeds.
      rising: share of neighbouring levels between which the response rises.
      modulation: response range over the range of targets, mean over seeds.
      r_within: r about the seeds' own means, all seeds pooled.
      r_noise_corrected: the same without trial noise; NaN where that is not known or
        leaves too little signal.
      pooled: score of the later pipeline by exclusion mask, see `scoring.pooled`.
    """

    seeds: tuple[str, ...]
    r: Float[np.ndarray, " seed"]
    control: float
    slope: float
    pooled_r: float
    n_seeds_used: int
    slopes: Float[np.ndarray, " known"] = dataclasses.field(
        default_factory=lambda: np.empty(0)
    )
    within_slope: float = math.nan
    intercept: float = math.nan
    r2_identity: float = math.nan
    calibration_error: float = math.nan
    spearman: float = math.nan
    kendall: float = math.nan
    rising: float = math.nan
    modulation: float = math.nan
    r_within: float = math.nan
    r_noise_corrected: float = math.nan
    pooled: Mapping[str, PooledScore] = dataclasses.field(default_factory=dict)


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
      p_permutation: of `control_mean` with levels shuffled within seeds, one-sided.
      p_min_permutation: the smallest p that this test can reach.
      slope_ci: of the mean slope, likewise.
      within: `r_within` and `r_noise_corrected` of all sites' sweeps at once.
      notes: why which of the sites' numbers are undefined, in plain words.
    """

    sites: Mapping[str, SiteScore]
    control_mean: float
    control_sd: float
    control_sd_ddof1: float
    control_ci: tuple[float, float]
    n_rows: int
    n_duplicates: int
    p_permutation: float = math.nan
    p_min_permutation: float = math.nan
    slope_ci: tuple[float, float] = (math.nan, math.nan)
    within: Mapping[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def overall(self, name: str) -> float:
        """A number of all sites: of `within`, else the mean where sites have it."""
        if name in self.within:
            return self.within[name]
        values = [getattr(site, name) for site in self.sites.values()]
        known = [value for value in values if math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

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
      slope_difference: the same of the slopes, to which r is blind.
      slope_ci: crossed seed x site bootstrap, 95 %.
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
    slope_difference: float = math.nan
    slope_ci: tuple[float, float] = (math.nan, math.nan)


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
