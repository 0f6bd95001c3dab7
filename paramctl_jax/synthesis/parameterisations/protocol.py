"""What every parameterisation offers to the engine."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Image = Float[Array, "size size 3"]


@runtime_checkable
class Parameterisation(Protocol):
    """An image as a function of what is optimised.

    Implementations are frozen dataclasses, hashable and static: equal ones share one
    compiled program. Both methods are pure and work under jit, vmap and grad.
    """

    def initial(self, seed: Image) -> PyTree:
        """Real float32 parameters whose image is the seed.

        Args:
          seed: sRGB in [0, 1], of any square size.
        """
        ...

    def decode(self, theta: PyTree, seed: Image) -> Image:
        """The image of the parameters, sRGB in [0, 1].

        Args:
          theta: as `initial` gives it.
          seed: the image `theta` started from; held fixed.
        """
        ...


def clipped_logit(seed: Image, epsilon: float) -> Image:
    """``log(c / (1 - c))`` with ``c = clip(seed, epsilon, 1 - epsilon)``.

    Args:
      seed: sRGB in [0, 1].
      epsilon: how near to black and white; a pixel at the limit moves with slope
        ``epsilon (1 - epsilon)``.
    """
    clipped = jnp.clip(seed, epsilon, 1 - epsilon)
    return jnp.log(clipped) - jnp.log1p(-clipped)


def squash(logit: Image, start: Image, seed: Image) -> Image:
    """``clip(sigmoid(logit) + rho, 0, 1)``, ``rho = seed - sigmoid(start)``.

    The residual `rho` puts back what clipping the logit lost at black and white, so
    that ``logit = start`` gives the seed itself.

    Args:
      logit: of the image.
      start: of the seed, from `clipped_logit`.
      seed: sRGB in [0, 1].
    """
    residual = seed - jax.nn.sigmoid(start)
    return jnp.clip(jax.nn.sigmoid(logit) + residual, 0, 1)
