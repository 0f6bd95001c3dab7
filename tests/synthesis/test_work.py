"""A sweep that is broken off and gone on with ends with the bytes of one in one go."""

import dataclasses

import jax
import numpy as np
import pytest

from paramctl_jax import lanes
from paramctl_jax.synthesis.plan import make_plan
from paramctl_jax.synthesis.work import sweep_of
from tests.synthesis.sweeps import LEVELS

KEY = jax.random.key(0)


class Broken(Exception):
    pass


class Keeper:
    """Saves before step `at`, and ends there."""

    def __init__(self, at):
        self.at, self.snapshot, self.asked = at, None, 0

    def load(self):
        return self.snapshot

    def due(self):
        self.asked += 1
        return self.asked == self.at

    def save(self, snapshot):
        self.snapshot = jax.tree.map(np.array, snapshot)
        raise Broken


def swept(plan, keeper=None, counts=None):
    shared = lanes.replicate(plan.shared(KEY), plan.devices)
    told = [] if counts is None else counts
    return sweep_of(plan, shared, keeper, finished=lambda *pair: told.append(pair))


def plan_of(model, seeds, n_devices=1, **settings):
    settings = {"slots": 2, "route": "path", "max_steps": 30, **settings}
    return make_plan(
        model, seeds, LEVELS, devices=jax.devices()[:n_devices], **settings
    )


def assert_equal(found, expected):
    for field in dataclasses.fields(expected):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if field.name == "traces":
            for part in dataclasses.fields(b):
                np.testing.assert_array_equal(
                    getattr(a, part.name), getattr(b, part.name), part.name
                )
        elif isinstance(b, np.ndarray):
            np.testing.assert_array_equal(a, b, field.name)
    assert found.passes == expected.passes


@pytest.mark.parametrize("route", ["path", "lanes"])
@pytest.mark.parametrize(
    ("at", "n_devices"),
    [
        (4, 2),
        pytest.param(1, 1, marks=pytest.mark.slow),
        pytest.param(9, 1, marks=pytest.mark.slow),
    ],
)
def test_broken_off_and_gone_on_with(route, at, n_devices, model, seeds):
    """Also with another number of devices, and so of slots."""
    expected = swept(plan_of(model, seeds, route=route))
    keeper, counts = Keeper(at), []
    first = plan_of(model, seeds, n_devices, route=route)
    with pytest.raises(Broken):
        swept(first, keeper)
    found = swept(plan_of(model, seeds, route=route), keeper, counts)
    assert_equal(found, expected)
    lanes, hits = np.sum(counts, axis=0)
    assert lanes == found.hit.size
    assert hits == found.hit.sum()
    assert keeper.asked > at


def test_broken_off_again_and_again(model, seeds):
    plan = plan_of(model, seeds)
    expected = swept(plan)
    keeper, broken = Keeper(2), 0
    while True:
        keeper.asked = 0
        try:
            found = swept(plan, keeper)
            break
        except Broken:
            broken += 1
    assert broken > 3
    assert_equal(found, expected)


def test_a_snapshot_of_another_engine_is_not_used(model, seeds):
    keeper = Keeper(3)
    with pytest.raises(Broken):
        swept(plan_of(model, seeds, parameterisation="pixel"), keeper)
    plan = plan_of(model, seeds)
    keeper.at = 0
    assert_equal(swept(plan, keeper), swept(plan))


def test_a_part_of_a_plan_is_the_same_lanes(model, seeds):
    plan = plan_of(model, seeds)
    whole = swept(plan)
    part = swept(plan.part(slice(1, 2), slice(1, 3)))
    assert part.site_ids == whole.site_ids[1:2]
    assert part.seeds.stimulus_ids == whole.seeds.stimulus_ids[1:3]
    for name in ("images", "reached", "step", "hit", "stop_reason"):
        expected = getattr(whole, name)[1:2, 1:3]
        np.testing.assert_array_equal(getattr(part, name), expected, name)
