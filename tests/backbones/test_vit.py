"""Parity of the vision transformers with open_clip, timm and RADIO's public source."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.backbones import checkpoint
from paramctl_jax.backbones.families import vit, vit_layers, vit_layouts
from paramctl_jax.backbones.registry import spec_of
from paramctl_jax.types import InputError
from tests.golden import make_vit as golden
from tests.quick import jit

TOLERANCE = 1e-4  # max |difference| / max |value|, float32


def params(pairs):
    """Narrow networks by default, the registered ones when asked for."""
    return [
        pytest.param(
            *pair, marks=[] if golden.CASES[pair[0]].narrow else pytest.mark.slow
        )
        for pair in pairs
    ]


SIZED = params((name, size) for name, c in golden.CASES.items() for size in c.sizes)
NARROW = [name for name, case in golden.CASES.items() if case.narrow]
START = {"patch_embed.proj", "cls_token", "reg_token", "pos_embed", "norm_pre"}


@pytest.fixture(scope="module")
def stored():
    with np.load(golden.FIXTURE) as file:
        return dict(file)


@functools.cache
def published_shapes(name):
    with np.load(golden.FIXTURE) as file:
        return {
            k: tuple(v) for k, v in json.loads(file[f"{name}/shapes"].tobytes()).items()
        }


def build(name, **settings):
    case = golden.CASES[name]
    return spec_of(case.member).build(**case.overrides, **settings)


def translated(name, tensors):
    (layout,) = spec_of(golden.CASES[name].member).layouts
    found = layout(tensors)
    assert found is not None
    return found


def variables_of(name, module):
    """Drawn weights, from the publisher's names into Flax variables."""
    case = golden.CASES[name]
    weights = golden.draw_weights(published_shapes(name), case.seed)
    size = case.native * case.patch
    return checkpoint.load_variables(
        module, build(name), size, translated(name, weights), "drawn"
    )


@functools.lru_cache(maxsize=1)
def drawn(name):
    return variables_of(name, build(name))


@functools.cache
def flax_outputs(name, size):
    images = golden.draw_images(golden.CASES[name], size)
    out = jit(build(name).apply)(drawn(name), images)
    return {readout: np.asarray(value) for readout, value in out.items()}


@pytest.mark.parametrize("name", golden.CASES)
def test_names_and_shapes_are_the_publishers(name):
    case = golden.CASES[name]
    shapes = published_shapes(name)
    tensors = translated(name, {k: np.zeros(v, np.float16) for k, v in shapes.items()})
    needed = checkpoint.torch_shapes(
        checkpoint.shapes(build(name), case.native * case.patch)
    )
    assert {key: tensor.shape for key, tensor in tensors.items()} == needed


@pytest.mark.parametrize(("name", "size"), SIZED)
def test_every_readout_equals_stored_torch(name, size, stored):
    outputs = flax_outputs(name, size)
    prefix = f"{name}/{size[0]}x{size[1]}/"
    assert {prefix + readout for readout in outputs} == {
        key for key in stored if key.startswith(prefix)
    }
    for readout, value in outputs.items():
        expected = stored[prefix + readout]
        found = golden.summarise(readout, value)
        assert np.abs(found - expected).max() <= TOLERANCE * expected[0], readout


@functools.lru_cache(maxsize=1)
def torch_network(name):
    case = golden.CASES[name]
    network = golden.reference(case)
    golden.load(case, network, golden.draw_weights(published_shapes(name), case.seed))
    return network


@pytest.mark.parametrize(("name", "size"), SIZED)
def test_every_readout_equals_live_torch(name, size):
    pytest.importorskip("timm", reason="the live comparison needs timm")
    pytest.importorskip("open_clip", reason="the live comparison needs open_clip")
    case = golden.CASES[name]
    images = golden.draw_images(case, size)
    expected = golden.torch_outputs(case, torch_network(name), images)
    outputs = flax_outputs(name, size)
    assert outputs.keys() == expected.keys()
    for readout, value in outputs.items():
        reference = expected[readout]
        assert value.shape == reference.shape
        worst = np.abs(value - reference).max() / np.abs(reference).max()
        assert worst <= TOLERANCE, readout


@pytest.mark.parametrize(
    ("name", "timm_name"),
    [
        ("clip_vitb32", "vit_base_patch32_clip_quickgelu_224.openai"),
        ("dinov2_vitb14_reg", "vit_base_patch14_reg4_dinov2.lvd142m"),
        ("siglip2_vitb16", "vit_base_patch16_siglip_224.v2_webli"),
    ],
)
def test_timms_own_names_need_no_layout(name, timm_name):
    timm = pytest.importorskip("timm", reason="compares with timm's names")
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        network = timm.create_model(timm_name)
    state = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    tensors = {key: np.zeros(shape, np.float16) for key, shape in state.items()}
    spec = spec_of(name)
    assert state == checkpoint.torch_shapes(checkpoint.shapes(spec.build(), 224))
    assert spec.mean == network.pretrained_cfg["mean"]
    assert spec.std == network.pretrained_cfg["std"]
    assert all(layout(tensors) is None for layout in spec.layouts)


