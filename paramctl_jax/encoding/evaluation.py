"""Held-out evaluation: which images are held out, and how well they are predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax.recordings import noise_ceiling, pearson
from paramctl_jax.types import EncodingEvaluation, InputError, Recordings

MIN_CEILING = 0.1
"""Dividing by a noise ceiling below this says more about the noise than the model."""


def split_ids(
    stimulus_ids: Sequence[str], test_fraction: float, key: PRNGKeyArray
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Random split into training and held-out stimuli.

    The permutation is of the sorted ids: the order of the images, which often follows
    their objects, changes nothing.

    Args:
      stimulus_ids: unique ids.
      test_fraction: share held out, in [0, 1), rounded up; 0 holds out nothing.
      key: of the permutation.

    Returns:
      Training ids and held-out ids, each in the given order.

    Raises:
      InputError: a fraction outside [0, 1), or one that leaves nothing to fit.

    Example:
      >>> import jax
      >>> train, test = split_ids(list("abcde"), 0.4, jax.random.key(0))
      >>> len(train), len(test), sorted(train + test)
      (3, 2, ['a', 'b', 'c', 'd', 'e'])
    """
    usable = 0 <= test_fraction < 1
    count = math.ceil(round(test_fraction * len(stimulus_ids), 9)) if usable else 0
    if not usable or count >= len(stimulus_ids):
        raise InputError(
            "test_fraction: expected in [0, 1) and to leave images to fit, found "
            f"{test_fraction} of {len(stimulus_ids)} images"
        )
    order = np.asarray(jax.random.permutation(key, len(stimulus_ids)))
    ordered = sorted(stimulus_ids)
    held_out = {ordered[index] for index in order[:count]}
    train = tuple(name for name in stimulus_ids if name not in held_out)
    return train, tuple(name for name in stimulus_ids if name in held_out)


def r_squared(
    recorded: Float[np.ndarray, "image site"],
    predicted: Float[np.ndarray, "image site"],
) -> Float[np.ndarray, " site"]:
    """Explained variance per site, ``1 - sum (y - p)^2 / sum (y - mean y)^2``.

    Args:
      recorded: repeat averages.
      predicted: of the same images, in the same units.

    Returns:
      R2, at most 1 and below 0 for predictions worse than the mean; NaN for fewer than
      two images or a constant site.

    Example:
      >>> import numpy as np
      >>> recorded = np.array([[0.0], [1.0], [2.0]])
      >>> r_squared(recorded, recorded + 1)
      array([-0.5])
    """
    if len(recorded) < 2:
        return np.full(recorded.shape[1], np.nan)
    error = np.sum((recorded - predicted) ** 2, axis=0)
    total = np.sum((recorded - recorded.mean(axis=0)) ** 2, axis=0)
    return np.where(total > 0, 1 - error / np.where(total > 0, total, 1.0), np.nan)


def evaluate(
    held_out: Recordings,
    predicted: Float[np.ndarray, "image site"],
    loo_r: Float[np.ndarray, " site"],
    train_ids: Sequence[str],
) -> EncodingEvaluation:
    """Encoding performance on the held-out images, also relative to their own noise.

    Args:
      held_out: recordings of the held-out images only, with their repeats.
      predicted: of these images, in the same units.
      loo_r: leave-one-out correlation over the training images.
      train_ids: images of the fit.

    Returns:
      The record, all in float64.
    """
    recorded = held_out.mean()
    r, r2 = pearson(predicted, recorded), r_squared(recorded, predicted)
    ceiling = noise_ceiling(held_out.responses)
    usable = np.where(ceiling > MIN_CEILING, ceiling, np.nan)
    return EncodingEvaluation(
        site_ids=held_out.site_ids,
        r=r,
        r2=r2,
        ceiling=ceiling,
        r_normalised=r / usable,
        r2_normalised=r2 / usable**2,
        loo_r=loo_r,
        train_ids=tuple(train_ids),
        test_ids=held_out.stimulus_ids,
    )
