"""faccent's phases: the seed's magnitudes stay, phases and their gains move.

    x(theta) = sigmoid( irfft2( |S| sigmoid(a) e^(i phi) ) / s M ),
    S = rfft2( logit(clip(x0, 1e-6, 1 - 1e-6)) M^-1 s )

starts at ``phi = arg S`` and ``a = 5``. Since ``sigmoid(5) = .9933``, all magnitudes
start .67 % low and the image is not quite the seed (58 to 61 dB, at most 1.5e-3).
Magnitudes can be damped but hardly grow; a bin that is 0 in the seed stays 0.

Source: faccent 1.0.3, ``param.fourier_phase`` (Hamblin et al. 2024).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paramctl_jax.synthesis.parameterisations import spectrum
from paramctl_jax.synthesis.parameterisations.colour import from_rgb, to_rgb
from paramctl_jax.synthesis.parameterisations.fourier import EPSILON
from paramctl_jax.synthesis.parameterisations.protocol import Image, clipped_logit

Bins = Float[Array, "size half 3"]


@dataclasses.dataclass(frozen=True)
class Phase:
    """Phase, and gain of the magnitude, of every bin and colour axis.

    Attributes:
      train_magnitude: train the gains too, as faccent does when it has a seed; without,
        magnitudes are the seed's and the image starts at the seed.
      gain: initial logit of the gains.
      desaturation: without effect on the start; it divides what magnitudes do.

    Example:
      >>> seed = jnp.full((8, 8, 3), 0.25)
      >>> phase = Phase(train_magnitude=False)
      >>> phase.decode(phase.initial(seed), seed)[0, 0].round(5)
      Array([0.25, 0.25, 0.25], dtype=float32)
    """

    train_magnitude: bool = True
    gain: float = 5.0
    desaturation: float = 1.0

    def initial(self, seed: Image) -> dict[str, Bins]:
        """The seed's phases in (-pi, pi], and the logits of the gains if trained."""
        real, imaginary = self._spectrum(seed)
        theta = {"phase": _angle(real, imaginary)}
        if self.train_magnitude:
            theta["gain"] = jnp.full_like(real, self.gain)
        return theta

    def decode(self, theta: dict[str, Bins], seed: Image) -> Image:
        """The image of `theta`; all but the seed at `initial`."""
        magnitude = _norm(*self._spectrum(seed))
        if self.train_magnitude:
            magnitude = magnitude * jax.nn.sigmoid(theta["gain"])
        phase = theta["phase"]
        both = jnp.stack([magnitude * jnp.cos(phase), magnitude * jnp.sin(phase)])
        return jax.nn.sigmoid(to_rgb(spectrum.inverse(both) / self.desaturation))

    def _spectrum(self, seed: Image) -> spectrum.Spectrum:
        axes = from_rgb(clipped_logit(seed, EPSILON)) * self.desaturation
        return spectrum.forward(axes)


# At 0, a norm has no gradient and an angle no value: JAX gives NaN there, also through
# the branch of a `where` that is not taken. Both therefore see 1 in place of 0.


def _norm(real: Bins, imaginary: Bins) -> Bins:
    some = (real != 0) | (imaginary != 0)
    square = jnp.where(some, real**2 + imaginary**2, 1)
    return jnp.where(some, jnp.sqrt(square), 0)


def _angle(real: Bins, imaginary: Bins) -> Bins:
    some = (real != 0) | (imaginary != 0)
    return jnp.arctan2(imaginary, jnp.where(some, real, 1))
