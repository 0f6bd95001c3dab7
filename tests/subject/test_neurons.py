"""Compact neurons against scipy's correlations, and files that cannot be used."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate2d

from paramctl_jax.images import load_images
from paramctl_jax.subject.compact_files import (
    expected_shapes,
    neuron_files,
    read_neuron,
    site_name,
)
from paramctl_jax.subject.compact_network import respond
from paramctl_jax.subject.neurons import CompactNeurons, compact_neurons
from paramctl_jax.subject.truth import Truth
from paramctl_jax.types import ImageSet, InputError
from tests.golden import craft_torch as craft

DATA = os.environ.get("PARAMCTL_DATA", "")
SESSION = "200101"
MEAN_PIXEL = np.asarray([116.222, 109.270, 100.381])


def drawn(filters, seed):
    """Tensors of a model; every one matters to the response."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes(filters).items():
        value = rng.normal(size=shape)
        if name.endswith("running_var"):
            value = rng.uniform(0.5, 2.0, shape)
        elif name.endswith("num_batches_tracked"):
            value = np.asarray(7)
        elif "conv" in name and name.endswith("weight"):
            value *= 2 / np.sqrt(np.prod(shape[1:]))
        tensors[f"layers.{name}"] = value
    tensors["layers.layer0_conv.weight"] /= 60  # of pixels up to 255
    tensors["layers.Beta.weight"] /= 28
    return tensors


def torch_file(tensors):
    """A state dict in torch's zip container, without torch."""
    body, storages = b"}(", {}
    for key, (name, value) in enumerate(tensors.items()):
        value = np.asarray(value, order="C")
        kind = {"f": "DoubleStorage", "i": "LongStorage"}[value.dtype.kind]
        body += craft.fragment(name) + craft.tensor(
            size=np.shape(value),
            stride=tuple(step // value.itemsize for step in value.strides),
            kind=kind,
            key=str(key),
            numel=max(value.size, 1),
        )
        storages[str(key)] = value.tobytes()
    return craft.archive(craft.pickled(body + b"u"), storages)


def write_neuron(folder, number, filters, tensors=None):
    path = folder / f"compact_model_{SESSION}_neuron{number}.pt"
    path.write_bytes(torch_file(drawn(filters, number) if tensors is None else tensors))
    np.save(path.with_name(f"{path.stem}_nums_filters.npy"), np.asarray(filters))
    return path


def images(count, side=112, seed=5):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3))
    names = tuple(f"image{n:04d}" for n in range(count))
    return ImageSet(names, pixels.astype(np.uint8))


def norm(x, t, layer):
    mean, var, scale, bias = (
        t[f"layers.layer{layer}_bn.{k}"][:, None, None]
        for k in ("running_mean", "running_var", "weight", "bias")
    )
    return np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)


