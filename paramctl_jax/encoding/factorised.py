"""Factorised read-outs: where a site looks, times what it looks for.

Per site ``y = sum_hwc m[h, w] k[c] x[c, h, w] + b``: one spatial mask and one channel
vector, ``h w + c`` numbers instead of ``h w c``. For a fixed mask the channel vector is
a ridge regression and the reverse, so that the two are fitted in turn.

Sources: Klindt et al. 2017, NeurIPS (separable read-outs); Bashivan, Kar & DiCarlo
2019, Science 364:eaav9436.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits  # scikit-learn's

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.compression import Compressed, compress
from paramctl_jax.encoding.linear import LinearFit, check_problem
from paramctl_jax.encoding.ridge import ridge
from paramctl_jax.types import InputError


def factorised(
    features: FeatureBlocks,
    shape: tuple[int, int, int],
    responses: Float[np.ndarray, "image site"],
    penalties: Float[np.ndarray, " penalty"],
    *,
    max_iterations: int = 20,
    tolerance: float = 1e-3,
    n_folds: int = 5,
    random_seed: int = 0,
) -> LinearFit:
    """Fits a spatial mask and a channel vector to every site, by alternating ridge.

    Each step chooses its own penalty by exact leave-one-out; the other factor has unit
    norm. The alternation starts at the rank-one part of an ordinary ridge fit to all
    channels and positions, and ends when the leave-one-out error falls by less than
    `tolerance` of itself. It is not convex: what is found is a local optimum near that
    start. Large readouts are compressed first, see `compress`, and a note says so.

    The leave-one-out error of the last step is optimistic, since the mask has seen the
    image that is left out. The predictions given are therefore those of K folds, each
    with start, alternation and penalties of its own. (Only the compression, which
    knows no responses, is that of all training images.)

    Args:
      features: of the training images, in the order channel, height, width.
      shape: height, width and channels of the readout; tokens are a row of positions.
      responses: repeat averages, finite.
      penalties: candidates for both factors, positive.
      max_iterations: alternations at most; a note counts the sites that need more.
      tolerance: relative.
      n_folds: of `cv_prediction`.
      random_seed: of the folds.

    Returns:
      The fit in float64, its weights of rank one for every site, see `factors`.
      `penalty` and `cv_mse` are those of the channel vector at the final mask;
      `cv_prediction` is of K folds.

    Raises:
      InputError: features of another shape, fewer images than folds or than five, and
        what `ridge` refuses.

    Example:
      >>> import numpy as np
      >>> x = np.random.default_rng(0).standard_normal((60, 3, 2))  # channel, position
      >>> y = np.einsum("ncp,c,p->n", x, [1.0, 2.0, 0.0], [0.0, 1.0])[:, None]
      >>> features = FeatureBlocks(x.reshape(60, 6))
      >>> fit = factorised(features, (1, 2, 3), y, np.array([1e-6, 1.0]))
      >>> fit.weights[:, 0].reshape(3, 2).round(3) + 0.0
      array([[0., 1.],
             [0., 2.],
             [0., 0.]])
    """
    _check(features, shape, responses, penalties, n_folds, max_iterations)
    small = compress(features, shape)
    sites = _fit_sites(small.tensor, responses, penalties, max_iterations, tolerance)
    prediction = np.empty(responses.shape)
    order = np.random.default_rng(random_seed).permutation(len(features))
    for held_out in np.array_split(order, n_folds):
        kept = np.setdiff1d(order, held_out)
        prediction[held_out] = _predicted(
            _fit_sites(
                small.tensor[kept],
                responses[kept],
                penalties,
                max_iterations,
                tolerance,
            ),
            small.tensor[held_out],
        )
    return LinearFit(
        weights=np.stack([_expanded(small, site) for site in sites], axis=1),
        bias=np.array([site.fit.bias[0] for site in sites]),
        penalty=np.array([site.fit.penalty[0] for site in sites]),
        penalties=sites[0].fit.penalties,
        cv_mse=np.concatenate([site.fit.cv_mse for site in sites], axis=1),
        cv_prediction=prediction,
        notes=(*small.notes, *_notes(sites, max_iterations)),
    )


def factors(
    weights: Float[np.ndarray, "feature site"], shape: tuple[int, int, int]
) -> tuple[Float[np.ndarray, "site height width"], Float[np.ndarray, "site channel"]]:
    """Mask and channel vector of weights: the nearest if these are not of rank one.

    Scale and sign of the two are free; here a mask has unit norm and a positive sum.

    Args:
      weights: encoding axes in the order channel, height, width.
      shape: height, width and channels of the readout.

    Returns:
      Masks, and channel vectors in response units per feature unit.

    Example:
      >>> import numpy as np
      >>> weights = np.outer([1.0, 2.0], [-3.0, -4.0]).reshape(4, 1)
      >>> [factor.round(6).tolist() for factor in factors(weights, (1, 2, 2))]
      [[[[0.6, 0.8]]], [[-5.0, -10.0]]]
    """
    height, width, channels = shape
    matrices = weights.T.reshape(-1, channels, height * width)
    left, scale, right = np.linalg.svd(matrices, full_matrices=False)
    masks = right[:, 0]
    sign = np.where(masks.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    channel = sign * scale[:, :1] * left[:, :, 0]
    return (sign * masks).reshape(-1, height, width), channel


@dataclasses.dataclass(frozen=True)
class _Site:
    """One site's mask over position modes, and the channel fit at this mask."""

    mask: Float[np.ndarray, " position"]
    fit: LinearFit
    converged: bool


