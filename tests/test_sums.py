"""SHA256SUMS: what `sha256sum` checks, and every change is named."""

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
    assert sums.damaged(folder) == {}  # it lists nothing
    assert sums.damaged(folder, ["a.txt"]) == {"a.txt": "is not listed"}
    path.unlink()
    assert sums.damaged(folder) == {sums.NAME: "is missing"}


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


def test_names_that_no_line_can_hold(tmp_path):
    (tmp_path / "a\nb").write_text("x")
    with pytest.raises(InputError, match="without line breaks"):
        sums.seal(tmp_path)
