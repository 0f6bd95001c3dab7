"""One factorisation of the features over images, whatever their shape, in float64 JAX.

Centred features ``Z = U diag(s) V'``: U holds the modes over images that all sites,
penalties and folds of `ridge` share. Wide features are factorised through their Gram
matrix, tall ones by a thin singular value decomposition.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.gram import centred_blocks, gram_and_mean, times
from paramctl_jax.types import InputError


class Modes(NamedTuple):
    """Orthonormal modes over images, ``I - H = outside (I - 1/N) + U diag(gain) U'``.

    Attributes:
      u: one mode per column.
      squares: s^2 of each; inf for the intercept, 0 for what the features do not span.
      outside: 0 if `u` is a full basis, 1 if there is more outside of it.
    """

    u: Float[Array, "image mode"]
    squares: Float[Array, " mode"]
    outside: Float[Array, ""]

    def gain(self, penalty: Float[Array, ""]) -> Float[Array, " mode"]:
        """``a / (s^2 + a) - outside``, without the subtraction."""
        full = penalty / (self.squares + penalty)
        thin = -1 / (1 + penalty / self.squares)
        return jnp.where(self.outside > 0, thin, full)


@contextlib.contextmanager
def float64_on_cpu() -> Iterator[None]:
    """Scoped float64; accelerators are slow or inexact at it, so on the CPU."""
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # this process was started without a CPU backend
        device = None
    with jax.enable_x64(True), jax.default_device(device):
        yield


def factorise(
    features: FeatureBlocks,
) -> tuple[Modes, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Modes, feature mean, and how coefficients ``C / (s^2 + a)`` become weights.

    Call it within `float64_on_cpu`. Wide means at least ``images - 1`` features.

    Raises:
      InputError: features that are not finite.
    """
    count, width = features.shape
    if width < count - 1:
        [(_, mean, z)] = centred_blocks(features, width)
        modes, vt, s = _thin(jnp.asarray(z))
        right = np.asarray(vt).T * np.asarray(s)
        return modes, mean, lambda scaled: right @ scaled
    matrix, mean = gram_and_mean(features)
    modes = _full(jnp.asarray(matrix))
    u = np.asarray(modes.u)
    return modes, mean, lambda scaled: times(features, u @ scaled)


@jax.jit
def _thin(z: Float[Array, "image feature"]):
    """Thin SVD, for fewer features than images."""
    u, s, vt = jnp.linalg.svd(z, full_matrices=False)
    kept = s > max(z.shape) * jnp.finfo(z.dtype).eps * s[0]
    s = jnp.where(kept, s, 0.0)
    return Modes(u, s**2, jnp.ones(())), vt, s


@jax.jit
def _full(gram: Float[Array, "image image"]) -> Modes:
    """Eigenvectors of the image x image Gram matrix, for more features than images.

    Centring makes the constant vector a null mode. Adding it with a large eigenvalue
    singles it out as the last eigenvector even among other null modes; without it the
    remaining vectors span every residual exactly.
    """
    count = len(gram)
    norm = jnp.linalg.norm(gram)  # at least the largest eigenvalue
    largest = jnp.where(norm > 0, norm, 1.0)
    shifted = gram + 2 * largest / count
    values, u = jnp.linalg.eigh(shifted, symmetrize_input=False)
    null = count * jnp.finfo(gram.dtype).eps * largest
    squares = jnp.where(values > null, values, 0.0).at[-1].set(jnp.inf)
    return Modes(u, squares, jnp.zeros(()))


def scale_of(modes: Modes, shape: tuple[int, int]) -> float:
    """Mean of s^2 over as many modes as centred features of this shape can have."""
    squares = np.asarray(modes.squares)
    total = squares[np.isfinite(squares)].sum()
    if total == 0:
        raise InputError(
            f"features: all {shape[0]} images have equal features, so that penalties "
            "relative to their variance are 0; expected a readout that responds"
        )
    return float(total / min(shape[0] - 1, shape[1]))
