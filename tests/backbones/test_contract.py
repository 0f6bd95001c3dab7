"""One contract for every registered backbone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from paramctl_jax import artifacts
from paramctl_jax.backbones import (
    REGISTRY,
    check_readout,
    checkpoint,
    load_backbone,
    random_backbone,
    read,
    resnet,
)
from paramctl_jax.backbones.registry import find_weights
from paramctl_jax.types import InputError

SIDE = 64
QUICK = ("small_standard", "small_robust")  # to run in full by default
FULL = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in REGISTRY
]


@functools.lru_cache(maxsize=2)
def made(name):
    return random_backbone(name, jax.random.key(0), input_size=SIDE)


@functools.partial(jax.jit, static_argnums=0)
def forward(network, variables, images):
    return network.module.apply(variables, images)


@functools.partial(jax.jit, static_argnums=0)
def pull_back(network, variables, images, cotangents):
    out, transpose = jax.vjp(lambda x: network.module.apply(variables, x), images)
    return transpose(jax.tree.map(lambda c, o: c * jnp.ones_like(o), cotangents, out))


def images():
    return np.random.default_rng(0).standard_normal((2, SIDE, SIDE, 3), np.float32)


def save(path, tensors):
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        safetensors.numpy.save_file(
            {name: np.ascontiguousarray(t) for name, t in tensors.items()}, path
        )


def assert_equal_trees(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("name", FULL)
def test_declared_readouts(name):
    backbone = made(name)
    stages = [readout.split(".")[0] for readout in backbone.readouts]
    order = [*resnet.STAGES[:-1], "avgpool", "fc"]
    assert stages == sorted(stages, key=order.index)  # first to last
    assert set(stages) == set(order)
    assert backbone.name == name
    assert backbone.provenance.keys() >= {"file", "sha256", "licence"}


@pytest.mark.parametrize("name", FULL)
def test_readouts_have_their_declared_shapes(name):
    backbone = made(name)
    out = forward(backbone.network, backbone.variables, images())
    assert out.keys() == backbone.readouts.keys()
    for readout, value in out.items():
        assert value.shape[0] == 2
        assert (1,) * (4 - value.ndim) + value.shape[1:] == backbone.readouts[readout]
        assert value.dtype == jnp.float32
        assert np.isfinite(value).all()
        assert value.std() > 0


@pytest.mark.parametrize("name", FULL)
def test_input_gradient_of_every_readout_is_finite(name):
    backbone = made(name)
    for readout in backbone.readouts:
        chosen = {r: jnp.float32(r == readout) for r in backbone.readouts}
        (gradient,) = pull_back(backbone.network, backbone.variables, images(), chosen)
        assert gradient.shape == (2, SIDE, SIDE, 3)
        assert np.isfinite(gradient).all(), readout
        assert np.abs(gradient).max() > 0, readout


@pytest.mark.parametrize("suffix", checkpoint.SUFFIXES)
@pytest.mark.parametrize("name", FULL)
def test_weights_survive_a_file(name, suffix, tmp_path):
    backbone = made(name)
    path = tmp_path / f"weights{suffix}"
    save(path, checkpoint.to_tensors(backbone.variables))
    loaded = load_backbone(name, path, input_size=SIDE)
    assert_equal_trees(loaded.variables, backbone.variables)
    assert loaded.readouts == backbone.readouts
    assert loaded.network == backbone.network
    assert loaded.provenance["file"] == path.name
    assert loaded.provenance["sha256"] == artifacts.sha256_file(path)


@pytest.mark.parametrize("name", FULL)
def test_random_weights_follow_the_key(name):
    again = random_backbone(name, jax.random.key(0), input_size=SIDE)
    other = random_backbone(name, jax.random.key(1), input_size=SIDE)
    assert_equal_trees(again.variables, made(name).variables)
    for tensor, changed in zip(flat(again).values(), flat(other).values(), strict=True):
        assert not np.array_equal(tensor, changed)  # no entry is trivial


def flat(backbone):
    return checkpoint.to_tensors(backbone.variables)


# --- what follows is about the loading itself: the smallest network stands for all


@pytest.fixture
def tensors():
    return flat(made("small_standard"))


def load(tmp_path, tensors, name="small_standard", **settings):
    path = tmp_path / "weights.npz"
    save(path, tensors)
    return load_backbone(name, path, **settings)


def test_all_problems_are_listed_in_one_line(tmp_path, tensors):
    del tensors["layer2.0.conv1.weight"]
    tensors["layer9.0.conv1.weight"] = np.zeros((1, 1, 3, 3), np.float32)
    tensors["fc.weight"] = tensors["fc.weight"].T
    tensors["bn1.running_var"] = np.full(32, np.nan, np.float32)
    with pytest.raises(InputError) as error:
        load(tmp_path, tensors)
    message = str(error.value)
    assert "\n" not in message
    for part in (
        "weights.npz",
        "1 missing (layer2.0.conv1.weight)",
        "1 extra (layer9.0.conv1.weight)",
        "1 misshapen (fc.weight (256, 100) instead of (100, 256))",
        "1 non-finite (bn1.running_var)",
    ):
        assert part in message


def test_long_lists_are_cut(tmp_path, tensors):
    kept = {k: v for k, v in tensors.items() if not k.startswith("layer")}
    with pytest.raises(InputError, match=r"missing \((\S+, ){5}and \d+ more\)"):
        load(tmp_path, kept)


def test_through_takes_exactly_the_keys_up_to_there(tmp_path, tensors):
    upto = {
        k: v for k, v in tensors.items() if not k.startswith(("layer4", "fc"))
    }  # the file of a network that ends at layer3
    ends = load(tmp_path, upto, through="layer3")
    deeper = load(tmp_path, tensors, through="layer3")
    assert list(ends.readouts) == ["layer1.0", "layer2.0", "layer3.0"]
    assert_equal_trees(ends.variables, deeper.variables)
    assert "layer4_0" not in deeper.variables["params"]
    with pytest.raises(InputError, match="missing"):
        load(tmp_path, upto, through="layer4")
    strange = {**tensors, "layer5.0.conv1.weight": np.zeros((1, 1, 3, 3), np.float32)}
    with pytest.raises(InputError, match=r"extra \(layer5"):
        load(tmp_path, strange, through="layer3")
    del upto["layer3.0.bn2.bias"]
    with pytest.raises(InputError, match=r"1 missing \(layer3.0.bn2.bias\)"):
        load(tmp_path, upto, through="layer3")


def test_batch_counters_are_ignored(tmp_path, tensors):
    tensors["bn1.num_batches_tracked"] = np.asarray(7)
    tensors["layer3.0.bn2.num_batches_tracked"] = np.asarray(7)
    assert_equal_trees(
        load(tmp_path, tensors).variables, made("small_standard").variables
    )


def test_half_precision_file_gives_float32_variables(tmp_path, tensors):
    half = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    loaded = load(tmp_path, half)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(loaded.variables))


def damage(path, kind):
    if kind == "truncated npz":
        path = path.with_suffix(".npz")
        np.savez(path, a=np.arange(1000.0))
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "corrupt npz":
        path = path.with_suffix(".npz")
        np.savez_compressed(path, a=np.arange(1000.0))
        data = bytearray(path.read_bytes())
        data[200:260] = bytes(60)
        path.write_bytes(bytes(data))
    elif kind == "truncated safetensors":
        path = path.with_suffix(".safetensors")
        save(path, {"a": np.arange(1000.0)})
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "bfloat16":
        path = path.with_suffix(".safetensors")
        header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    elif kind == "objects":
        path = path.with_suffix(".npz")
        np.savez(path, a=np.array([{}, None], dtype=object))
    elif kind == "text":
        path = path.with_suffix(".npz")
        np.savez(path, **{"fc.weight": np.array(["a", "b"])})
    elif kind == "single array":
        path = path.with_suffix(".npz")
        with path.open("wb") as stream:
            np.save(stream, np.arange(3.0))
    elif kind.startswith("empty"):
        path = path.with_suffix(kind.removeprefix("empty "))
        path.write_bytes(b"")
    elif kind == "a folder":
        path = path.with_suffix(".npz")
        path.mkdir()
    elif kind == "wrong suffix":
        path = path.with_suffix(".pth")
        path.write_bytes(b"\x80\x02")
    return path if path.suffix else path.with_suffix(".npz")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated npz", "truncated"),
        ("corrupt npz", "truncated"),
        ("truncated safetensors", "truncated"),
        ("bfloat16", "BF16"),
        ("objects", "plain float tensors"),
        ("text", "real numbers"),
        ("single array", "single array"),
        ("empty .npz", "truncated"),
        ("empty .safetensors", "truncated"),
        ("a folder", "Is a directory"),
        ("wrong suffix", ".npz or .safetensors"),
        ("missing", "no such weights file"),
    ],
)
def test_unusable_file_is_one_line(kind, said, tmp_path):
    path = damage(tmp_path / "weights", kind)
    with pytest.raises(InputError) as error:
        load_backbone("small_standard", path)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(InputError, match=r"did you mean 'resnet50'\?.*small_robust"):
        load_backbone("resnet5O")
    with pytest.raises(InputError, match=r"did you mean 'layer3'\?.*layer4, fc"):
        load_backbone("resnet50", through="layer33")
    backbone = made("small_standard")
    assert check_readout(backbone, "layer4.0") == "layer4.0"
    with pytest.raises(InputError, match=r"did you mean 'layer4.0'\?.*avgpool, fc"):
        check_readout(backbone, "layer4_0")
    with pytest.raises(InputError, match=r"'hopeless'; valid: layer1.0"):
        check_readout(backbone, "hopeless")


def test_weights_are_found_in_the_chosen_folder(tmp_path, monkeypatch, tensors):
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=r"resnet101.*torchvision names") as error:
        find_weights("resnet101")
    assert str(tmp_path) in str(error.value)
    save(tmp_path / "small_robust.safetensors", tensors)
    loaded = load_backbone("small_robust")
    assert_equal_trees(loaded.variables, made("small_standard").variables)


def test_backbones_of_one_architecture_share_a_program(tmp_path, tensors):
    compiled = jax.jit(read, static_argnums=(0, 3))
    pixels = jnp.full((1, SIDE, SIDE, 3), 0.5)
    first = load(tmp_path, tensors)
    tensors["bn1.bias"] = tensors["bn1.bias"] + 1
    second = load(tmp_path, tensors, "small_robust")
    values = [
        compiled(b.network, b.variables, pixels, "layer1.0") for b in (first, second)
    ]
    assert not np.array_equal(*values)
    assert compiled._cache_size() == 1
    wider = dataclasses.replace(first.network, input_size=SIDE // 2)
    compiled(wider, first.variables, pixels, "layer1.0")
    assert compiled._cache_size() == 2


def test_read_flattens_channel_height_width():
    backbone = made("small_standard")
    pixels = np.random.default_rng(1).uniform(size=(2, SIDE, SIDE, 3))
    pixels = jnp.asarray(pixels, jnp.float32)
    found = read(backbone.network, backbone.variables, pixels, "layer2.0")
    mean, std = (np.asarray(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    normal = ((np.asarray(pixels, np.float64) - mean) / std).astype(np.float32)
    activations = np.asarray(
        forward(backbone.network, backbone.variables, normal)["layer2.0"]
    )
    height, width, channel = backbone.readouts["layer2.0"]
    assert found.shape == (2, height * width * channel)
    expected = np.stack(
        [activations[:, y, x, c] for c, y, x in np.ndindex(channel, height, width)], 1
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)
    pooled = read(backbone.network, backbone.variables, pixels, "avgpool")
    assert pooled.shape == (2, 256)
