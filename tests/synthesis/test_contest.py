"""Contests of several models: what is reached, that it is balanced, bad inputs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.encoding import predict
from paramctl_jax.synthesis import contests, controversial
from paramctl_jax.types import ImageSet, InputError

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def rivals(model):
    """The model, and one of other axes that is five times harder to push."""
    rng = np.random.default_rng(1)
    other = rng.normal(size=model.weights.shape).astype(np.float32)
    mixed = 0.2 * (model.weights + np.std(model.weights) * other)
    backbone = dataclasses.replace(model.backbone, name="other")
    return model, dataclasses.replace(
        model, backbone=backbone, weights=mixed.astype(np.float32)
    )


def contest_of(models, seeds, natural, **settings):
    settings = {
        "slots": 4,
        "devices": jax.devices()[:1],
        "sites": ("a",),
        "crops": 2,
        "max_steps": 150,
        **settings,
    }
    return controversial(models, seeds, natural, key=KEY, progress=False, **settings)


def commitments_of(sweep):
    """[model, site, high, seed, level], from the images, by each model's own path."""
    flat = sweep.images.reshape(-1, *sweep.images.shape[4:])
    names = tuple(f"x{i}" for i in range(len(flat)))
    found = []
    for index, model in enumerate(sweep.models):
        column = [model.site_ids.index(site) for site in sweep.site_ids]
        values = predict(model, ImageSet(names, flat))[:, column]
        values = values.reshape(*sweep.images.shape[:4], len(column))
        z = (values - sweep.center[index]) / sweep.scale[index]
        own = np.stack([z[s, ..., s] for s in range(len(column))])
        sign = np.where(np.arange(len(sweep.models)) == index, 1, -1)
        found.append(own * sign[None, :, None, None])
    return np.stack(found)


@pytest.mark.parametrize(
    "route", ["path", pytest.param("lanes", marks=pytest.mark.slow)]
)
def test_softmin_brings_the_weaker_commitment_to_the_level(
    rivals, seeds, photographs, route
):
    levels = (0.5, 1.0)
    sweep = contest_of(rivals, seeds, photographs, levels=levels, route=route)
    assert (sweep.stop_reason == "hit").all()
    weakest = commitments_of(sweep).min(axis=0)
    np.testing.assert_allclose(weakest, sweep.reached, atol=1e-4)
    np.testing.assert_allclose(
        weakest, np.broadcast_to(levels, weakest.shape), atol=0.02 + 1e-5
    )


@pytest.mark.slow
def test_joint_levels_are_hit_by_every_model(rivals, seeds, photographs):
    sweep = contest_of(
        rivals,
        seeds,
        photographs,
        levels=(0.5, 1.0),
        contest="joint",
        learning_rate=0.1,
    )
    assert (sweep.stop_reason == "hit").all()
    committed = commitments_of(sweep)
    aims = np.broadcast_to(sweep.levels, committed.shape)
    np.testing.assert_allclose(committed, aims, atol=0.02 + 1e-5)


@pytest.mark.slow
def test_a_raw_difference_is_carried_by_the_model_that_is_easier_to_push(
    rivals, seeds, photographs
):
    settings = {"levels": (1.0,), "route": "path"}
    raw = commitments_of(
        contest_of(rivals, seeds, photographs, contest="difference", **settings)
    )
    fair = commitments_of(contest_of(rivals, seeds, photographs, **settings))
    assert np.median(np.ptp(raw, axis=0)) > 3 * np.median(np.ptp(fair, axis=0))
    assert np.median(raw.min(axis=0)) < 0.6 < 0.97 < np.median(fair.min(axis=0))


@pytest.mark.slow
def test_three_models(rivals, seeds, photographs):
    rng = np.random.default_rng(2)
    model = rivals[0]
    third = dataclasses.replace(
        model,
        backbone=dataclasses.replace(model.backbone, name="third"),
        weights=rng.normal(size=model.weights.shape).astype(np.float32),
    )
    sweep = contest_of((*rivals, third), seeds, photographs, levels=(0.4,))
    assert sweep.images.shape[:4] == (1, 3, len(seeds), 1)
    assert (commitments_of(sweep).min(axis=0) > 0.37).all()


