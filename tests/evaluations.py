"""Encoding evaluations for tests that need one but do not care how it came about."""

import numpy as np

from paramctl_jax.types import EncodingEvaluation

INTERVALS = ("r_ci", "r2_ci", "r_normalised_ci", "r2_normalised_ci")
PER_SITE = ("r", "r2", "ceiling", "r_normalised", "r2_normalised", "cv_r", "cv_r2")


def evaluation_of(site_ids, train_ids=(), test_ids=(), **known):
    """NaN everywhere but in the fields that are given."""
    count = len(site_ids)
    fields = {name: np.full(count, np.nan) for name in PER_SITE}
    fields |= {name: np.full((count, 2), np.nan) for name in INTERVALS}
    images = np.full((len(test_ids), count), np.nan)
    fields |= {"recorded": images, "predicted": images, **known}
    return EncodingEvaluation(
        site_ids=tuple(site_ids),
        train_ids=tuple(train_ids),
        test_ids=tuple(test_ids),
        **fields,
    )
