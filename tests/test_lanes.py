"""Lanes: identity, slots, devices. A lane's result depends on nothing but the lane."""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax import lanes

N_LANES, SIDE = 5, 16
COLLECTIVES = ("all-reduce", "all-gather", "collective-permute", "all-to-all")
MAX_STEPS = 40


def test_identity_is_the_head_of_sha256():
    labels = ("site_3", "dog_0001", "1.5")
    digest = hashlib.sha256(b"site_3\x00dog_0001\x001.5").hexdigest()
    first, second = lanes.lane_identity(*labels).tolist()
    assert f"{first:08x}{second:08x}" == digest[:16]


def test_identity_keeps_labels_apart():
    names = [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ("ab", "c", "")]
    assert len({tuple(lanes.lane_identity(*labels).tolist()) for labels in names}) == 5


def test_key_differs_by_lane_step_and_root():
    one, other = (lanes.lane_identity(name) for name in ("one", "other"))
    swapped = one[::-1].copy()
    root = jax.random.key(0)
    cases = [
        (root, one, 0),
        (root, one, 1),
        (root, other, 0),
        (root, swapped, 0),
        (jax.random.key(1), one, 0),
    ]
    keys = [lanes.lane_key(r, i, jnp.int32(s)) for r, i, s in cases]
    assert len({tuple(np.asarray(jax.random.key_data(k)).tolist()) for k in keys}) == 5
    again = lanes.lane_key(root, one, jnp.int32(0))
    assert (jax.random.key_data(again) == jax.random.key_data(keys[0])).all()


def step(shared, state, lane):
    """A noisy walk of a vector towards its target, frozen at the end."""
    root, weights = shared
    begin = {
        "x": lane["start"],
        "step": jnp.int32(0),
        "done": jnp.bool_(False),
    }
    state = jax.tree.map(lambda b, s: jnp.where(lane["fresh"], b, s), begin, state)
    noise = jax.random.normal(
        lanes.lane_key(root, lane["identity"], state["step"]), (SIDE,)
    )
    x = state["x"] + 0.3 * (lane["target"] - jnp.tanh(weights @ state["x"]))
    x = x + 0.05 * noise
    steps = state["step"] + 1
    moved = {"x": x, "step": steps, "done": steps >= lane["length"]}
    return jax.tree.map(lambda s, m: jnp.where(state["done"], s, m), state, moved)


def problem(order=tuple(range(N_LANES))):
    """Lanes of different lengths: 3, 11, 40, 1, 8."""
    rng = np.random.default_rng(0)
    rows = {
        "start": rng.standard_normal((N_LANES, SIDE), np.float32),
        "target": rng.standard_normal(N_LANES, np.float32),
        "length": np.array([3, 11, MAX_STEPS, 1, 8], np.int32),
        "identity": np.stack([lanes.lane_identity(f"l{i}") for i in range(N_LANES)]),
    }
    return {name: values[list(order)] for name, values in rows.items()}


@functools.cache
def compiled(n_devices):
    return lanes.over_lanes(step, jax.devices()[:n_devices])


@functools.cache
def shared():
    weights = np.random.default_rng(1).standard_normal((SIDE, SIDE), np.float32)
    return jax.random.key(7), jnp.asarray(weights / np.sqrt(SIDE))


def empty_state(slots, fill=0.0):
    return {
        "x": np.full((slots, SIDE), fill, np.float32),
        "step": np.zeros(slots, np.int32),
        "done": np.zeros(slots, bool),
    }


def laid_out(slots, n_devices, fill=0.0):
    sharding = lanes.lane_sharding(jax.devices()[:n_devices])
    return jax.device_put(empty_state(slots, fill), sharding)


def run(rows, *, slots, n_devices=1, check_every=4, fill=0.0):
    """Every lane's final vector and steps, and how often each was collected."""
    total = len(rows["length"])
    found = np.full((total, SIDE), np.nan, np.float32)
    steps = np.zeros(total, int)
    times = np.zeros(total, int)

    def collect(index, state, slot):
        found[index] = state["x"][slot]
        steps[index] = state["step"][slot]
        times[index] += 1

    lanes.run(
        functools.partial(compiled(n_devices), shared()),
        laid_out(slots, n_devices, fill),
        rows,
        slots=slots,
        done=lambda state: state["done"],
        collect=collect,
        check_every=check_every,
    )
    return found, steps, times


