import dataclasses

import jax
import numpy as np
import pytest

from paramctl_jax.encoding import predict
from paramctl_jax.synthesis import Settings, accentuate, budget, engine, make_plan
from paramctl_jax.synthesis.results import HIT, NONFINITE, UNREACHED
from paramctl_jax.types import InputError
from tests.synthesis.sweeps import LEVELS, SEEDS
from tests.synthesis.sweeps import sweep_of as run

ROUTES = ("lanes", "path")


@pytest.fixture(scope="module")
def sweeps(model, seeds):
    return {route: run(model, seeds, route=route) for route in ROUTES}


@pytest.fixture(params=ROUTES)
def route(request):
    return request.param


# Lanes of their own take longer: once, with the slow tests.
LANES_ARE_SLOW = ("path", pytest.param("lanes", marks=pytest.mark.slow))


@pytest.fixture
def sweep(sweeps, route):
    return sweeps[route]


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


def test_the_farthest_target_changes_a_seed_most(sweeps):
    """Along one path; lanes of their own may overshoot and come back."""
    sweep = sweeps["path"]
    change = (sweep.images / 255 - sweep.seeds.pixels[None, :, None] / 255) ** 2
    rms = np.sqrt(change.mean(axis=(3, 4, 5)))
    distance = np.abs(LEVELS[:, None] - sweep.start[:, :, None])
    nearest, farthest = (
        np.take_along_axis(rms, place[..., None], axis=-1)
        for place in (distance.argmin(axis=-1), distance.argmax(axis=-1))
    )
    assert (nearest < farthest).all()
    assert 0 < rms.max() < 0.2


def test_a_lane_depends_on_nothing_but_the_lane(sweep, route, model, seeds):
    """Other sites, seeds, levels, slots' order and batch-mates change no byte."""
    site_b = run(model, seeds, LEVELS[1:], sites=("b",), route=route)
    np.testing.assert_array_equal(site_b.images[0], sweep.images[1])
    reversed_levels = run(model, seeds, LEVELS[:, ::-1], route=route)
    np.testing.assert_array_equal(reversed_levels.images[:, :, ::-1], sweep.images)
    one_seed = run(model, seeds.select(SEEDS[1:2]), route=route)
    np.testing.assert_array_equal(one_seed.images[:, 0], sweep.images[:, 1])


@pytest.mark.parametrize("route", LANES_ARE_SLOW)
def test_a_level_more_changes_no_other(sweep, route, model, seeds):
    more = np.insert(LEVELS, 2, [1.0, 0.6], axis=1)
    found = run(model, seeds, more, route=route)
    np.testing.assert_array_equal(found.images[:, :, [0, 1, 3]], sweep.images)
    assert found.hit.all()


@pytest.mark.parametrize("route", LANES_ARE_SLOW)
def test_devices_change_no_byte(sweep, route, model, seeds):
    """Equal slots per device, on one device or on four."""
    everywhere = run(model, seeds, devices=jax.devices(), route=route)
    np.testing.assert_array_equal(everywhere.images, sweep.images)
    np.testing.assert_array_equal(everywhere.reached, sweep.reached)


@pytest.mark.parametrize("route", LANES_ARE_SLOW)
def test_another_key_gives_another_path(sweep, route, model, seeds):
    other = accentuate(
        model,
        seeds,
        LEVELS,
        key=jax.random.key(1),
        slots=3,
        devices=jax.devices()[:1],
        progress=False,
        route=route,
    )
    assert not np.array_equal(other.images, sweep.images)


def test_a_path_reaches_its_levels_with_fewer_passes(sweeps):
    lanes, path = sweeps["lanes"], sweeps["path"]
    assert path.passes["search"] < lanes.passes["search"]
    rms = [
        np.sqrt(np.mean((s.images / 255 - s.seeds.pixels[None, :, None] / 255) ** 2))
        for s in (lanes, path)
    ]
    assert rms[1] < 1.1 * rms[0]


