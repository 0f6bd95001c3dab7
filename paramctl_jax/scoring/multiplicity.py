"""Many tests at once: Holm's step-down adjustment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.types import Comparison, InputError


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjusted p of several tests; those below alpha hold together at level alpha.

    With ``p_(1) <= ... <= p_(m)``: ``adjusted_(k) = max_{j<=k} min(1, (m-j+1) p_(j))``.
    Valid whatever the dependence between the tests.

    Args:
      p_values: in [0, 1]; NaN where a test is undefined.

    Returns:
      Adjusted p in the order given. An undefined test stays NaN and does not count
      towards m.

    Raises:
      InputError: a p outside [0, 1].

    Example:
      >>> holm(np.array([0.01, 0.04, 0.03, np.nan])).round(3).tolist()
      [0.03, 0.06, 0.06, nan]
    """
    defined = np.isfinite(p_values)
    p = p_values[defined]
    if np.any((p < 0) | (p > 1)):
        raise InputError(f"p values: expected numbers in [0, 1], found {p.tolist()}")
    order = np.argsort(p, kind="stable")
    # The smallest p pays for all m tests, the next for the m - 1 left, and so on; the
    # running maximum keeps the order of the tests.
    paid = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    in_place = np.empty(len(p))
    in_place[order] = np.minimum(paid, 1.0)
    adjusted = np.full(p_values.shape, np.nan)
    adjusted[defined] = in_place
    return adjusted


def holm_comparisons(
    comparisons: Sequence[Comparison],
) -> Float[np.ndarray, "comparison 2"]:
    """`p_seeds` and `p_sites` of all pairs of models, adjusted within each subject.

    Args:
      comparisons: as in `ControlScore.comparisons`.

    Returns:
      One row per comparison, in the order given: adjusted p over seeds, over sites.
    """
    adjusted = np.full((len(comparisons), 2), np.nan)
    p = np.asarray([(one.p_seeds, one.p_sites) for one in comparisons]).reshape(-1, 2)
    subjects = np.asarray([one.subject for one in comparisons])
    for subject in np.unique(subjects):
        family = subjects == subject
        for test in range(2):
            adjusted[family, test] = holm(p[family, test])
    return adjusted
