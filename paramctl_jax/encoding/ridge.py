"""Ridge regression of all sites at once, with cross-validated penalties from one fit.

Per site, ``min_b |y - Z b|^2 + a |b|^2`` with centred features Z and responses y (the
intercept is not penalised). One factorisation ``Z = U diag(s) V'`` serves all sites,
penalties and folds; with ``C = U' y`` and ``g = a / (s^2 + a)``,

    residual        r = (I - H) y = U (g * C)
    I - H             = U diag(g) U'                  H: the hat matrix, with intercept

where U holds a full basis over the images, and the intercept is its constant vector,
the mode of infinite s^2 that no penalty shrinks. Errors of predicting images by fits
without them follow exactly, without any such fit:

    leave-one-out   e_i = r_i / (1 - H_ii)
    a fold k        e_k = (I - H)_kk^-1 r_k           one image per fold: the line above
    GCV             mean(r^2) / mean(1 - H_ii)^2      an approximation of mean(e_i^2)

With at least as many features as images less one, the full basis comes from the Gram
matrix and no difference of nearly equal numbers is left; in float32 that difference has
picked the wrong penalty for every site. With fewer, ``U diag(g) U'`` is written
``I - 1/N - U diag(1 - g) U'`` with the thin U of Z.
"""

from __future__ import annotations

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from threadpoolctl import threadpool_limits

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.linear import LinearFit, check_problem, fold_of_images
from paramctl_jax.encoding.modes import Modes, factorise, float64_on_cpu, scale_of
from paramctl_jax.types import InputError, unknown

DEFAULT_PENALTIES: tuple[float, ...] = tuple(10.0**power for power in range(-4, 10))
"""Fourteen decades, 1e-4 to 1e9."""

MIN_FREEDOM = 1e-6
"""A penalty that leaves ``1 - leverage`` below this at any image is not considered."""

SMALL_FOLD = 512
"""Images per fold up to which its small matrices are left to one thread."""

SELECTIONS = ("loo", "gcv", "kfold")


def ridge(
    features: FeatureBlocks,
    responses: Float[np.ndarray, "image site"],
    penalties: Float[np.ndarray, " penalty"],
    *,
    selection: str = "loo",
    n_folds: int = 5,
    key: PRNGKeyArray | None = None,
    relative: bool = False,
) -> LinearFit:
    """Fits every site with the penalty of least cross-validated error.

    Ties go to the larger penalty. Computed in float64 whatever JAX's global setting,
    on the CPU where JAX has one. Memory grows as images x images or images x features,
    whichever is less, and as penalties x sites; the features are read in blocks.

    Args:
      features: of the training images, any units, not necessarily centred.
      responses: repeat averages, finite.
      penalties: candidates, positive, in squared feature units.
      selection: ``"loo"`` (exact leave-one-out), ``"gcv"`` or ``"kfold"``, whose error
        is averaged over all images of all folds.
      n_folds: for ``"kfold"``.
      key: for ``"kfold"``, see `fold_of_images`.
      relative: whether to multiply `penalties` by the mean of s^2 over the
        ``min(images - 1, features)`` modes; the fit then reports the products.

    Returns:
      The fit in float64.

    Raises:
      InputError: no usable penalty, fewer than three images, shapes that differ, or
        values not finite; an unknown selection; folds without a key.

    Example:
      >>> import numpy as np
      >>> features = FeatureBlocks(np.array([[0.0], [1.0], [2.0], [3.0]]))
      >>> fit = ridge(features, 1 + 2 * features.whole(), np.array([1e-9, 1.0]))
      >>> fit.weights.round(6), fit.bias.round(6), fit.penalty
      (array([[2.]]), array([1.]), array([1.e-09]))

    Source: Rifkin & Lippert 2007, MIT-CSAIL-TR-2007-025 (leave-one-out); Golub, Heath &
    Wahba 1979, Technometrics 21:215 (GCV); the fold's identity is the leave-one-out
    one with a block for a number.
    """
    if selection not in SELECTIONS:
        raise unknown(selection, SELECTIONS, "selection")
    candidates = np.unique(np.asarray(penalties, np.float64))
    check_problem(features.shape, responses, candidates, "ridge")
    folds = np.zeros((0, 0), np.int64)
    if selection == "kfold":
        folds = _folds(len(features), n_folds, key)
    centre = responses.mean(axis=0, dtype=np.float64)
    # A constant site has no variance at all: not that of its mean's rounding error.
    varies = np.ptp(responses, axis=0) > 0
    y = np.where(varies, responses - centre, 0.0)
    with float64_on_cpu():
        modes, mean, expand = factorise(features)
        if relative:
            candidates = candidates * scale_of(modes, features.shape)
        with _few_threads(folds.shape[1]):
            scaled, penalty, mse, error = (
                np.asarray(a) for a in _search(modes, y, candidates, folds, selection)
            )
    if np.isinf(mse).all():
        raise InputError(
            f"penalties: at all of {candidates.tolist()} the fit passes through a "
            "training image, so leaving it out says nothing; give larger penalties"
        )
    weights = expand(scaled)
    bias = centre - mean @ weights
    return LinearFit(weights, bias, penalty, candidates, mse, responses - error)