def _fit_sites(
    tensor: Float[np.ndarray, "image channel position"],
    responses: Float[np.ndarray, "image site"],
    penalties: Float[np.ndarray, " penalty"],
    max_iterations: int,
    tolerance: float,
) -> list[_Site]:
    flat = FeatureBlocks(tensor.reshape(len(tensor), -1))
    full = ridge(flat, responses, penalties).weights.T
    starts = np.linalg.svd(full.reshape(-1, *tensor.shape[1:]), full_matrices=False)[2]
    with threadpool_limits(1, "blas"):  # matrices so small that threads only wait
        return [
            _alternate(tensor, y[:, None], penalties, mask, max_iterations, tolerance)
            for y, mask in zip(responses.T, starts[:, 0], strict=True)
        ]


def _alternate(
    tensor: Float[np.ndarray, "image channel position"],
    response: Float[np.ndarray, "image 1"],
    penalties: Float[np.ndarray, " penalty"],
    mask: Float[np.ndarray, " position"],
    max_iterations: int,
    tolerance: float,
) -> _Site:
    """The best of the alternation by the channel step's leave-one-out error."""
    best, least = None, np.inf
    for _ in range(max_iterations):
        fit = ridge(FeatureBlocks(tensor @ mask), response, penalties)
        error = fit.cv_mse.min()
        settled = error >= (1 - tolerance) * least
        if best is None or error < least:
            best, least = _Site(mask, fit, converged=False), error
        channel = _unit(fit.weights[:, 0])
        if settled or not channel.any():  # no weights: the mean predicts best
            return dataclasses.replace(best, converged=True)
        at_channel = FeatureBlocks(channel @ tensor)
        mask = _unit(ridge(at_channel, response, penalties).weights[:, 0])
        if not mask.any():
            return dataclasses.replace(best, converged=True)
    assert best is not None  # at least one iteration
    return best


def _unit(vector: Float[np.ndarray, " size"]) -> Float[np.ndarray, " size"]:
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 0 else vector


def _expanded(small: Compressed, site: _Site) -> Float[np.ndarray, " feature"]:
    channel = small.channels @ site.fit.weights[:, 0]
    return np.outer(channel, small.positions @ site.mask).ravel()


def _predicted(
    sites: Sequence[_Site], tensor: Float[np.ndarray, "image channel position"]
) -> Float[np.ndarray, "image site"]:
    columns = [
        tensor @ site.mask @ site.fit.weights[:, 0] + site.fit.bias[0] for site in sites
    ]
    return np.stack(columns, axis=1)


def _notes(sites: Sequence[_Site], max_iterations: int) -> list[str]:
    open_ends = [index for index, site in enumerate(sites) if not site.converged]
    if not open_ends:
        return []
    return [
        f"factorised: {len(open_ends)} of {len(sites)} sites had not settled after "
        f"{max_iterations} alternations, first number {open_ends[0]} (counted from 0)"
    ]


def _check(
    features: FeatureBlocks,
    shape: tuple[int, int, int],
    responses: np.ndarray,
    penalties: np.ndarray,
    n_folds: int,
    max_iterations: int,
) -> None:
    check_problem(features.shape, responses, penalties, "factorised")
    n_images, n_features = features.shape
    if n_features != np.prod(shape):
        raise InputError(
            f"features: expected {np.prod(shape)} columns for a readout of height, "
            f"width, channels {shape}, found {n_features}"
        )
    if responses.shape[1] == 0 or max_iterations < 1:
        raise InputError(
            "factorised: expected at least one site and one alternation, found "
            f"{responses.shape[1]} sites and max_iterations={max_iterations}"
        )
    if n_folds < 2 or n_images - -(-n_images // n_folds) < 3:
        raise InputError(
            f"factorised: {n_folds} folds of {n_images} images; expected at least 2 "
            "folds, and 3 images outside of each"
        )
