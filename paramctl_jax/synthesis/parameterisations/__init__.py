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

from paramctl_jax.synthesis.parameterisations.colour import COLOUR, COLOUR_INVERSE
from paramctl_jax.synthesis.parameterisations.fourier import Fourier
from paramctl_jax.synthesis.parameterisations.horama import Horama
from paramctl_jax.synthesis.parameterisations.phase import Phase
from paramctl_jax.synthesis.parameterisations.pixel import Pixel
from paramctl_jax.synthesis.parameterisations.precond import Precond
from paramctl_jax.synthesis.parameterisations.protocol import Parameterisation
from paramctl_jax.synthesis.parameterisations.registry import (
    PARAMETERISATIONS,
    make_parameterisation,
)
from paramctl_jax.synthesis.parameterisations.spectrum import frequency_prior

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
