"""Convolution and pooling as matrix products equal XLA's own; passes in bfloat16."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.backbones import convolution, layers
from paramctl_jax.backbones.convolution import convolve, library
from paramctl_jax.backbones.families import alexnet, densenet, resnet, vit
from paramctl_jax.backbones.precision import low_precision
from tests.quick import jit

# (kernel, stride, padding), every stride and three paddings with every kernel
GRID = [
    (size, stride, padding)
    for size in (1, 2, 3, 4, 5, 7, 11)
    for stride, padding in ((1, size // 2), (2, 0), (2, size - 1), (4, size // 3))
]
SMALL = {
    "basic": resnet.small_resnet(width=4, classes=3),
    "bottleneck": resnet.ResNet((1, 1, 1, 1), width=4, classes=3),
    "densenet": densenet.DenseNet((2, 1), growth=4, stem=4, classes=3),
    "alexnet": alexnet.alexnet(classes=3),
    "vgg": alexnet.PlainNet(
        (alexnet.Conv(4, 3, pad=1), alexnet.MaxPool(2, 2)),
        alexnet.Head(pool=7, indices=(0, 3, 6), hidden=8),
        classes=3,
    ),
    **{
        name: build(patch=16, width=16, depth=1, heads=2)
        for name, build in {
            "clip": vit.clip_vitb32,
            "dinov2": vit.dinov2_vitb14_reg,
            "siglip2": vit.siglip2_vitb16,
            "radio": vit.radio_b,
        }.items()
    },
}


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def pull_back(f, arguments):
    """A function's value, and its gradients for a cotangent that is no constant."""
    y, transpose = jax.vjp(f, *arguments)
    cotangent = jnp.sin(1 + jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
    return y, *transpose(cotangent.astype(y.dtype))


@functools.partial(jit, static_argnums=0)
def pull_back_all(functions, arguments):
    return [pull_back(f, arguments) for f in functions]


def assert_equal(f, reference, *arguments):
    found, expected = pull_back_all((f, reference), arguments)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        worst = np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())
        assert worst < 1e-5


def settings(function, *numbers):
    return lambda x, kernel: function(x, kernel, *numbers)


@pytest.mark.parametrize(("size", "stride", "padding"), GRID)
def test_products_are_the_convolution(size, stride, padding):
    odd = (size + stride + padding) % 2  # so that all sides and widths meet
    height, width = (13, 12) if odd else (12, 15)
    channels, features = (2, 5) if stride % 4 else (5, 3)
    x = normal(0, 2, height, width, channels)
    kernel = normal(1, size, size, channels, features)
    assert convolution.as_products(x, kernel, stride, padding, 1)
    ours = settings(convolve, stride, padding, 1)
    assert_equal(ours, settings(library, stride, padding, 1), x, kernel)


@pytest.mark.parametrize(
    "split", [((1, 2), ()), ((2,), (1,)), ((1,), (2,)), ((), (1, 2))]
)
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_every_split_of_the_taps_is_the_convolution(split, padding, monkeypatch):
    monkeypatch.setattr(convolution, "_split", lambda x, kernel: split)
    assert_equal(
        settings(convolve, 1, padding),
        settings(library, 1, padding, 1),
        normal(0, 2, 6, 5, 3),
        normal(1, 3, 3, 3, 4),
    )


def test_large_maps_add_and_small_ones_gather():
    kernel = jnp.zeros((3, 3, 64, 64))
    assert convolution._split(jnp.zeros((4, 28, 28, 64)), kernel) == ((2,), (1,))
    assert convolution._split(jnp.zeros((1, 4, 4, 64)), kernel) == ((1, 2), ())


def test_grouped_and_huge_ones_are_left_to_the_library(monkeypatch):
    x, kernel = normal(0, 1, 6, 6, 4), normal(1, 3, 3, 2, 6)
    assert not convolution.as_products(x, kernel, 1, 1, 2)
    assert_equal(settings(convolve, 1, 1, 2), settings(library, 1, 1, 2), x, kernel)
    vgg = jnp.zeros((1, 224, 224, 64))
    assert not convolution.as_products(vgg, jnp.zeros((3, 3, 64, 64)), 1, 1, 1)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not convolution.as_products(x, jnp.zeros((3, 3, 4, 4)), 1, 1, 1)