def test_radio_has_the_published_number_of_parameters():
    # 98 233 353 entries in nvidia/RADIO-B (as listed by the MTEB benchmark), of which
    # nine are the mean, the standard deviation and the three indices of the summary
    shapes = checkpoint.torch_shapes(
        checkpoint.shapes(spec_of("radio_v2.5-b").build(), 224)
    )
    assert sum(np.prod(shape) for shape in shapes.values()) == 98_233_353 - 9
    out = jax.eval_shape(
        lambda x: (
            spec_of("radio_v2.5-b").build().init_with_output(jax.random.key(0), x)
        ),
        jnp.zeros((1, 224, 224, 3)),
    )[0]
    assert out["summary"].shape == (1, 2304)
    assert out["blocks.0"].shape == (1, 8 + 14 * 14, 768)


def test_fixture_tells_the_activations_apart(stored):
    # CLIP and CLIPAG have equal names and shapes: only the numbers tell them apart
    quick, exact = (stored[f"{name}/36x36/head"] for name in ("clip", "clipag"))
    assert np.abs(quick - exact).max() > 10 * TOLERANCE * exact[0]


@pytest.mark.parametrize("name", NARROW)
def test_through_builds_no_later_parameter(name):
    case = golden.CASES[name]
    size = case.native * case.patch
    stages = build(name).stages
    left = set(checkpoint.shapes(build(name), size))
    for index in reversed(range(len(stages))):
        module = build(name, through=stages[index])
        assert set(checkpoint.shapes(module, size)) == left
        own = {key for key in left if key.startswith(f"{stages[index]}.")}
        # RADIO's summary and DINOv2's head are choices of tokens
        assert own or (name, stages[index]) in {
            ("radio", "summary"),
            ("dinov2", "head"),
        }
        left -= own
    assert {key.removesuffix(".weight").removesuffix(".bias") for key in left} <= START


@pytest.mark.parametrize("name", ["dinov2", "siglip2"])
@pytest.mark.parametrize("stage", ["blocks.0", "norm"])
def test_through_changes_no_value(name, stage):
    case = golden.CASES[name]
    complete = flax_outputs(name, case.sizes[0])
    module = build(name, through=stage)
    images = golden.draw_images(case, case.sizes[0])
    out = jit(module.apply)(variables_of(name, module), images)
    blocks = case.depth if stage == "norm" else 1
    per_block = 2 if name == "siglip2" else 4
    assert len(out) == per_block * blocks + (stage == "norm")
    for readout, value in out.items():
        np.testing.assert_allclose(value, complete[readout], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("native", "rows", "columns", "rule"),
    [
        (37, 16, 16, "bicubic"),
        (37, 7, 7, "bicubic"),
        (37, 9, 9, "bicubic"),
        (14, 14, 14, "bicubic"),
        (14, 20, 20, "bicubic"),
        (7, 6, 11, "bicubic"),
        (128, 14, 14, "aligned"),
        (128, 7, 5, "aligned"),
        (128, 1, 1, "aligned"),
        (8, 11, 11, "aligned"),
    ],
)
def test_positions_are_resampled_as_by_torch(native, rows, columns, rule):
    torch = pytest.importorskip("torch", reason="compares with torch's interpolate")
    grid = np.random.default_rng(0).standard_normal((native, native, 3), np.float32)
    x = torch.from_numpy(grid).permute(2, 0, 1)[None]
    resize = torch.nn.functional.interpolate
    if rule == "bicubic":
        x = resize(x, (rows, columns), mode="bicubic", antialias=True)
    else:
        x = resize(x, (max(rows, columns),) * 2, mode="bilinear", align_corners=True)
    expected = x[0].permute(1, 2, 0).numpy()[:rows, :columns]
    found = vit_layers.resample(jnp.asarray(grid), rows, columns, rule)
    # torch's own positions between 128 points are that coarse in float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("rule", ["bicubic", "aligned"])
def test_positions_on_their_own_grid_are_untouched(rule):
    grid = np.random.default_rng(0).standard_normal((5, 5, 2), np.float32)
    found = vit_layers.resample(jnp.asarray(grid), 5, 5, rule)
    np.testing.assert_array_equal(found, grid)


def test_aligned_positions_keep_the_corners_of_a_ramp():
    row, column = np.mgrid[:9, :9].astype(np.float32)
    grid = jnp.asarray(np.stack([row, column], axis=-1))
    found = vit_layers.resample(grid, 3, 5, "aligned")
    # onto 5 x 5 with the corners kept, every 2nd point; then the upper three rows
    np.testing.assert_array_equal(found, np.asarray(grid)[:5:2, ::2])


