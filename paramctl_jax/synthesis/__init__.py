"""Feature accentuation: image parameterisation, augmentation, and the engine."""

from paramctl_jax.synthesis.accentuate import accentuate
from paramctl_jax.synthesis.budget import check_memory
from paramctl_jax.synthesis.contests import CONTESTS
from paramctl_jax.synthesis.controversial import controversial
from paramctl_jax.synthesis.dry_run import Estimate, estimate, memory_of
from paramctl_jax.synthesis.plan import Plan, make_plan
from paramctl_jax.synthesis.presets import COMPATIBILITY
from paramctl_jax.synthesis.settings import Settings

__all__ = [
    "COMPATIBILITY",
    "CONTESTS",
    "Estimate",
    "Plan",
    "Settings",
    "accentuate",
    "check_memory",
    "controversial",
    "estimate",
    "make_plan",
    "memory_of",
]
