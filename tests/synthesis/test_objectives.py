"""Directions and localities, one by one and inside the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.synthesis import locality
from paramctl_jax.synthesis.objectives import direction_of
from paramctl_jax.synthesis.results import HIT
from tests.synthesis.sweeps import LEVELS, SEEDS, sweep_of


def weights(objective, prediction, target, crop=0.0, slow=0.5):
    found = direction_of(
        objective,
        prediction=jnp.float32(prediction),
        crop_prediction=jnp.float32(crop),
        target=jnp.float32(target),
        slow=jnp.float32(slow),
    )
    return tuple(float(value) for value in found)


@pytest.mark.parametrize(
    ("objective", "prediction", "target", "expected"),
    [
        ("thermostat", 0.0, 2.0, (-1, 0, 1)),
        ("thermostat", 2.1, 2.0, (1, 0, 0.2)),
        ("thermostat", 2.0, 2.0, (0, 0, 0)),
        ("sign_switch", 1.9, 2.0, (-1, 0, 1)),
        ("sign_switch", 2.1, 2.0, (0.1, 0, 1)),
        ("squared_clean", 1.0, 2.0, (0, -1, 1)),
        ("maximise", 1.0, 2.0, (-1, 0, 1)),
        ("maximise", 3.0, 2.0, (-1, 0, 1)),
    ],
)
def test_directions(objective, prediction, target, expected):
    found = weights(objective, prediction, target)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_crops_square_is_the_gradient_of_its_square():
    """d/dg of (g - t)^2 / 2 is g - t, whatever the clean image predicts."""
    assert weights("squared_crop", 7.0, 2.0, crop=1.5) == (-0.5, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["sign_switch", "squared_clean"])
def test_other_objectives_hit_too(model, seeds, objective):
    """Without the thermostat's shrinking steps, at a slower pace."""
    found = sweep_of(
        model,
        seeds.select(SEEDS[:1]),
        objective=objective,
        route="lanes",
        learning_rate=0.03,
        tolerance=0.01,
    )
    assert (found.stop_reason == HIT).all()


@pytest.mark.slow
def test_maximise_passes_its_target_and_only_upwards(model, seeds):
    found = sweep_of(
        model,
        seeds.select(SEEDS[:1]),
        objective="maximise",
        route="lanes",
        max_steps=60,
    )
    top, below = found.reached[:, 0, 2], found.reached[:, 0, 0]
    assert (top >= LEVELS[:, 2] - 0.5).all()
    assert (below >= found.start[:, 0] - 1e-6).all()  # never towards a lower level
    assert found.stop_reason[0, 0, 0] != HIT


@pytest.mark.slow
def test_crops_miss_what_the_clean_image_hits(model, seeds):
    """A crop's prediction is not the image's."""
    settings = {
        "route": "lanes",
        "max_steps": 60,
        "learning_rate": 0.03,
        "noise": 0.2,
    }
    one = seeds.select(SEEDS[:1])
    crops = sweep_of(model, one, objective="squared_crop", **settings)
    ours = sweep_of(model, one, **settings)
    assert ours.hit.sum() > crops.hit.sum()


def test_features_off_the_axis_are_what_is_left_without_it():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 4, 6)).astype(np.float32)
    axis = rng.normal(size=6).astype(np.float32)
    unit = axis / np.linalg.norm(axis)
    change = ours - theirs
    off = change - np.outer(change @ unit, unit)
    for name, expected in (("feature", change), ("off_axis", off)):
        found = locality.feature_distance(name, *map(jnp.asarray, (ours, theirs, axis)))
        expected = np.linalg.norm(expected, axis=1).mean()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_penalty_without_a_gradient_has_no_balance_yet():
    flat, ours = jnp.zeros((2, 2, 3)), jnp.ones((2, 2, 3))
    unmeasured = jnp.float32(jnp.nan)
    before = locality.balance(ours, flat, unmeasured)
    assert bool(jnp.isnan(before))
    measured = locality.balance(ours, 4 * ours, before)
    assert float(measured) == 0.25
    assert float(locality.balance(ours, ours, measured)) == 0.25  # and stays


def test_the_gradient_of_a_distance_at_the_seed_is_zero_not_nan():
    features = jnp.ones((2, 3))
    gradient = jax.grad(
        lambda x: locality.feature_distance("feature", x, features, jnp.ones(3))
    )(features)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pixel", "feature", "off_axis"])
def test_a_locality_penalty_keeps_the_image_nearer(model, seeds, name):
    """Fewer steps are not what does it: the same number of them, far from any hit."""
    one, far = seeds.select(SEEDS[:1]), np.array([[0.0, 1e3]] * 2)
    weight = {"pixel": 30.0, "feature": 0.6, "off_axis": 0.6}[name]
    settings = {"max_steps": 12, "learning_rate": 0.05}
    free = sweep_of(model, one, far, **settings)
    held = sweep_of(model, one, far, locality=name, locality_weight=weight, **settings)
    rms = [np.sqrt(((s.images[:, 0, 1] / 255.0 - one.pixels / 255.0) ** 2).mean())
           for s in (free, held)]  # fmt: skip
    assert rms[1] < 0.97 * rms[0]
    assert (held.reached[:, 0, 1] > held.start[:, 0] + 1).all()


@pytest.mark.parametrize(("ball", "radius"), [("l2", 0.02), ("linf", 0.05)])
@pytest.mark.parametrize(
    "route", [pytest.param("lanes", marks=pytest.mark.slow), "path"]
)
def test_no_image_leaves_the_ball(model, seeds, ball, radius, route):
    far = np.array([[0.0, 1e3]] * 2)
    found = sweep_of(
        model, seeds, far, ball=ball, radius=radius, max_steps=8, route=route
    )
    change = found.images / 255 - found.seeds.pixels[None, :, None] / 255
    if ball == "l2":
        size = np.sqrt((change**2).mean(axis=(3, 4, 5)))
    else:
        size = np.abs(change).max(axis=(3, 4, 5))
    assert size.max() <= radius + 0.5 / 255 + 1e-6  # and half a step of 8 bits
    assert size[:, :, 1].max() > 0.8 * radius  # it was pulled on


def test_inside_the_ball_nothing_is_changed():
    image = jnp.full((4, 4, 3), 0.5)
    seed = image + 0.01
    for ball in ("l2", "linf"):
        same = locality.within_ball(image, seed, ball, 0.1)
        np.testing.assert_allclose(same, image, atol=1e-7)
    gradient = jax.grad(lambda x: locality.within_ball(x, seed, "l2", 0.1).sum())(
        seed
    )  # at the seed itself
    assert bool(jnp.isfinite(gradient).all())
