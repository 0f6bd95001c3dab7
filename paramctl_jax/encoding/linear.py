"""What every linear read-out is: weights and a bias per site, chosen by a penalty."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from paramctl_jax.types import InputError


@dataclasses.dataclass(frozen=True)
class LinearFit:
    """Linear read-outs of all sites: ``prediction = features @ weights + bias``.

    Attributes:
      weights: per feature and site, from all training images.
      bias: per site, in response units.
      penalty: chosen for each site: that of least `cv_mse`, the largest of equals.
      penalties: the candidates, ascending, each once.
      cv_mse: what was minimised: the mean squared error of predicting each training
        image by a fit without it (leave-one-out or K-fold), or GCV's approximation of
        it; inf where a site does not consider a penalty.
      cv_prediction: of every training image by a fit without it, at the chosen penalty
        (which saw the image: slightly optimistic); under GCV that of leave-one-out.
      notes: warnings in plain words.
    """

    weights: Float[np.ndarray, "feature site"]
    bias: Float[np.ndarray, " site"]
    penalty: Float[np.ndarray, " site"]
    penalties: Float[np.ndarray, " penalty"]
    cv_mse: Float[np.ndarray, "penalty site"]
    cv_prediction: Float[np.ndarray, "image site"]
    notes: tuple[str, ...] = ()


def edge_notes(fit: LinearFit, site_ids: Sequence[str]) -> list[str]:
    """Which sites chose a penalty at the edge of what they considered.

    Such a choice may have wanted to go further. A site without any weight did not: its
    mean is predicted best, and no larger penalty could say so more clearly.

    Args:
      fit: of these sites.
      site_ids: one per site.

    Returns:
      Up to three notes in plain words.

    Example:
      >>> import numpy as np
      >>> site, grid = np.ones(1), np.array([1.0, 10.0])
      >>> fit = LinearFit(
      ...     site[None], site, 10 * site, grid, np.array([[2.0], [1.0]]), site[None]
      ... )
      >>> edge_notes(fit, ["V4-07"])
      ['1 of 1 sites chose the largest penalty 10, first V4-07; widen the grid']
    """
    considered = np.isfinite(fit.cv_mse)
    choice = considered.sum(axis=0) > 1
    used = np.any(fit.weights != 0, axis=0)
    last = len(fit.penalties) - 1 - np.argmax(considered[::-1], axis=0)
    notes = []
    for name, edge in (("smallest", np.argmax(considered, axis=0)), ("largest", last)):
        at_edge = choice & used & (fit.penalty == fit.penalties[edge])
        if at_edge.any():
            values = _span(fit.penalty[at_edge])
            chose = _sites(at_edge, site_ids, f"chose the {name} penalty {values}")
            notes.append(f"{chose}; widen the grid")
    if not used.all():
        what = "have no weights, their mean was predicted best"
        notes.append(_sites(~used, site_ids, what))
    return notes


def _sites(chosen: np.ndarray, site_ids: Sequence[str], what: str) -> str:
    names = [site_ids[int(index)] for index in np.flatnonzero(chosen)]
    return f"{len(names)} of {len(site_ids)} sites {what}, first {', '.join(names[:3])}"


def _span(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def fold_of_images(
    n_images: int, n_folds: int, key: PRNGKeyArray | None
) -> Int[np.ndarray, " image"]:
    """Balanced random folds: which one each image is held out in.

    A random permutation of the images is dealt out in turn, so that the sizes of folds
    differ by one at most. The folds depend on the order of the images.

    Args:
      n_images: how many there are.
      n_folds: from 2 to `n_images`; as many as images is leave-one-out.
      key: of the permutation.

    Returns:
      Fold of each image, from 0.

    Raises:
      InputError: another number of folds, or no key.

    Example:
      >>> import jax
      >>> np.bincount(fold_of_images(11, 3, jax.random.key(0))).tolist()
      [4, 4, 3]
    """
    if not 2 <= n_folds <= n_images:
        raise InputError(
            f"n_folds: expected from 2 to the {n_images} images, found {n_folds}"
        )
    if key is None:
        raise InputError("key: expected a jax key to draw the folds with, found none")
    fold = np.empty(n_images, np.int64)
    order = np.asarray(jax.random.permutation(key, n_images))
    fold[order] = np.arange(n_images) % n_folds
    return fold


def check_problem(
    shape: tuple[int, int],
    responses: Float[np.ndarray, "image site"],
    penalties: Float[np.ndarray, " penalty"] | None,
    what: str,
) -> None:
    """Refuses what no read-out can be fitted to.

    Args:
      shape: images and features.
      responses: repeat averages of these images.
      penalties: candidates, if there are any yet.
      what: the read-out's name, for the message.

    Raises:
      InputError: penalties not positive; fewer than three images; no feature; another
        number of responses than images, or responses that are not finite.
    """
    if penalties is not None:
        usable = np.isfinite(penalties) & (penalties > 0)
        if len(penalties) == 0 or not usable.all():
            raise InputError(
                "penalties: expected positive finite numbers, found "
                f"{penalties[~usable][:3].tolist() or 'none'}"
            )
    if shape[0] < 3 or shape[1] < 1:
        raise InputError(
            f"{what}: expected at least 3 images and 1 feature, found {shape[0]} "
            f"images and {shape[1]} features"
        )
    if len(responses) != shape[0]:
        raise InputError(
            f"{what}: expected responses [image, site] for {shape[0]} images, found "
            f"shape {responses.shape}; {_advice(shape[0], responses)}"
        )
    if not np.isfinite(responses).all():
        bad = int((~np.isfinite(responses)).sum())
        raise InputError(
            f"{what}: responses hold {bad} values that are not finite; leave these "
            "images or sites out"
        )


def _advice(n_images: int, responses: np.ndarray) -> str:
    if responses.shape[1] == n_images:
        return f"transpose them to {responses.shape[::-1]}"
    return "give one row per image"
