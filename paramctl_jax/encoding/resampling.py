"""Bootstrap over held-out images, in which every score is a function of sums.

A draw is a number of copies ``c_i`` of each image. Correlations, R2 and noise ceilings
of a draw need only sums ``sum_i c_i t_i`` of a few statistics t per image, and those
of all draws and sites are matrix products ``counts @ t``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.recordings.ceiling import MIN_REPEATED_IMAGES
from paramctl_jax.recordings.correlation import MIN_PAIRS
from paramctl_jax.types import EncodingEvaluation, InputError

DRAWS = 1000
"""Draws per matrix product: the counts of 1,600 held-out images take 13 MB."""

SITES = 16
"""Sites per matrix product, filled up with zeros: products have one shape, so that a
site's draws are the same numbers whatever other sites are there."""

MAX_UNDEFINED = 0.05
"""Share of undefined draws above which an interval says nothing about its tails."""

ROUNDING = 1e-12
"""A draw whose squares sum to less than this share, once centred, is constant."""

N_PAIR = 7
"""Number of statistics that `pair_statistics` gives."""


def pair_statistics(
    recorded: Float[np.ndarray, "image site"],
    predicted: Float[np.ndarray, "image site"],
) -> Float[np.ndarray, "site image statistic"]:
    """What r and R2 of any resampled images are sums of.

    ``(1, y, y^2, p, p^2, y p, (recorded - predicted)^2)`` with y and p less their mean
    over the site's images, so that little is lost when squares of sums are subtracted.

    Args:
      recorded: repeat averages; NaN where an image was not recorded at a site, which
        then counts zero there.
      predicted: of the same images, in the same units.

    Returns:
      The statistics, zero for images that do not count.

    Example:
      >>> import numpy as np
      >>> y = np.array([[1.0], [2.0], [6.0], [np.nan]])
      >>> pair_statistics(y, np.ones((4, 1))).sum(axis=1)
      array([[ 3.,  0., 14.,  0.,  0.,  0., 26.]])
    """
    valid = np.isfinite(recorded)
    y, p = _centred(recorded, valid), _centred(predicted, valid)
    error = np.where(valid, recorded - predicted, 0.0)
    columns = (valid.astype(np.float64), y, y**2, p, p**2, y * p, error**2)
    return np.stack([column.T for column in columns], axis=-1)


def repeat_statistics(
    responses: Float[np.ndarray, "image site repeat"],
) -> Float[np.ndarray, "site image statistic"]:
    """What the noise ceiling of any resampled images is a sum of, besides y and y^2.

    ``(n >= 2, var(repeats, ddof 1) where n >= 2, 1 / n)``, n an image's valid repeats.

    Args:
      responses: any units, NaN for a missing repeat.

    Returns:
      The statistics, zero where an image has too few repeats.

    Example:
      >>> import numpy as np
      >>> repeat_statistics(np.array([[[1.0, 3.0]], [[4.0, np.nan]]]))
      array([[[1. , 2. , 0.5],
              [0. , 0. , 1. ]]])
    """
    valid = np.isfinite(responses)
    filled = np.where(valid, responses, 0.0)
    n = valid.sum(axis=-1)
    average = filled.sum(axis=-1) / np.maximum(n, 1)
    deviation = np.where(valid, filled - average[..., None], 0.0)
    variance = np.sum(deviation**2, axis=-1) / np.maximum(n - 1, 1)
    inverse = np.where(n > 0, 1.0 / np.maximum(n, 1), 0.0)
    columns = ((n >= 2).astype(np.float64), np.where(n >= 2, variance, 0.0), inverse)
    return np.stack([column.T for column in columns], axis=-1)


def correlation_of(
    sums: Float[np.ndarray, "*draw statistic"],
) -> Float[np.ndarray, "*draw"]:
    """Pearson r from sums of `pair_statistics`; NaN for a constant side.

    ``(Syp - Sy Sp / n) / sqrt((Syy - Sy^2 / n) (Spp - Sp^2 / n))``
    """
    n, y, yy, p, pp, yp = (sums[..., index] for index in range(6))
    n = _enough(n)
    scale = np.sqrt(_squares(n, y, yy) * _squares(n, p, pp))
    return np.clip((yp - y * p / n) / scale, -1.0, 1.0)


def r_squared_of(
    sums: Float[np.ndarray, "*draw statistic"],
) -> Float[np.ndarray, "*draw"]:
    """R2 from sums of `pair_statistics`, ``1 - See / (Syy - Sy^2 / n)``."""
    n, y, yy, error = (sums[..., index] for index in (0, 1, 2, 6))
    return 1 - error / _squares(_enough(n), y, yy)


def ceiling_of(
    sums: Float[np.ndarray, "*draw statistic"],
) -> Float[np.ndarray, "*draw"]:
    """Noise ceiling of r from sums of both kinds of statistics, as `noise_ceiling`.

    ``sqrt(max(V - N m, 0) / V)`` where V is the variance of the repeat averages, N the
    mean variance of repeats and m the mean of 1/n: V is signal and noise together.
    """
    n, y, yy = (sums[..., index] for index in range(3))
    repeated, noise, inverse = (sums[..., N_PAIR + index] for index in range(3))
    n = _enough(n)
    repeated = np.where(repeated >= MIN_REPEATED_IMAGES, repeated, np.nan)
    in_average = noise / repeated * inverse / n
    total = _squares(n, y, yy) / (n - 1)
    signal = np.maximum(total - in_average, 0.0)
    return np.sqrt(signal / (signal + in_average))


