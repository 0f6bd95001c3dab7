"""Power: how many sites, seed images and repeats show a given difference in control.

A paired difference in r of sweep (site s, seed i) is modelled as
``d_si = difference + site_s + seed_i + residual_si``, all normal. Its three SDs come
from pilot data (`variance_components`), or the raw responses are simulated instead
(`repeats_curve`), where trial noise and repeats set them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.scoring.correlation import pearson_r
from paramctl_jax.scoring.experiments import crossed_intervals, sign_flips
from paramctl_jax.types import InputError, unknown


@dataclasses.dataclass(frozen=True)
class Components:
    """SDs of a crossed design: between sites, between seed images, and the rest."""

    site: float
    seed: float
    residual: float


@dataclasses.dataclass(frozen=True)
class Power:
    """How often one design shows the difference.

    Attributes:
      n_sites, n_seeds: of the design; of all subjects together, if there are several.
      n_repeats: of each stimulus; None where the components speak for themselves.
      difference: mean difference in control over the simulated experiments.
      by_sites, by_seeds: share of experiments with p <= alpha in the sign-flip test
        over sites, over seeds; 0 where alpha cannot be reached.
      by_interval: share whose crossed bootstrap interval leaves 0 out.
      p_min_sites, p_min_seeds: the smallest p that the tests can reach.
    """

    n_sites: int
    n_seeds: int
    n_repeats: int | None
    difference: float
    by_sites: float
    by_seeds: float
    by_interval: float
    p_min_sites: float
    p_min_seeds: float


def variance_components(values: Float[np.ndarray, "site seed"]) -> Components:
    """SDs over sites, seeds and the rest, by the method of moments.

    Two-way crossed without replication, S sites x I seeds. The mean squares have the
    expectations ``E MS_site = I v_site + v_res``, ``E MS_seed = S v_seed + v_res`` and
    ``E MS_res = v_res``; solved for the variances, negative ones set to 0. The residual
    holds the interaction and all noise.

    Args:
      values: one number per sweep, complete: r, or a paired difference of two.

    Returns:
      The three SDs, in the units of `values`.

    Raises:
      InputError: fewer than two sites or seeds, or an undefined value.

    Example:
      >>> variance_components(np.array([[0.0, 2.0], [0.0, 2.0]]))
      Components(site=0.0, seed=1.4142135623730951, residual=0.0)
    """
    if min(values.shape) < 2 or not np.isfinite(values).all():
        raise InputError(
            "variance components: expected at least 2 sites x 2 seeds without gaps, "
            f"found {values.shape[0]} x {values.shape[1]} with "
            f"{int(np.sum(~np.isfinite(values)))} undefined"
        )
    n_sites, n_seeds = values.shape
    of_site, of_seed = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_site[:, None] - of_seed + values.mean()
    residual = float(np.sum(rest**2)) / ((n_sites - 1) * (n_seeds - 1))
    site = (n_seeds * np.var(of_site, ddof=1) - residual) / n_seeds
    seed = (n_sites * np.var(of_seed, ddof=1) - residual) / n_sites
    sds = [float(np.sqrt(max(v, 0.0))) for v in (site, seed, residual)]
    return Components(*sds)


def power_curve(
    difference: float,
    n_sites: Sequence[int],
    n_seeds: Sequence[int],
    components: Components,
    *,
    alpha: float = 0.05,
    n_simulations: int = 2000,
    n_bootstrap: int = 1000,
    random_seed: int = 0,
) -> tuple[Power, ...]:
    """Power of every design, from the variance components of the paired difference.

    ``d_si = difference + site_s + seed_i + residual_si``

    Args:
      difference: in control, between two models.
      n_sites: numbers of sites to try.
      n_seeds: numbers of seed images to try.
      components: SDs of paired differences in r, e.g. from a pilot.
      alpha: level of the tests; the intervals cover ``1 - alpha``.
      n_simulations: experiments per design.
      n_bootstrap: draws per interval.
      random_seed: of the random generator, restarted for every design.

    Returns:
      One record per design, sites varying slowest.

    Raises:
      InputError: a number below 1, or a negative SD.
    """
    _check(n_sites, n_seeds, (n_simulations, n_bootstrap))
    if min(dataclasses.astuple(components)) < 0:
        raise InputError(f"components: expected SDs of at least 0, found {components}")
    found = []
    for sites, seeds in itertools.product(n_sites, n_seeds):
        rng = np.random.default_rng(random_seed)
        d = difference + _effects(rng, components, (n_simulations, sites, seeds))
        found.append(_power(d, None, alpha, n_bootstrap, random_seed))
    return tuple(found)


def repeats_curve(
    gains: tuple[float, float],
    n_sites: Sequence[int],
    n_seeds: Sequence[int],
    n_repeats: Sequence[int],
    *,
    level_sd: float,
    trial_sd: float,
    gain_sds: Components,
    misfit_sd: float = 0.0,
    n_levels: int = 11,
    alpha: float = 0.05,
    n_simulations: int = 1000,
    n_bootstrap: int = 1000,
    random_seed: int = 0,
) -> tuple[Power, ...]:
    """Power of every design, with the responses themselves simulated and scored.

    Predictions p are evenly spaced with SD `level_sd`; the response of sweep (s, i) is
    ``y = (gain + site_s + seed_i + rest_si) p + noise``, the noise of each average over
    repeats having variance ``misfit_sd^2 + trial_sd^2 / n_repeats``. For a fixed gain
    the r of a sweep is near ``gain level_sd / sqrt((gain level_sd)^2 + variance)``: the
    attenuation through which repeats count.

    Args:
      gains: of the two models.
      n_sites: numbers of sites to try.
      n_seeds: numbers of seed images to try.
      n_repeats: numbers of repeats of each stimulus to try.
      level_sd: SD of a sweep's predictions (ddof 0), response units.
      trial_sd: SD of single presentations, response units.
      gain_sds: SDs of the gain, drawn for each model on its own.
      misfit_sd: SD of what repeats do not average out, response units.
      n_levels: levels of a sweep, at least 3.
      alpha: level of the tests; the intervals cover ``1 - alpha``.
      n_simulations: experiments per design.
      n_bootstrap: draws per interval.
      random_seed: of the random generator, restarted for every design.

    Returns:
      One record per design, sites varying slowest and repeats fastest.

    Raises:
      InputError: a number below 1, fewer than three levels, or an SD that is negative
        (`level_sd`: not positive).
    """
    _check(n_sites, n_seeds, (n_simulations, n_bootstrap, *n_repeats))
    sds = (trial_sd, misfit_sd, *dataclasses.astuple(gain_sds))
    if n_levels < 3 or level_sd <= 0 or min(sds) < 0:
        raise InputError(
            "power: expected at least 3 levels, a positive level_sd and SDs of at "
            f"least 0, found {n_levels} levels, level_sd {level_sd}, SDs {sds}"
        )
    levels = np.linspace(-1, 1, n_levels)
    levels = levels * (level_sd / levels.std())
    found = []
    for sites, seeds, repeats in itertools.product(n_sites, n_seeds, n_repeats):
        rng = np.random.default_rng(random_seed)
        shape = (n_simulations, sites, seeds)
        noise_sd = float(np.sqrt(misfit_sd**2 + trial_sd**2 / repeats))
        r = []
        for gain in gains:
            slopes = gain + _effects(rng, gain_sds, shape)
            recorded = rng.normal(0.0, noise_sd, (*shape, n_levels))
            recorded += slopes[..., None] * levels
            r.append(pearson_r(np.broadcast_to(levels, recorded.shape), recorded))
        found.append(_power(r[0] - r[1], repeats, alpha, n_bootstrap, random_seed))
    return tuple(found)


def smallest_design(
    curve: Sequence[Power], power: float = 0.8, by: str = "interval"
) -> Power | None:
    """The design with the fewest presentations that shows the difference often enough.

    Args:
      curve: as `power_curve` or `repeats_curve` returns it.
      power: share of experiments asked for.
      by: ``"interval"``, ``"seeds"`` or ``"sites"``: what is to show it.

    Returns:
      The first of the smallest by sites x seeds x repeats; None where none suffices.

    Raises:
      InputError: another `by`.
    """
    if by not in ("interval", "seeds", "sites"):
        raise unknown(by, ("interval", "seeds", "sites"), "kind of power")
    enough = [one for one in curve if getattr(one, f"by_{by}") >= power]
    return min(
        enough,
        key=lambda one: one.n_sites * one.n_seeds * (one.n_repeats or 1),
        default=None,
    )


def _effects(
    rng: np.random.Generator, sds: Components, shape: tuple[int, int, int]
) -> Float[np.ndarray, "experiment site seed"]:
    n, sites, seeds = shape
    return (
        rng.normal(0.0, sds.site, (n, sites, 1))
        + rng.normal(0.0, sds.seed, (n, 1, seeds))
        + rng.normal(0.0, sds.residual, shape)
    )


def _power(
    d: Float[np.ndarray, "experiment site seed"],
    n_repeats: int | None,
    alpha: float,
    n_bootstrap: int,
    random_seed: int,
) -> Power:
    by_sites, p_min_sites = sign_flips(d.mean(axis=2), random_seed)
    by_seeds, p_min_seeds = sign_flips(d.mean(axis=1), random_seed)
    limits = crossed_intervals(d, n_bootstrap, random_seed, 1 - alpha)
    apart: Bool[np.ndarray, " experiment"] = (limits[:, 0] > 0) | (limits[:, 1] < 0)
    return Power(
        n_sites=d.shape[1],
        n_seeds=d.shape[2],
        n_repeats=n_repeats,
        difference=float(d.mean()),
        by_sites=float(np.mean(by_sites <= alpha)),
        by_seeds=float(np.mean(by_seeds <= alpha)),
        by_interval=float(np.mean(apart)),
        p_min_sites=p_min_sites,
        p_min_seeds=p_min_seeds,
    )


def _check(
    n_sites: Sequence[int], n_seeds: Sequence[int], others: Sequence[int]
) -> None:
    smallest = min((*n_sites, *n_seeds, *others), default=0)
    if not n_sites or not n_seeds or smallest < 1:
        raise InputError(
            "power: expected numbers of at least 1, found sites "
            f"{list(n_sites)}, seeds {list(n_seeds)}, others {list(others)}"
        )
