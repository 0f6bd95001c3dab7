"""Which way a step goes: from the error of the clean image to a direction and a gain.

With the clean prediction ``f`` of the 8-bit image, the target ``t``, ``e = f - t`` and
the mean ``g`` of the predictions of random crops, every objective descends along

    crop * grad g + clean * grad f,    theta <- theta - eta * gain * optimiser(...)

| objective | crop | clean | gain |
|---|---|---|---|
| ``thermostat`` | sign(e) | 0 | min(1, abs(e) / slow) |
| ``sign_switch`` | -1 below the target, else .1 | 0 | 1 |
| ``squared_clean`` | 0 | e | 1 |
| ``squared_crop`` | g - t | 0 | 1 |
| ``maximise`` | -1, until the target is passed | 0 | 1 |

A crop's prediction is not the image's: ``squared_crop`` compares it with the target all
the same and misses by the difference (kept for comparison). (N)Adam divides any scale
out of the gradient; the thermostat therefore scales the step after it, and the .1 of
the sign switch is all but without effect.

Sources: sign switch, Prince et al. 2026; maximise, Hamblin et al. 2024; the thermostat
with a scaled step is this project's.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]

OBJECTIVES = (
    "thermostat",
    "sign_switch",
    "squared_clean",
    "squared_crop",
    "maximise",
)


class Direction(NamedTuple):
    """Weights of the two gradients, and the factor of the step after the optimiser."""

    crop: Scalar
    clean: Scalar
    gain: Scalar


def direction_of(
    objective: str,
    *,
    prediction: Scalar,
    crop_prediction: Scalar,
    target: Scalar,
    slow: Scalar,
) -> Direction:
    """The direction of one lane's step, from its state before the step.

    Args:
      objective: one of `OBJECTIVES`.
      prediction: clean, of the 8-bit image.
      crop_prediction: mean over the step's crops.
      target: level asked for.
      slow: error below which the thermostat shrinks its steps.

    Returns:
      Weights of the gradients, to be descended, and the gain.

    Example:
      >>> one = jnp.float32(1)
      >>> direction_of("thermostat", prediction=one, crop_prediction=one,
      ...              target=3 * one, slow=4 * one)[::2]
      (Array(-1., dtype=float32), Array(0.5, dtype=float32))
    """
    error = prediction - target
    zero, one = jnp.zeros_like(error), jnp.ones_like(error)
    if objective == "thermostat":
        return Direction(jnp.sign(error), zero, jnp.minimum(one, abs(error) / slow))
    if objective == "sign_switch":
        return Direction(jnp.where(error <= 0, -one, 0.1 * one), zero, one)
    if objective == "squared_clean":
        return Direction(zero, error, one)
    if objective == "squared_crop":
        return Direction(crop_prediction - target, zero, one)
    return Direction(-one, zero, one)


def uses_crops(objective: str) -> bool:
    """Whether the objective looks at random crops at all."""
    return objective != "squared_clean"
