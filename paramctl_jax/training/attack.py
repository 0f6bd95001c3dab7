"""Projected gradient descent on the image: what a robust network is trained against.

Madry et al. 2018; with one step of 1.25 epsilon from a random start it is the fast
adversarial training of Wong, Rice and Kolter 2020 (FGSM-RS).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from paramctl_jax.types import InputError

Images = Float[Array, "image height width 3"]
Loss = Callable[[Images], Float[Array, ""]]

NORMS = ("none", "linf", "l2")


@dataclasses.dataclass(frozen=True)
class Attack:
    """A perturbation's set and the steps taken in it.

    Attributes:
      norm: ``linf``, ``l2``, or ``none`` for standard training.
      epsilon: radius of the ball in [0, 1] pixel units (l2: over the whole image).
      steps: gradient steps; each is unrolled in the compiled program.
      step_size: of one step, as a fraction of the radius.
    """

    norm: str = "none"
    epsilon: float = 0.0
    steps: int = 1
    step_size: float = 1.25

    def __post_init__(self):
        numbers = (self.epsilon, self.step_size)
        fine = all(0 <= number < math.inf for number in numbers) and self.steps >= 1
        if self.norm not in NORMS or not fine:
            raise InputError(
                f"attack: expected norm in {NORMS}, epsilon and step_size >= 0 and "
                f"steps >= 1, found norm={self.norm!r}, epsilon={self.epsilon}, "
                f"step_size={self.step_size}, steps={self.steps}"
            )


def perturb(
    attack: Attack,
    loss: Loss,
    images: Images,
    key: PRNGKeyArray,
    scale: Float[Array, ""] | float = 1.0,
) -> Images:
    """Images within the ball around `images` that raise the loss, clipped to [0, 1].

    Args:
      attack: the ball and the steps.
      loss: of the whole batch, a sum or mean over images.
      images: sRGB in [0, 1].
      key: of the random start.
      scale: of the radius, for a ramp from 0 to 1.

    Returns:
      Perturbed images, constants to any later gradient.
    """
    if attack.norm == "none":
        return images
    radius = attack.epsilon * jnp.asarray(scale, images.dtype)
    delta = _random_start(attack, images.shape, key) * radius
    for _ in range(attack.steps):
        gradient = jax.grad(loss)(jnp.clip(images + delta, 0, 1))
        delta = delta + attack.step_size * radius * _direction(attack, gradient)
        delta = _project(attack, delta, radius)
    return jax.lax.stop_gradient(jnp.clip(images + delta, 0, 1))


def _length(x: Images) -> Float[Array, "image 1 1 1"]:
    return jnp.sqrt(jnp.sum(x**2, axis=(1, 2, 3), keepdims=True) + 1e-24)


def _random_start(attack: Attack, shape: tuple[int, ...], key: PRNGKeyArray) -> Images:
    """Uniform in the unit ball (linf), or a random direction and radius (l2)."""
    if attack.norm == "linf":
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
    direction_key, radius_key = jax.random.split(key)
    direction = jax.random.normal(direction_key, shape)
    return (
        direction
        / _length(direction)
        * jax.random.uniform(radius_key, (shape[0], 1, 1, 1))
    )


def _direction(attack: Attack, gradient: Images) -> Images:
    """Steepest ascent under the norm: the sign (linf) or the unit vector (l2)."""
    if attack.norm == "linf":
        return jnp.sign(gradient)
    return gradient / _length(gradient)


def _project(attack: Attack, delta: Images, radius: Float[Array, ""]) -> Images:
    if attack.norm == "linf":
        return jnp.clip(delta, -radius, radius)
    return delta * jnp.minimum(1.0, radius / _length(delta))
