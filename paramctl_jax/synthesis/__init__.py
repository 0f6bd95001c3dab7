"""Feature accentuation: image parameterisation, augmentation, and the engine."""

from paramctl_jax.synthesis.accentuate import accentuate
from paramctl_jax.synthesis.dry_run import Estimate, estimate
from paramctl_jax.synthesis.plan import Plan, make_plan
from paramctl_jax.synthesis.presets import COMPATIBILITY
from paramctl_jax.synthesis.settings import Settings

__all__ = [
    "COMPATIBILITY",
    "Estimate",
    "Plan",
    "Settings",
    "accentuate",
    "estimate",
    "make_plan",
]
