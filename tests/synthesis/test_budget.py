"""Memory is estimated before anything is compiled; a dry run writes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.synthesis import budget, dry_run, estimate, make_plan
from paramctl_jax.synthesis.dry_run import memory_of
from paramctl_jax.types import InputError
from tests.synthesis.sweeps import LEVELS


def peak(function, *arguments):
    return budget.jaxpr_peak(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_what_is_used_last_is_freed():
    x = np.zeros(1000, np.float32)

    def chain(x):
        for _ in range(10):
            x = jnp.sin(x)
        return x

    def kept(x):
        parts = [jnp.sin(x * i) for i in range(10)]
        return sum(parts)

    assert peak(chain, x) == 8000
    assert peak(kept, x) > 40_000


def test_nested_programs_are_entered():
    x = np.zeros((100, 10), np.float32)

    def inner(x):
        return (x @ jnp.ones((10, 1000))).sum()

    plain, nested = peak(inner, x), peak(jax.jit(inner), x)
    assert nested >= plain > 400_000


def test_memory_grows_with_slots_and_crops(model, seeds):
    def need(**settings):
        return memory_of(make_plan(model, seeds, LEVELS, **settings))

    few, many = need(slots=2), need(slots=8)
    assert few.fixed == many.fixed
    assert few.per_slot == pytest.approx(many.per_slot, rel=0.05)
    assert many.needed > 2 * few.needed - few.fixed
    crops, blocks = need(slots=2, crops=16), need(slots=2, crops=16, crops_at_once=2)
    assert crops.per_slot > 2 * blocks.per_slot


def test_the_estimate_holds_for_the_compiled_step(model, seeds):
    """Against the compiler's own count, in the right size."""
    plan = make_plan(model, seeds, LEVELS, slots=4, crops=8, devices=jax.devices()[:1])
    memory = memory_of(plan)
    shared, state = plan.shared(jax.random.key(0)), plan.engine.blank(4)
    lane = dry_run._lane_of(plan, 4)
    leaves, structure = jax.tree.flatten((shared, state, lane))

    def step(*leaves):
        arguments = jax.tree.unflatten(structure, leaves)
        return jax.tree.leaves(
            jax.vmap(plan.engine.step, in_axes=(None, 0, 0))(*arguments)
        )

    found = jax.jit(step).lower(*leaves).compile().memory_analysis()
    real = found.temp_size_in_bytes + found.argument_size_in_bytes
    assert 0.5 * real < memory.needed < 3 * real


def test_what_fits_is_left_alone_and_what_does_not_is_refused():
    memory = budget.Memory(fixed=100, per_slot=10, slots=5, available=150)
    budget.check_memory(memory, "device")
    tight = budget.Memory(fixed=100, per_slot=10, slots=6, available=150)
    with pytest.raises(InputError, match="take slots=5"):
        budget.check_memory(tight, "device")
    none = budget.Memory(fixed=100, per_slot=100, slots=1, available=150)
    with pytest.raises(InputError, match="not even one slot fits"):
        budget.check_memory(none, "device")
    budget.check_memory(budget.Memory(100, 100, 9, None), "device")  # it does not say


def test_this_machine_says_what_it_has():
    free = budget.available_bytes(jax.devices()[0])
    assert free is None or free > 2**20


@pytest.mark.parametrize(
    "route", [pytest.param("lanes", marks=pytest.mark.slow), "path"]
)
def test_an_estimate_counts_lanes_and_times_a_step(model, seeds, route):
    plan = make_plan(model, seeds, LEVELS, slots=2, crops=2, route=route, max_steps=20)
    found = estimate(plan)
    assert found.lanes == 2 * 3 * 3
    assert found.rows == {"lanes": 18, "path": 12}[route]
    assert found.step_seconds > 0
    assert found.disk > 1000
    assert found.seconds(20) == pytest.approx(
        20 * found.rows / plan.total_slots * found.step_seconds
    )
    text = str(found)
    for word in ("backbone passes", "memory per device", "disk", "time", "GFLOP"):
        assert word in text


def test_operations_of_products_and_convolutions_are_counted():
    x, kernel = np.zeros((2, 8, 8, 4), np.float32), np.zeros((3, 3, 2, 6), np.float32)

    def conv(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=2
        )

    traced = jax.make_jaxpr(jax.jit(conv))(x, kernel)
    assert budget.jaxpr_flops(traced.jaxpr) == 2 * (2 * 8 * 8 * 6) * (3 * 3 * 2)
