"""One contract for every registered backbone, and what loading must refuse."""

import dataclasses
import functools
import io
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from paramctl_jax.backbones import (
    REGISTRY,
    check_readout,
    checkpoint,
    convert_weights,
    load_backbone,
    loading,
    random_backbone,
    read,
    spec_of,
    store,
    tensors,
)
from paramctl_jax.types import CheckpointError, InputError
from tests.quick import jit

QUICK = ("small_standard",)  # to run in full by default


def side_of(name):
    """The smallest input that is cheap and that every layer accepts."""
    spec = spec_of(name)
    return -(-max(64, spec.smallest) // spec.multiple) * spec.multiple


def architectures():
    """The first member of every architecture: the others differ in weights only."""
    found = {}
    for name, spec in REGISTRY.items():
        found.setdefault(spec.build(), name)
    return found.values()


FULL = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in architectures()
]

# Many layers take long to trace; their shallower relatives are tested by default.
DEEP = ("densenet169", "densenet201", "resnet101", "resnet152", "regnety_640")
SHALLOW = [
    pytest.param(name, marks=pytest.mark.slow if name in DEEP else [])
    for name in architectures()
]


# At the default input size: tokens and channels, or height, width and channels.
SHAPES = {
    "alexnet": (6, 6, 256),
    "AlexNet_training_seed_01": (12, 12, 256),
    "resnet50_clip": (7, 7, 2048),
    "cornet_z": (7, 7, 512),
    "densenet121": (14, 14, 1024),
    "densenet169": (14, 14, 1280),
    "densenet201": (14, 14, 1792),
    "regnety_640": (7, 7, 4920),
    "resnet18": (7, 7, 512),
    "resnet34": (7, 7, 512),
    "resnet50": (7, 7, 2048),
    "resnet50_v1": (7, 7, 2048),
    "resnet50_dino": (7, 7, 2048),
    "resnet101": (7, 7, 2048),
    "resnet152": (7, 7, 2048),
    "wide_resnet50_2": (7, 7, 2048),
    "small_standard": (4, 4, 256),
    "vgg16": (14, 14, 512),
    "clip_vitb32": (50, 768),
    "clipag_vitb32": (50, 768),
    "dinov2_vitb14_reg": (261, 768),
    "siglip2_vitb16": (196, 768),
    "radio_v2.5-b": (204, 768),
}


@pytest.fixture(scope="module", params=FULL)
def backbone(request):
    """Every architecture with random weights; its tests run one after the other."""
    return made(request.param)


@functools.lru_cache(maxsize=1)
def made(name):
    return random_backbone(name, jax.random.key(0), input_size=side_of(name))


@functools.partial(jit, static_argnums=0)
def forward(network, variables, images):
    return network.module.apply(variables, images)


@functools.partial(jit, static_argnums=0)
def pull_back(network, variables, images, cotangents):
    """Every readout, and the gradient of their sums weighted by the cotangents."""
    out, transpose = jax.vjp(lambda x: network.module.apply(variables, x), images)
    weighted = jax.tree.map(lambda c, o: c * jnp.ones_like(o), cotangents, out)
    return out, *transpose(weighted)


def images(name):
    side = side_of(name)
    return np.random.default_rng(0).standard_normal((1, side, side, 3), np.float32)


def save(path, named):
    if path.suffix == ".npz":
        np.savez(path, **named)
    else:
        safetensors.numpy.save_file(
            {name: np.ascontiguousarray(t) for name, t in named.items()}, path
        )


