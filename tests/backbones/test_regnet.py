"""RegNetY against timm, stored and live."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

from paramctl_jax.backbones import checkpoint
from paramctl_jax.backbones.families import regnet
from paramctl_jax.backbones.registry import spec_of
from tests.golden import make_clip_regnet as golden
from tests.quick import jit

TOLERANCE = 1e-4  # max |difference| / max |value|, float32
NARROW: Any = functools.partial(
    regnet.RegNet,
    layers=(1, 1, 3, 2),
    widths=(16, 32, 80, 168),
    group=8,
    stem=18,
    classes=10,
)
BUILD: dict[str, Any] = {
    "regnet_narrow": NARROW,
    "regnety_640": spec_of("regnety_640").build,
}
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name in golden.FULL_SIZE else [])
    for name in BUILD
]


def run(name, **kwargs):
    """Readouts in the module's order and torch's axes, from the original's weights."""
    case = golden.CASES[name]
    weights = golden.draw_weights(golden.load(name)[0], case.seed)
    module, complete = BUILD[name](**kwargs), BUILD[name]()
    variables = checkpoint.load_variables(module, complete, 64, weights, "drawn")
    order = []

    @jit  # which sorts the readouts
    def apply(variables, images):
        out = module.apply(variables, images)
        order.extend(out)
        return out

    out = apply(variables, golden.draw_images(case))
    return {readout: np.moveaxis(np.asarray(out[readout]), -1, 1) for readout in order}


flax_outputs = functools.cache(run)


@pytest.mark.parametrize("name", BUILD)
def test_names_and_shapes_are_timms(name):
    needed = checkpoint.torch_shapes(checkpoint.shapes(BUILD[name](), 64))
    assert needed == golden.load(name)[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_stored_timm(name):
    outputs = flax_outputs(name)
    expected = golden.load(name)[1]
    assert list(outputs) == list(expected)
    for readout, value in outputs.items():
        found = golden.summarise(readout, value)
        scale = expected[readout][0]
        assert np.abs(found - expected[readout]).max() <= TOLERANCE * scale, readout


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_live_timm(name):
    for package in ("torch", "torchvision", "timm", "open_clip"):
        pytest.importorskip(package, reason="the live comparison needs it")
    case = golden.CASES[name]
    weights = golden.draw_weights(golden.names_and_shapes(case), case.seed)
    expected = golden.torch_outputs(case, weights, golden.draw_images(case))
    outputs = flax_outputs(name)
    assert list(outputs) == list(expected)
    for readout, value in outputs.items():
        reference = expected[readout]
        assert value.shape == reference.shape
        worst = np.abs(value - reference).max() / np.abs(reference).max()
        assert worst <= TOLERANCE, readout


@pytest.mark.parametrize("stage", range(len(regnet.STAGES)))
def test_through_ends_the_network(stage):
    stages = regnet.STAGES
    shapes = golden.load("regnet_narrow")[0]
    module = NARROW(through=stages[stage])
    needed = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    deeper = {name for name in shapes if name.startswith(stages[stage + 1 :])}
    assert needed.keys() == shapes.keys() - deeper
    assert module.stages == stages


def test_through_gives_the_values_of_the_complete_network():
    complete = flax_outputs("regnet_narrow")
    out = run("regnet_narrow", through="s2")
    assert list(out) == ["s1.b1", "s2.b1"]
    for readout, value in out.items():
        np.testing.assert_allclose(value, complete[readout], rtol=1e-5, atol=1e-5)


def test_through_avgpool_leaves_out_the_head_alone():
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    found = [
        jax.eval_shape(module.init_with_output, jax.random.key(0), image)[0]
        for module in (NARROW(through="avgpool"), NARROW(classes=0), NARROW())
    ]
    assert found[0] == found[1]
    assert found[2].keys() - found[0].keys() == {"head.fc"}
    assert found[0]["avgpool"].shape == (1, 168)


def test_without_classes_there_is_no_head():
    shapes = golden.load("regnet_narrow")[0]
    module = NARROW(classes=0)
    needed = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    assert shapes.keys() - needed.keys() == {"head.fc.weight", "head.fc.bias"}
    assert module.stages == ("s1", "s2", "s3", "s4", "avgpool")
