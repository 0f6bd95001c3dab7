"""Uncertainty of control scores: the design is crossed, seeds by sites.

Every site is driven from the same seed images, so the (site, seed) correlations are
not independent: intervals resample sites and seeds separately, and tests flip whole
seeds or whole sites. All randomness comes from an explicit integer seed, the same
for every model, so that no result depends on which other models are in the table.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.correlation import mean_defined, unit_deviation
from paramctl_jax.types import InputError

# Up to here the 2^n sign patterns are counted exactly, as pairs of 2^15 half patterns.
MAX_EXACT_UNITS = 30


def crossed_mean(values: Float[np.ndarray, "site seed"]) -> float:
    """Mean over sites of the mean over seeds, both over what is defined.

    Example:
      >>> crossed_mean(np.array([[1.0, np.nan], [2.0, 4.0]]))
      2.0
    """
    return float(mean_defined(mean_defined(values, axis=1)))


def crossed_bootstrap(
    values: Float[np.ndarray, "site seed"],
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of `crossed_mean`, sites and seeds resampled independently.

    With counts ``a`` (how often each site is drawn) and ``b`` (each seed), a draw is
    ``sum_s a_s c_s / sum_s a_s``, ``c_s = sum_i b_i v_si / sum_i b_i`` over defined v.

    Args:
      values: one number per sweep, e.g. r or a difference of two; NaN: undefined.
      n_bootstrap: number of draws.
      random_seed: of the random generator.
      confidence: coverage aimed at, in (0, 1).

    Returns:
      Lower and upper limit; NaN with fewer than two defined values. With one site the
      interval speaks about seeds only, with one seed about sites only.

    Raises:
      InputError: no draws asked for.

    Example:
      >>> crossed_bootstrap(np.full((5, 10), 0.5), n_bootstrap=100)
      (0.5, 0.5)
    """
    draws = crossed_draws(values, n_bootstrap, random_seed)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def crossed_draws(
    values: Float[np.ndarray, "site seed"],
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> Float[np.ndarray, " draw"]:
    """The draws behind `crossed_bootstrap`.

    Args:
      values: one number per sweep; NaN: undefined.
      n_bootstrap: number of draws.
      random_seed: of the random generator.

    Returns:
      `crossed_mean` of every resampled design; NaN for a draw that hits undefined
      sweeps only. All NaN with fewer than two defined values.

    Raises:
      InputError: no draws asked for.
    """
    if n_bootstrap < 1:
        raise InputError(f"n_bootstrap: expected at least 1 draw, found {n_bootstrap}")
    defined = np.isfinite(values)
    if defined.sum() < 2:
        return np.full(n_bootstrap, np.nan)
    values = values[defined.any(axis=1)][:, defined.any(axis=0)]
    defined = np.isfinite(values).astype(np.float64)
    rng = np.random.default_rng(random_seed)
    site_draws, seed_draws = (
        rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap) for n in values.shape
    )
    weight = seed_draws @ defined.T  # [draw, site]: defined sweeps drawn per site
    control = (seed_draws @ np.nan_to_num(values).T) / np.maximum(weight, 1)
    site_draws = site_draws * (weight > 0)
    n_sites = site_draws.sum(axis=1)
    total = np.sum(site_draws * control, axis=1)
    return np.where(n_sites > 0, total / np.maximum(n_sites, 1), np.nan)


def sign_flip_test(
    units: Float[np.ndarray, " unit"], n_draws: int = 10_000, random_seed: int = 0
) -> tuple[float, float]:
    """Two-sided sign-flip test of mean zero, and the smallest p that it can reach.

    ``p = #{signs : |sum(sign * u)| >= |sum(u)|} / 2^n``, all patterns counted for up to
    30 units; above that `n_draws` random patterns and ``p = (1 + #) / (1 + n_draws)``.
    The smallest attainable p is ``2 / 2^n``: .0625 with 5 units, .00195 with 10.

    Args:
      units: one number per exchangeable unit (paired differences); NaN is left out.
      n_draws: random sign patterns where all would be too many.
      random_seed: of the random generator, likewise.

    Returns:
      p and the smallest attainable p; NaN without units.

    Example:
      >>> sign_flip_test(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
      (0.0625, 0.0625)
    """
    units = units[np.isfinite(units)]
    if not len(units):
        return np.nan, np.nan
    # Rounding must not decide a tie with the observed pattern, which always counts.
    threshold = abs(units.sum()) - 1e-12 * np.abs(units).sum()
    if len(units) <= MAX_EXACT_UNITS:
        p_min = min(1.0, 2.0 / 2 ** len(units))
        return (_exact_p(units, threshold) if threshold > 0 else 1.0), p_min
    rng = np.random.default_rng(random_seed)
    signs = 2.0 * rng.integers(0, 2, size=(n_draws, len(units))) - 1.0
    n_extreme = int(np.sum(np.abs(signs @ units) >= threshold))
    return (1 + n_extreme) / (1 + n_draws), 1 / (1 + n_draws)


