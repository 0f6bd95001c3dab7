"""How reliable a site is: split halves of its repeats, and the best sites by that."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from paramctl_jax.recordings.correlation import pearson
from paramctl_jax.types import InputError

LOWEST_HALF_R = -0.5
"""Below this the Spearman-Brown formula runs away to minus infinity."""


def split_half_correlations(
    responses: Float[np.ndarray, "image site repeat"],
    key: PRNGKeyArray,
    n_splits: int = 100,
) -> Float[np.ndarray, "split site"]:
    """Pearson r over images between the means of two random halves of the repeats.

    The valid repeats of each image are put in random order; the first and the second
    ``floor(n / 2)`` of them make the halves. Images with fewer than two valid repeats
    at a site do not count there. The order is drawn per image, the same for all sites,
    so a site's value does not depend on the company it is analysed in.

    Args:
      responses: any units, NaN for a missing repeat.
      key: split `b` draws from ``fold_in(key, b)``.
      n_splits: number of random halvings, at least 1.

    Returns:
      r of the halves, not yet corrected to full length; NaN where it is undefined.

    Raises:
      InputError: if `n_splits` is below 1.
    """
    if n_splits < 1:
        raise InputError(f"n_splits: expected at least 1, found {n_splits}")
    by_repeat = np.moveaxis(responses, -1, 0)
    valid = np.ascontiguousarray(np.isfinite(by_repeat))
    filled = np.where(valid, by_repeat, 0.0).astype(np.float64)
    counted = valid.sum(axis=0) >= 2
    halves = (
        _half_means(filled, valid, _random_order(key, split, responses.shape))
        for split in range(n_splits)
    )
    return np.stack([pearson(first, second, counted) for first, second in halves])


def split_half_reliability(
    responses: Float[np.ndarray, "image site repeat"],
    key: PRNGKeyArray,
    n_splits: int = 100,
) -> Float[np.ndarray, " site"]:
    """Spearman-Brown corrected split-half reliability of the repeat average.

    ``mean over splits b of 2 r_b / (1 + r_b)``, with r_b of `split_half_correlations`.
    For T equal repeats and signal-to-noise ratio s its expectation is
    ``s^2 / (s^2 + 1/T)``, the square of `noise_ceiling`.

    Args:
      responses: any units, NaN for a missing repeat.
      key: of the random halvings.
      n_splits: number of random halvings.

    Returns:
      Reliability per site; NaN where a halving has no r, or one below -.5.

    Example:
      >>> import jax, numpy as np
      >>> signal = np.arange(8.0)[:, None, None]
      >>> split_half_reliability(np.tile(signal, (1, 1, 4)), jax.random.key(0), 3)
      array([1.])

    Source: Spearman 1910 and Brown 1910, both Br. J. Psychol. 3.
    """
    r = split_half_correlations(responses, key, n_splits)
    return spearman_brown(r).mean(axis=0)


def spearman_brown(
    r: Float[np.ndarray, "*shape"], factor: float = 2.0
) -> Float[np.ndarray, "*shape"]:
    """Reliability of a measurement `factor` times as long: ``m r / (1 + (m-1) r)``.

    Args:
      r: correlation of two equal parts.
      factor: how many such parts the full measurement has, m.

    Returns:
      The corrected value; NaN where r is below -.5, where the formula means nothing.

    Example:
      >>> import numpy as np
      >>> spearman_brown(np.array([0.5, -0.6]))
      array([0.66666667,        nan])
    """
    usable = np.where(r >= LOWEST_HALF_R, r, np.nan)
    return factor * usable / (1 + (factor - 1) * usable)


def top_sites(reliability: Float[np.ndarray, " site"], count: int) -> tuple[int, ...]:
    """The `count` most reliable sites, best first; ties keep the sites' order.

    Args:
      reliability: per site; NaN is never chosen.
      count: how many sites.

    Returns:
      Site indices, as `Recordings.select_sites` takes them.

    Raises:
      InputError: if fewer than `count` sites have a defined reliability.

    Example:
      >>> import numpy as np
      >>> top_sites(np.array([0.2, np.nan, 0.9]), 2)
      (2, 0)
    """
    available = int(np.sum(~np.isnan(reliability)))
    if not 1 <= count <= available:
        raise InputError(
            f"count: expected 1 to {available}, the number of sites with a defined "
            f"reliability (of {len(reliability)}), found {count}"
        )
    order = np.argsort(-reliability, kind="stable")  # NaN comes last
    return tuple(int(site) for site in order[:count])


def _random_order(
    key: PRNGKeyArray, split: int, shape: tuple[int, ...]
) -> Int[np.ndarray, "image repeat"]:
    """Every image's repeats in a random order."""
    n_images, _, n_repeats = shape
    draws = jax.random.uniform(jax.random.fold_in(key, split), (n_images, n_repeats))
    return np.argsort(np.asarray(draws), axis=-1, kind="stable")


def _half_means(
    filled: Float[np.ndarray, "repeat image site"],
    valid: Bool[np.ndarray, "repeat image site"],
    order: Int[np.ndarray, "image repeat"],
) -> tuple[Float[np.ndarray, "image site"], Float[np.ndarray, "image site"]]:
    """Means of the first and the second half of each image's valid repeats."""
    half = valid.sum(axis=0, dtype=np.int32) // 2
    first, second = np.zeros((2, *half.shape))
    before = np.zeros_like(half)  # valid repeats that came earlier in the order
    image = np.arange(len(order))
    for repeat in order.T:  # of each image the next one; missing ones add 0
        values = filled[repeat, image]
        in_first = before < half
        first += np.where(in_first, values, 0.0)
        second += np.where(~in_first & (before < 2 * half), values, 0.0)
        before += valid[repeat, image]
    size = np.maximum(half, 1)
    return first / size, second / size
