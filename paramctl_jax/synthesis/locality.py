"""What keeps an accentuated image near its seed.

``first_hit``: nothing but small steps and the stop at the first hit. The others add

    ``pixel``     weight * mean (x - x0)^2
    ``feature``   weight * balance * mean_k ||d_k||,  d_k = phi(crop x) - phi(crop x0)
    ``off_axis``  the same with d_k - (d_k . w) w / ||w||^2, what leaves the axis w

with equal crops and noise of the image and its seed, and ``phi`` the features that are
read out. ``balance`` is the ratio of the two gradients' L1 norms where the second is
first defined: at the seed itself it is 0/0, so that it is measured one step later. A
norm, not a square: its gradient keeps its size as the image moves away.

A ball bounds the change in the forward map, so that no image ever leaves it:

    ``l2``    x0 + (x - x0) min(1, radius / rms(x - x0))
    ``linf``  x0 + clip(x - x0, -radius, radius)

Source: Hamblin et al. 2024 for the balanced feature penalty.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "size size 3"]
Scalar = Float[Array, ""]

LOCALITIES = ("first_hit", "pixel", "feature", "off_axis")
BALLS = ("l2", "linf")


def compares_features(locality: str) -> bool:
    """Whether the penalty needs the features of image and seed."""
    return locality in ("feature", "off_axis")


def feature_distance(
    locality: str,
    features: Float[Array, "crop feature"],
    seed_features: Float[Array, "crop feature"],
    axis: Float[Array, " feature"],
) -> Scalar:
    """Mean over crops of the (off-axis) distance in feature space.

    Args:
      locality: ``feature`` or ``off_axis``.
      features: of crops of the image.
      seed_features: of the same crops of the seed image.
      axis: encoding axis of the site.

    Returns:
      The distance, in units of features; its gradient is 0 where there is none.

    Example:
      >>> axis, zero = jnp.array([2.0, 0.0]), jnp.zeros((1, 2))
      >>> moved = jnp.array([[3.0, 4.0]])
      >>> [round(float(feature_distance(name, moved, zero, axis)), 4)
      ...  for name in ("feature", "off_axis")]
      [5.0, 4.0]
    """
    change = features - seed_features
    if locality == "off_axis":
        along = (change @ axis) / jnp.sum(axis**2)
        change = change - along[:, None] * axis[None]
    square = jnp.sum(change**2, axis=-1)
    # sqrt has no gradient at 0; there the gradient that is passed on is 0 / tiny = 0
    return jnp.mean(jnp.sqrt(square + 1e-12))


def balance(
    objective_gradient: Image, penalty_gradient: Image, before: Scalar
) -> Scalar:
    """Ratio of L1 norms once the penalty has a gradient; kept from then on.

    Args:
      objective_gradient: with respect to the image.
      penalty_gradient: likewise.
      before: the balance of the steps before; NaN where it was not yet measured.

    Returns:
      The ratio, or NaN while the penalty is flat.
    """
    ours = jnp.sum(jnp.abs(objective_gradient))
    theirs = jnp.sum(jnp.abs(penalty_gradient))
    defined = theirs > 1e-12 * ours
    ratio = ours / jnp.where(defined, theirs, 1.0)
    measured = jnp.where(defined, ratio, jnp.nan)
    return jnp.where(jnp.isnan(before), measured, before)


def pixel_gradient(image: Image, seed: Image) -> Image:
    """Gradient of the mean squared change of the image."""
    return 2 * (image - seed) / image.size


def within_ball(image: Image, seed: Image, ball: str, radius: float) -> Image:
    """The image, pulled back towards its seed where it has left the ball.

    Args:
      image: sRGB in [0, 1].
      seed: the same.
      ball: ``l2`` or ``linf``; ``""`` returns the image.
      radius: RMS or largest absolute change, in [0, 1] pixel units.

    Example:
      >>> moved = within_ball(jnp.ones((2, 2, 3)), jnp.zeros((2, 2, 3)), "l2", 0.1)
      >>> round(float(moved[0, 0, 0]), 6)
      0.1
    """
    if not ball:
        return image
    change = image - seed
    if ball == "linf":
        return seed + jnp.clip(change, -radius, radius)
    square = jnp.mean(change**2)
    outside = square > radius**2
    rms = jnp.sqrt(jnp.where(outside, square, 1.0))  # no sqrt of 0 in the gradient
    return seed + change * jnp.where(outside, radius / rms, 1.0)