def level_permutation_null(
    predicted: Float[np.ndarray, "site seed level"],
    recorded: Float[np.ndarray, "site seed level"],
    n_permutations: int = 10_000,
    random_seed: int = 0,
) -> Float[np.ndarray, "draw site"]:
    """Control score per site when recorded responses are shuffled over a seed's levels.

    Levels are permuted within each sweep, never across seeds. Under independence
    ``Var(r) = 1 / (L - 1)``, so with I seeds the SD is ``1 / sqrt(I (L - 1))``:
    .1 for 10 seeds x 11 levels.

    Args:
      predicted: model predictions, response units; NaN where missing.
      recorded: responses, response units; NaN where missing.
      n_permutations: number of draws.
      random_seed: of the random generator.

    Returns:
      Mean over defined seeds of r per draw and site; NaN for a site without any.
    """
    rng = np.random.default_rng(random_seed)
    valid = np.isfinite(predicted) & np.isfinite(recorded)
    p, y = unit_deviation(predicted, valid), unit_deviation(recorded, valid)
    # Valid levels first: shuffling the first entries then keeps them together.
    packed = np.argsort(~valid, axis=-1, kind="stable")
    p, y, valid = (np.take_along_axis(x, packed, axis=-1) for x in (p, y, valid))
    null = np.empty((n_permutations, len(p)))
    for site in range(len(p)):
        keys = rng.random((n_permutations, *p.shape[1:]))
        order = np.argsort(np.where(valid[site], keys, np.inf), axis=-1)
        shuffled = np.take_along_axis(y[site][None], order, axis=-1)
        # Shuffling changes neither mean nor norm: r stays an inner product.
        null[:, site] = mean_defined(np.sum(p[site] * shuffled, axis=-1), axis=1)
    return null


def permutation_test(
    predicted: Float[np.ndarray, "site seed level"],
    recorded: Float[np.ndarray, "site seed level"],
    n_permutations: int = 10_000,
    random_seed: int = 0,
) -> tuple[float, float]:
    """Whether a model controls at all: levels shuffled within each seed.

    ``p = (1 + #{shuffled mean over sites >= observed}) / (1 + n)``, one-sided: control
    below 0 is no control.

    Args:
      predicted: model predictions, response units; NaN where missing.
      recorded: responses, response units; NaN where missing.
      n_permutations: number of shuffles.
      random_seed: of the random generator.

    Returns:
      p and the smallest attainable p, ``1 / (1 + n)``; NaN without a defined r.

    Example:
      >>> p = np.linspace(-1, 1, 11)[None, None]
      >>> permutation_test(p, 2 * p, n_permutations=99)
      (0.01, 0.01)
    """
    valid = np.isfinite(predicted) & np.isfinite(recorded)
    p, y = unit_deviation(predicted, valid), unit_deviation(recorded, valid)
    observed = crossed_mean(np.sum(p * y, axis=-1))
    if not np.isfinite(observed):
        return np.nan, np.nan
    null = level_permutation_null(predicted, recorded, n_permutations, random_seed)
    null = mean_defined(null, axis=1)
    n_extreme = int(np.sum(null >= observed - 1e-12))
    return (1 + n_extreme) / (1 + n_permutations), 1 / (1 + n_permutations)


def _exact_p(units: Float[np.ndarray, " unit"], threshold: float) -> float:
    """Share of sign patterns at least as extreme, threshold > 0.

    Meet in the middle: patterns of the first half (a) and of the second half (b,
    sorted) give every sum a + b, and a binary search counts those beyond +-threshold.
    """
    half = len(units) // 2
    first, second = _signed_sums(units[:half]), np.sort(_signed_sums(units[half:]))
    above = len(second) - np.searchsorted(second, threshold - first, side="left")
    below = np.searchsorted(second, -threshold - first, side="right")
    return float((above.sum() + below.sum()) / 2 ** len(units))


def _signed_sums(units: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " pattern"]:
    sums = np.zeros(1)
    for unit in units:
        sums = np.concatenate([sums + unit, sums - unit])
    return sums