def _few_threads(fold_size: int):
    """One BLAS thread for small folds: several would mostly wait for each other.

    Measured for 5 folds of 160 images and 14 penalties on two busy cores: 0.2 s with
    one thread, 0.4 to 3 s with two.
    """
    small = 0 < fold_size <= SMALL_FOLD
    return threadpool_limits(1, "blas") if small else contextlib.nullcontext()


def _folds(
    n_images: int, n_folds: int, key: PRNGKeyArray | None
) -> Int[np.ndarray, "fold member"]:
    """Images of each fold; folds that are one short end in the number of images."""
    fold = fold_of_images(n_images, n_folds, key)
    members = np.full((n_folds, -(-n_images // n_folds)), n_images)
    for index, row in enumerate(members):
        inside = np.flatnonzero(fold == index)
        row[: len(inside)] = inside
    return members


@functools.partial(jax.jit, static_argnames="selection")
def _search(
    modes: Modes,
    y: Float[Array, "image site"],
    penalties: Float[Array, " penalty"],
    folds: Int[Array, "fold member"],
    selection: str,
):
    """``C / (s^2 + a)`` at each site's best penalty a, a, all criteria, a's errors."""
    # The intercept's coefficient is 0 but for rounding: y is centred.
    coefficients = jnp.where(jnp.isinf(modes.squares)[:, None], 0.0, modes.u.T @ y)

    def step(best, penalty):
        gain = modes.gain(penalty)
        residual = modes.outside * y + modes.u @ (gain[:, None] * coefficients)
        freedom = modes.outside * (1 - 1 / len(y)) + _diagonal(modes.u, gain)
        if selection == "kfold":
            error, freedom = _held_out(modes, gain, residual, folds)
        else:
            error = residual / jnp.maximum(freedom, MIN_FREEDOM)[:, None]
        mse = jnp.mean(error**2, axis=0)
        if selection == "gcv":
            mse = jnp.mean(residual**2, axis=0) / jnp.mean(freedom) ** 2
        mse = jnp.where(jnp.min(freedom) >= MIN_FREEDOM, mse, jnp.inf)
        better = mse <= best[0]  # of equals the last; penalties ascend
        candidate = (mse, jnp.full_like(mse, penalty), error)
        return tuple(
            jnp.where(better, new, old)
            if new.ndim == 1
            else jnp.where(better[None], new, old)
            for new, old in zip(candidate, best, strict=True)
        ), mse

    # Running minima: never [penalty, image, site].
    start = (jnp.full(y.shape[1], jnp.inf), jnp.full(y.shape[1], penalties[-1]), y)
    (_, penalty, error), mse = jax.lax.scan(step, start, penalties)
    # Null modes weigh nothing; a small penalty would blow up what rounding left there.
    spanned = (modes.squares > 0)[:, None]
    total = modes.squares[:, None] + penalty[None]
    scaled = jnp.where(spanned, coefficients / total, 0.0)
    return scaled, penalty, mse, error


def _diagonal(u: Float[Array, "image mode"], gain: Float[Array, " mode"]):
    """Of ``U diag(gain) U'``; fused, without a second U."""
    return jnp.sum(u * u * gain[None], axis=1)


def _held_out(
    modes: Modes,
    gain: Float[Array, " mode"],
    residual: Float[Array, "image site"],
    folds: Int[Array, "fold member"],
):
    """Errors of each fold by the fit without it, and the freedom left at each image.

    ``1 / ((I - H)_kk^-1)_ii`` generalises ``1 - leverage``: the share that the penalty
    has in the variance of image i given the other folds' features.
    """
    count = len(residual)
    position = jnp.argsort(folds.ravel())[:count]  # of each image; a gap comes last

    def one(rows):
        u = modes.u[rows % count]
        unit = jnp.eye(len(rows))
        inside = modes.outside * (unit - 1 / count) + (u * gain[None]) @ u.T
        # A gap is a unit vector of its own, whatever stands in its row.
        there = rows < count
        inside = jnp.where(there[:, None] & there[None], inside, unit)
        inverse = jax.lax.linalg.triangular_solve(
            jnp.linalg.cholesky(inside), unit, left_side=True, lower=True
        )
        error = inverse.T @ (inverse @ residual[rows % count])
        return error, 1 / jnp.sum(inverse**2, axis=0)

    errors, freedoms = jax.lax.map(one, folds)
    return errors.reshape(-1, errors.shape[-1])[position], freedoms.ravel()[position]
