"""The default: an exact seed and a frequency prior in the forward map.

    x(theta) = clip( sigmoid(logit(x0) + D(theta) M) + rho, 0, 1 )
    D(theta) = irfft2( a * (theta_re + i theta_im) ),   a(f) = 1 / max(f, 1/size)^gamma

``x(0)`` is the seed image itself. The prior `a` acts in the forward map; on the
gradient alone it would be divided out by Adam. Frequencies above the network's own
Nyquist limit are switched off, for the network sends them no gradient and Adam would
fill them with noise.

Source: this project's; the colour axes are Lucid's.
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

EPSILON = 1 / 512  # half a step of 8 bits: the flattest slope left to a black pixel


@dataclasses.dataclass(frozen=True)
class Precond:
    """A half spectrum per colour axis, preconditioned by a frequency prior.

    Attributes:
      gamma: slope of the prior, 0 (white) to 2.
      limit: highest frequency in cycles per pixel; .5 keeps all.

    Example:
      >>> seed = jnp.full((8, 8, 3), 0.25)
      >>> precond = Precond(gamma=1.0)
      >>> bool((precond.decode(precond.initial(seed), seed) == seed).all())
      True
    """

    gamma: float = 1.0
    limit: float = 0.5

    def initial(self, seed: Image) -> spectrum.Spectrum:
        """Zero: the change of the seed in its decorrelated logits."""
        return spectrum.zero_spectrum(seed.shape[0])

    def decode(self, theta: spectrum.Spectrum, seed: Image) -> Image:
        """The image of `theta`; exactly the seed at 0."""
        prior = spectrum.frequency_prior(seed.shape[0], self.gamma, self.limit)
        scaled = theta * jnp.asarray(prior, jnp.float32)[None, :, :, None]
        start = clipped_logit(seed, EPSILON)
        change = spectrum.inverse(scaled, norm="ortho")
        return squash(start + to_rgb(change), start, seed)
