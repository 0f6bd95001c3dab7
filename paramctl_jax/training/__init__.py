"""Train a small backbone, standard or adversarially robust."""

from paramctl_jax.training.attack import Attack, perturb
from paramctl_jax.training.dataset import LabelledImages, load_labelled
from paramctl_jax.training.evaluate import accuracy, lattice_ratio
from paramctl_jax.training.loop import export, train
from paramctl_jax.training.recipe import Recipe
from paramctl_jax.training.steps import TrainState

__all__ = [
    "Attack",
    "LabelledImages",
    "Recipe",
    "TrainState",
    "accuracy",
    "export",
    "lattice_ratio",
    "load_labelled",
    "perturb",
    "train",
]
