"""How a small network is trained, checked against its images before it starts."""

from __future__ import annotations

import dataclasses

from paramctl_jax.training.attack import Attack
from paramctl_jax.training.dataset import LabelledImages
from paramctl_jax.types import InputError, Network


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
      epochs: passes over the training images.
      batch_size: images per step.
      learning_rate: its peak.
      warmup: fraction of the steps with a rising learning rate.
      momentum: Nesterov's.
      weight_decay: on kernels, not on biases or batch norms.
      label_smoothing: mass moved from the label to all classes.
      small_crop: side of the crops in the first part of the training.
      small_fraction: length of that part, as a fraction of the epochs.
      pad: reflected border before the full-size crop.
      ramp: fraction of the steps over which the attack's radius grows from 0.
      attack: what the training images are perturbed with.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.2
    warmup: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    small_crop: int = 48
    small_fraction: float = 0.6
    pad: int = 6
    ramp: float = 0.25
    attack: Attack = dataclasses.field(default_factory=Attack)


def check_recipe(recipe: Recipe, network: Network, part: LabelledImages) -> None:
    """Refuses what does not fit the images or the network.

    Raises:
      InputError: naming the setting, and what was expected.
    """
    size = network.input_size
    checks = {
        f"epochs={recipe.epochs}, expected at least 1": recipe.epochs >= 1,
        f"batch_size={recipe.batch_size}, expected 1 to {len(part)} (all training "
        "images)": 1 <= recipe.batch_size <= len(part),
        f"small_crop={recipe.small_crop}, expected an even number up to {size}": (
            2 <= recipe.small_crop <= size and recipe.small_crop % 2 == 0
        ),
        f"pad={recipe.pad}, expected 0 to {size - 1}": 0 <= recipe.pad < size,
        f"images of {part.pixels.shape[1]} pixels, expected {size}": (
            part.pixels.shape[1] == size
        ),
        f"{len(part.classes)} classes, expected {network.module.classes}": (
            len(part.classes) == network.module.classes
        ),
    }
    for problem, fine in checks.items():
        if not fine:
            raise InputError(f"training recipe: {problem}")
