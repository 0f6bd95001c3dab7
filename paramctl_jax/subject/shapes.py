"""Static nonlinearities between a site's drive and its response."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from paramctl_jax.types import unknown

Drive = Float[np.ndarray, "image site"]

HALF_SATURATION = 1.5  # natural SDs
EXPONENT = 2.0


def _saturating(u: Drive) -> Drive:
    """Naka and Rushton 1966, scaled to meet the identity at half saturation."""
    positive = np.maximum(u, 0.0) ** EXPONENT
    half = HALF_SATURATION**EXPONENT
    return 2 * HALF_SATURATION * positive / (positive + half)


SHAPES: dict[str, Callable[[Drive], Drive]] = {
    "linear": lambda u: u,
    "relu": lambda u: np.maximum(u, 0.0),
    "softplus": lambda u: np.logaddexp(0.0, u),
    "exponential": lambda u: np.expm1(np.minimum(u, 20.0)),
    "saturating": _saturating,
}
"""By name. ``u`` is in SDs of natural images: 1 is an image that drives well."""


def static_nonlinearity(shape: str, drive: Drive) -> Drive:
    """F(u) of every image and site.

    ``linear`` u; ``relu`` max(0, u); ``softplus`` log(1 + e^u); ``exponential``
    e^u - 1; ``saturating`` 2c u^2 / (u^2 + c^2) for u > 0, c = 1.5, which cannot
    exceed 3.

    Args:
      shape: one of `SHAPES`.
      drive: u, SDs of natural images.

    Returns:
      F, in the same units.

    Raises:
      InputError: another shape.

    Example:
      >>> static_nonlinearity("saturating", np.array([[-1.0, 1.5, 100.0]])).round(2)
      array([[0. , 1.5, 3. ]])
    """
    if shape not in SHAPES:
        raise unknown(shape, SHAPES, "shape of a subject's response")
    return SHAPES[shape](drive)