def test_layer_has_the_parameters_of_flax():
    x = normal(0, 2, 9, 9, 4)
    ours = layers.conv(6, 3, 2, groups=2, bias=True, name="conv")
    theirs = nn.Conv(
        6,
        (3, 3),
        strides=2,
        padding=1,
        feature_group_count=2,
        kernel_init=nn.initializers.he_normal(),
        name="conv",
    )
    variables = ours.init(jax.random.key(0), x)
    jax.tree.map(
        np.testing.assert_array_equal, variables, theirs.init(jax.random.key(0), x)
    )
    variables["params"]["bias"] = normal(1, 6)
    np.testing.assert_allclose(
        ours.apply(variables, x), theirs.apply(variables, x), atol=1e-5
    )


@pytest.mark.parametrize("values", ["distinct", "tied"])
@pytest.mark.parametrize(
    "window", [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)]
)
def test_max_pool_is_the_librarys_ties_included(window, values):
    size, stride, pad = window
    x = normal(0, 2, 12, 13, 3)
    x = x if values == "distinct" else jnp.round(x)
    assert_equal(
        lambda x: layers.max_pool(x, size, stride, pad),
        lambda x: nn.max_pool(
            x, (size, size), (stride, stride), ((pad, pad), (pad, pad))
        ),
        x,
    )


def traced(name, dtype):
    """The whole pass as a jaxpr: every readout and the gradient of the image."""
    shape = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    variables = jax.eval_shape(SMALL[name].init, jax.random.key(0), shape)
    if dtype == jnp.bfloat16:
        variables = jax.eval_shape(low_precision, variables)

    def both(variables, x):
        out, transpose = jax.vjp(lambda x: SMALL[name].apply(variables, x), x)
        return out, transpose(out)

    image = jax.ShapeDtypeStruct((2, 64, 64, 3), dtype)
    return jax.make_jaxpr(both)(variables, image)


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            if inner := getattr(
                value, "jaxpr", value if hasattr(value, "eqns") else None
            ):
                yield from equations(inner)


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_stays_bfloat16(name):
    program = traced(name, jnp.bfloat16)
    assert {str(leaf.dtype) for leaf in program.out_avals} == {"bfloat16"}
    products = [
        e for e in equations(program.jaxpr) if e.primitive.name == "dot_general"
    ]
    assert products
    for product in products:
        assert {str(v.aval.dtype) for v in product.invars} == {"bfloat16"}


def test_low_precision_casts_floating_leaves_alone():
    tree = {"a": jnp.ones(2), "b": {"n": jnp.arange(3)}}
    cast = jax.jit(low_precision)(tree)
    assert cast["a"].dtype == jnp.bfloat16
    assert cast["b"]["n"].dtype == tree["b"]["n"].dtype


@pytest.mark.parametrize("name", ["basic", "bottleneck"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_pass_on_cpu_holds_no_convolution(name, dtype):
    # inside lax.scan XLA's CPU runs one ten times slower than outside
    names = {e.primitive.name for e in equations(traced(name, dtype).jaxpr)}
    assert "dot_general" in names
    assert not names & {
        "conv_general_dilated",
        "reduce_window_max",
        "select_and_scatter_add",
    }


def test_a_network_is_unchanged(monkeypatch):
    module = SMALL["bottleneck"].clone(through="layer2")
    image = normal(0, 2, 33, 33, 3)
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)
    leaves, tree = jax.tree.flatten(shapes)
    drawn = [
        normal(i, *leaf.shape) / np.float32(np.sqrt(leaf.size / leaf.shape[-1]))
        if len(leaf.shape) == 4
        else 0.5 + jnp.abs(normal(i, *leaf.shape))
        for i, leaf in enumerate(leaves)
    ]
    variables = jax.tree.unflatten(tree, drawn)
    ours = jit(lambda x: module.apply(variables, x))(image)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    theirs = jit(lambda x: module.apply(variables, x))(image)
    for readout, value in theirs.items():
        worst = np.abs(ours[readout] - value).max() / np.abs(value).max()
        assert worst < 1e-5, readout