@pytest.mark.slow
def test_a_lane_depends_on_nothing_but_the_lane(rivals, seeds, photographs):
    both = contest_of(rivals, seeds, photographs, sites=("a", "b"), levels=(0.5, 1.0))
    alone = contest_of(
        rivals, seeds.select(seeds.stimulus_ids[1:2]), photographs, levels=(0.5, 1.0)
    )
    devices = contest_of(rivals, seeds, photographs, devices=jax.devices()[:2])
    one = contest_of(rivals, seeds, photographs)
    np.testing.assert_array_equal(alone.images[0, :, 0], both.images[0, :, 1])
    np.testing.assert_array_equal(devices.images, one.images)


def test_weights_are_the_gradient_of_what_is_descended():
    """Against finite differences of the soft contests, up to the sign of the error."""
    rng = np.random.default_rng(0)
    stakes = contests.Stakes(
        center=jnp.asarray(rng.normal(size=3), jnp.float32),
        scale=jnp.asarray([0.5, 1.0, 2.0]),
        sign=jnp.asarray([-1.0, 1.0, -1.0]),
        aim=jnp.float32(1.0),
    )
    sharpness, f = 3.0, rng.normal(size=3)
    center, scale, sign = (
        np.asarray(x, float) for x in (stakes.center, stakes.scale, stakes.sign)
    )

    def soft(contest, f):
        u = sign * (f - center) / scale
        if contest == "softmin":
            return -np.log(np.sum(np.exp(-sharpness * u))) / sharpness
        if contest == "joint":
            return np.log(np.sum(np.exp(sharpness * np.abs(u - 1)))) / sharpness
        return np.sum(scale * u) / np.sum(scale)

    committed = contests.commitments(jnp.asarray(f, jnp.float32), stakes)
    for contest in contests.CONTESTS:
        found = np.asarray(contests.weights_of(contest, committed, stakes, sharpness))
        steps = 1e-5 * np.eye(3)
        slope = [
            (soft(contest, f + step) - soft(contest, f - step)) / 2e-5 for step in steps
        ]
        if contest == "joint":
            far = contests.standing(contest, committed, stakes) - 1
            slope = np.sign(float(far)) * np.asarray(slope)
        np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": ()}, "distinct commitments above 0"),
        ({"levels": (-1.0,)}, "above 0"),
        ({"levels": (1.0, 1.0)}, "distinct"),
        ({"contest": "softmax"}, "did you mean 'softmin'"),
        ({"contest": "joint", "route": "path"}, "route='lanes'"),
        ({"sharpness": 0.0}, "1 to 100"),
        ({"sites": ("z",)}, "sites of"),
        ({"sites": ()}, "expected sites that all models have"),
        ({"locality": "feature"}, "features of one network"),
        ({"objective": "maximise", "route": "lanes"}, "expected 'thermostat'"),
        ({"tolerance": 0.0}, "above 0"),
    ],
)
def test_what_cannot_be_a_contest_is_refused(
    rivals, seeds, photographs, settings, words
):
    with pytest.raises(InputError, match=words):
        contest_of(rivals, seeds, photographs, **settings)


def test_models_that_cannot_be_rivals_are_refused(rivals, seeds, photographs):
    with pytest.raises(InputError, match="two or more models of different names"):
        contest_of(rivals[:1], seeds, photographs)
    with pytest.raises(InputError, match="different names"):
        contest_of((rivals[0], rivals[0]), seeds, photographs)
    with pytest.raises(InputError, match="among the fit's training images of"):
        contest_of(rivals, photographs.select(["ant_0001"]), photographs)
    still = dataclasses.replace(rivals[1], weights=0 * rivals[1].weights)
    with pytest.raises(InputError, match=r"one value for all .* sites \['a'\]"):
        contest_of((rivals[0], still), seeds, photographs)