def test_traces_begin_at_the_seed_and_end_at_the_hit(sweeps):
    lanes = sweeps["lanes"].traces
    for row in range(len(lanes.site)):
        lane = (lanes.site[row], lanes.seed[row], lanes.level[row])
        seen = lanes.prediction[row][np.isfinite(lanes.prediction[row])]
        assert seen[0] == np.float32(sweeps["lanes"].start[lane[:2]])
        assert seen[-1] == np.float32(sweeps["lanes"].reached[lane])
        assert len(seen) == sweeps["lanes"].step[lane] + 1
    path = sweeps["path"].traces
    assert set(path.level) == {-1}
    ends = [row[np.isfinite(row)][-1] for row in path.prediction]
    target = np.where(path.direction > 0, LEVELS.max(axis=1)[path.site], -2.0)
    assert (path.direction * (ends - target) >= 0).all()  # each passed its last level
    assert path.transparency.shape == (len(path.site), 32, 32)
    assert (path.transparency.max(axis=(1, 2)) == 255).all()


def test_passes_are_counted(sweeps):
    lanes = sweeps["lanes"]
    steps = int(lanes.step.sum())
    assert lanes.passes == {"search": 4 * steps, "clean": steps + 6}


def test_a_sweep_compiles_once(model, seeds, route):
    plan = make_plan(model, seeds, LEVELS, slots=3, max_steps=7, route=route)
    run(model, seeds, max_steps=7, route=route)
    step = engine.compiled_step(plan.engine, tuple(jax.devices()[:1]))
    assert step._cache_size() == 1


@pytest.mark.parametrize("route", LANES_ARE_SLOW)
def test_a_second_sweep_compiles_nothing(sweep, route, model, seeds):
    plan = make_plan(model, seeds, LEVELS, slots=3, route=route)
    step = engine.compiled_step(plan.engine, tuple(jax.devices()[:1]))
    before = step._cache_size()
    turned = dataclasses.replace(model, weights=-model.weights)
    run(turned, seeds, LEVELS + 0.1, route=route)
    run(model, seeds.select(SEEDS[:1]), LEVELS[:1], sites=("a",), route=route)
    assert step._cache_size() == before > 0  # whatever the number of sites and seeds


def test_unreachable_levels_are_kept_and_flagged(model, seeds, route):
    levels = np.array([[0.0, 500.0]] * 2)
    far = run(model, seeds.select(SEEDS[:1]), levels, max_steps=5, route=route)
    assert far.stop_reason[:, 0, 1].tolist() == [UNREACHED] * 2
    assert not far.hit[:, :, 1].any()
    assert (far.reached[:, 0, 1] > far.start[:, 0]).all()  # the best image so far


def test_a_nan_lane_fails_alone(sweep, route, model, seeds):
    broken = dataclasses.replace(
        model,
        weights=np.stack([model.weights[0], np.full_like(model.weights[1], np.nan)]),
    )
    both = run(broken, seeds, route=route)
    assert (both.stop_reason[1] == NONFINITE).all()
    assert not both.hit[1].any()
    np.testing.assert_array_equal(both.images[0], sweep.images[0])
    np.testing.assert_array_equal(both.images[1, :, 0], seeds.pixels)  # the seed, kept


def test_a_lane_that_breaks_on_its_way_fails_alone(model, seeds, route):
    """Site b explodes: infinite steps from a finite start."""
    weights = model.weights.copy()
    weights[1] *= 1e30
    bias = model.bias.copy()
    bias[1] = 0.0
    broken = dataclasses.replace(model, weights=weights, bias=bias)
    levels = np.stack([LEVELS[0], [-1e37, 0.0, 3e38]])
    both = run(broken, seeds, levels, route=route, max_steps=30)
    alone = run(broken, seeds, levels[:1], route=route, max_steps=30, sites=("a",))
    np.testing.assert_array_equal(both.images[0], alone.images[0])
    assert (both.stop_reason[1, :, 2] != HIT).all()


