"""CLIP's ResNet, RegNetY and the wide ResNet against open_clip, timm, torchvision."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.backbones import checkpoint
from paramctl_jax.backbones.families import clip_resnet, regnet, resnet
from paramctl_jax.backbones.registry import spec_of
from tests.golden import make_clip_regnet as golden
from tests.quick import jit

TOLERANCE = 1e-4  # max |difference| / max |value|, float32
NARROW_CLIP: Any = functools.partial(
    clip_resnet.ClipResNet, layers=(1, 2, 1, 1), features=12, heads=8, width=16
)
NARROW_REGNET: Any = functools.partial(
    regnet.RegNet,
    layers=(1, 1, 3, 2),
    widths=(16, 32, 80, 168),
    group=8,
    stem=18,
    classes=10,
)
BUILD: dict[str, Any] = {
    "clip_narrow": NARROW_CLIP,
    "clip_resized": NARROW_CLIP,
    "wide_narrow": functools.partial(
        resnet.ResNet, layers=(1, 1, 1, 1), widening=2, classes=10
    ),
    "regnet_narrow": NARROW_REGNET,
    "resnet50_clip": spec_of("resnet50_clip").build,
    "regnety_640": spec_of("regnety_640").build,
    "wide_resnet50_2": spec_of("wide_resnet50_2").build,
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
def test_names_and_shapes_are_the_originals(name):
    needed = checkpoint.torch_shapes(checkpoint.shapes(BUILD[name](), 64))
    assert needed == golden.load(name)[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_the_stored_original(name):
    outputs = flax_outputs(name)
    expected = golden.load(name)[1]
    assert list(outputs) == list(expected)
    for readout, value in outputs.items():
        found = golden.summarise(readout, value)
        scale = expected[readout][0]
        assert np.abs(found - expected[readout]).max() <= TOLERANCE * scale, readout


@pytest.mark.parametrize("name", NAMES)
def test_every_readout_equals_the_live_original(name):
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


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        (name, stage)
        for name, stages in (
            ("clip_narrow", clip_resnet.STAGES),
            ("regnet_narrow", regnet.STAGES),
        )
        for stage in range(len(stages))
    ],
)
def test_through_ends_the_network(name, stage):
    stages = BUILD[name]().stages
    shapes = golden.load(name)[0]
    module = BUILD[name](through=stages[stage])
    needed = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    deeper = {key for key in shapes if key.startswith(stages[stage + 1 :])}
    assert needed.keys() == shapes.keys() - deeper
    assert module.stages == stages


@pytest.mark.parametrize(
    ("name", "through", "readouts"),
    [
        ("clip_resized", "layer3", ["layer1.0", "layer2.0", "layer2.1", "layer3.0"]),
        ("regnet_narrow", "s2", ["s1.b1", "s2.b1"]),
    ],
)
def test_through_gives_the_values_of_the_complete_network(name, through, readouts):
    complete = flax_outputs(name)
    out = run(name, through=through)
    assert list(out) == readouts
    for readout, value in out.items():
        np.testing.assert_allclose(value, complete[readout], rtol=1e-5, atol=1e-5)


def test_positions_of_the_own_grid_are_the_table():
    table = jnp.arange(10.0 * 3).reshape(10, 3)
    assert clip_resnet.resize_positions(table, 3, 3, 3) is table


@pytest.mark.parametrize(("height", "width"), [(2, 5), (1, 1), (6, 3)])
def test_resized_positions_keep_the_first_token_and_a_constant_grid(height, width):
    # bicubic weights of a pixel sum to one at every size, at the border too
    table = jnp.concatenate(
        [jnp.full((1, 2), 5.0), jnp.tile(jnp.array([3.0, -1.0]), (9, 1))]
    )
    found = clip_resnet.resize_positions(table, 3, height, width)
    assert found.shape == (1 + height * width, 2)
    np.testing.assert_allclose(found[0], 5.0)
    np.testing.assert_allclose(
        found[1:], np.tile([3.0, -1.0], (height * width, 1)), rtol=1e-6
    )


def fake_archive(tower):
    """A CLIP archive: the image tower under ``visual.`` and what lies beside it."""
    beside = {
        "positional_embedding": (77, 512),
        "text_projection": (512, 1024),
        "logit_scale": (),
        "input_resolution": (),
        "context_length": (),
        "vocab_size": (),
        "token_embedding.weight": (10, 512),
        "transformer.resblocks.0.attn.in_proj_weight": (6, 2),
        "transformer.resblocks.0.ln_1.weight": (2,),
        "ln_final.weight": (512,),
        "ln_final.bias": (512,),
    }
    image = {f"visual.{name}": tensor for name, tensor in tower.items()}
    return {name: np.zeros(shape, np.float16) for name, shape in beside.items()} | image


def test_openai_archive_gives_the_image_tower():
    shapes = golden.load("clip_narrow")[0]
    tower = golden.draw_weights(shapes, 0)
    found = clip_resnet.openai_layout(fake_archive(tower))
    assert found is not None
    assert found.keys() == tower.keys()
    assert all(found[name] is tensor for name, tensor in tower.items())


def test_openai_archive_keeps_unknown_names_for_the_loader_to_report():
    archive = fake_archive({"conv1.weight": np.zeros(1)}) | {"surprise": np.zeros(1)}
    found = clip_resnet.openai_layout(archive)
    assert found is not None
    assert found.keys() == {"conv1.weight", "surprise"}


@pytest.mark.parametrize("layout", spec_of("resnet50_clip").layouts)
def test_layouts_leave_other_files_alone(layout):
    assert layout(golden.draw_weights(golden.load("clip_narrow")[0], 0)) is None


def test_open_clip_state_dict_gives_the_image_tower():
    pytest.importorskip("torch")
    model = pytest.importorskip("open_clip.model")
    clip = model.CLIP(
        embed_dim=12,
        vision_cfg=model.CLIPVisionCfg(layers=(1, 2, 1, 1), width=8, image_size=224),
        text_cfg=model.CLIPTextCfg(vocab_size=9, width=16, heads=2, layers=1),
    )
    tensors = {
        name: tensor.numpy()
        for name, tensor in clip.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    found = clip_resnet.openai_layout(tensors)
    module = NARROW_CLIP(width=8, heads=4)
    assert found is not None
    needed = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    assert {name: tensor.shape for name, tensor in found.items()} == needed


def test_timm_names_become_openais():
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    weights = golden.draw_weights(golden.load("clip_narrow")[0], 0)
    model = golden.reference("clip_timm")
    translated = golden.timm_state(weights, model)
    names = {n for n in model.state_dict() if not n.endswith("num_batches_tracked")}
    assert translated.keys() == names
    found = clip_resnet.timm_layout(translated)
    assert found is not None
    assert found.keys() == weights.keys()
    assert all(found[name] is tensor for name, tensor in weights.items())


def test_timm_names_by_hand():
    names = {
        "stem.conv1.conv.weight": "conv1.weight",
        "stem.conv3.bn.running_var": "bn3.running_var",
        "stages.0.0.shortcut.conv.conv.weight": "layer1.0.downsample.0.weight",
        "stages.3.0.shortcut.conv.bn.bias": "layer4.0.downsample.1.bias",
        "stages.2.5.conv2_kxk.bn.running_mean": "layer3.5.bn2.running_mean",
        "stages.1.3.conv3_1x1.conv.weight": "layer2.3.conv3.weight",
        "head.pos_embed": "attnpool.positional_embedding",
        "head.proj.bias": "attnpool.c_proj.bias",
        "head.k.weight": "attnpool.k_proj.weight",
    }
    found = clip_resnet.timm_layout(dict.fromkeys(names, np.zeros(1)))
    assert found is not None
    assert list(found) == list(names.values())


def test_through_avgpool_leaves_out_the_head_alone():
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    found = [
        jax.eval_shape(module.init_with_output, jax.random.key(0), image)[0]
        for module in (
            NARROW_REGNET(through="avgpool"),
            NARROW_REGNET(classes=0),
            NARROW_REGNET(),
        )
    ]
    assert found[0] == found[1]
    assert found[2].keys() - found[0].keys() == {"head.fc"}
    assert found[0]["avgpool"].shape == (1, 168)


def test_without_classes_there_is_no_head():
    shapes = golden.load("regnet_narrow")[0]
    module = NARROW_REGNET(classes=0)
    needed = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    assert shapes.keys() - needed.keys() == {"head.fc.weight", "head.fc.bias"}
    assert module.stages == ("s1", "s2", "s3", "s4", "avgpool")
