"""Perturbations: inside the ball, inside [0, 1], and uphill."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.training import Attack, perturb
from paramctl_jax.types import InputError

SHAPE = (5, 6, 6, 3)
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.uniform(0, 1, SHAPE), jnp.float32)
MIDDLE = jnp.asarray(RNG.uniform(0.4, 0.6, SHAPE), jnp.float32)
DIRECTION = jnp.asarray(RNG.standard_normal(SHAPE), jnp.float32)
ROUND = 1e-6  # of float32 near 1


def linear(images):
    return jnp.sum(DIRECTION * images)


def curved(images):
    return jnp.sum(jnp.sin(3 * images) * DIRECTION)


def size(norm, delta):
    delta = np.asarray(delta, np.float64).reshape(len(delta), -1)
    if norm == "linf":
        return np.abs(delta).max(1)
    return np.linalg.norm(delta, axis=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("step_size", [0.25, 1.25])
def test_stays_in_the_ball_and_raises_the_loss(norm, steps, step_size, key):
    epsilon = 0.1 if norm == "linf" else 0.5
    attack = Attack(norm, epsilon, steps, step_size)
    found = perturb(attack, curved, IMAGES, key)
    assert found.shape == SHAPE
    assert found.min() >= 0
    assert found.max() <= 1
    assert size(norm, found - IMAGES).max() <= epsilon + ROUND
    if steps * step_size > 1:  # else a single small step may stay below the start
        assert curved(found) > curved(IMAGES)


def test_linf_optimum_of_a_linear_loss(key):
    # from anywhere in the ball, two steps of a radius reach the corner
    found = perturb(Attack("linf", 0.1, 2, 1.0), linear, MIDDLE, key)
    np.testing.assert_allclose(found - MIDDLE, 0.1 * jnp.sign(DIRECTION), atol=1e-6)


def test_l2_optimum_of_a_linear_loss(key):
    found = perturb(Attack("l2", 0.2, 60, 1.0), linear, MIDDLE, key)
    flat = np.asarray(DIRECTION).reshape(5, -1)
    unit = (flat / np.linalg.norm(flat, axis=1, keepdims=True)).reshape(SHAPE)
    np.testing.assert_allclose(found - MIDDLE, 0.2 * unit, atol=2e-4)


def test_images_of_a_batch_do_not_see_each_other(key):
    attack = Attack("l2", 0.2, 3, 0.5)
    together = perturb(attack, curved, IMAGES, key)
    changed = perturb(attack, curved, IMAGES.at[0].set(0.5), key)
    np.testing.assert_array_equal(together[1:], changed[1:])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_zero_radius_changes_nothing(norm, key):
    for attack, scale in ((Attack(norm, 0.0), 1.0), (Attack(norm, 0.3), 0.0)):
        found = perturb(attack, curved, IMAGES, key, scale)
        np.testing.assert_array_equal(found, IMAGES)


def test_no_attack_changes_nothing(key):
    assert perturb(Attack(), curved, IMAGES, key) is IMAGES


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_flat_loss_gives_finite_images(norm, key):
    found = perturb(Attack(norm, 0.1, 2), lambda x: 0.0 * jnp.sum(x), IMAGES, key)
    assert np.isfinite(found).all()
    assert size(norm, found - IMAGES).max() <= 0.1 + ROUND


def test_scale_shrinks_the_ball(key):
    found = perturb(Attack("linf", 0.1, 3), linear, MIDDLE, key, jnp.float32(0.5))
    assert 0.05 - ROUND <= size("linf", found - MIDDLE).max() <= 0.05 + ROUND


def test_random_start_follows_the_key():
    attack = Attack("linf", 0.1, 1, 0.0)
    one, again, other = (
        perturb(attack, linear, MIDDLE, jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_no_gradient_flows_through_the_perturbation(key):
    attack = Attack("linf", 0.1, 1)
    gradient = jax.grad(lambda x: perturb(attack, linear, x, key).sum())(MIDDLE)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "l1", "epsilon": 0.1},
        {"norm": "linf", "epsilon": -0.1},
        {"norm": "linf", "epsilon": float("nan")},
        {"norm": "l2", "epsilon": 0.1, "steps": 0},
        {"norm": "l2", "epsilon": 0.1, "step_size": -1.0},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(InputError, match=r"attack: expected norm in"):
        Attack(**settings)
