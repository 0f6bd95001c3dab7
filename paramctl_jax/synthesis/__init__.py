"""Feature accentuation: image parameterisation, augmentation, and the engine."""

from paramctl_jax.synthesis.accentuate import accentuate
from paramctl_jax.synthesis.engine import Settings
from paramctl_jax.synthesis.parameterisation import decode, frequency_prior

__all__ = ["Settings", "accentuate", "decode", "frequency_prior"]