def assert_equal_trees(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@functools.cache
def outputs(module, size):
    """Every readout at the default input size, traced without computing."""
    shape = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    key = jax.random.key(0)
    return jax.eval_shape(lambda x: module.init_with_output(key, x)[0], shape)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_member_declares_what_it_must(name):
    spec = spec_of(name)
    module = spec.build()
    assert module == spec.build()  # equal: two loads share one compiled program
    assert hash(module) == hash(spec.build())
    assert len(spec.stages) == len(set(spec.stages)) > 1
    assert spec.input_size % spec.multiple == 0
    assert all(0 <= m < 1 for m in spec.mean)
    assert all(0 < s <= 1 for s in spec.std)
    out = outputs(module, spec.input_size)
    assert spec.readout in out
    assert all(value.dtype == np.float32 for value in out.values())
    if name in SHAPES:
        assert out[spec.readout].shape[1:] == SHAPES[name]
    source = spec.source
    assert all(c in "0123456789abcdef" for c in source.sha256)
    assert len(source.sha256) in (0, 8, 64)
    assert not source.url or source.url.startswith("https://")
    assert not source.url or source.file


def test_every_readout_and_its_input_gradient_are_finite(backbone):
    pixels, readouts = images(backbone.name), list(backbone.readouts)
    weights = dict(zip(readouts, np.linspace(-1, 1.1, len(readouts)), strict=True))
    # the sum over all readouts is finite only if every readout's gradient is
    out, gradient = pull(backbone, pixels, weights)
    assert np.isfinite(gradient).all()
    assert sorted(out) == sorted(readouts)
    for readout, value in out.items():
        assert value.dtype == jnp.float32
        assert np.isfinite(value).all(), readout
        assert value.std() > 0, readout
    for readout in {readouts[0], spec_of(backbone.name).readout, readouts[-1]}:
        _, gradient = pull(backbone, pixels, {r: r == readout for r in readouts})
        assert np.abs(gradient).max() > 0, readout


def pull(backbone, pixels, weights):
    cotangents = {readout: jnp.float32(weight) for readout, weight in weights.items()}
    return pull_back(backbone.network, backbone.variables, pixels, cotangents)


def test_weights_survive_conversion_and_compile_nothing_anew(
    backbone, tmp_path, monkeypatch
):
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(tmp_path))
    name, side = backbone.name, side_of(backbone.name)
    named = checkpoint.to_tensors(backbone.variables)
    save(tmp_path / "given.safetensors", named)
    folder = convert_weights(tmp_path / "given.safetensors", "ours", backbone=name)
    (tmp_path / "given.safetensors").unlink()
    loaded = load_backbone("ours", input_size=side)
    assert_equal_trees(loaded.variables, backbone.variables)
    assert loaded.readouts == backbone.readouts
    assert loaded.network == backbone.network
    assert loaded.provenance["sha256"] == tensors.digest(named)
    manifest = store.read_manifest(folder)
    assert manifest.n_tensors == len(named)
    counted = jax.tree.leaves(backbone.variables["params"])
    assert manifest.n_parameters == sum(leaf.size for leaf in counted)
    compiled = jax.jit(lambda *args: read(*args), static_argnums=(0, 3))  # a new cache
    pixels = jnp.full((1, side, side, 3), 0.5)
    readout = next(iter(backbone.readouts))
    for same in (backbone, loaded):
        compiled(same.network, same.variables, pixels, readout)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("name", SHALLOW)
def test_wrong_entries_are_all_listed(name):
    module, size = spec_of(name).build(), spec_of(name).input_size
    wanted = checkpoint.shapes(module, size)
    named = {
        key: np.broadcast_to(np.float32(0), shape)  # without memory
        for key, shape in checkpoint.torch_shapes(wanted).items()
    }
    missing, misshapen, *_ = sorted(named)
    del named[missing]
    named[misshapen] = np.zeros((1, 2, 3), np.float32)
    named["no.such.entry"] = np.zeros(3, np.float32)
    problems = checkpoint.differences(named, wanted, wanted)
    assert problems["missing"] == [missing]
    assert problems["extra"] == ["no.such.entry"]
    assert [entry.split()[0] for entry in problems["misshapen"]] == [misshapen]
    for part in (missing, misshapen, "no.such.entry"):
        assert part in checkpoint.listed(problems)


@pytest.mark.parametrize("name", ["small_standard", "cornet_z"])
def test_random_weights_follow_the_key(name):
    one, again, other = (
        flat(random_backbone(name, jax.random.key(number), input_size=64))
        for number in (0, 0, 1)
    )
    for key, tensor in one.items():
        np.testing.assert_array_equal(tensor, again[key])
        assert not np.array_equal(tensor, other[key])  # no entry is trivial


def flat(backbone):
    return checkpoint.to_tensors(backbone.variables)


# --- what follows is about the loading itself: the smallest network stands for all

SIDE = 64


@pytest.fixture
def named():
    return flat(made("small_standard"))


def load(tmp_path, named, name="small_standard", **settings):
    path = tmp_path / "weights.npz"
    save(path, named)
    return load_backbone(name, path, **settings)


def test_all_problems_are_listed_in_one_line(tmp_path, named):
    del named["layer2.0.conv1.weight"]
    named["layer9.0.conv1.weight"] = np.zeros((1, 1, 3, 3), np.float32)
    named["fc.weight"] = named["fc.weight"].T
    named["bn1.running_var"] = np.full(32, np.nan, np.float32)
    with pytest.raises(InputError) as error:
        load(tmp_path, named)
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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.full(32, 1e300), "1 non-finite (bn1.bias)"),
        (np.ones(32, np.int64), "1 not floating-point (bn1.bias int64)"),
        (np.ones(32, np.bool_), "1 not floating-point (bn1.bias bool)"),
    ],
)
def test_weights_that_would_not_be_what_they_were_are_refused(
    tmp_path, named, value, said
):
    named["bn1.bias"] = value
    with pytest.raises(CheckpointError) as error:
        load(tmp_path, named)
    assert said in str(error.value)


