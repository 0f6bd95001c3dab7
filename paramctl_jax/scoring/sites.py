"""Every number of one site: control, gain, shape, noise, and the pooled score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.scoring.correlation import mean_defined, ols_slope, pearson_r
from paramctl_jax.scoring.gain import (
    calibration_error,
    identity_r2,
    regression,
    within_slope,
)
from paramctl_jax.scoring.noise import noise_corrected_r, noise_variance, within_r
from paramctl_jax.scoring.pooled import pooled_score
from paramctl_jax.scoring.shape import (
    modulation_depth,
    rank_correlations,
    rising_share,
)
from paramctl_jax.scoring.sweeps import SweepGrid
from paramctl_jax.types import SiteScore

Masks = Mapping[str, Bool[np.ndarray, "site seed level"]]


def site_score(
    grid: SweepGrid,
    r: Float[np.ndarray, "site seed"],
    site: int,
    masks: Masks,
    variance: float,
) -> tuple[SiteScore, str]:
    """Scores one site of a model's sweeps.

    Args:
      grid: the sweeps.
      r: of all of them.
      site: index of the site.
      masks: exclusion masks of the pooled score by name.
      variance: of single presentations at this site, see `noise_variance`.

    Returns:
      The score, and why its noise-corrected r is undefined (``""`` where it is not).
    """
    shown = grid.shown[site]
    p, y = grid.predicted[site], grid.recorded[site]
    valid = np.isfinite(p) & np.isfinite(y)
    rho, tau = rank_correlations(p, y)
    slopes = ols_slope(p, y)
    corrected, why = noise_corrected_r(p, y, grid.n_repeats[site], variance)
    score = SiteScore(
        seeds=tuple(
            name for name, is_shown in zip(grid.seeds, shown, strict=True) if is_shown
        ),
        r=r[site, shown],
        control=float(mean_defined(r[site])),
        slope=float(mean_defined(slopes)),
        slopes=slopes[shown],
        pooled_r=float(pearson_r(p.ravel(), y.ravel())),
        n_seeds_used=int(np.isfinite(r[site]).sum()),
        within_slope=within_slope(p, y),
        intercept=regression(p, y, valid)[1],
        r2_identity=identity_r2(p, y, valid),
        calibration_error=calibration_error(p, y, valid),
        spearman=rho,
        kendall=tau,
        rising=rising_share(p, y),
        modulation=modulation_depth(grid.target[site], y),
        r_within=within_r(p, y),
        r_noise_corrected=corrected,
        pooled={
            name: pooled_score(p, y, grid.floor[site], mask[site])
            for name, mask in masks.items()
        },
    )
    return score, why


def within_seeds(grid: SweepGrid) -> tuple[dict[str, float], str]:
    """`within_r` and `noise_corrected_r` of all sites' sweeps at once.

    Not the mean of the sites' own: that would be over those sites only that have
    enough signal, and too high. Sites weigh by the variance of predictions and
    responses.

    Args:
      grid: the sweeps.

    Returns:
      Both by the names they have in `SiteScore`, and why the second is undefined
      (``""`` where it is not).
    """
    p, y, n = (
        values.reshape(-1, values.shape[-1])
        for values in (grid.predicted, grid.recorded, grid.n_repeats)
    )
    variance = [site_noise(grid, site) for site in range(len(grid.sites))]
    per_sweep = np.repeat(variance, len(grid.seeds))[:, None]
    corrected, why = noise_corrected_r(p, y, n, per_sweep)
    return {"r_within": within_r(p, y), "r_noise_corrected": corrected}, why


def site_noise(grid: SweepGrid, site: int) -> float:
    """Variance of single presentations at a site, over all its stimuli; NaN unknown."""
    return noise_variance(grid.recorded_sd[site], grid.n_repeats[site])
