"""Held-out evaluation: how well images that the fit never saw are predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.encoding.resampling import (
    bootstrap_images,
    ceiling_of,
    correlation_of,
    interval,
    pair_statistics,
    r_squared_of,
    repeat_statistics,
)
from paramctl_jax.recordings import noise_ceiling, pearson
from paramctl_jax.recordings.correlation import MIN_PAIRS, is_constant
from paramctl_jax.types import EncodingEvaluation, InputError, Recordings

MIN_CEILING = 0.1
"""Dividing by a noise ceiling below this says more about the noise than the model."""


def r_squared(
    recorded: Float[np.ndarray, "image site"],
    predicted: Float[np.ndarray, "image site"],
    mask: Bool[np.ndarray, "image site"] | None = None,
) -> Float[np.ndarray, " site"]:
    """Explained variance per site, ``1 - sum (y - p)^2 / sum (y - mean y)^2``.

    Args:
      recorded: repeat averages.
      predicted: of the same images, in the same units.
      mask: images that count at each site; all of them if None.

    Returns:
      R2, at most 1 and below 0 for predictions worse than the mean; NaN for fewer than
      three images or a constant site.

    Example:
      >>> import numpy as np
      >>> recorded = np.array([[0.0], [1.0], [2.0]])
      >>> r_squared(recorded, recorded + 1)
      array([-0.5])
    """
    mask = np.ones(recorded.shape, dtype=bool) if mask is None else mask
    count = mask.sum(axis=0)
    kept = np.where(mask, recorded, 0.0).astype(np.float64)
    centred = np.where(mask, kept - kept.sum(axis=0) / np.maximum(count, 1), 0.0)
    error = np.sum(np.where(mask, kept - predicted, 0.0) ** 2, axis=0)
    total = np.sum(centred**2, axis=0)
    defined = (count >= MIN_PAIRS) & ~is_constant(recorded, mask)
    return np.where(defined, 1 - error / np.where(defined, total, 1.0), np.nan)


def evaluate(
    held_out: Recordings,
    predicted: Float[np.ndarray, "image site"],
    train_responses: Float[np.ndarray, "train site"],
    cv_prediction: Float[np.ndarray, "train site"],
    train_ids: Sequence[str],
    *,
    n_bootstrap: int = 1000,
    random_seed: int = 0,
) -> EncodingEvaluation:
    """Encoding performance on the held-out images, also relative to their own noise.

    r, R2 and, with the noise ceiling NC of these very images and repeats, ``r / NC``
    and ``R2 / NC^2``; each with a 95 % percentile bootstrap over the held-out images,
    in which NC is that of the images drawn. The images drawn are the same for every
    site and depend on their ids' order, their number and the seed only.

    Undefined, and so NaN: everything with fewer than three held-out images or a
    constant site; r with constant predictions; normalised values where NC is .1 or
    less or unknown; an interval where more than 5 % of its draws are undefined. An
    image that was not recorded at a site does not count there.

    Args:
      held_out: recordings of the held-out images only, with their repeats.
      predicted: of these images, in the same units.
      train_responses: repeat averages of the images of the fit.
      cv_prediction: of the images of the fit, by fits without them.
      train_ids: images of the fit.
      n_bootstrap: number of draws.
      random_seed: of the random generator.

    Returns:
      The record, all in float64.

    Raises:
      InputError: predictions of other images or sites; no draws asked for.

    Example:
      >>> import numpy as np
      >>> ids, y = tuple("abcd"), np.array([[0.0], [1.0], [2.0], [4.0]])
      >>> held_out = Recordings(y[..., None], ids, ("s0",))
      >>> result = evaluate(held_out, y + 1, y, 2 - y, ("e", "f", "g", "h"))
      >>> result.r, result.cv_r, result.ceiling    # a single repeat has no ceiling
      (array([1.]), array([-1.]), array([nan]))

    Source: percentile intervals, Efron & Tibshirani 1993, chapter 13.
    """
    recorded = held_out.mean()
    predicted = _checked(recorded, predicted, train_responses, train_ids)
    recorded_in_fit = np.isfinite(train_responses)
    scores, ceiling = _scores(held_out.responses, recorded, predicted)
    order = np.argsort(np.asarray(held_out.stimulus_ids, dtype=str), kind="stable")
    ends = _intervals(
        held_out.responses[order],
        recorded[order],
        predicted[order],
        n_bootstrap,
        random_seed,
    )
    ends = np.where(np.isnan(scores)[..., None], np.nan, ends)
    return EncodingEvaluation(
        site_ids=held_out.site_ids,
        r=scores[0],
        r2=scores[1],
        ceiling=ceiling,
        r_normalised=scores[2],
        r2_normalised=scores[3],
        r_ci=ends[0],
        r2_ci=ends[1],
        r_normalised_ci=ends[2],
        r2_normalised_ci=ends[3],
        cv_r=pearson(cv_prediction, train_responses, recorded_in_fit),
        cv_r2=r_squared(train_responses, cv_prediction, recorded_in_fit),
        train_ids=tuple(train_ids),
        test_ids=held_out.stimulus_ids,
        recorded=recorded,
        predicted=predicted,
    )


def _checked(
    recorded: np.ndarray,
    predicted: np.ndarray,
    train_responses: np.ndarray,
    train_ids: Sequence[str],
) -> Float[np.ndarray, "image site"]:
    """Predictions in float64; what is not finite leaves its site without a score."""
    if predicted.shape != recorded.shape:
        raise InputError(
            f"predicted: expected the shape {recorded.shape} of the held-out images "
            f"and sites, found {predicted.shape}"
        )
    if len(train_responses) != len(train_ids):
        raise InputError(
            f"train_ids: expected one for each of {len(train_responses)} images of the "
            f"fit, found {len(train_ids)}"
        )
    return np.where(np.isfinite(predicted), predicted, np.nan).astype(np.float64)


def _scores(
    responses: Float[np.ndarray, "image site repeat"],
    recorded: Float[np.ndarray, "image site"],
    predicted: Float[np.ndarray, "image site"],
) -> tuple[Float[np.ndarray, "4 site"], Float[np.ndarray, " site"]]:
    """r, R2, and both normalised; and the noise ceiling."""
    valid = np.isfinite(recorded)
    r = pearson(predicted, recorded, valid)
    r2 = r_squared(recorded, predicted, valid)
    ceiling = noise_ceiling(responses)
    return np.stack([r, r2, *_normalised(r, r2, ceiling)]), ceiling


def _normalised(
    r: np.ndarray, r2: np.ndarray, ceiling: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    usable = np.where(ceiling > MIN_CEILING, ceiling, np.nan)
    return r / usable, r2 / usable**2


def _intervals(
    responses: Float[np.ndarray, "image site repeat"],
    recorded: Float[np.ndarray, "image site"],
    predicted: Float[np.ndarray, "image site"],
    n_bootstrap: int,
    random_seed: int,
) -> Float[np.ndarray, "4 site 2"]:
    """95 % percentile intervals of what `_scores` gives, over images drawn again."""
    if len(recorded) < MIN_PAIRS:
        return np.full((4, recorded.shape[1], 2), np.nan)

    def scores(sums: np.ndarray) -> np.ndarray:
        r, r2 = correlation_of(sums), r_squared_of(sums)
        return np.stack([r, r2, *_normalised(r, r2, ceiling_of(sums))], axis=-1)

    pairs = pair_statistics(recorded, predicted)
    statistics = np.concatenate([pairs, repeat_statistics(responses)], axis=-1)
    draws = bootstrap_images(statistics, scores, n_bootstrap, random_seed)
    return np.stack([interval(draws[..., score]) for score in range(4)])
