"""Pixels themselves, without any prior: the baseline for comparisons.

    x(theta) = clip(x0 + theta, 0, 1),   or
    x(theta) = clip(sigmoid(logit(x0) + theta) + rho, 0, 1)

A pixel that has left [0, 1] gets no gradient until momentum brings it back; the logit
never leaves.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from paramctl_jax.synthesis.parameterisations.precond import EPSILON
from paramctl_jax.synthesis.parameterisations.protocol import (
    Image,
    clipped_logit,
    squash,
)


@dataclasses.dataclass(frozen=True)
class Pixel:
    """One parameter per pixel and colour.

    Attributes:
      logit: change the logit of a pixel, not the pixel.

    Example:
      >>> seed = jnp.full((1, 1, 3), 0.25)
      >>> print(Pixel().decode(jnp.full((1, 1, 3), 0.5), seed)[0, 0])
      [0.75 0.75 0.75]
    """

    logit: bool = False

    def initial(self, seed: Image) -> Image:
        """Zero: the change of the seed."""
        return jnp.zeros_like(seed)

    def decode(self, theta: Image, seed: Image) -> Image:
        """The image of `theta`; exactly the seed at 0."""
        if not self.logit:
            return jnp.clip(seed + theta, 0, 1)
        start = clipped_logit(seed, EPSILON)
        return squash(start + theta, start, seed)
