"""Two one-sided tests (TOST) on bootstrap draws: the burden of proof reversed.

"No significant difference" may only mean that there are few images. Two models are
called equivalent where the interval of their difference lies within a bound that was
named beforehand. Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657-680.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.encoding.resampling import enough_draws, interval

LEVEL = 0.05
"""Of both tests; the interval of two one-sided tests at this level is the 90 % one."""


@dataclasses.dataclass(frozen=True)
class PairedTests:
    """Differences of paired scores, a minus b, one per site or one over all sites.

    Attributes:
      difference: a - b; NaN where one of the two is undefined.
      ci90, ci95: percentile intervals.
      p_equivalence: larger p of the two one-sided tests of a difference beyond the
        bound; small where the models are equivalent.
      p_difference: two-sided, of no difference.
      equivalent: whether `ci90` lies within the bound.
    """

    difference: Float[np.ndarray, " unit"]
    ci90: Float[np.ndarray, "unit 2"]
    ci95: Float[np.ndarray, "unit 2"]
    p_equivalence: Float[np.ndarray, " unit"]
    p_difference: Float[np.ndarray, " unit"]
    equivalent: Bool[np.ndarray, " unit"]


def paired_tests(
    difference: Float[np.ndarray, " unit"],
    draws: Float[np.ndarray, "unit draw"],
    bound: float,
) -> PairedTests:
    """Intervals and both tests of every unit.

    With d* the n draws that are defined,

    ``p_equivalence = max(#{d* <= -bound} + 1, #{d* >= bound} + 1) / (n + 1)``
    ``p_difference = 2 min(#{d* <= 0} + 1, #{d* >= 0} + 1) / (n + 1)``, at most 1

    Args:
      difference: of the data, NaN where undefined.
      draws: bootstrap values of the difference, NaN where a draw has none.
      bound: largest difference that counts as none.

    Returns:
      The tests; NaN and not equivalent where the difference or more than 5 % of its
      draws are undefined.

    Example:
      >>> import numpy as np
      >>> draws = np.linspace(-0.02, 0.04, 999)[None]
      >>> tests = paired_tests(np.array([0.01]), draws, bound=0.05)
      >>> tests.p_equivalence, tests.equivalent
      (array([0.001]), array([ True]))
    """
    draws = np.where(np.isnan(difference)[:, None], np.nan, draws)
    tested = enough_draws(draws)
    ci90, ci95 = interval(draws, 1 - 2 * LEVEL), interval(draws, 1 - LEVEL)
    below, above = _tail(draws <= -bound, draws), _tail(draws >= bound, draws)
    smaller = np.minimum(_tail(draws <= 0, draws), _tail(draws >= 0, draws))
    return PairedTests(
        difference=difference,
        ci90=ci90,
        ci95=ci95,
        p_equivalence=np.where(tested, np.maximum(below, above), np.nan),
        p_difference=np.where(tested, np.minimum(2 * smaller, 1.0), np.nan),
        equivalent=(ci90[:, 0] > -bound) & (ci90[:, 1] < bound),
    )


def _tail(beyond: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """One-sided p: the observed data are one more draw, so p is never 0."""
    defined = np.sum(~np.isnan(draws), axis=-1)
    return (np.sum(beyond, axis=-1) + 1) / (defined + 1)
