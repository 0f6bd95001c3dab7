"""Images as functions of what is optimised: five parameterisations behind one protocol.

| name | parameters | at the start |
|---|---|---|
| ``precond`` | spectrum under a frequency prior | the seed, exactly |
| ``phase`` | faccent's phases and gains | within 2e-3 of the seed |
| ``fourier`` | Lucid's spectrum with a decay | the seed, within 1e-6 |
| ``horama`` | Horama's un-normalised spectrum | the seed stretched to [0, 1] |
| ``pnc`` | the same without the mean | lightness lost |
| ``pixel`` | pixels | the seed, exactly |

All but ``precond`` and ``pixel`` are there to compare with other tools.
"""

from collections.abc import Callable

from paramctl_jax.synthesis.parameterisations.colour import COLOUR, COLOUR_INVERSE
from paramctl_jax.synthesis.parameterisations.fourier import Fourier
from paramctl_jax.synthesis.parameterisations.horama import Horama
from paramctl_jax.synthesis.parameterisations.phase import Phase
from paramctl_jax.synthesis.parameterisations.pixel import Pixel
from paramctl_jax.synthesis.parameterisations.precond import Precond
from paramctl_jax.synthesis.parameterisations.protocol import Parameterisation
from paramctl_jax.synthesis.parameterisations.spectrum import frequency_prior
from paramctl_jax.types import unknown

__all__ = [
    "COLOUR",
    "COLOUR_INVERSE",
    "PARAMETERISATIONS",
    "Fourier",
    "Horama",
    "Parameterisation",
    "Phase",
    "Pixel",
    "Precond",
    "frequency_prior",
    "make_parameterisation",
]

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
