"""A planned experiment on many simulated animals: control, differences and power.

Every animal is scored as `control_score` scores one: the same r, means, tests and
intervals, from the same random draws, for all animals at once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.correlation import mean_defined, pearson_r
from paramctl_jax.scoring.experiments import crossed_intervals
from paramctl_jax.scoring.gain import within_deviations
from paramctl_jax.scoring.inference import crossed_bootstrap, sign_flip_test
from paramctl_jax.scoring.power import Power, smallest_design
from paramctl_jax.scoring.rehearsal_records import (
    ModelRehearsal,
    PairRehearsal,
    Rehearsal,
    Spread,
)

TESTS = ("seeds", "sites", "interval")
Units = Float[np.ndarray, "animal unit"]
PerAnimal = Float[np.ndarray, " animal"]
Differences = Float[np.ndarray, "animal site seed"]


def score_rehearsal(
    models: Sequence[str],
    repeats: Sequence[int],
    planned: int,
    predicted: Float[np.ndarray, "*animals model site seed level"],
    recorded: Float[np.ndarray, "repeats animal model site seed level"],
    noise_free: Float[np.ndarray, "*animals model site seed level"],
    *,
    mode: str = "fixed",
    alpha: float = 0.05,
    wanted_power: float = 0.8,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> Rehearsal:
    """Scores every animal at every number of repeats, and how often models differ.

    ``control = mean over sites of mean over seeds of r``, all means over what is
    defined; ``power = share of animals with p <= alpha``, or whose interval leaves 0
    out.

    Args:
      models: names.
      repeats: numbers of repeats, in the order of `recorded`.
      planned: one of them.
      predicted: predictions from the PNGs, response units; without an axis of animals
        where all see the same stimuli. NaN: no such stimulus.
      recorded: averages over repeats; NaN where missing, as at a lost site.
      noise_free: the subject's responses without noise, axes as `predicted`.
      mode: how the animals were made, for the record.
      alpha: level of the tests.
      wanted_power: share of animals, in (0, 1).
      n_bootstrap: draws of every interval, and of sign patterns beyond 30 units.
      random_seed: of both; the same for all animals, as for real ones.

    Returns:
      Distributions and power; numbers of one animal equal those of `score_table`.

    Example:
      >>> p = np.broadcast_to(np.linspace(-1, 1, 5), (2, 1, 6, 5))
      >>> noise = np.random.default_rng(0).normal(size=(1, 20, 2, 1, 6, 5))
      >>> found = score_rehearsal(["a", "b"], [1], 1, p, p + noise, p, n_bootstrap=50)
      >>> found.models[0].true_control[0].round(6), found.pairs[0].enough["seeds"]
      (np.float64(1.0), None)
    """
    shape = recorded.shape[1:]
    predicted, noise_free = (np.broadcast_to(x, shape) for x in (predicted, noise_free))
    r, slope = _stacked([sweep_scores(predicted, one) for one in recorded])
    true_r, true_slope = sweep_scores(predicted, noise_free)
    control, true_control = control_of(r), control_of(true_r)
    asked = np.isfinite(true_r)  # sweeps that the experiment has
    lost = (asked & ~np.isfinite(r[list(repeats).index(planned)])).any(axis=(1, 2, 3))
    how = _Tests(alpha, wanted_power, n_bootstrap, random_seed)
    return Rehearsal(
        repeats=tuple(repeats),
        planned=planned,
        n_animals=shape[0],
        n_sites=shape[2],
        n_seeds=shape[3],
        n_levels=shape[4],
        n_incomplete=int(lost.sum()),
        alpha=alpha,
        wanted_power=wanted_power,
        models=tuple(
            _model(
                name, *(x[..., m] for x in (control, slope, true_control, true_slope))
            )
            for m, name in enumerate(models)
        ),
        pairs=tuple(
            how.pair(
                (models[a], models[b]),
                r[..., a, :, :] - r[..., b, :, :],
                true_r[:, a] - true_r[:, b],
                repeats,
            )
            for a, b in itertools.combinations(range(len(models)), 2)
        ),
        mode=mode,
    )


def sweep_scores(
    predicted: Float[np.ndarray, "animal model site seed level"],
    recorded: Float[np.ndarray, "animal model site seed level"],
) -> tuple[
    Float[np.ndarray, "animal model site seed"], Float[np.ndarray, "animal model"]
]:
    """Every sweep's r, and the mean over sites of the slope within seeds.

    ``slope_s = sum_i sum_l p' y' / sum_i sum_l p'^2``, ``'`` for deviations from the
    seed's mean, as `within_slope` of one site.
    """
    levels = predicted.shape[-1]
    p, y = within_deviations(
        predicted.reshape(-1, levels), recorded.reshape(-1, levels)
    )
    p, y = p.reshape(predicted.shape), y.reshape(predicted.shape)
    power, product = np.nansum(p * p, axis=(-2, -1)), np.nansum(p * y, axis=(-2, -1))
    known = power > 0
    slope = np.where(known, product / np.where(known, power, 1.0), np.nan)
    return pearson_r(predicted, recorded), mean_defined(slope, axis=-1)


def control_of(
    r: Float[np.ndarray, "*animals site seed"],
) -> Float[np.ndarray, "*animals"]:
    """`crossed_mean` of many designs: over sites the mean over seeds, where defined."""
    return np.asarray(mean_defined(mean_defined(r, axis=-1), axis=-1))


def spreads(values: Float[np.ndarray, "repeats animal"]) -> tuple[Spread, ...]:
    """Median and 5th to 95th percentile over animals, row by row; NaN left out.

    Example:
      >>> spreads(np.array([[0.0, 1.0, np.nan, 2.0]]))
      (Spread(median=1.0, low=0.1, high=1.9),)
    """
    found = []
    for row in values:
        known = row[np.isfinite(row)]
        ends = np.quantile(known, [0.5, 0.05, 0.95]) if known.size else [np.nan] * 3
        found.append(Spread(*(float(end) for end in ends)))
    return tuple(found)


def sign_flip_p(
    units: Units, n_draws: int, random_seed: int
) -> tuple[PerAnimal, float]:
    """`sign_flip_test` of every animal, and the smallest p that any of them can reach.

    An animal that lacks units has fewer sign patterns; without any, its p is NaN.
    """
    tested = np.asarray([sign_flip_test(row, n_draws, random_seed) for row in units])
    smallest = tested[np.isfinite(tested[:, 1]), 1]
    return tested[:, 0], float(smallest.min()) if smallest.size else np.nan


def interval_limits(
    d: Differences, n_bootstrap: int, random_seed: int, confidence: float
) -> Float[np.ndarray, "animal 2"]:
    """`crossed_bootstrap` of every animal, those that lack the same sweeps at once.

    Where what is left after dropping lost sites and seeds is complete, all animals
    share one product with `crossed_intervals`; others are taken one by one.
    """
    defined = np.isfinite(d)
    patterns, which = np.unique(
        defined.reshape(len(d), -1), axis=0, return_inverse=True
    )
    limits = np.full((len(d), 2), np.nan)
    for index, pattern in enumerate(patterns.reshape(-1, *d.shape[1:])):
        own = np.flatnonzero(which.ravel() == index)
        kept = np.ix_(own, pattern.any(axis=1), pattern.any(axis=0))
        settings = (n_bootstrap, random_seed, confidence)
        if pattern.sum() > 1 and np.isfinite(d[kept]).all():
            limits[own] = crossed_intervals(d[kept], *settings)
        else:
            limits[own] = [crossed_bootstrap(d[animal], *settings) for animal in own]
    return limits


@dataclasses.dataclass(frozen=True)
class _Tests:
    """How two models are compared; see `score_rehearsal`."""

    alpha: float
    wanted_power: float
    n_bootstrap: int
    random_seed: int

    def pair(
        self,
        names: tuple[str, str],
        d: Float[np.ndarray, "repeats animal site seed"],
        true: Differences,
        repeats: Sequence[int],
    ) -> PairRehearsal:
        """All tests of all animals, at every number of repeats."""
        tested = [self.tests(one, n) for one, n in zip(d, repeats, strict=True)]
        p_seeds, p_sites, ci, power = zip(*tested, strict=True)
        best = {by: smallest_design(power, self.wanted_power, by) for by in TESTS}
        return PairRehearsal(
            *names,
            difference=control_of(d),
            spread=spreads(control_of(d)),
            true_difference=control_of(true),
            p_seeds=np.stack(p_seeds),
            p_sites=np.stack(p_sites),
            ci=np.stack(ci),
            power=power,
            enough={by: one.n_repeats if one else None for by, one in best.items()},
        )

    def tests(
        self, d: Differences, n_repeats: int
    ) -> tuple[PerAnimal, PerAnimal, Float[np.ndarray, "animal 2"], Power]:
        """Both p and the interval of every animal, and how often each shows it."""
        draws = self.n_bootstrap, self.random_seed
        p_seeds, p_min_seeds = sign_flip_p(mean_defined(d, axis=1), *draws)
        p_sites, p_min_sites = sign_flip_p(mean_defined(d, axis=2), *draws)
        ci = interval_limits(d, *draws, 1 - self.alpha)
        power = Power(
            n_sites=d.shape[1],
            n_seeds=d.shape[2],
            n_repeats=n_repeats,
            difference=float(mean_defined(control_of(d))),
            by_sites=float(np.mean(p_sites <= self.alpha)),
            by_seeds=float(np.mean(p_seeds <= self.alpha)),
            by_interval=float(np.mean((ci[:, 0] > 0) | (ci[:, 1] < 0))),
            p_min_sites=p_min_sites,
            p_min_seeds=p_min_seeds,
        )
        return p_seeds, p_sites, ci, power


def _model(
    name: str,
    control: Float[np.ndarray, "repeats animal"],
    slope: Float[np.ndarray, "repeats animal"],
    true_control: PerAnimal,
    true_slope: PerAnimal,
) -> ModelRehearsal:
    spread = spreads(control), spreads(slope)
    return ModelRehearsal(name, control, slope, *spread, true_control, true_slope)


def _stacked(
    scores: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    r, slope = zip(*scores, strict=True)
    return np.stack(r), np.stack(slope)
