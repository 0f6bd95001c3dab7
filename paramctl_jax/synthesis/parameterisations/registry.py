"""Parameterisations by name."""

from __future__ import annotations

from collections.abc import Callable

from paramctl_jax.synthesis.parameterisations.fourier import Fourier
from paramctl_jax.synthesis.parameterisations.horama import Horama
from paramctl_jax.synthesis.parameterisations.phase import Phase
from paramctl_jax.synthesis.parameterisations.pixel import Pixel
from paramctl_jax.synthesis.parameterisations.precond import Precond
from paramctl_jax.synthesis.parameterisations.protocol import Parameterisation
from paramctl_jax.types import unknown

_MAKERS: dict[str, Callable[[float, float], Parameterisation]] = {
    "precond": lambda gamma, limit: Precond(gamma, limit),
    "phase": lambda gamma, limit: Phase(),
    "fourier": lambda gamma, limit: Fourier(decay=gamma),
    "horama": lambda gamma, limit: Horama(decay=gamma),
    "pnc": lambda gamma, limit: Horama(decay=gamma, subtract_mean=True),
    "pixel": lambda gamma, limit: Pixel(),
}
PARAMETERISATIONS = tuple(_MAKERS)


def make_parameterisation(name: str, *, gamma: float, limit: float) -> Parameterisation:
    """The parameterisation of that name.

    Args:
      name: one of `PARAMETERISATIONS`.
      gamma: slope of the frequency prior; the decay of ``fourier`` and ``horama``.
      limit: highest frequency in cycles per pixel; of ``precond`` only.

    Raises:
      InputError: no such name.

    Example:
      >>> make_parameterisation("fourier", gamma=1.5, limit=0.5)
      Fourier(decay=1.5, desaturation=5.0)
    """
    if name not in _MAKERS:
        raise unknown(name, PARAMETERISATIONS, "parameterisation")
    return _MAKERS[name](gamma, limit)