def bootstrap_images(
    statistics: Float[np.ndarray, "site image statistic"],
    scores: Callable[[np.ndarray], np.ndarray],
    n_bootstrap: int,
    random_seed: int,
) -> Float[np.ndarray, "site draw *score"]:
    """Scores of images resampled with replacement, the same images at every site.

    The draws depend on the number of images and the seed only.

    Args:
      statistics: per image (at least one), to be summed over the images of a draw.
      scores: of sums ``[draw, site, statistic]``: the scores ``[draw, site]`` or
        ``[draw, site, score]``.
      n_bootstrap: number of draws.
      random_seed: of the random generator.

    Returns:
      The scores, NaN where a draw has none.

    Raises:
      InputError: no draws asked for.

    Example:
      >>> import numpy as np
      >>> images = np.array([[[1.0], [1.0], [1.0]]])
      >>> bootstrap_images(images, lambda sums: sums[..., 0], 4, 0)
      array([[3., 3., 3., 3.]])
    """
    n_sites, n_images, width = statistics.shape
    padding = ((0, -n_sites % SITES if n_sites else SITES), (0, 0), (0, 0))
    chunks = np.pad(statistics, padding).reshape(-1, SITES, n_images, width)
    tables = chunks.transpose(0, 2, 1, 3).reshape(-1, n_images, SITES * width)
    blocks = [
        np.concatenate([_sums(counts, t, scores) for t in tables], axis=1)[:, :n_sites]
        for counts in _image_counts(n_images, n_bootstrap, random_seed)
    ]
    return np.moveaxis(np.concatenate(blocks), 1, 0)


def _sums(counts: np.ndarray, table: np.ndarray, scores: Callable) -> np.ndarray:
    """Scores of one block of draws at one chunk of sites, ``[draw, site, ...]``."""
    return scores((counts @ table).reshape(len(counts), SITES, -1))


def interval(
    draws: Float[np.ndarray, "site draw"], confidence: float = 0.95
) -> Float[np.ndarray, "site 2"]:
    """Percentile interval per site over the draws that are defined.

    Args:
      draws: bootstrap values, NaN where a draw has none.
      confidence: share of the draws between the ends, in (0, 1).

    Returns:
      Low and high end; NaN where more than 5 % of the draws are undefined.

    Example:
      >>> import numpy as np
      >>> interval(np.arange(101.0)[None], 0.9)
      array([[ 5., 95.]])
    """
    tail = (1 - confidence) / 2
    ordered = np.sort(draws, axis=-1)  # NaN comes last
    last = np.maximum(np.sum(~np.isnan(draws), axis=-1, keepdims=True) - 1, 0)
    position = np.array([[tail, 1 - tail]]) * last
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, last)
    low, high = (np.take_along_axis(ordered, at, axis=-1) for at in (below, above))
    ends = low + (high - low) * (position - below)
    return np.where(enough_draws(draws)[:, None], ends, np.nan)


def enough_draws(
    draws: Float[np.ndarray, "*shape draw"],
) -> Bool[np.ndarray, "*shape"]:
    """Whether at most 5 % of the draws (and not all of them) are undefined."""
    undefined = np.isnan(draws).mean(axis=-1)
    return np.asarray(undefined <= MAX_UNDEFINED)


def _image_counts(
    n_images: int, n_bootstrap: int, random_seed: int
) -> Iterator[Float[np.ndarray, "draw image"]]:
    """How often each image is drawn, in blocks of draws."""
    if n_bootstrap < 1:
        raise InputError(f"n_bootstrap: expected at least 1 draw, found {n_bootstrap}")
    rng = np.random.default_rng(random_seed)
    equal = np.full(n_images, 1 / max(n_images, 1))
    for start in range(0, n_bootstrap, DRAWS):
        size = min(DRAWS, n_bootstrap - start)
        yield rng.multinomial(n_images, equal, size=size).astype(np.float64)


def _centred(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    kept = np.where(valid, values, 0.0)
    mean = kept.sum(axis=0) / np.maximum(valid.sum(axis=0), 1)
    return np.where(valid, kept - mean, 0.0)


def _enough(n: np.ndarray) -> np.ndarray:
    return np.where(n >= MIN_PAIRS, n, np.nan)


def _squares(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sum of squared deviations; NaN where the values of a draw are all equal."""
    deviations = squares - total**2 / n
    return np.where(deviations > ROUNDING * squares, deviations, np.nan)


def encoding_interval(
    evaluation: EncodingEvaluation, sites: Sequence[int], n_bootstrap: int = 2000
) -> tuple[float, float]:
    """95 % interval of the mean held-out r over sites, images and sites drawn again.

    Args:
      evaluation: with the recorded and predicted responses.
      sites: positions of the sites that the mean is over.
      n_bootstrap: number of draws.

    Returns:
      Low and high end; NaN where the evaluation has fewer than three images, or more
      than 5 % of the draws are undefined. With one site it speaks about images only.
    """
    recorded, predicted = evaluation.recorded[:, sites], evaluation.predicted[:, sites]
    known = np.isfinite(predicted).all(axis=0) & (np.isfinite(recorded).sum(axis=0) > 2)
    if not known.any():
        return np.nan, np.nan
    statistics = pair_statistics(recorded[:, known], predicted[:, known])
    draws = bootstrap_images(statistics, correlation_of, n_bootstrap, 0)
    low, high = interval(_over_sites(draws)[None])[0]
    return float(low), float(high)


def _over_sites(draws: Float[np.ndarray, "site draw"]) -> Float[np.ndarray, " draw"]:
    """Mean over sites drawn with replacement, other sites in every draw."""
    count, n_draws = draws.shape
    rng = np.random.default_rng([0, 1])  # another stream than the images'
    copies = rng.multinomial(count, np.full(count, 1 / count), size=n_draws).T
    return np.where(copies > 0, copies * draws, 0).sum(axis=0) / count
