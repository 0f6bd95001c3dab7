"""Horama's feature accentuation: an un-normalised spectrum of the stretched seed.

    x(theta) = sigmoid( (d0 + irfft2(theta)) M ) (high - low) + low,
    d0 = log((c + e) / (1 - c + e)) M^-1,   e = 1e-3,
    c = (x0 - min x0) / (max x0 - min x0)

Horama's parameter is the spectrum of the whole image, here it is the change of it,
which is the same to NAdam. It starts at the stretched seed ``(c + e) / (1 + 2 e)``, not
at the seed: contrast grows to the full range. The gradient of bin f is multiplied by
``size / f^decay``, which (N)Adam divides out again: `decay` has hardly any effect.

The pipeline of Prince et al. 2026 (PNC) also subtracts the mean over all pixels and
axes, by which the seed's lightness is lost. Both flaws are kept for comparison with
published images, not for new stimuli.

Sources: Horama 0.3.0, ``feature_accentuation.py``; PNC, ``prj_control``.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paramctl_jax.synthesis.parameterisations import spectrum
from paramctl_jax.synthesis.parameterisations.colour import from_rgb, to_rgb
from paramctl_jax.synthesis.parameterisations.protocol import Image

EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class Horama:
    """A half spectrum per colour axis whose gradient alone is weighted.

    Attributes:
      decay: power of the weight ``1 / f^decay`` of the gradient.
      minmax: stretch the seed to [0, 1] first.
      subtract_mean: take the mean off the decorrelated image (PNC).
      values_range: of the result. Only (0, 1) is an sRGB image; Horama's own default is
        (-2.5, 2.5), handed to a network without normalisation.

    Example:
      >>> seed = jnp.linspace(0.25, 0.5, 12).reshape(2, 2, 3)
      >>> horama = Horama()
      >>> start = horama.decode(horama.initial(seed), seed)
      >>> [round(float(x), 3) for x in start[0, 0]]
      [0.001, 0.092, 0.182]
    """

    decay: float = 1.5
    minmax: bool = True
    subtract_mean: bool = False
    values_range: tuple[float, float] = (0.0, 1.0)

    def initial(self, seed: Image) -> spectrum.Spectrum:
        """Zero: the change of the stretched seed's spectrum."""
        return spectrum.zero_spectrum(seed.shape[0])

    def decode(self, theta: spectrum.Spectrum, seed: Image) -> Image:
        """The image of `theta`; the stretched seed at 0."""
        axes = self._start(seed) + spectrum.inverse(self._weigh(theta))
        if self.subtract_mean:
            axes = axes - jnp.mean(axes)
        low, high = self.values_range
        return jax.nn.sigmoid(to_rgb(axes)) * (high - low) + low

    def _start(self, seed: Image) -> Image:
        if self.minmax:
            low, extent = seed.min(), seed.max() - seed.min()
            # a seed of one colour cannot be stretched; it becomes black
            seed = (seed - low) / jnp.where(extent > 0, extent, 1)
        return from_rgb(jnp.log(seed + EPSILON) - jnp.log(1 - seed + EPSILON))

    def _weigh(self, theta: spectrum.Spectrum) -> spectrum.Spectrum:
        size = theta.shape[1]
        weight = size * spectrum.decay_of(size, self.decay)
        return _scale_gradient(
            theta, jnp.asarray(weight, jnp.float32)[None, :, :, None]
        )


@jax.custom_vjp
def _scale_gradient(
    value: Float[Array, "2 size half 3"], weight: Float[Array, "1 size half 1"]
) -> Float[Array, "2 size half 3"]:
    """The value itself; its gradient is multiplied by `weight`."""
    del weight
    return value


def _scale_forward(value: Array, weight: Array) -> tuple[Array, Array]:
    return value, weight


def _scale_backward(weight: Array, gradient: Array) -> tuple[Array, None]:
    return gradient * weight, None


_scale_gradient.defvjp(_scale_forward, _scale_backward)
