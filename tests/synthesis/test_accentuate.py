import dataclasses

import jax
import numpy as np
import pytest

from paramctl_jax.encoding import predict
from paramctl_jax.synthesis import accentuate, engine
from paramctl_jax.synthesis.accentuate import HIT, MAX_STEPS, NONFINITE
from paramctl_jax.types import EncodingModel, InputError
from tests.evaluations import evaluation_of

SEEDS = ("elephant_0006", "lotus_0005", "rooster_0003")
READOUT = "layer2.0"


@pytest.fixture(scope="module")
def model(tiny_backbone, photographs):
    """Two random axes, scaled to natural SD 1."""
    height, width, channel = tiny_backbone.readouts[READOUT]
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, height * width * channel)).astype(np.float32)
    nan = np.full(2, np.nan)
    evaluation = evaluation_of(("a", "b"), ("ant_0001",))
    model = EncodingModel(
        tiny_backbone, READOUT, ("a", "b"), weights, np.zeros(2), nan, evaluation
    )
    natural = predict(model, photographs)
    scale = 1 / natural.std(axis=0)
    return dataclasses.replace(
        model,
        weights=(weights * scale[:, None]).astype(np.float32),
        bias=-natural.mean(axis=0) * scale,
    )


@pytest.fixture(scope="module")
def seeds(photographs):
    return photographs.select(SEEDS)


LEVELS = np.array([[-2.0, 0.0, 2.5], [-2.0, 0.1, 2.5]])


def run(model, seeds, levels=LEVELS, **settings):
    settings = {"slots": 3, "devices": jax.devices()[:1], **settings}
    return accentuate(
        model, seeds, levels, key=jax.random.key(0), progress=False, **settings
    )


@pytest.fixture(scope="module")
def sweep(model, seeds):
    return run(model, seeds)


def test_lanes_reach_their_targets_in_the_saved_bytes(sweep, model):
    """What the loop reached is what the 8-bit images predict."""
    assert sweep.images.shape == (2, 3, 3, 32, 32, 3)
    assert (sweep.stop_reason == HIT).all()
    for site in range(2):
        for level in range(3):
            images = dataclasses.replace(
                sweep.seeds, pixels=sweep.images[site, :, level]
            )
            predicted = predict(model, images)[:, site]
            np.testing.assert_allclose(
                predicted, sweep.reached[site, :, level], atol=2e-5
            )
    error = np.abs(sweep.reached - LEVELS[:, None])
    assert (error <= sweep.tolerance[:, None, None] + 1e-5).all()
    np.testing.assert_allclose(sweep.tolerance, 0.005 * np.ptp(LEVELS, axis=1))


def test_the_nearest_target_changes_a_seed_least(sweep):
    change = (sweep.images / 255 - sweep.seeds.pixels[None, :, None] / 255) ** 2
    rms = np.sqrt(change.mean(axis=(3, 4, 5)))
    distance = np.abs(LEVELS[:, None] - sweep.start[:, :, None])
    np.testing.assert_array_equal(rms.argmin(axis=-1), distance.argmin(axis=-1))
    assert 0 < rms.max() < 0.2


def test_a_lane_depends_on_nothing_but_the_lane(sweep, model, seeds):
    """Other sites, seeds, levels, slots' order and batch-mates change no byte."""
    site_b = run(model, seeds, LEVELS[1:], sites=("b",))
    np.testing.assert_array_equal(site_b.images[0], sweep.images[1])
    reversed_levels = run(model, seeds, LEVELS[:, ::-1])
    np.testing.assert_array_equal(reversed_levels.images[:, :, ::-1], sweep.images)
    one_seed = run(model, seeds.select(SEEDS[1:2]))
    np.testing.assert_array_equal(one_seed.images[:, 0], sweep.images[:, 1])


def test_devices_change_no_byte(sweep, model, seeds):
    """Equal slots per device, on one device or on four."""
    everywhere = run(model, seeds, devices=jax.devices())
    np.testing.assert_array_equal(everywhere.images, sweep.images)
    np.testing.assert_array_equal(everywhere.reached, sweep.reached)


def test_another_key_gives_another_path(sweep, model, seeds):
    other = accentuate(
        model,
        seeds,
        LEVELS,
        key=jax.random.key(1),
        slots=3,
        devices=jax.devices()[:1],
        progress=False,
    )
    assert not np.array_equal(other.images, sweep.images)


def test_a_sweep_compiles_once(model, seeds):
    settings = engine.Settings(max_steps=7)
    run(model, seeds, max_steps=7)
    devices = tuple(jax.devices()[:1])
    step = engine.compiled_step(model.backbone.network, READOUT, settings, devices)
    assert step._cache_size() == 1


def test_a_second_sweep_compiles_nothing(sweep, model, seeds):
    step = engine.compiled_step(
        model.backbone.network, READOUT, engine.Settings(), tuple(jax.devices()[:1])
    )
    before = step._cache_size()
    run(dataclasses.replace(model, weights=-model.weights), seeds, LEVELS + 0.1)
    assert step._cache_size() == before > 0


def test_unreachable_levels_are_kept_and_flagged(model, seeds):
    far = run(model, seeds.select(SEEDS[:1]), np.array([[0.0, 500.0]] * 2), max_steps=5)
    assert far.stop_reason[:, 0, 1].tolist() == [MAX_STEPS] * 2
    assert not far.hit[:, :, 1].any()
    assert (far.reached[:, 0, 1] > far.start[:, 0]).all()  # the best image so far


def test_a_nan_lane_fails_alone(sweep, model, seeds):
    broken = dataclasses.replace(
        model,
        weights=np.stack([model.weights[0], np.full_like(model.weights[1], np.nan)]),
    )
    both = run(broken, seeds)
    assert (both.stop_reason[1] == NONFINITE).all()
    assert not both.hit[1].any()
    np.testing.assert_array_equal(both.images[0], sweep.images[0])
    np.testing.assert_array_equal(both.images[1, :, 0], seeds.pixels)  # the seed, kept


@pytest.mark.parametrize(
    ("levels", "settings", "message"),
    [
        (LEVELS[:1], {}, r"one row per site, 2, found shape \(1, 3\)"),
        (LEVELS * np.nan, {}, "finite, distinct"),
        (np.ones((2, 3)), {}, "finite, distinct"),
        (LEVELS, {"sites": ("a", "c")}, "'c'"),
        (LEVELS, {"crops": 0}, "crops=0"),
        (LEVELS, {"crop_size": (0.9, 1.2)}, "crop_size"),
        (LEVELS, {"noise": -0.1}, "noise"),
        (LEVELS, {"learning_rate": 0.0}, "learning_rate"),
        (LEVELS, {"max_steps": 0}, "max_steps"),
    ],
)
def test_bad_settings_are_named(model, seeds, levels, settings, message):
    with pytest.raises(InputError, match=message):
        run(model, seeds, levels, **settings)


def test_seeds_of_the_fit_are_refused(model, photographs):
    with pytest.raises(InputError, match="ant_0001"):
        run(model, photographs.select(["ant_0001"]))
