"""DenseNet, AlexNet and VGG against torchvision, stored and live; their layouts."""

import dataclasses
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.backbones import checkpoint
from paramctl_jax.backbones.families import alexnet, densenet, vgg
from paramctl_jax.types import InputError
from tests.golden import make_convnets as golden
from tests.quick import jit

TOLERANCE = 1e-4  # max |difference| / max |value|, float32
NARROW = ("densenet_narrow", "alexnet_narrow", "alexnet_v2_narrow", "vgg16_narrow")
NAMES = [
    pytest.param(name, marks=[] if name in NARROW else pytest.mark.slow)
    for name in golden.CASES
]
LAYERS = {
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}


def narrow(build):
    """The same chain of layers with a fraction of the channels."""
    module, by = build(), golden.DIVISOR
    features = tuple(
        dataclasses.replace(layer, channels=layer.channels // by)
        if isinstance(layer, alexnet.Conv)
        else layer
        for layer in module.features
    )
    head = dataclasses.replace(module.head, hidden=module.head.hidden // by)
    return partial(build, features=features, head=head, classes=module.classes // by)


BUILD = {
    **{
        name: spec.build
        for family in (densenet, alexnet, vgg)
        for name, spec in family.SPECS.items()
    },
    "densenet_narrow": partial(
        densenet.DenseNet,
        layers=golden.NARROW_DENSENET["block_config"],
        growth=golden.NARROW_DENSENET["growth_rate"],
        stem=golden.NARROW_STEM,
        classes=golden.NARROW_DENSENET["num_classes"],
    ),
    "alexnet_narrow": narrow(alexnet.alexnet),
    "alexnet_v2_narrow": narrow(alexnet.alexnet_v2),
    "vgg16_narrow": narrow(vgg.vgg16),
}


@functools.cache
def drawn(name):
    case = golden.CASES[name]
    weights = golden.draw_weights(case, golden.stored_shapes(name))
    return weights, golden.draw_images(case)


def filled(name, module):
    size = golden.CASES[name].size
    complete = BUILD[name]()
    return checkpoint.load_variables(module, complete, size, drawn(name)[0], "drawn")


@functools.cache
def flax_outputs(name):
    """Every readout in torch's axis order, from weights under torch's names."""
    module = BUILD[name]()
    out = jit(module.apply)(filled(name, module), drawn(name)[1])
    return {
        readout: np.moveaxis(np.asarray(value), -1, 1) for readout, value in out.items()
    }


def in_order(name):
    """The readouts first to last; jit sorts them."""
    names, module = [], BUILD[name]()

    def record(variables, images):
        names.extend(module.apply(variables, images))

    jax.eval_shape(record, filled(name, module), drawn(name)[1])
    return names


@pytest.fixture(scope="module", autouse=True)
def _forget_drawn_weights():
    """VGG-16's take half a gigabyte."""
    yield
    drawn.cache_clear()
    flax_outputs.cache_clear()


@pytest.fixture(scope="module")
def stored():
    with np.load(golden.FIXTURE) as file:
        return dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_the_originals(name):
    wanted = checkpoint.shapes(BUILD[name](), golden.CASES[name].size)
    assert checkpoint.torch_shapes(wanted) == golden.stored_shapes(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_stored_torch(name, stored):
    outputs = flax_outputs(name)
    assert {f"{name}/{readout}" for readout in outputs} == {
        key for key in stored if key.startswith(f"{name}/") and "shapes" not in key
    }
    for readout, value in outputs.items():
        expected = stored[f"{name}/{readout}"]
        found = golden.summarise(readout, value)
        assert np.abs(found - expected).max() <= TOLERANCE * expected[0], readout


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_live_torch(name):
    pytest.importorskip("torchvision", reason="the live comparison needs torchvision")
    case = golden.CASES[name]
    assert golden.torch_shapes(case) == golden.stored_shapes(name)
    expected = golden.torch_outputs(case, *drawn(name))
    outputs = flax_outputs(name)
    assert outputs.keys() == expected.keys()
    for readout, value in outputs.items():
        reference = expected[readout]
        assert value.shape == reference.shape, readout
        worst = np.abs(value - reference).max() / np.abs(reference).max()
        assert worst <= TOLERANCE, readout


@pytest.mark.parametrize("name", NARROW)
def test_through_ends_the_network_and_changes_no_value(name):
    complete, stages = flax_outputs(name), BUILD[name]().stages
    readouts = in_order(name)
    assert stages[-1] == readouts[-1]
    for stage in (stages[1], stages[len(stages) // 2]):
        ending = BUILD[name](through=stage)
        variables = filled(name, ending)
        assert len(jax.tree.leaves(variables)) < len(golden.stored_shapes(name))
        out = jit(ending.apply)(variables, drawn(name)[1])
        assert set(out) == set(readouts[: readouts.index(stage) + 1])
        value = np.moveaxis(np.asarray(out[stage]), -1, 1)
        difference = np.abs(value - complete[stage]).max()
        assert difference <= 1e-6 * np.abs(value).max()


@pytest.mark.parametrize(
    ("height", "width", "side"), [(4, 9, 6), (5, 13, 7), (1, 2, 7), (7, 7, 7)]
)
def test_adaptive_pool_is_torchs(height, width, side):
    torch = pytest.importorskip("torch", reason="the live comparison needs torch")
    x = np.random.default_rng(0).standard_normal((2, height, width, 3), np.float32)
    expected = torch.nn.AdaptiveAvgPool2d(side)(torch.from_numpy(x).permute(0, 3, 1, 2))
    found = alexnet.adaptive_mean_pool(jnp.asarray(x), side)
    np.testing.assert_allclose(
        np.moveaxis(np.asarray(found), -1, 1), expected.numpy(), atol=1e-6
    )


def test_adaptive_pool_overlaps_its_bins():
    # by hand: 5 pixels in 2 bins are pixels 0-2 and 2-4; 1 pixel in 2 bins is repeated
    x = jnp.asarray([1.0, 2.0, 6.0, 10.0, 20.0], jnp.float32).reshape(1, 1, 5, 1)
    found = alexnet.adaptive_mean_pool(x, 2)[0, :, :, 0]
    np.testing.assert_allclose(found, [[3.0, 12.0], [3.0, 12.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "side"),
    [("AlexNet_training_seed_01", 194), ("alexnet", 62), ("vgg16", 31)],
)
def test_images_that_leave_nothing_are_refused(name, side):
    with pytest.raises(InputError, match="pixels leave nothing at"):
        checkpoint.shapes(BUILD[name](), side)
    assert checkpoint.shapes(BUILD[name](), side + 1)


def test_published_densenet_files_index_their_layers():
    # download.pytorch.org: denselayer1.norm.1.weight, denselayer1.conv.2.weight
    weights, _ = drawn("densenet_narrow")
    published = {
        key.replace("norm1", "norm.1")
        .replace("norm2", "norm.2")
        .replace("conv1", "conv.1")
        .replace("conv2", "conv.2"): tensor
        for key, tensor in weights.items()
    }
    assert "features.denseblock2.denselayer3.norm.2.running_var" in published
    found = densenet.from_indexed(published)
    assert found is not None
    assert found.keys() == weights.keys()
    assert all(found[key] is weights[key] for key in weights)
    assert densenet.from_indexed(weights) is None


def keras_shapes(layers, stem, head):
    """Names and shapes of tf.keras.applications' DenseNets, from its layer names."""
    shapes = {}

    def norm(name, channels):
        for leaf in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{name}|{leaf}"] = (channels,)

    shapes[f"{stem}conv|kernel"] = (7, 7, 3, 64)
    norm(f"{stem}bn", 64)
    channels = 64
    for block, count in enumerate(layers, start=2):
        for number in range(1, count + 1):
            layer = f"conv{block}_block{number}"
            norm(f"{layer}_0_bn", channels)
            shapes[f"{layer}_1_conv|kernel"] = (1, 1, channels, 128)
            norm(f"{layer}_1_bn", 128)
            shapes[f"{layer}_2_conv|kernel"] = (3, 3, 128, 32)
            channels += 32
        if block < len(layers) + 1:
            norm(f"pool{block}_bn", channels)
            shapes[f"pool{block}_conv|kernel"] = (1, 1, channels, channels // 2)
            channels //= 2
    norm("bn", channels)
    shapes[f"{head}|kernel"], shapes[f"{head}|bias"] = (channels, 1000), (1000,)
    return shapes


@pytest.mark.parametrize(
    ("name", "stem", "head"),
    [
        ("densenet121", "conv1|", "fc1000"),
        ("densenet169", "conv1|", "fc1000"),
        ("densenet201", "conv1_", "predictions"),
    ],
)
def test_keras_names_become_torchvisions(name, stem, head):
    shapes = keras_shapes(LAYERS[name], stem, head)
    tensors = {key: np.broadcast_to(np.float32(0), s) for key, s in shapes.items()}
    found = densenet.from_keras(tensors)
    assert found is not None
    assert {key: tensor.shape for key, tensor in found.items()} == (
        golden.stored_shapes(name)
    )


def test_keras_tensors_are_transposed_and_their_epsilon_folded():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, 3, 4, 5), np.float32)
    variance = rng.uniform(0, 1e-5, 4).astype(np.float32)
    found = densenet.from_keras(
        {
            "conv3_block7_2_conv/kernel": kernel,
            "conv2_block1_0_bn/gamma": np.ones(4, np.float32),
            "conv2_block1_0_bn/moving_variance": variance,
            "fc1000/kernel": kernel[0, 0],
            "what/else": kernel,
        }
    )
    assert found is not None
    conv = found["features.denseblock2.denselayer7.conv2.weight"]
    assert conv.shape == (5, 4, 3, 3)
    assert conv[2, 1, 0, 2] == kernel[0, 2, 1, 2]
    np.testing.assert_array_equal(found["classifier.weight"], kernel[0, 0].T)
    folded = found["features.denseblock1.denselayer1.norm1.running_var"]
    assert folded.dtype == np.float32
    np.testing.assert_allclose(folded + 1e-5, variance + 1.001e-5, rtol=1e-6)
    assert not np.allclose(variance + 1e-5, variance + 1.001e-5, rtol=3e-4, atol=0)
    assert found["what/else"] is kernel  # left for the loader to name
    assert densenet.from_keras({"features.conv0.weight": kernel}) is None
