"""Control scores of sites and models, and their comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float


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