def by_hand(t, pixels):
    """One response, channel by channel, in float64."""
    x = (pixels - MEAN_PIXEL).transpose(2, 0, 1)
    kernels = t["layers.layer0_conv.weight"]
    x = np.stack(
        [sum(correlate2d(x[c], k[c], "same") for c in range(3)) for k in kernels]
    )
    x = norm(x + t["layers.layer0_conv.bias"][:, None, None], t, 0)
    for layer in range(1, 5):
        depth = t[f"layers.layer{layer}_conv_depth.weight"][:, 0]
        point = t[f"layers.layer{layer}_conv_point.weight"][:, :, 0, 0]
        if layer < 3:
            x = np.pad(x, ((0, 0), (1, 3), (1, 3)))
            taken = [correlate2d(a, k, "valid") for a, k in zip(x, depth, strict=True)]
            x = np.stack(taken)[:, ::2, ::2]
        else:
            taken = [correlate2d(a, k, "same") for a, k in zip(x, depth, strict=True)]
            x = np.stack(taken)
        x = np.tensordot(point, x, axes=1)
        x = norm(x + t[f"layers.layer{layer}_conv_point.bias"][:, None, None], t, layer)
    flat = x.transpose(1, 2, 0).ravel()
    return flat @ t["layers.Beta.weight"][0] + t["layers.Beta.bias"][0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two neurons of different numbers of filters."""
    where = tmp_path_factory.mktemp("compact")
    for number, filters in enumerate([(3, 2, 4, 2, 3), (2, 5, 3, 3, 1)]):
        write_neuron(where, number, filters)
    return where


@pytest.fixture(scope="module")
def neurons(folder):
    return compact_neurons(folder, SESSION)


def test_responses_equal_those_by_hand(neurons):
    shown = images(5)
    found = neurons.responses(shown)
    filters = [(3, 2, 4, 2, 3), (2, 5, 3, 3, 1)]
    expected = np.asarray(
        [[by_hand(drawn(f, n), x) for n, f in enumerate(filters)] for x in shown.pixels]
    )
    assert np.std(expected, axis=0).min() > 0.01  # images matter
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_truth_with_the_ids_of_the_recordings(neurons):
    assert isinstance(neurons, Truth)
    assert neurons.site_ids == ("site00", "site01")
    assert neurons.units == "z"


def test_company_and_numbers_of_images_change_nothing(neurons):
    shown = images(9)
    together = neurons.responses(shown)
    programs = respond._cache_size()
    alone = np.concatenate(
        [neurons.responses(shown.select([name])) for name in shown.stimulus_ids]
    )
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)
    assert respond._cache_size() == programs
    assert neurons.responses(images(0)).shape == (0, 2)


def test_chosen_sites_are_those_of_all(folder, neurons):
    one = compact_neurons(folder, SESSION, ["site01"])
    assert one.site_ids == ("site01",)
    assert one.sha256 != neurons.sha256
    shown = images(2)
    np.testing.assert_allclose(
        one.responses(shown)[:, 0], neurons.responses(shown)[:, 1], atol=1e-6
    )


def test_neurons_come_in_numeric_order(tmp_path):
    for number in (10, 2, 9, 0, 1, 3, 4, 5, 6, 7, 8):
        write_neuron(tmp_path, number, (1, 1, 1, 1, 1))
    files = neuron_files(tmp_path, SESSION, None)
    assert list(files) == [site_name(n) for n in range(11)]
    assert files["site10"].name == f"compact_model_{SESSION}_neuron10.pt"


def test_other_sizes_are_refused(neurons):
    with pytest.raises(InputError, match=r"expected 112 x 112 pixels, .* 96 x 96"):
        neurons.responses(images(1, side=96))


@pytest.mark.parametrize(
    ("session", "sites", "expected"),
    [
        ("999", None, r"found the sessions \['200101'\]; give another"),
        (SESSION, ["site02"], r"sites from site00 to site01 .*found 'site02'"),
        (SESSION, [], "at least one name, each once, found"),
        (SESSION, ["site00", "site00"], "each once"),
    ],
)
def test_what_is_not_there_is_one_line(folder, session, sites, expected):
    with pytest.raises(InputError, match=expected) as caught:
        compact_neurons(folder, session, sites)
    assert "\n" not in str(caught.value)


def test_no_folder_and_no_model(tmp_path):
    with pytest.raises(InputError, match="found no folder"):
        compact_neurons(tmp_path / "none", SESSION)
    with pytest.raises(InputError, match="of no such files"):
        compact_neurons(tmp_path, SESSION)
    for number in (0, 2):
        write_neuron(tmp_path, number, (1, 1, 1, 1, 1))
    with pytest.raises(InputError, match=r"neuron1.pt: expected the model of site01"):
        compact_neurons(tmp_path, SESSION)
    assert compact_neurons(tmp_path, SESSION, ["site02"]).site_ids == ("site02",)


FILTERS = (2, 1, 1, 1, 1)


def with_tensor(**changed):
    return {**drawn(FILTERS, 0), **{f"layers.{k}": v for k, v in changed.items()}}


def without(name):
    return {k: v for k, v in drawn(FILTERS, 0).items() if k != f"layers.{name}"}


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (without("Beta.bias"), r"expected the tensor Beta.bias of shape \(1,\), found"),
        (with_tensor(extra=np.zeros(3)), r"no tensor 'extra', found one of shape \(3,"),
        (
            with_tensor(**{"layer1_bn.bias": np.zeros(4)}),
            r"layer1_bn.bias of shape \(1,\), as the numbers .* of shape \(4,\)",
        ),
        (
            with_tensor(**{"layer0_conv.bias": np.asarray([0.0, np.nan])}),
            "finite numbers in layer0_conv.bias, found NaN",
        ),
        (
            with_tensor(**{"layer0_bn.running_var": np.asarray([1.0, -0.5])}),
            "variances of at least 0 in layer0_bn.running_var, found -0.5",
        ),
        ({}, r"found none \(\d+ problems in all\)"),
    ],
)
def test_wrong_tensors_are_named(tmp_path, tensors, expected):
    path = write_neuron(tmp_path, 0, FILTERS, tensors)
    with pytest.raises(InputError, match=expected) as caught:
        read_neuron(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def code(path):
    """A file that would run a command where it is unpickled."""
    call = b"cposix\nsystem\n(" + craft.fragment("touch ran") + b"tR"
    path.write_bytes(craft.archive(craft.pickled(call)))


def an_object(path):
    """A file with an object of somebody's class beside its tensors."""
    body = b"}(" + craft.fragment("net") + b"csomebody\nNetwork\n)\x81u"
    path.write_bytes(craft.archive(craft.pickled(body)))


def truncated(path):
    path.write_bytes(path.read_bytes()[:700])


def plain_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no tensors")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (Path.unlink, "no such weights file"),
        (lambda path: path.write_bytes(b""), "that torch wrote, found none"),
        (plain_zip, "that torch wrote, found none"),
        (truncated, "truncated or damaged"),
        (code, "system"),
        (an_object, "somebody"),
    ],
)
def test_files_that_cannot_be_used_are_one_line(tmp_path, spoil, expected):
    path = write_neuron(tmp_path, 0, FILTERS)
    spoil(path)
    with pytest.raises(InputError, match=expected) as caught:
        read_neuron(path)
    assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (Path.unlink, "found no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:90]), "no readable .npy"),
        (lambda path: path.write_bytes(b""), "no readable .npy"),
        (
            lambda path: np.save(path, np.asarray([{}] * 5), allow_pickle=True),
            r"Python objects \(never loaded\)",
        ),
        (lambda path: np.save(path, np.ones(4, int)), r"found int64 of shape \(4,\)"),
        (lambda path: np.save(path, np.ones(5)), "whole and above 0, found float64"),
        (lambda path: np.save(path, np.arange(5)), "whole and above 0"),
        (lambda path: np.save(path, np.asarray([10**9] * 5)), r"\(1000000000,"),
    ],
)
def test_numbers_of_filters_that_cannot_be_used(tmp_path, spoil, expected):
    path = write_neuron(tmp_path, 0, FILTERS)
    spoil(path.with_name(f"{path.stem}_nums_filters.npy"))
    with pytest.raises(InputError, match=expected) as caught:
        read_neuron(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA, reason="PARAMCTL_DATA is not set to the folder of the V4 recordings"
)
def test_models_of_real_neurons_follow_them():
    """Images 601 to 1200, which the models were not fitted on: every fourth."""
    folder = Path(DATA) / "v4"
    sites = (0, 18, 53, 77, 88)
    neurons = compact_neurons(
        folder / "compact_models", "201025", [site_name(n) for n in sites]
    )
    assert isinstance(neurons, CompactNeurons)
    numbers = range(600, 1200, 4)
    shown = load_images(
        folder / "images_201025.zip", ids=[f"image{n + 1:04d}" for n in numbers]
    )
    recorded = np.load(folder / "responses_averaged_201025.npy", allow_pickle=False)
    found = neurons.responses(shown)
    r = [
        np.corrcoef(found[:, column], recorded[site, numbers])[0, 1]
        for column, site in enumerate(sites)
    ]
    assert np.median(r) == pytest.approx(0.81, abs=0.06)
    assert min(r) > 0.4
