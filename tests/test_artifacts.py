"""Atomic writes, stable JSON, digests, and whose directory it is."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from paramctl_jax import artifacts
from paramctl_jax.types import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail(*_):
    raise OSError(28, "No space left on device")


def test_digests_are_prefixed_and_sha256s(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(data)
    expected = "sha256:" + hashlib.sha256(data).hexdigest()
    assert artifacts.sha256_file(tmp_path / "x") == expected
    assert artifacts.sha256_bytes(data) == expected


def test_atomic_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "x.bin"
    assert artifacts.atomic_write(path, b"one") == path
    artifacts.atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["x.bin"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_failed_write_leaves_nothing_behind(step, before, tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(InputError, match=r"x\.bin: cannot be written \(No space"):
        artifacts.atomic_write(path, b"new")
    assert names(tmp_path) == ([] if before is None else ["x.bin"])
    assert before is None or path.read_bytes() == before


def test_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        artifacts.atomic_write(tmp_path / "x.bin", b"new")
    assert names(tmp_path) == []


def test_content_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda _: seen.append("fsync"))
    monkeypatch.setattr(os, "replace", lambda *a: (seen.append("rename"), replace(*a)))
    artifacts.atomic_write(tmp_path / "x.bin", b"new")
    assert seen == ["fsync", "rename"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        artifacts.atomic_write(tmp_path / "x.bin", b"new")
    tmp_path.chmod(0o700)
    assert names(tmp_path) == []


def test_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        artifacts.atomic_write(tmp_path / "file" / "x.bin", b"new")


def test_json_is_stable_and_takes_numpy(tmp_path):
    one = {"b": np.float64(0.1), "a": [np.int32(3), np.arange(2)], "p": Path("q")}
    other = {"p": "q", "a": [3, [0, 1]], "b": 0.1}
    assert artifacts.to_json(one) == artifacts.to_json(other)
    assert artifacts.config_hash(one) == artifacts.config_hash(other)
    assert artifacts.config_hash(one) != artifacts.config_hash({**one, "b": 0.2})
    path = artifacts.write_json(tmp_path / "x.json", one)
    assert artifacts.read_json(path) == other
    text = path.read_text()
    assert text.endswith("}\n")
    assert text.index('"a"') < text.index('"b"') < text.index('"p"')
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        artifacts.to_json({"x": object()})


def test_undefined_entries_of_arrays_are_null():
    text = artifacts.to_json({"r": np.array([[0.5, np.nan], [np.inf, 1.0]])})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "r": [[0.5, None], [None, 1.0]]
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b'{"a": 1', "not a readable JSON"),
        (b"", "not a readable JSON"),
        (b"\xff\xfe\x00", "not a readable JSON"),
    ],
)
def test_unreadable_json(content, said, tmp_path):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        artifacts.read_json(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


CONFIG = {"seed": 1, "synthesis": {"steps": 100, "crops": 8}, "sites": ["a", "b"]}


def test_claim_writes_config_and_its_hash(tmp_path):
    workdir = artifacts.claim_directory(tmp_path / "runs" / "m1", CONFIG)
    assert workdir == tmp_path / "runs" / "m1"
    assert names(workdir) == ["run.json"]
    run = json.loads((workdir / "run.json").read_text())
    assert run["config"] == CONFIG
    assert run["config_hash"] == artifacts.config_hash(CONFIG)
    assert run.keys() == {"config", "config_hash"}


def test_same_config_claims_again_among_results(tmp_path):
    artifacts.claim_directory(tmp_path, CONFIG)
    (tmp_path / "results.csv").write_text("1")
    same = {**CONFIG, "sites": ("a", "b"), "seed": np.int64(1)}  # as JSON: equal
    artifacts.claim_directory(tmp_path, same)
    assert names(tmp_path) == ["results.csv", "run.json"]


def test_another_config_may_claim_before_there_are_results(tmp_path):
    artifacts.claim_directory(tmp_path, CONFIG)
    artifacts.claim_directory(tmp_path, {"seed": 2})
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["config"] == {"seed": 2}


def test_a_second_process_may_start_while_the_first_one_writes(tmp_path):
    (tmp_path / ".run.json.x7").write_text("{")
    (tmp_path / "history").mkdir()
    artifacts.claim_directory(tmp_path, CONFIG)
    before = (tmp_path / "run.json").stat().st_mtime_ns
    (tmp_path / "results.csv").write_text("1")
    artifacts.claim_directory(tmp_path, CONFIG)
    assert (tmp_path / "run.json").stat().st_mtime_ns == before


def test_free_sections_may_differ(tmp_path):
    artifacts.claim_directory(tmp_path, CONFIG)
    (tmp_path / "results.csv").write_text("1")
    other = {**CONFIG, "synthesis": {"steps": 50}}
    artifacts.claim_directory(tmp_path, other, free=("synthesis",))
    with pytest.raises(InputError, match=r"synthesis\.steps \(50 there, 60 now\)"):
        artifacts.claim_directory(tmp_path, {**CONFIG, "synthesis": {"steps": 60}})


def test_other_config_is_refused_with_both_values(tmp_path):
    artifacts.claim_directory(tmp_path, CONFIG)
    (tmp_path / "results.csv").write_text("1")
    before = (tmp_path / "run.json").read_bytes()
    other = {**CONFIG, "synthesis": {"steps": 50, "crops": 8}, "new": "x"}
    del other["seed"]
    with pytest.raises(InputError) as error:
        artifacts.claim_directory(tmp_path, other)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}: holds another run; 3 settings differ")
    assert "synthesis.steps (100 there, 50 now)" in message
    assert "seed (1 there, nothing now)" in message
    assert 'new (nothing there, "x" now)' in message
    assert "crops" not in message
    assert "--workdir" in message
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a": {}}, {}),
        ({}, {"a": {"b": 1}}),
        ({"a": None}, {}),
        ({"a": 1}, {"a": True}),
    ],
)
def test_small_differences_are_differences(old, new, tmp_path):
    artifacts.claim_directory(tmp_path, old)
    (tmp_path / "results.csv").write_text("1")
    with pytest.raises(InputError, match="holds another run; 1 settings differ"):
        artifacts.claim_directory(tmp_path, new)


def test_nan_setting_equals_itself(tmp_path):
    artifacts.claim_directory(tmp_path, {"a": float("nan")})
    artifacts.claim_directory(tmp_path, {"a": float("nan")})


def test_foreign_files_are_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"not empty and without a run\.json"):
        artifacts.claim_directory(tmp_path, CONFIG)
    assert names(tmp_path) == ["thesis.tex"]


def test_empty_directory_may_be_claimed(tmp_path):
    artifacts.claim_directory(tmp_path, CONFIG)
    assert names(tmp_path) == ["run.json"]


def test_file_instead_of_directory(tmp_path):
    (tmp_path / "runs").write_text("x")
    with pytest.raises(InputError, match="expected a directory, found a file"):
        artifacts.claim_directory(tmp_path / "runs", CONFIG)


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"config": 3}', "{}"])
def test_damaged_run_file_is_refused(content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "results.csv").write_text("1")
    with pytest.raises(InputError) as error:
        artifacts.claim_directory(tmp_path, CONFIG)
    assert str(tmp_path) in str(error.value)


def test_provenance_survives_a_missing_git(monkeypatch):
    def run(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", run)
    assert artifacts.provenance()["commit"] == "unknown"
