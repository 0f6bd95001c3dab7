"""SHA256SUMS: what `sha256sum` checks, and every change is named."""

import errno
import os
import shutil
import subprocess

import pytest

from paramctl_jax import sums
from paramctl_jax.types import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    (tmp_path / "inner" / "deep" / "b c.bin").write_bytes(bytes(range(256)))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "x").write_text("x")
    sums.seal(tmp_path / "own")
    (tmp_path / ".hidden").write_text("x")
    sums.seal(tmp_path)
    return tmp_path


def test_all_files_but_those_of_others(folder):
    assert list(sums.listed(folder)) == ["a.txt", "inner/deep/b c.bin"]
    assert sums.damaged(folder) == {}
    assert sums.sealed(folder)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_coreutils_agree(folder):
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "inner/deep/b c.bin: OK" in done.stdout


def test_what_differs_is_named(folder):
    (folder / "inner" / "deep" / "b c.bin").write_bytes(bytes(range(255)))
    (folder / "a.txt").unlink()
    (folder / "new.txt").write_text("not listed: no fault")
    assert sums.damaged(folder) == {
        "a.txt": "is missing",
        "inner/deep/b c.bin": "differs from its digest in SHA256SUMS",
    }


def test_every_bit_of_the_digests_counts(folder):
    path = folder / sums.NAME
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert sums.damaged(folder), bit
    path.write_bytes(whole[: len(whole) // 2])
    assert sums.damaged(folder)
    path.write_bytes(b"")
    assert sums.damaged(folder) == {sums.NAME: "is damaged"}
    path.unlink()
    assert sums.damaged(folder) == {sums.NAME: "is missing"}


def test_every_truncation_is_seen_where_all_files_should_be_listed(folder):
    path = folder / sums.NAME
    whole = path.read_bytes()
    assert sums.damaged(folder, sums.covered(folder)) == {}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert sums.damaged(folder, sums.covered(folder)), length
    path.write_bytes(whole[: whole.index(b"\n") + 1])
    found = sums.damaged(folder, sums.covered(folder))
    assert found == {"inner/deep/b c.bin": "is not listed"}


def test_files_that_cannot_be_read_are_named(folder, monkeypatch):
    (folder / "a.txt").unlink()
    (folder / "a.txt").mkdir()

    def failing(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    assert sums.damaged(folder) == {"a.txt": "is missing"}
    monkeypatch.setattr(sums, "sha256_file", failing)
    said = "cannot be read (Input/output error)"
    assert set(sums.damaged(folder).values()) == {said}
    with pytest.raises(InputError, match=r"deep/b c\.bin: cannot be read"):
        sums.seal(folder)
    (folder / sums.NAME).unlink()
    (folder / sums.NAME).mkdir()
    assert sums.damaged(folder) == {sums.NAME: "cannot be read (Is a directory)"}


def test_only_some(folder):
    sums.seal(folder, ["a.txt"])
    (folder / "inner" / "deep" / "b c.bin").unlink()
    assert sums.damaged(folder) == {}


def test_a_damaged_file_goes_and_a_whole_one_stays(folder):
    assert sums.whole(folder / "a.txt")
    (folder / "a.txt").write_text("two")
    assert not sums.whole(folder / "a.txt")
    assert not (folder / "a.txt").exists()
    assert not sums.whole(folder / "a.txt")
    (folder / "own" / "y").write_text("not listed")
    assert sums.whole(folder / "own" / "y")


ODD = [
    " leading",
    "trailing ",
    "tab\there",
    "vertical\x0btab",
    "line\u2028sep",
    "ü",
    "*",
]


@pytest.mark.parametrize("name", ODD)
def test_names_that_a_line_can_hold(name, tmp_path):
    (tmp_path / name).write_text("x")
    sums.seal(tmp_path)
    assert sums.damaged(tmp_path, [name]) == {}
    (tmp_path / name).write_text("y")
    assert list(sums.damaged(tmp_path)) == [name]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\\b", "a\udcff"])
def test_names_that_no_line_can_hold(name, tmp_path):
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match="without line breaks"):
        sums.seal(tmp_path)
    assert not sums.sealed(tmp_path)
