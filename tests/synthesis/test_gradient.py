"""Gradients in blocks, in bfloat16, and against a plain loop over crops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax import images
from paramctl_jax.backbones import read
from paramctl_jax.synthesis import augmentation, make_plan
from paramctl_jax.synthesis.gradient import Axis, crop_gradient, mean_over_blocks
from paramctl_jax.synthesis.results import HIT
from tests.synthesis.sweeps import LEVELS, SEEDS, sweep_of


def gradient(model, seeds, **settings):
    plan = make_plan(model, seeds, LEVELS, crops=4, **settings)
    shared = plan.shared(jax.random.key(0))
    lane = plan.expand({"site": np.array([1]), "seed": np.array([0])})
    seed = jnp.asarray(lane["seed_image"][0])
    image = jnp.clip(seed + 0.05, 0, 1)
    axis = Axis(jnp.asarray(lane["weights"][0]), jnp.asarray(lane["bias"][0]))
    compute = jax.jit(
        lambda image: crop_gradient(
            plan.engine.reader, shared, axis, image, seed, jax.random.key(3)
        )
    )
    return plan, shared, axis, image, compute(image)


def test_it_is_the_gradient_of_the_mean_over_crops(model, seeds):
    plan, shared, axis, image, found = gradient(model, seeds)
    reader, settings = plan.engine.reader, plan.engine.settings

    def mean(image):
        total = 0.0
        for key in jax.random.split(jax.random.key(3), 4):
            draw = augmentation.draw(
                "inside",
                key,
                crop_size=settings.crop_size,
                noise=settings.noise,
                canvas=32,
                size=32,
            )
            crop = augmentation.apply("inside", image, draw, 32)[None]
            features = read(reader.network, shared.variables, crop, "layer2.0")
            total = total + features[0] @ axis.weights + axis.bias
        return total / 4

    value, expected = jax.value_and_grad(mean)(image)
    np.testing.assert_allclose(found.prediction, value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found.objective, expected, atol=2e-4 * float(jnp.abs(expected).max())
    )


@pytest.mark.parametrize("locality", ["first_hit", "off_axis"])
def test_blocks_of_crops_give_the_same_gradient(model, seeds, locality):
    whole = gradient(model, seeds, locality=locality)[-1]
    parts = gradient(model, seeds, locality=locality, crops_at_once=2)[-1]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(a).max()) + 1e-7)


def test_the_loop_of_other_platforms_gives_the_same_mean(monkeypatch):
    keys = jax.random.split(jax.random.key(0), 6)

    def mean(block):
        return jax.vmap(lambda key: jax.random.normal(key, (3,)))(block).mean(axis=0)

    here = mean_over_blocks(mean, keys, 2)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    there = mean_over_blocks(mean, keys, 2)
    np.testing.assert_allclose(here, there, atol=1e-6)
    np.testing.assert_allclose(here, mean(keys), atol=1e-6)


def test_a_search_in_bfloat16_has_nearly_the_gradient_of_float32(model, seeds):
    exact = gradient(model, seeds)[-1].objective
    rough = gradient(model, seeds, precision="bfloat16")[-1].objective
    assert rough.dtype == jnp.float32
    cosine = jnp.sum(exact * rough) / (
        jnp.linalg.norm(exact.ravel()) * jnp.linalg.norm(rough.ravel())
    )
    assert 0.9 < float(cosine) < 1 - 1e-7


@pytest.mark.parametrize(
    "route", [pytest.param("lanes", marks=pytest.mark.slow), "path"]
)
def test_a_search_in_bfloat16_is_certified_in_float32(model, seeds, route):
    found = sweep_of(model, seeds.select(SEEDS[:1]), precision="bfloat16", route=route)
    assert (found.stop_reason == HIT).all()


def test_the_seed_s_prediction_is_that_of_its_bytes(model, seeds):
    plan = make_plan(model, seeds, LEVELS)
    shared = plan.shared(jax.random.key(0))
    lane = plan.expand({"site": np.array([0]), "seed": np.array([0])})
    axis = Axis(jnp.asarray(lane["weights"][0]), jnp.asarray(lane["bias"][0]))
    pixels = jnp.asarray(lane["seed_image"][0])
    np.testing.assert_array_equal(images.quantise(pixels), pixels)
    found = plan.engine.reader.clean(shared, axis, pixels)
    features = read(model.backbone.network, shared.variables, pixels[None], "layer2.0")
    expected = np.asarray(features, np.float64)[0] @ model.weights[0] + model.bias[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
