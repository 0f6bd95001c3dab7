"""Extracted features and predictions from pixels against numpy."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from paramctl_jax.backbones import read
from paramctl_jax.encoding import features as features_module
from paramctl_jax.encoding import fit_encoding, predict, predict_features
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.feature_store import verify
from paramctl_jax.encoding.features import extract_features, extract_readouts
from paramctl_jax.images import to_float
from paramctl_jax.types import ImageSet, InputError
from tests.encoding import conftest
from tests.encoding.conftest import features_by_hand, random_images

BOTH = ("early", "late")


def test_features_equal_numpy_in_channel_height_width_order(backbone, images):
    features = extract_features(backbone, images, "early", 16, progress=False)
    assert features.dtype == np.float32
    expected = features_by_hand(backbone, images)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    pixels = jax.numpy.asarray(to_float(images.pixels))
    one = read(backbone.network, backbone.variables, pixels, "early")
    np.testing.assert_allclose(features, one, rtol=1e-5, atol=1e-5)


def test_padding_and_company_change_nothing(backbone, images):
    full = extract_features(backbone, images, "early", 16, progress=False)
    few = images.select(images.stimulus_ids[5:12])
    np.testing.assert_array_equal(
        extract_features(backbone, few, "early", 16, progress=False), full[5:12]
    )


def test_the_number_of_devices_changes_no_bit(tiny_backbone, photographs, monkeypatch):
    images = photographs.select(photographs.stimulus_ids[:7])
    devices = jax.local_devices()
    found = []
    for count in (1, len(devices)):
        monkeypatch.setattr(jax, "local_devices", lambda count=count: devices[:count])
        both = ("layer1.0", "layer2.0")
        found.append(extract_readouts(tiny_backbone, images, both, 2, False))
    for name in found[0]:
        np.testing.assert_array_equal(found[1][name], found[0][name])


def test_all_local_devices_work(backbone, images, monkeypatch):
    meshes = []
    real = features_module._read_block

    def spy(network, variables, block, readouts, mesh):
        meshes.append(mesh.size)
        assert len(block.sharding.device_set) == mesh.size
        assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(variables))
        return real(network, variables, block, readouts, mesh)

    monkeypatch.setattr(features_module, "_read_block", spy)
    extract_features(backbone, images, "late", 8, progress=False)
    assert meshes == [len(jax.local_devices())] * 2
    meshes.clear()
    extract_features(backbone, images, "late", 32, progress=False)
    assert meshes == [2]  # no device has nothing but padding


def test_several_readouts_in_one_pass(backbone, images):
    both = extract_readouts(backbone, images, BOTH, 32, progress=False)
    assert {name: f.shape for name, f in both.items()} == {
        "early": (60, 180),
        "late": (60, 5),
    }
    alone = extract_features(backbone, images, "late", 32, progress=False)
    np.testing.assert_allclose(both["late"], alone, rtol=1e-6)


def test_one_program_serves_all_blocks_and_all_weights(caplog):
    images = random_images(23, size=9)
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        for seed in (0, 1, 2):
            backbone = conftest.tiny_backbone(seed)
            extract_features(backbone, images, "late", 5, progress=False)
    compiled = [r for r in caplog.messages if "Compiling" in r and "_read_block" in r]
    assert len(compiled) == 1


def test_unusable_input_is_refused(backbone, images, tmp_path):
    with pytest.raises(InputError, match=r"early, late"):
        extract_features(backbone, images, "earyl", progress=False)
    empty = ImageSet((), np.zeros((0, 6, 6, 3), np.uint8))
    with pytest.raises(InputError, match="0 images"):
        extract_features(backbone, empty, "early", progress=False)
    with pytest.raises(InputError, match="batch size 0"):
        extract_features(backbone, images, "early", 0, progress=False)
    backbone.variables["kernel"][0, 0] = np.nan
    for store in (None, tmp_path):
        with pytest.raises(InputError, match=r"early is not finite.*first 'im000'"):
            extract_features(backbone, images, "early", progress=False, store=store)


def test_a_store_returns_the_same_features_without_computing(
    backbone, images, tmp_path, monkeypatch
):
    plain = extract_readouts(backbone, images, BOTH, 4, progress=False)
    kept = extract_readouts(backbone, images, BOTH, 4, progress=False, store=tmp_path)
    for name in BOTH:
        assert isinstance(kept[name], np.memmap)
        np.testing.assert_array_equal(kept[name], plain[name])
    assert verify(tmp_path) == {}
    monkeypatch.setattr(features_module, "_read_block", None)
    again = extract_features(
        backbone, images, "late", 4, progress=False, store=str(tmp_path)
    )
    np.testing.assert_array_equal(again, plain["late"])


def test_readouts_that_are_there_are_not_read_again(
    backbone, images, tmp_path, monkeypatch
):
    extract_features(backbone, images, "early", 4, progress=False, store=tmp_path)
    asked = []
    real = features_module._read_block

    def spy(network, variables, block, readouts, mesh):
        asked.append(readouts)
        return real(network, variables, block, readouts, mesh)

    monkeypatch.setattr(features_module, "_read_block", spy)
    both = extract_readouts(backbone, images, BOTH, 4, progress=False, store=tmp_path)
    assert set(asked) == {("late",)}
    expected = features_by_hand(backbone, images)
    np.testing.assert_allclose(both["early"], expected, rtol=1e-5, atol=1e-5)


def other_weights(backbone, images):
    return conftest.tiny_backbone(seed=1), images  # of the same stated digest


def other_normalisation(backbone, images):
    network = dataclasses.replace(backbone.network, mean=(0.5, 0.4, 0.31))
    return dataclasses.replace(backbone, network=network), images


def other_input_size(backbone, images):
    network = dataclasses.replace(backbone.network, input_size=5)
    shapes = {"early": (5, 5, 5), "late": (1, 1, 5)}
    return dataclasses.replace(backbone, network=network, readouts=shapes), images


@dataclasses.dataclass(frozen=True)
class OtherModule(conftest.TinyModule):
    """The late readout is doubled: the same name, tensors and shapes."""

    def apply(self, variables, images):
        out = super().apply(variables, images)
        return {**out, "late": 2 * out["late"]}


def other_module(backbone, images):
    network = dataclasses.replace(backbone.network, module=OtherModule())
    return dataclasses.replace(backbone, network=network), images


def other_order(backbone, images):
    return backbone, images.select(images.stimulus_ids[::-1])


def other_names(backbone, images):
    names = tuple(f"x{name}" for name in images.stimulus_ids)
    return backbone, ImageSet(names, images.pixels)


def other_pixel(backbone, images):
    pixels = images.pixels.copy()
    pixels[-1, -1, -1, -1] ^= 1
    return backbone, ImageSet(images.stimulus_ids, pixels)


@pytest.mark.parametrize(
    "change",
    [
        other_weights,
        other_normalisation,
        other_input_size,
        other_module,
        other_order,
        other_names,
        other_pixel,
    ],
)
def test_whatever_changes_the_features_has_another_name(
    backbone, images, tmp_path, change
):
    def settled():
        return {path.name for path in tmp_path.glob("*.npy")}

    extract_features(backbone, images, "late", 16, progress=False, store=tmp_path)
    one = settled()
    model, stimuli = change(backbone, images)
    stored = extract_features(model, stimuli, "late", 16, False, store=tmp_path)
    assert len(settled() - one) == 1
    plain = extract_features(model, stimuli, "late", 16, progress=False)
    np.testing.assert_array_equal(stored, plain)


CHILD = """
import os, signal, sys
from paramctl_jax.encoding import feature_writer
from paramctl_jax.encoding.features import extract_readouts
from tests.encoding.conftest import random_images, tiny_backbone

