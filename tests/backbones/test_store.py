"""Converted weights: every byte is vouched for, and nothing half-written stays."""

import concurrent.futures
import json
import os
import shutil
import types

import numpy as np
import pytest
import safetensors.numpy

from paramctl_jax.backbones import (
    catalogue,
    checkpoint,
    convert_weights,
    load_backbone,
    loading,
    spec_of,
    store,
    tensors,
)
from paramctl_jax.types import CheckpointError, InputError

BUNDLED = loading.find_weights("small_standard")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return convert_weights(
        BUNDLED, "mine", backbone="small_standard", folder=folder, licence="own"
    )


@pytest.fixture
def copy(converted, tmp_path):
    """A copy that a test may damage."""
    target = tmp_path / "mine"
    for path in converted.rglob("*"):
        if path.is_file():
            new = target / path.relative_to(converted)
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(path.read_bytes())
    return target


def test_conversion_keeps_every_bit_and_says_where_it_came_from(converted):
    manifest, found = store.read_weights(converted)
    given = safetensors.numpy.load_file(BUNDLED)
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        assert found[name].dtype == tensor.dtype == np.float16
        np.testing.assert_array_equal(found[name], tensor)
    assert manifest.backbone == "small_standard"
    assert manifest.source_file == BUNDLED.name
    assert manifest.licence == "own"
    assert manifest.n_tensors == len(given)
    assert manifest.tensors_sha256 == tensors.digest(given)
    assert sorted(p.name for p in converted.parent.iterdir()) == ["mine"]


def test_a_file_and_its_conversion_are_one_network(converted, monkeypatch):
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(converted.parent))
    mine, bundled = load_backbone("mine"), load_backbone("small_standard")
    assert mine.network == bundled.network
    assert mine.provenance["sha256"] == bundled.provenance["sha256"]
    assert mine.provenance["licence"] == "own"
    assert catalogue.verify("mine").startswith("mine: sound, ")
    assert "mine" in catalogue.present()


def data_files(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in files if path.name != store.MANIFEST)


def test_every_flipped_byte_is_found(copy):
    for path in data_files(copy):
        intact = path.read_bytes()
        for position in {0, len(intact) // 2, len(intact) - 1} if intact else ():
            damaged = bytearray(intact)
            damaged[position] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=f"{path.name}: changed"):
                store.read_weights(copy)
        path.write_bytes(intact)
    assert store.read_weights(copy)


def test_a_missing_and_a_foreign_file_are_found(copy):
    *_, last = data_files(copy)
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(CheckpointError, match="missing; convert or fetch mine again"):
        store.verify(copy)
    last.write_bytes(content)
    (copy / "checkpoint" / "extra").write_bytes(b"")
    with pytest.raises(CheckpointError, match="not the manifest's"):
        store.verify(copy)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"name": 3}', '{"files": 1}', "\xff", "[" * 200_000],
)
def test_a_damaged_manifest_is_one_line(copy, content):
    (copy / store.MANIFEST).write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError) as error:
        store.read_weights(copy)
    assert store.MANIFEST in str(error.value)
    assert "\n" not in str(error.value)


def test_a_manifest_without_files_is_refused(copy):
    content = json.loads((copy / store.MANIFEST).read_text())
    content["files"] = {}
    (copy / store.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="names no files"):
        store.verify(copy)


@pytest.mark.parametrize("name", ["", "..", "a/b", "/a", ".hidden", "a b", "a\n", "-x"])
def test_a_name_cannot_leave_the_folder(name, tmp_path):
    with pytest.raises(InputError, match="name"):
        convert_weights(
            BUNDLED, name, backbone="small_standard", folder=tmp_path / "weights"
        )
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(path, tensors):
        path.mkdir()
        (path / "part").write_bytes(b"half")
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device\nmore")

    monkeypatch.setattr(store, "_save", full)
    with pytest.raises(CheckpointError, match=r"No space left on device\); nothing"):
        convert_weights(BUNDLED, "mine", backbone="small_standard", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    usage = types.SimpleNamespace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match="3 MiB needed, 3 MiB free on the disk"):
        convert_weights(BUNDLED, "mine", backbone="small_standard", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_earlier_weights(copy, monkeypatch):
    def fail(path, tensors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_save", fail)
    with pytest.raises(CheckpointError, match="nothing was left"):
        convert_weights(BUNDLED, "mine", backbone="small_standard", folder=copy.parent)
    assert store.verify(copy)


def test_converting_again_replaces(copy):
    before = store.read_manifest(copy)
    convert_weights(BUNDLED, "mine", backbone="small_robust", folder=copy.parent)
    after = store.verify(copy)
    assert (before.backbone, after.backbone) == ("small_standard", "small_robust")
    assert [path.name for path in copy.parent.iterdir()] == ["mine"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="cannot be written"):
        convert_weights(BUNDLED, "mine", backbone="small_standard", folder=tmp_path)


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_text("mine")])
def test_what_is_no_weights_is_not_replaced(make, tmp_path):
    make(tmp_path / "downloads")
    with pytest.raises(CheckpointError, match="holds no converted weights"):
        convert_weights(
            BUNDLED, "downloads", backbone="small_standard", folder=tmp_path
        )
    assert [path.name for path in tmp_path.iterdir()] == ["downloads"]