def test_a_seed_at_its_level_is_left_as_it_is(model, seeds, route):
    start = predict(model, seeds)[0, 0]
    levels = np.array([[start, start + 2.0]])
    found = run(model, seeds.select(SEEDS[:1]), levels, sites=("a",), route=route)
    np.testing.assert_array_equal(found.images[0, 0, 0], seeds.pixels[0])
    assert found.step[0, 0, 0] == 0
    assert found.hit.all()


@pytest.mark.parametrize(
    ("levels", "settings", "message"),
    [
        (LEVELS[:1], {}, r"one row per site, 2, found shape \(1, 3\)"),
        (LEVELS * np.nan, {}, "finite, distinct"),
        (np.ones((2, 3)), {}, "finite, distinct"),
        (LEVELS, {"sites": ("a", "c")}, "'c'"),
        (LEVELS, {"slots": 0}, "slots=0"),
        (LEVELS, {"crops": 0}, "crops=0"),
        (LEVELS, {"crop_size": (0.9, 1.2)}, "crop_size"),
        (LEVELS, {"crop_size": 0.9}, "crop_size"),
        (LEVELS, {"noise": -0.1}, "noise"),
        (LEVELS, {"learning_rate": 0.0}, "learning_rate"),
        (LEVELS, {"max_steps": 0}, "max_steps"),
        (LEVELS, {"crops": 4, "crops_at_once": 3}, "crops_at_once=3"),
        (LEVELS, {"route": "paths"}, "did you mean 'path'"),
        (
            LEVELS,
            {"route": "lanes", "objective": "maximize"},
            "did you mean 'maximise'",
        ),
        (LEVELS, {"precision": "float16"}, "did you mean 'bfloat16'"),
        (LEVELS, {"locality": "pixels"}, "did you mean 'pixel'"),
        (LEVELS, {"ball": "l3", "radius": 0.1}, "synthesis ball 'l3'"),
        (LEVELS, {"radius": 0.0}, "radius"),
        (LEVELS, {"optimiser": "adamm"}, "did you mean"),
        (LEVELS, {"optimiser_options": {"b9": 1.0}}, "b9"),
        (LEVELS, {"route": "path", "objective": "maximise"}, "give route='lanes'"),
    ],
)
def test_bad_settings_are_named(model, seeds, levels, settings, message):
    with pytest.raises(InputError, match=message):
        run(model, seeds, levels, **settings)


def test_a_readout_that_does_not_exist_is_named(model, seeds):
    with pytest.raises(InputError, match=r"did you mean 'layer2.0'"):
        run(dataclasses.replace(model, readout="layer2.1"), seeds)


def test_seeds_of_the_fit_are_refused(model, photographs):
    with pytest.raises(InputError, match="ant_0001"):
        run(model, photographs.select(["ant_0001"]))


def test_more_memory_than_there_is_is_refused_with_the_slots_that_fit(
    model, seeds, monkeypatch
):
    plan = make_plan(model, seeds, LEVELS, slots=64, crops=3)
    shared = budget.array_bytes(plan.shared(jax.random.key(0)))
    free = shared + 10 * 2**20
    monkeypatch.setattr(budget, "available_bytes", lambda device: free)
    with pytest.raises(
        InputError, match=r"64 slots need about .*; take slots=\d+"
    ) as e:
        run(model, seeds, slots=64, crops=3)
    fitting = int(str(e.value).rsplit("=", 1)[1])
    assert 1 <= fitting < 64
    assert run(model, seeds, slots=fitting, crops=3).hit.all()


def test_settings_are_hashable_however_they_are_given():
    listed = Settings(crop_size=[0.9, 0.95], optimiser_options={"b2": 0.9, "b1": 0.8})
    pairs = Settings(optimiser_options=[["b1", 0.8], ["b2", 0.9]])
    assert hash(listed) == hash(pairs)
    assert listed == pairs
    assert listed.optimiser_options == (("b1", 0.8), ("b2", 0.9))
