"""Intervals and tests of many simulated experiments at once, for power and coverage."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

# Up to here all sign patterns are counted; above, this many random ones (2^12).
EXACT_UNITS = 12


def crossed_intervals(
    values: Float[np.ndarray, "experiment site seed"],
    n_bootstrap: int = 1000,
    random_seed: int = 0,
    confidence: float = 0.95,
) -> Float[np.ndarray, "experiment 2"]:
    """`crossed_bootstrap` of many complete designs at once, with the same draws.

    Args:
      values: one number per sweep, all defined.
      n_bootstrap: number of draws.
      random_seed: of the random generator.
      confidence: coverage aimed at, in (0, 1).

    Returns:
      Lower and upper limits, those of `crossed_bootstrap` to within rounding.
    """
    rng = np.random.default_rng(random_seed)
    sites, seeds = (
        rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap) / n
        for n in values.shape[1:]
    )
    # A draw is a weighted sum over sweeps, weights of rank one: one product for all.
    weights = (sites[:, :, None] * seeds[:, None, :]).reshape(n_bootstrap, -1)
    tail = (1 - confidence) / 2
    limits = [
        np.quantile(some @ weights.T, [tail, 1 - tail], axis=1).T
        for some in np.array_split(
            values.reshape(len(values), -1), 1 + len(values) // 256
        )
    ]
    return np.concatenate(limits)


def sign_flips(
    units: Float[np.ndarray, "experiment unit"], random_seed: int
) -> tuple[Float[np.ndarray, " experiment"], float]:
    """`sign_flip_test` of many experiments at once.

    Args:
      units: one number per exchangeable unit, all defined.
      random_seed: of the random signs, the same for all, above `EXACT_UNITS` units.

    Returns:
      p of every experiment, and the smallest attainable p.
    """
    n = units.shape[1]
    observed = np.abs(units.sum(axis=1)) - 1e-12 * np.abs(units).sum(axis=1)
    if n <= EXACT_UNITS:
        signs = np.asarray(list(itertools.product((-1.0, 1.0), repeat=n)))
        extreme = np.abs(units @ signs.T) >= observed[:, None]
        return extreme.mean(axis=1), min(1.0, 2.0 / 2**n)
    rng = np.random.default_rng(random_seed)
    n_draws = 2**EXACT_UNITS - 1
    signs = 2.0 * rng.integers(0, 2, size=(n_draws, n)) - 1.0
    extreme = np.abs(units @ signs.T) >= observed[:, None]
    return (1 + extreme.sum(axis=1)) / (1 + n_draws), 1 / (1 + n_draws)
