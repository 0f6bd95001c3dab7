"""Ridge regression of all sites at once, with exact leave-one-out penalties.

Per site, ``min_b |y - Z b|^2 + a |b|^2`` with centred features Z and responses y (the
intercept is not penalised). One factorisation ``Z = U diag(s) V'`` serves all sites and
penalties; with ``shrink = a / (s^2 + a)`` and ``C = U' y``

    residual     r = (y - U C) + U (shrink * C)
    1 - leverage q = (1 - 1/N - sum U^2) + U^2 shrink
    leave-one-out residual = r / q                                           (exact)

where 1/N is the intercept's leverage. The first bracket of each line is what Z cannot
explain. If Z has more features than there are images, U spans everything but the
constant vector, the brackets vanish identically, and no difference of nearly equal
numbers is left; in float32 that difference has picked the wrong penalty for every site.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from paramctl_jax.types import InputError

DEFAULT_PENALTIES: tuple[float, ...] = tuple(10.0**power for power in range(-4, 10))
"""Fourteen decades, 1e-4 to 1e9."""

MIN_FREEDOM = 1e-6
"""A penalty that leaves ``1 - leverage`` below this at any image is not considered."""


@dataclasses.dataclass(frozen=True)
class RidgeFit:
    """Ridge read-outs: ``prediction = features @ weights + bias``.

    Attributes:
      weights: per feature and site.
      bias: per site.
      penalty: chosen for each site, the one of least `loo_mse`.
      penalties: the candidates.
      loo_mse: mean squared leave-one-out residual; inf where a penalty was invalid.
      loo_prediction: of every image by the fit without it, at the chosen penalty.
    """

    weights: Float[np.ndarray, "feature site"]
    bias: Float[np.ndarray, " site"]
    penalty: Float[np.ndarray, " site"]
    penalties: Float[np.ndarray, " penalty"]
    loo_mse: Float[np.ndarray, "penalty site"]
    loo_prediction: Float[np.ndarray, "image site"]


def ridge_loo(
    features: Float[np.ndarray, "image feature"],
    responses: Float[np.ndarray, "image site"],
    penalties: Float[np.ndarray, " penalty"],
) -> RidgeFit:
    """Fits every site with the penalty of least leave-one-out error.

    Ties go to the larger penalty. Computed in float64 whatever JAX's global setting,
    on the CPU where JAX has one; memory grows as images x features + penalties x sites.

    Args:
      features: of the training images, any units, not necessarily centred.
      responses: repeat averages, finite.
      penalties: candidates, positive.

    Returns:
      The fit in float64.

    Raises:
      InputError: no usable penalty, fewer than three images, or values not finite.

    Example:
      >>> import numpy as np
      >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
      >>> fit = ridge_loo(features, 1 + 2 * features, np.array([1e-9, 1.0]))
      >>> fit.weights.round(6), fit.bias.round(6), fit.penalty
      (array([[2.]]), array([1.]), array([1.e-09]))

    Source: Rifkin & Lippert 2007, MIT-CSAIL-TR-2007-025.
    """
    candidates = np.sort(np.asarray(penalties, np.float64))
    _check(features, responses, candidates)
    factorise = _wide if features.shape[1] >= len(features) - 1 else _tall
    with _float64_on_cpu():
        arrays = (
            jnp.asarray(a, jnp.float64) for a in (features, responses, candidates)
        )
        fit = [np.asarray(a) for a in _fit(*arrays, factorise=factorise)]
    weights, bias, penalty, loo_mse, loo_prediction = fit
    if np.isinf(loo_mse).all():
        raise InputError(
            f"penalties: at all of {candidates.tolist()} the fit passes through a "
            "training image, so leaving it out says nothing; give larger penalties"
        )
    return RidgeFit(weights, bias, penalty, candidates, loo_mse, loo_prediction)


def _check(features: np.ndarray, responses: np.ndarray, penalties: np.ndarray) -> None:
    usable = np.isfinite(penalties) & (penalties > 0)
    if len(penalties) == 0 or not usable.all():
        raise InputError(
            "penalties: expected positive finite numbers, found "
            f"{penalties[~usable][:3].tolist() or 'none'}"
        )
    if len(features) < 3:
        raise InputError(f"ridge: expected at least 3 images, found {len(features)}")
    for name, values in (("features", features), ("responses", responses)):
        finite = np.isfinite(values)
        if not finite.all():
            raise InputError(
                f"ridge: {name} hold {int((~finite).sum())} values that are not finite"
            )


@contextlib.contextmanager
def _float64_on_cpu():
    """Scoped float64; accelerators are slow or inexact at it, so on the CPU."""
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # this process was started without a CPU backend
        device = None
    with jax.enable_x64(True), jax.default_device(device):
        yield


@functools.partial(jax.jit, static_argnames="factorise")
def _fit(
    features: Float[Array, "image feature"],
    responses: Float[Array, "image site"],
    penalties: Float[Array, " penalty"],
    factorise,
):
    feature_mean, response_mean = features.mean(axis=0), responses.mean(axis=0)
    z = features - feature_mean[None]
    y = responses - response_mean[None]
    u, squares, outside, expand = factorise(z)
    coefficients = u.T @ y
    unexplained = outside * (y - u @ coefficients)
    unspanned = outside * (1 - 1 / len(z) - jnp.sum(u**2, axis=1))

    def loo_mse(penalty):
        shrink = penalty / (squares + penalty)
        residual = unexplained + u @ (shrink[:, None] * coefficients)
        freedom = unspanned + u**2 @ shrink
        valid = jnp.min(freedom) >= MIN_FREEDOM
        error = residual / jnp.where(valid, freedom, 1.0)[:, None]
        return jnp.where(valid, jnp.mean(error**2, axis=0), jnp.inf)

    mse = jax.lax.map(loo_mse, penalties)  # never [penalty, image, site]
    # The last of equal minima: penalties ascend, so the larger one.
    chosen = len(penalties) - 1 - jnp.argmin(mse[::-1], axis=0)
    penalty = penalties[chosen]
    total = squares[:, None] + penalty[None]
    residual = unexplained + u @ (penalty[None] / total * coefficients)
    freedom = unspanned[:, None] + u**2 @ (penalty[None] / total)
    weights = expand(coefficients / total)
    bias = response_mean - feature_mean @ weights
    return weights, bias, penalty, mse, responses - residual / freedom


def _tall(z: Float[Array, "image feature"]):
    """Thin SVD, for fewer features than images; null modes are zeroed."""
    u, s, vt = jnp.linalg.svd(z, full_matrices=False)
    kept = s > max(z.shape) * jnp.finfo(z.dtype).eps * s[0]
    s = jnp.where(kept, s, 0.0)
    u = jnp.where(kept[None], u, 0.0)
    return u, s**2, 1.0, lambda scaled: vt.T @ (s[:, None] * scaled)


def _wide(z: Float[Array, "image feature"]):
    """Eigenvectors of the image x image Gram matrix, for more features than images.

    Centring makes the constant vector a null mode. Adding it with a large eigenvalue
    singles it out as the last eigenvector even among other null modes; without it the
    remaining vectors span every residual exactly.
    """
    gram = z @ z.T
    norm = jnp.linalg.norm(gram)  # at least the largest eigenvalue
    largest = jnp.where(norm > 0, norm, 1.0)
    values, vectors = jnp.linalg.eigh(gram + 2 * largest / len(z))
    u, values = vectors[:, :-1], values[:-1]
    null = len(z) * jnp.finfo(z.dtype).eps * largest
    squares = jnp.where(values > null, values, 0.0)
    return u, squares, 0.0, lambda scaled: z.T @ (u @ scaled)
