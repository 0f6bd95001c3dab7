"""How lanes are optimised: the static settings of one compiled program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paramctl_jax.synthesis.augmentation import SAMPLERS
from paramctl_jax.synthesis.locality import BALLS, LOCALITIES
from paramctl_jax.synthesis.objectives import OBJECTIVES
from paramctl_jax.synthesis.optimisers import make_optimiser
from paramctl_jax.synthesis.parameterisations import PARAMETERISATIONS
from paramctl_jax.types import InputError, unknown

ROUTES = ("lanes", "path")
PRECISIONS = ("float32", "bfloat16")
DEFAULT_OPTIONS = {"adam": {"b1": 0.0, "b2": 0.99}}
"""Adam without momentum, which goes on in directions that no longer matter. Measured at
equal rates, levels are reached in fewer steps, with a tenth to a fifth less change of
the image and equal frequency content (docs/numbers.md)."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How lanes are optimised; static, so that equal settings share one program.

    Attributes:
      route: ``"path"`` drives each seed image once up and once down and takes every
        level where the path crosses it; ``"lanes"`` optimises every target level from
        the seed image on its own.
      parameterisation: of the image, see `parameterisations`.
      gamma: slope of its frequency prior, 0 (white) to 2.
      sampler: of the random crops, see `augmentation`.
      crops: random crops per step.
      crop_size: range of their sides, as fractions of the canvas.
      noise: added to the crops, in [0, 1] pixel units.
      objective: what a step descends, see `objectives`.
      locality: what keeps the image near its seed, see `locality`.
      locality_weight: of that penalty.
      ball: ``"l2"`` or ``"linf"`` bounds the change of the image by `radius`; ``""``
        does not.
      radius: of the ball, in [0, 1] pixel units: largest RMS or absolute change.
      optimiser: any of optax's by name, or ``"nadam_torch"``.
      optimiser_options: its keyword arguments, e.g. ``{"b1": 0.95}``; None takes its
        defaults, but for Adam those of `DEFAULT_OPTIONS`.
      learning_rate: in units of one parameter.
      max_steps: steps after which a lane is given up.
      precision: of the search; predictions are always checked in float32.
      crops_at_once: crops whose activations are in memory together; 0 for all.
      transparency: accumulate the maps of where the image was changed.
    """

    route: str = "path"
    parameterisation: str = "precond"
    gamma: float = 1.0
    sampler: str = "inside"
    crops: int = 4
    crop_size: Any = (0.9, 0.95)
    noise: float = 0.05
    objective: str = "thermostat"
    locality: str = "first_hit"
    locality_weight: float = 1.0
    ball: str = ""
    radius: float = 0.1
    optimiser: str = "adam"
    optimiser_options: Any = None
    learning_rate: float = 0.2
    max_steps: int = 400
    precision: str = "float32"
    crops_at_once: int = 0
    transparency: bool = True

    def __post_init__(self):
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise unknown(str(getattr(self, name)), valid, f"synthesis {name}")
        object.__setattr__(self, "crop_size", self._pair(self.crop_size))  # hashable
        options = self.optimiser_options
        if options is None:
            options = DEFAULT_OPTIONS.get(self.optimiser, {})
        pairs = options.items() if isinstance(options, Mapping) else options
        object.__setattr__(self, "optimiser_options", tuple(sorted(map(tuple, pairs))))
        make_optimiser(self.optimiser, self.optimiser_options)
        for problem, fine in self._checks().items():
            if not fine:
                raise InputError(f"synthesis settings: {problem}")

    @staticmethod
    def _pair(value: Any) -> tuple[float, float]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise InputError(
                f"synthesis settings: crop_size={value}, expected (low, high)"
            )
        return float(value[0]), float(value[1])

    def _checks(self) -> dict[str, bool]:
        low, high = self.crop_size
        at_once = self.crops_at_once
        return {
            f"crops={self.crops}, expected at least 1": self.crops >= 1,
            f"crop_size={self.crop_size}, expected 0 < low <= high <= 1": (
                0 < low <= high <= 1
            ),
            f"noise={self.noise}, expected >= 0": self.noise >= 0,
            f"learning_rate={self.learning_rate}, expected > 0": self.learning_rate > 0,
            f"gamma={self.gamma}, expected between 0 and 2": 0 <= self.gamma <= 2,
            f"max_steps={self.max_steps}, expected at least 1": self.max_steps >= 1,
            f"locality_weight={self.locality_weight}, expected >= 0": (
                self.locality_weight >= 0
            ),
            f"radius={self.radius}, expected > 0": self.radius > 0,
            f"crops_at_once={at_once}, expected 0 or a divisor of crops={self.crops}": (
                at_once == 0 or (at_once > 0 and self.crops % at_once == 0)
            ),
            (
                f"route='path' with objective={self.objective!r}: a path only drives "
                "up or down; give route='lanes', or objective 'thermostat'"
            ): self.route != "path" or self.objective == "thermostat",
        }


_CHOICES: dict[str, tuple[str, ...]] = {
    "route": ROUTES,
    "parameterisation": PARAMETERISATIONS,
    "sampler": SAMPLERS,
    "objective": OBJECTIVES,
    "locality": LOCALITIES,
    "ball": ("", *BALLS),
    "precision": PRECISIONS,
}