def test_patches_are_a_strided_convolution():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 8, 12, 3), np.float32))
    kernel = jnp.asarray(rng.standard_normal((4, 4, 3, 5), np.float32))
    bias = jnp.asarray(rng.standard_normal((1, 1, 1, 5), np.float32))
    variables = {"params": {"kernel": kernel, "bias": bias.ravel()}}
    found = np.asarray(vit_layers.PatchEmbed(4, 5, True).apply(variables, x))
    expected = bias + jax.lax.conv_general_dilated(
        x, kernel, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(30, 32), (32, 30)])
def test_a_part_of_a_patch_is_an_error(size):
    with pytest.raises(
        InputError, match=f"patch of 4 pixels, found {size[0]}x{size[1]}"
    ):
        build("clip").apply(drawn("clip"), jnp.zeros((1, *size, 3)))


# --- layouts: what stands beside the vision tower


def published(name):
    return golden.draw_weights(published_shapes(name), golden.CASES[name].seed)


def assert_equal_tensors(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)


def one(*names):
    return {name: np.ones(3, np.float32) for name in names}


CLIP_TEXT = one(
    "positional_embedding",
    "text_projection",
    "logit_scale",
    "token_embedding.weight",
    "ln_final.weight",
    "transformer.resblocks.0.ln_1.weight",
)
JIT_SETTINGS = one("input_resolution", "context_length", "vocab_size")


@pytest.mark.parametrize("beside", [CLIP_TEXT, CLIP_TEXT | JIT_SETTINGS])
def test_clips_text_tower_is_left_out(beside):
    expected = translated("clip", published("clip"))
    assert_equal_tensors(translated("clip", published("clip") | beside), expected)
    tower = {n.removeprefix("visual."): t for n, t in published("clip").items()}
    assert_equal_tensors(translated("clip", tower), expected)


def test_open_clips_text_tower_is_left_out():
    beside = one("logit_scale", "logit_bias", "text.token_embedding.weight")
    expected = translated("siglip2", published("siglip2"))
    found = translated("siglip2", published("siglip2") | beside)
    assert_equal_tensors(found, expected)


RADIO_BESIDE = {
    "input_conditioner.norm_mean": np.array(vit.CLIP_MEAN, np.float32).reshape(3, 1, 1),
    "input_conditioner.norm_std": np.array(vit.CLIP_STD, np.float16).reshape(3, 1, 1),
}


@pytest.mark.parametrize("prefix", ["base_model.", "radio_model.model.", "model.", ""])
def test_radios_wrappers_and_heads_are_left_out(prefix):
    tensors = {
        name.replace("base_model.", prefix, 1): tensor
        for name, tensor in published("radio").items()
    }
    outer = "radio_model." if prefix.startswith("radio_model.") else ""
    beside = RADIO_BESIDE | {"summary_idxs": np.arange(3)}
    tensors |= {outer + name: tensor for name, tensor in beside.items()}
    tensors |= one("_heads.0.fc1.weight", "_feature_projections.3.final.bias")
    expected = translated("radio", published("radio"))
    assert_equal_tensors(translated("radio", tensors), expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_conditioner.norm_mean", np.array([0.485, 0.456, 0.406], np.float32)),
        ("input_conditioner.norm_std", np.array([0.5, 0.5, 0.5], np.float32)),
        ("summary_idxs", np.array([0, 1])),
        ("summary_idxs", np.array([0, 1, 3])),
        ("norm.weight", np.ones(32, np.float32)),
        ("blocks.0.attn.qkv.parametrizations.weight.original", np.ones((96, 32))),
    ],
)
def test_another_radio_is_not_taken_for_this_one(name, value):
    tensors = published("radio") | {f"base_model.{name}": value}
    module = build("radio")
    with pytest.raises(InputError, match=f"1 extra .{name}"):
        checkpoint.load_variables(
            module, module, 36, translated("radio", tensors), "radio.pth"
        )


LAYOUTS = (
    vit_layouts.clip,
    vit_layouts.dinov2,
    vit_layouts.open_clip_trunk,
    vit_layouts.radio,
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NARROW)
def test_a_layout_is_taken_for_no_other(layout, name):
    tensors = published(name)
    own = layout in spec_of(golden.CASES[name].member).layouts
    assert (layout(tensors) is not None) == own
    assert layout(translated(name, tensors)) is None


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (1, 1, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_misshapen_tensors_pass_through_a_layout(layout, shape):
    names = {key for name in NARROW for key in published_shapes(name)}
    names |= {"input_conditioner.norm_mean", "radio_model.summary_idxs"}
    assert layout({name: np.ones(shape, np.float32) for name in names}) is not None
