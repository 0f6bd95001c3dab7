"""Checkpoints: exact, replaced whole, and never restored with a bit changed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from paramctl_jax.sweeps import checkpoints
from paramctl_jax.sweeps.checkpoints import fault, load_checkpoint, save_checkpoint
from paramctl_jax.types import InputError


def tree(value=0):
    rng = np.random.default_rng(value)
    return {
        "floats": rng.standard_normal((3, 4)).astype(np.float32),
        "doubles": np.asarray([np.nan, -0.0, 1e-310]),
        "bytes": rng.integers(0, 256, 700, dtype=np.uint8),
        "flags": np.asarray([True, False]),
        "count": np.asarray(value, np.int64),
        "inner": {"000": np.zeros((0, 3), np.float32), "001": np.asarray(True)},
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if isinstance(values, dict):
            assert_same(found[name], values)
        else:
            assert found[name].dtype == values.dtype
            assert found[name].shape == values.shape
            assert found[name].tobytes() == values.tobytes()


@pytest.fixture
def folder(tmp_path):
    return save_checkpoint(tmp_path / "m-00000", tree())


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_kind_of_array_comes_back_bit_for_bit(folder):
    assert_same(load_checkpoint(folder), tree())
    assert fault(folder) is None


def test_the_new_one_replaces_the_old_one(folder):
    for value in (1, 2, 3):
        save_checkpoint(folder, tree(value))
        assert_same(load_checkpoint(folder), tree(value))
        assert len(list(folder.iterdir())) == 1


def test_none_there(tmp_path):
    assert load_checkpoint(tmp_path / "none") is None
    assert fault(tmp_path) == "is unfinished"


def test_flipped_bits_are_all_detected(folder):
    """Of every file; Orbax alone restores some of them silently."""
    draws = random.Random(0)
    for path in files(folder):
        whole = path.read_bytes()
        for _ in range(30):
            data = bytearray(whole)
            if not data:
                continue
            bit = draws.randrange(8 * len(data))
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            assert fault(folder) is not None, (path.name, bit)
        path.write_bytes(whole)
    assert fault(folder) is None


@pytest.mark.parametrize("how", ["flip", "remove", "empty"])
def test_a_damaged_one_is_begun_anew(how, folder):
    path = max(files(folder), key=lambda path: path.stat().st_size)
    if how == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "remove":
        path.unlink()
    else:
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged or unfinished checkpoint"):
        assert load_checkpoint(folder) is None
    assert not folder.exists()


def test_an_unfinished_one_beside_a_whole_one(folder):
    """What a kill between writing and sealing leaves."""
    (old,) = folder.iterdir()
    new = folder / ("b" if old.name == "a" else "a")
    shutil.copytree(old, new)
    (new / "SHA256SUMS").unlink()
    assert fault(folder) is None
    assert_same(load_checkpoint(folder), tree())
    save_checkpoint(folder, tree(5))
    assert_same(load_checkpoint(folder), tree(5))


CHILD = """
import sys
from pathlib import Path
from paramctl_jax.sweeps.checkpoints import save_checkpoint
from tests.sweeps.test_checkpoints import tree
value = 0
while True:
    value += 1
    save_checkpoint(Path(sys.argv[1]), tree(value))
    print(value, flush=True)
"""


@pytest.mark.slow
def test_killed_while_saving(tmp_path):
    draws = random.Random(1)
    folder = tmp_path / "m-00000"
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.getcwd(),
        )
        assert child.stdout.readline()
        time.sleep(draws.uniform(0, 0.5))
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        last = max(map(int, rest.split() or ["1"]))
        found = load_checkpoint(folder)
        assert int(found["count"]) in (last, last + 1)
        assert_same(found, tree(int(found["count"])))


# Orbax leaves threads behind that had not written yet
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_leaves_the_last_one(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        folder = save_checkpoint(tmp_path / "m-00000", tree())
        large = np.random.default_rng(0).integers(0, 256, 2**21, dtype=np.uint8)
        with pytest.raises(InputError, match=r"cannot be saved \(No space left"):
            save_checkpoint(folder, {"large": large})
        assert_same(load_checkpoint(folder), tree())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=False)


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "m").write_text("x")
    with pytest.raises(InputError, match="cannot be saved"):
        save_checkpoint(tmp_path / "m", tree())


def test_of_one_process_among_several(folder, monkeypatch):
    """Orbax would write nothing on all but the first."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    save_checkpoint(folder, tree(3))
    monkeypatch.undo()
    assert_same(load_checkpoint(folder), tree(3))
    assert fault(folder) is None


def test_removed(folder):
    checkpoints.remove_checkpoint(folder)
    checkpoints.remove_checkpoint(folder)
    assert not folder.exists()