def test_an_interrupted_swap_keeps_the_earlier_weights(copy, monkeypatch):
    rename, calls = os.replace, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == 2:  # the old weights are aside, the new ones not yet there
            raise KeyboardInterrupt
        rename(source, target)

    scratch = copy.parent / ".scratch"
    scratch.mkdir()
    monkeypatch.setattr(store.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store._swap(scratch, copy)
    assert len(calls) == 3
    assert store.verify(copy)
    assert {path.name for path in copy.parent.iterdir()} == {"mine", ".scratch"}


def test_a_registered_name_is_kept_for_its_network(tmp_path):
    with pytest.raises(InputError, match="'resnet50' is that of another"):
        convert_weights(BUNDLED, "resnet50", backbone="small_robust", folder=tmp_path)


def test_weights_are_not_taken_for_a_network_of_equal_names(tmp_path):
    # ResNet-50 with the stride elsewhere has the same names and shapes
    module = spec_of("resnet50_v1").build(through="layer1")
    wanted = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    np.savez(tmp_path / "v1.npz", **{n: np.ones(s, "f4") for n, s in wanted.items()})
    path = convert_weights(
        tmp_path / "v1.npz", "mine", backbone="resnet50_v1", folder=tmp_path
    )
    assert list(load_backbone("mine", path).readouts)[-1] == "layer1.2"
    with pytest.raises(CheckpointError, match="converted for resnet50_v1, which is an"):
        load_backbone("resnet50", path)


def test_the_table_tells_what_is_here_from_what_is_published(tmp_path, monkeypatch):
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(tmp_path))
    module = spec_of("resnet50_robust").build(through="layer1")
    wanted = checkpoint.torch_shapes(checkpoint.shapes(module, 64))
    np.savez(tmp_path / "own.npz", **{n: np.ones(s, "f4") for n, s in wanted.items()})
    convert_weights(tmp_path / "own.npz", "resnet50_robust", licence="mine")
    lines = catalogue.table().splitlines()
    row = next(line for line in lines if line.startswith("resnet50_robust "))
    assert "converted" in row
    assert "own.npz" in row
    assert "47.91" not in row
    assert "licence    mine" in catalogue.describe("resnet50_robust")


def test_a_folder_given_as_weights_says_which_network_it_is(converted):
    loaded = load_backbone("anything", converted)
    assert loaded.network == load_backbone("small_standard").network
    assert loaded.name == "anything"


def test_a_licence_is_claimed_for_the_published_file_only(tmp_path):
    own = safetensors.numpy.load_file(BUNDLED)
    own["fc.bias"] = own["fc.bias"] + np.float16(1)
    safetensors.numpy.save_file(own, tmp_path / "own.safetensors")
    loaded = load_backbone("small_standard", tmp_path / "own.safetensors")
    assert loaded.provenance["licence"] == ""
    assert "ImageNet" in load_backbone("small_standard").provenance["licence"]


def test_threads_convert_one_name_in_turn(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(
                convert_weights,
                BUNDLED,
                "mine",
                backbone="small_standard",
                folder=tmp_path,
            )
            for _ in range(4)
        ]
        for job in jobs:
            job.result()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert store.verify(tmp_path / "mine")


def test_an_own_name_converts_in_any_byte_order(tmp_path):
    whole = safetensors.numpy.load_file(BUNDLED)
    swapped = {n: t.astype(t.dtype.newbyteorder(">")) for n, t in whole.items()}
    np.savez(tmp_path / "big.npz", **swapped)
    path = convert_weights(
        tmp_path / "big.npz", "mine", backbone="small_standard", folder=tmp_path
    )
    assert store.verify(path).tensors_sha256 == tensors.digest(whole)


@pytest.mark.parametrize("backbone", ["nosuch", ["a"], 3])
def test_one_damaged_folder_does_not_hide_the_others(copy, backbone, monkeypatch):
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(copy.parent))
    content = json.loads((copy / store.MANIFEST).read_text())
    content["backbone"] = backbone
    (copy / store.MANIFEST).write_text(json.dumps(content))
    row = next(line for line in catalogue.table().splitlines() if "mine" in line)
    assert row.split() == ["mine", "damaged"]
    with pytest.raises(CheckpointError, match=store.MANIFEST):
        load_backbone("mine")


def test_wrong_digest_and_wrong_network_are_refused(tmp_path):
    found = spec_of("small_standard").source.sha256
    with pytest.raises(CheckpointError, match=f"expected sha256 00ff, found {found}"):
        convert_weights(BUNDLED, "small_standard", folder=tmp_path, sha256="00ff")
    with pytest.raises(CheckpointError, match="this looks like small_"):
        convert_weights(BUNDLED, "resnet50", folder=tmp_path)
    with pytest.raises(InputError, match="unknown backbone 'mine'"):
        convert_weights(BUNDLED, "mine", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_verify_knows_the_bundled_files_by_their_digests(tmp_path, monkeypatch):
    assert catalogue.verify("small_standard").startswith("small_standard: sound")
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(tmp_path))
    other = loading.find_weights("small_robust").read_bytes()
    (tmp_path / "small_standard.safetensors").write_bytes(other)
    expected = spec_of("small_standard").source.sha256[:12]
    with pytest.raises(CheckpointError, match=f"expected sha256 {expected}"):
        catalogue.verify("small_standard")


def test_the_beginning_of_a_file_converts_too(tmp_path, monkeypatch):
    whole = safetensors.numpy.load_file(BUNDLED)
    first = {n: t for n, t in whole.items() if not n.startswith(("layer4", "fc"))}
    safetensors.numpy.save_file(first, tmp_path / "first.safetensors")
    monkeypatch.setenv("PARAMCTL_WEIGHTS", str(tmp_path))
    convert_weights(tmp_path / "first.safetensors", "first", backbone="small_standard")
    assert list(load_backbone("first").readouts)[-1] == "layer3.0"
    assert "3 readouts" in catalogue.verify("first")


def test_the_table_has_a_row_for_every_backbone():
    lines = catalogue.table().splitlines()
    names = [line.split()[0] for line in lines[2:]]
    assert names[: len(loading.REGISTRY)] == list(loading.REGISTRY)
    small = next(line for line in lines if line.startswith("small_standard"))
    assert "file" in small