feature_writer.FLUSH_SECONDS = 0.0
append = feature_writer.Writer.append

def watched(self, first, values):
    append(self, first, values)
    print(first, flush=True)
    if first == int(sys.argv[2]) and self.entry.about["readout"] == "early":
        os.kill(os.getpid(), signal.SIGKILL)

feature_writer.Writer.append = watched
images = random_images(60)
found = extract_readouts(
    tiny_backbone(), images, ("early", "late"), 4, False, store=sys.argv[1]
)
"""


def another_process(store, killed_at, n_devices):
    # The last of equal flags counts; all others must be ours, for the same last bits.
    flags = (
        f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={n_devices}"
    )
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(store), str(killed_at)],
        env={**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_extraction_goes_on_and_ends_the_same(
    backbone, images, tmp_path, monkeypatch
):
    """Another process with another number of devices is killed without notice."""
    expected = extract_readouts(backbone, images, BOTH, 4, progress=False)
    child = another_process(tmp_path, killed_at=24, n_devices=1)
    _, message = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, message
    assert len(list(tmp_path.glob("*.partial.npy"))) == 2
    started = []
    real = features_module.padded_block

    def spy(images, start, size):
        started.append(start)
        return real(images, start, size)

    monkeypatch.setattr(features_module, "padded_block", spy)
    found = extract_readouts(backbone, images, BOTH, 4, progress=False, store=tmp_path)
    assert started[0] == 24  # "late" was not extended any more
    for name in BOTH:
        np.testing.assert_array_equal(found[name], expected[name])
    assert verify(tmp_path) == {}
    assert len(list(tmp_path.iterdir())) == 4


def test_two_processes_share_a_store(backbone, images, tmp_path):
    plain = extract_readouts(backbone, images, BOTH, 4, progress=False)
    child = another_process(tmp_path, killed_at=-1, n_devices=2)
    assert child.stdout is not None
    assert child.stdout.readline() == "0\n"  # it is at work from here on
    found = extract_readouts(backbone, images, BOTH, 4, progress=False, store=tmp_path)
    _, message = child.communicate(timeout=120)
    assert child.returncode == 0, message
    for name in BOTH:
        np.testing.assert_array_equal(found[name], plain[name])
    assert verify(tmp_path) == {}
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("readout", BOTH)
def test_prediction_from_pixels_equals_that_from_features(
    backbone, images, recordings, key, readout
):
    model = fit_encoding(backbone, images, recordings, readout, key=key, progress=False)
    others = random_images(11, seed=7)
    features = extract_features(backbone, others, readout, progress=False)
    expected = predict_features(FeatureBlocks(features), model.weights, model.bias)
    found = predict(model, others, batch_size=4)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found[2:5], predict(model, others, 4)[2:5])


def test_predict_features_adds_blocks():
    rng = np.random.default_rng(0)
    features, weights = rng.standard_normal((4, 9000)), rng.standard_normal((2, 9000))
    np.testing.assert_allclose(
        predict_features(FeatureBlocks(features), weights, np.array([1.0, 2.0])),
        features @ weights.T + [1.0, 2.0],
    )