def test_long_lists_are_cut(tmp_path, named):
    kept = {k: v for k, v in named.items() if not k.startswith("layer")}
    with pytest.raises(InputError, match=r"missing \((\S+, ){5}and \d+ more\)"):
        load(tmp_path, kept)


def test_through_takes_exactly_the_keys_up_to_there(tmp_path, named):
    upto = {
        k: v for k, v in named.items() if not k.startswith(("layer4", "fc"))
    }  # the file of a network that ends at layer3
    ends = load(tmp_path, upto)
    deeper = load(tmp_path, named, through="layer3")
    assert list(ends.readouts) == ["layer1.0", "layer2.0", "layer3.0"]
    assert ends.network == deeper.network
    assert_equal_trees(ends.variables, deeper.variables)
    assert "layer4.0" not in deeper.variables["params"]
    with pytest.raises(CheckpointError, match="missing"):
        load(tmp_path, upto, through="layer4")
    strange = {**named, "layer5.0.conv1.weight": np.zeros((1, 1, 3, 3), np.float32)}
    with pytest.raises(CheckpointError, match=r"extra \(layer5"):
        load(tmp_path, strange, through="layer3")
    del upto["layer3.0.bn2.bias"]
    with pytest.raises(
        CheckpointError, match=r"missing \(fc.bias, .*layer3.0.bn2.bias"
    ):
        load(tmp_path, upto)


def test_batch_counters_are_ignored(tmp_path, named):
    named["bn1.num_batches_tracked"] = np.asarray(7)
    named["layer3.0.bn2.num_batches_tracked"] = np.asarray(7)
    assert_equal_trees(
        load(tmp_path, named).variables, made("small_standard").variables
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_precisions_give_float32_variables(tmp_path, named, dtype):
    other = {name: tensor.astype(dtype) for name, tensor in named.items()}
    path = tmp_path / "weights.safetensors"
    save(path, other)
    loaded = load_backbone("small_standard", path)
    for (name, tensor), found in zip(other.items(), flat(loaded).values(), strict=True):
        np.testing.assert_array_equal(tensor.astype(np.float32), found, err_msg=name)


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
    elif kind in ("bzip2", "lzma"):
        path = path.with_suffix(".npz")
        method = zipfile.ZIP_BZIP2 if kind == "bzip2" else zipfile.ZIP_LZMA
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.npy", bytes(4096))
    elif kind == "bomb":
        path = path.with_suffix(".npz")
        np.savez_compressed(path, a=np.zeros(2**22))
    elif kind.startswith("header "):
        path = path.with_suffix(".npz")
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(4, np.float32))
        descr = kind.removeprefix("header ").encode()
        data = buffer.getvalue().replace(b"'<f4'", descr, 1)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", data)
    elif kind == "complex":
        path = path.with_suffix(".npz")
        np.savez(path, a=np.arange(3) * 1j)
    elif kind == "float8":
        path = path.with_suffix(".safetensors")
        header = b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    elif kind == "a web page":
        path = path.with_suffix(".pth")
        path.write_text("<!DOCTYPE html><html>404</html>")
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
    return path if path.suffix else path.with_suffix(".npz")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated npz", "truncated"),
        ("corrupt npz", "truncated"),
        ("truncated safetensors", "truncated"),
        ("complex", "real numbers"),
        ("bzip2", "another method than deflate"),
        ("lzma", "another method than deflate"),
        ("bomb", "a zip bomb"),
        ("header ()   ", "plain tensors"),
        ("header '|V4'", "real numbers"),
        ("float8", "F8_E4M3"),
        ("objects", "plain tensors"),
        ("text", "real numbers"),
        ("single array", "expected a weights file"),
        ("empty .npz", "an empty file"),
        ("empty .safetensors", "an empty file"),
        ("a folder", "Is a directory"),
        ("a web page", "a web page"),
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


def test_weights_are_found_in_the_chosen_folder(tmp_path, monkeypatch, named):
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=r"resnet101.*convert_weights") as error:
        loading.find_weights("resnet101")
    assert str(tmp_path) in str(error.value)
    save(tmp_path / "small_robust.safetensors", named)
    loaded = load_backbone("small_robust")
    assert_equal_trees(loaded.variables, made("small_standard").variables)


def test_backbones_of_one_architecture_share_a_program(tmp_path, named):
    compiled = jax.jit(read, static_argnums=(0, 3))
    pixels = jnp.full((1, SIDE, SIDE, 3), 0.5)
    first = load(tmp_path, named)
    named["bn1.bias"] = named["bn1.bias"] + 1
    second = load(tmp_path, named, "small_robust")
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