@functools.cache
def reference():
    """Each lane alone, step by step, without slots or `vmap`."""
    rows = problem()
    single = jax.jit(step)
    found = []
    for index in range(N_LANES):
        lane = {name: values[index] for name, values in rows.items()}
        state = {k: v[0] for k, v in empty_state(1).items()}
        for number in range(rows["length"][index]):
            state = single(shared(), state, {**lane, "fresh": np.bool_(number == 0)})
        found.append(np.asarray(state["x"]))
    return np.stack(found)


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_every_lane_is_collected_once_and_right(slots):
    found, steps, times = run(problem(), slots=slots)
    np.testing.assert_array_equal(times, 1)
    np.testing.assert_array_equal(steps, problem()["length"])
    np.testing.assert_allclose(found, reference(), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("check_every", [1, 7])
def test_looking_more_or_less_often_changes_nothing(check_every):
    found, steps, _ = run(problem(), slots=3, check_every=check_every)
    usual, _, _ = run(problem(), slots=3)
    np.testing.assert_array_equal(found, usual)
    np.testing.assert_array_equal(steps, problem()["length"])


def test_order_and_slot_change_nothing():
    order = (4, 2, 0, 3, 1)
    found, _, _ = run(problem(order), slots=3)
    usual, _, _ = run(problem(), slots=3)
    np.testing.assert_array_equal(found, usual[list(order)])


def test_slots_are_not_read_before_they_are_fresh():
    found, _, _ = run(problem(), slots=8, fill=np.nan)
    usual, _, _ = run(problem(), slots=8)
    np.testing.assert_array_equal(found, usual)


def test_nan_lane_does_not_touch_others():
    usual, _, _ = run(problem(), slots=3)
    broken = problem()
    broken["target"][1] = np.nan
    found, _, times = run(broken, slots=3)
    np.testing.assert_array_equal(times, 1)
    assert np.isnan(found[1]).all()
    others = [0, 2, 3, 4]
    np.testing.assert_array_equal(found[others], usual[others])


def test_four_devices_equal_one_bit_for_bit():
    assert len(jax.devices()) >= 4
    alone, _, _ = run(problem(), slots=2)
    spread, _, times = run(problem(), slots=8, n_devices=4)
    np.testing.assert_array_equal(times, 1)
    np.testing.assert_array_equal(spread, alone)


def program(n_devices, slots):
    rows = {k: np.resize(v, (slots, *v.shape[1:])) for k, v in problem().items()}
    rows["fresh"] = np.zeros(slots, bool)
    return (
        compiled(n_devices).lower(shared(), laid_out(slots, n_devices), rows).compile()
    )


def test_devices_do_not_talk_to_each_other():
    text = program(4, 8).as_text()
    assert "num_partitions=4" in text
    assert not [name for name in COLLECTIVES if name in text]


def test_collectives_would_be_seen():
    # the search above is not blind: a mean over lanes does need one
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:4]), ("lane",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("lane"))
    x = jax.device_put(np.ones((8, 2), np.float32), split)
    text = jax.jit(lambda x: x - x.mean(0, keepdims=True)).lower(x).compile().as_text()
    assert [name for name in COLLECTIVES if name in text]


def test_slots_refill_without_a_new_program():
    advance = lanes.over_lanes(step, jax.devices()[:1])
    state, rows = empty_state(2), problem()
    for first in (0, 2):
        lane = {k: v[first : first + 2] for k, v in rows.items()}
        state = advance(shared(), state, {**lane, "fresh": np.ones(2, bool)})
    # the first state lies on the host, the next ones on the device: at most one each
    before = advance._cache_size()
    state = advance(shared(), state, {**lane, "fresh": np.zeros(2, bool)})
    assert advance._cache_size() == before <= 2
