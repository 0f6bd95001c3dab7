"""Lucid's and faccent's spectrum with a decay, started at a seed.

    x(theta) = clip( sigmoid((logit(x0) M^-1 s + irfft2(theta / f^decay)) / s M) + rho )

with the desaturation ``s = 5``. faccent's parameter is the scaled spectrum of the whole
image; here it is the change of it, which is the same to every optimiser that does not
decay weights, and gives back the seed exactly: ``theta = 0``, |x - x0| < 1e-6.

Sources: Lucid (Olah et al. 2017), ``param/spatial.py``; faccent 1.0.3 (Hamblin et al.
2024), ``param.fourier``.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from paramctl_jax.synthesis.parameterisations import spectrum
from paramctl_jax.synthesis.parameterisations.colour import to_rgb
from paramctl_jax.synthesis.parameterisations.protocol import (
    Image,
    clipped_logit,
    squash,
)

EPSILON = 1e-6  # faccent's; a black pixel is all but fixed


@dataclasses.dataclass(frozen=True)
class Fourier:
    """A half spectrum per colour axis whose bins count as ``1 / f^decay``.

    Attributes:
      decay: power of the weight; not normalised, so that the size of the image and the
        decay change what one unit of a coefficient does.
      desaturation: divides the change; 5 in faccent, 4 in Lucid.

    Example:
      >>> seed = jnp.full((8, 8, 3), 0.25)
      >>> fourier = Fourier()
      >>> theta = fourier.initial(seed).at[0, 0, 0, 0].set(5.0)
      >>> [round(float(x), 3) for x in fourier.decode(theta, seed)[0, 0]]
      [0.369, 0.374, 0.374]
    """

    decay: float = 1.0
    desaturation: float = 5.0

    def initial(self, seed: Image) -> spectrum.Spectrum:
        """Zero: the change of the seed's scaled spectrum."""
        return spectrum.zero_spectrum(seed.shape[0])

    def decode(self, theta: spectrum.Spectrum, seed: Image) -> Image:
        """The image of `theta`; the seed at 0."""
        scale = spectrum.decay_of(seed.shape[0], self.decay) / self.desaturation
        scaled = theta * jnp.asarray(scale, jnp.float32)[None, :, :, None]
        start = clipped_logit(seed, EPSILON)
        change = spectrum.inverse(scaled, norm="ortho")
        return squash(start + to_rgb(change), start, seed)
