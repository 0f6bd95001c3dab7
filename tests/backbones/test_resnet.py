"""Activations of the ResNets against torch, stored and live; the bundled stem."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.backbones import checkpoint, layers
from paramctl_jax.backbones.families import resnet
from paramctl_jax.backbones.registry import spec_of
from tests.golden import make_resnet as golden
from tests.quick import jit

TOLERANCE = 1e-4  # max |difference| / max |value|, float32
DEFAULT = ("resnet18", "resnet50", "resnet50_v1")
NAMES = [
    pytest.param(name, marks=[] if name in DEFAULT else pytest.mark.slow)
    for name in golden.CASES
]


@functools.cache
def flax_outputs(name):
    """Every readout in torch's axis order, from weights under torchvision's names."""
    case = golden.CASES[name]
    module = spec_of(name).build()
    weights = golden.draw_weights(case)
    variables = checkpoint.load_variables(module, module, case.size, weights, "drawn")
    out = jit(module.apply)(variables, golden.draw_images(case))
    return {
        readout: np.moveaxis(np.asarray(value), -1, 1) for readout, value in out.items()
    }


@pytest.fixture(scope="module")
def stored():
    with np.load(golden.FIXTURE) as file:
        return dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_torchvisions(name):
    module = spec_of(name).build()
    needed = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    assert needed == golden.parameter_shapes(golden.CASES[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_stored_torch(name, stored):
    outputs = flax_outputs(name)
    blocks = sum(golden.CASES[name].layers)
    assert len(outputs) == blocks + 2
    assert {f"{name}/{readout}" for readout in outputs} == {
        key for key in stored if key.startswith(f"{name}/")
    }
    for readout, value in outputs.items():
        expected = stored[f"{name}/{readout}"]
        found = golden.summarise(readout, value)
        assert np.abs(found - expected).max() <= TOLERANCE * expected[0], readout


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_live_torch(name):
    pytest.importorskip("torch", reason="the live comparison needs torch")
    case = golden.CASES[name]
    expected = golden.torch_outputs(
        case, golden.draw_weights(case), golden.draw_images(case)
    )
    for readout, value in flax_outputs(name).items():
        reference = expected[readout]
        assert value.shape == reference.shape
        worst = np.abs(value - reference).max() / np.abs(reference).max()
        assert worst <= TOLERANCE, readout


@pytest.mark.slow
def test_fixture_tells_v1_from_torchvisions_stride(stored):
    # the two have equal names and shapes: only the numbers tell them apart
    case = golden.CASES["resnet50_v1"]
    module = spec_of("resnet50").build(through="layer2")
    complete = spec_of("resnet50").build()
    weights = golden.draw_weights(case)
    variables = checkpoint.load_variables(module, complete, 65, weights, "drawn")
    out = jit(module.apply)(variables, golden.draw_images(case))
    value = np.moveaxis(np.asarray(out["layer2.0"]), -1, 1)
    expected = stored["resnet50_v1/layer2.0"]
    found = golden.summarise("layer2.0", value)
    assert np.abs(found - expected).max() > 0.1 * expected[0]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10)])
def test_halving_convolution_is_the_strided_one(height, width):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, height, width, 3), np.float32)
    kernel = rng.standard_normal((4, 4, 3, 5), np.float32)
    found = resnet.HalvingConv(5).apply({"params": {"kernel": kernel}}, jnp.asarray(x))
    strided = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert found.shape == (2, height // 2, width // 2, 5)
    np.testing.assert_allclose(found, strided, rtol=1e-5, atol=1e-5)


def test_pooled_block_averages_pixel_groups_and_drops_the_odd_edge():
    x = jnp.arange(5 * 4, dtype=jnp.float32).reshape(1, 5, 4, 1)
    expected = np.array([[2.5, 4.5], [10.5, 12.5]])  # by hand; row 4 left out
    np.testing.assert_array_equal(layers.mean_pool(x)[0, :, :, 0], expected)


@pytest.mark.parametrize("through", resnet.STAGES)
def test_through_ends_the_network(through):
    module = resnet.small_resnet(width=4, classes=3, through=through)
    tree = jax.eval_shape(
        module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3), jnp.float32)
    )
    stage = resnet.STAGES.index(through) + 1
    blocks = {name for name in tree["params"] if name.startswith("layer")}
    assert blocks == {f"layer{i}.0" for i in range(1, min(stage, 4) + 1)}
    assert ("fc" in tree["params"]) == (through == "fc")


def test_training_mode_changes_no_variable_name():
    shape = jnp.zeros((2, 32, 32, 3), jnp.float32)
    trees = [
        jax.eval_shape(
            resnet.small_resnet(width=4, classes=3, train=train).init,
            jax.random.key(0),
            shape,
        )
        for train in (False, True)
    ]
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
