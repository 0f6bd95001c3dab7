"""What a controversial stimulus is driven to: from several predictions to one number.

With ``z_m = (f_m - mean_m) / sd_m``, mean and SD of model m's own predictions of
natural images, the commitment ``u_m`` of the model to be driven up is ``z_m``, that of
every other model ``-z_m``. The engine brings one number ``h`` to a level c in SD:

| contest | h | descends, times sign(h - c), along the gradients of u with weights |
|---|---|---|
| ``softmin`` | min(u) | softmax(-a u): the weaker commitments first |
| ``joint`` | the u farthest from c | softmax(a abs(u - c)), each with its own sign |
| ``difference`` | sum(sd u) / sum(sd) | sd / sum(sd) |

``softmin`` ends with every commitment at c or beyond it, ``joint`` with every one at
c, neither too low nor too high. ``difference`` is the raw difference of predictions,
``f_up - f_down`` for two models, in units in which equal commitments c give c:
whichever model is easier to push carries it, the other commitment may stay at nothing.
Weights come from the clean image, gradients from random crops.

Sources: softmin, Golan et al. 2020 for classifiers; the raw difference, Prince et al.
2026; standardised commitments and joint levels for regressions are this project's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from paramctl_jax.types import unknown

Commitments = Float[Array, " model"]
Scalar = Float[Array, ""]

CONTESTS = ("softmin", "joint", "difference")


@struct.dataclass
class Stakes:
    """How the predictions of several models at one site become commitments.

    Attributes:
      center, scale: mean and SD of every model's predictions of natural images.
      sign: +1 for the model to be driven up, -1 for the others.
      aim: level of a joint contest, in SD.
    """

    center: Commitments
    scale: Commitments
    sign: Commitments
    aim: Scalar


def commitments(predictions: Commitments, stakes: Stakes) -> Commitments:
    """``sign (f - center) / scale``, one per model."""
    return stakes.sign * (predictions - stakes.center) / stakes.scale


def standing(contest: str, committed: Commitments, stakes: Stakes) -> Scalar:
    """The one number that a lane brings to its level.

    Args:
      contest: one of `CONTESTS`.
      committed: commitments in SD.
      stakes: of the lane.

    Raises:
      InputError: no such contest.

    Example:
      >>> one = jnp.ones(2)
      >>> stakes = Stakes(center=0 * one, scale=one * jnp.array([1.0, 3.0]),
      ...                 sign=one, aim=jnp.float32(1))
      >>> u = jnp.array([2.0, 0.4])
      >>> [round(float(standing(contest, u, stakes)), 3) for contest in CONTESTS]
      [0.4, 2.0, 0.8]
    """
    if contest == "softmin":
        return jnp.min(committed)
    if contest == "joint":
        return committed[jnp.argmax(jnp.abs(committed - stakes.aim))]
    if contest == "difference":
        return jnp.sum(stakes.scale * committed) / jnp.sum(stakes.scale)
    raise unknown(contest, CONTESTS, "contest")


def weights_of(
    contest: str, committed: Commitments, stakes: Stakes, sharpness: float
) -> Commitments:
    """Weight of each prediction's gradient in that of `standing`.

    Args:
      contest: one of `CONTESTS`.
      committed: commitments of the clean image in SD.
      stakes: of the lane.
      sharpness: a of the softmax, per SD; the larger, the more the hardest model
        alone is pushed.

    Raises:
      InputError: no such contest.

    Example:
      Equal commitments are pushed equally, whatever the scales of the predictions:

      >>> stakes = Stakes(center=jnp.zeros(2), scale=jnp.array([1.0, 4.0]),
      ...                 sign=jnp.array([1.0, -1.0]), aim=jnp.float32(0))
      >>> weights_of("softmin", jnp.ones(2), stakes, 10.0)
      Array([ 0.5  , -0.125], dtype=float32)
    """
    if contest == "softmin":
        pushed = jax.nn.softmax(-sharpness * committed)
    elif contest == "joint":
        error = committed - stakes.aim
        farthest = error[jnp.argmax(jnp.abs(error))]
        pushed = jax.nn.softmax(sharpness * jnp.abs(error))
        pushed = pushed * jnp.sign(error) * jnp.sign(farthest)
    elif contest == "difference":
        pushed = stakes.scale / jnp.sum(stakes.scale)
    else:
        raise unknown(contest, CONTESTS, "contest")
    return pushed * stakes.sign / stakes.scale
