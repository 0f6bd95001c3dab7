"""Checkpoints: exact, replaced whole, and never restored with a bit changed."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

import jax
import numpy as np
import pytest

from paramctl_jax import sums
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
        "key": np.asarray([0, 2**32 - 1], np.uint32),
        "small": np.arange(-3, 3, dtype=np.int32).reshape(2, 3).T,
        "zeros": np.asarray([0.0, -0.0], np.float32),
        "nothing": {},
        "inner": {
            "000": np.zeros((0, 3), np.float32),
            "001": np.asarray(True),
            "002": np.zeros((2, 0), bool),
            "deep": {"0": np.zeros(0, np.int64)},
        },
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if isinstance(values, Mapping):
            assert_same(found[name], values)
        else:
            assert isinstance(found[name], np.ndarray)
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
    assert fault(tmp_path / "none") is None


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
            said = fault(folder)
            assert said is not None, (path.name, bit)
            assert path.name in said or path.name == "SHA256SUMS", (path.name, bit)
        path.write_bytes(whole)
    assert fault(folder) is None


def test_every_truncation_of_the_digests_is_detected(folder):
    """A list that is cut between two lines vouches for nothing that it lost."""
    (path,) = folder.glob("*/SHA256SUMS")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert fault(folder) is not None, length


def test_a_file_too_many_is_detected(folder):
    (folder / "000001" / "state" / "d" / "more").write_bytes(b"")
    assert fault(folder) == "000001/state/d/more is not listed"


def test_what_orbax_cannot_read_is_begun_anew(folder, monkeypatch):
    """Its digests are right: another version wrote it, say."""

    def failing(_):
        raise KeyError("item_metadata")

    monkeypatch.setattr(checkpoints, "_read", failing)
    with pytest.warns(UserWarning, match="000001 cannot be restored"):
        assert load_checkpoint(folder) is None
    assert not folder.exists()


@pytest.mark.parametrize("how", ["flip", "remove", "empty", "digests"])
def test_a_damaged_one_is_begun_anew(how, folder):
    path = max(files(folder), key=lambda path: path.stat().st_size)
    if how == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "remove":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    else:
        (folder / "000001" / "SHA256SUMS").unlink()
    with pytest.warns(UserWarning, match="a damaged checkpoint .000001/.*begun anew"):
        assert load_checkpoint(folder) is None
    assert not folder.exists()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_kill_while_writing_leaves(folder):
    hidden = folder / ".000002.x" / "state.orbax-checkpoint-tmp"
    hidden.mkdir(parents=True)
    (hidden / "_METADATA").write_bytes(b"half of i")
    assert fault(folder) is None
    assert_same(load_checkpoint(folder), tree())
    save_checkpoint(folder, tree(5))
    assert_same(load_checkpoint(folder), tree(5))
    assert names(folder) == ["000002"]


def test_what_a_kill_while_writing_the_first_one_leaves(folder):
    (folder / "000001").rename(folder / ".000001.x")
    assert fault(folder) is None
    assert load_checkpoint(folder) is None
    save_checkpoint(folder, tree(5))
    assert names(folder) == ["000001"]


def test_what_a_kill_before_the_old_one_is_removed_leaves(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_remove", lambda paths: None)
        save_checkpoint(folder, tree(1))
    assert names(folder) == ["000001", "000002"]
    assert_same(load_checkpoint(folder), tree(1))
    (folder / "000002" / "SHA256SUMS").write_bytes(b"")
    assert fault(folder) is None
    assert_same(load_checkpoint(folder), tree(0))
    save_checkpoint(folder, tree(2))
    assert names(folder) == ["000003"]


def test_what_a_kill_while_removing_leaves(folder, monkeypatch):
    def killed(path, **options):
        (path / "SHA256SUMS").unlink()
        raise OSError("as if killed")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        save_checkpoint(folder, tree(1))
    (old, _) = names(folder)
    assert old.startswith(".old.")
    assert fault(folder) is None
    save_checkpoint(folder, tree(2))
    assert names(folder) == ["000003"]


def test_a_number_with_more_digits_is_the_later_one(folder, monkeypatch):
    (folder / "000001").rename(folder / "999999")
    monkeypatch.setattr(checkpoints, "_remove", lambda paths: None)
    save_checkpoint(folder, tree(1))
    assert names(folder) == ["1000000", "999999"]
    assert_same(load_checkpoint(folder), tree(1))


def test_one_replaced_while_it_is_looked_at_is_no_fault(folder, monkeypatch):
    def replaced(path, needed):
        monkeypatch.undo()
        save_checkpoint(folder, tree(1))
        return sums.damaged(path, needed)

    monkeypatch.setattr(checkpoints.sums, "damaged", replaced)
    assert fault(folder) is None


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
        save_checkpoint(folder, tree(1))  # what it left makes no trouble
        assert_same(load_checkpoint(folder), tree(1))
        assert names(folder) == ["000002"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=False)


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "m").write_text("x")
    with pytest.raises(InputError, match="cannot be saved"):
        save_checkpoint(tmp_path / "m", tree())


def test_one_that_fails_leaves_nothing_behind(folder, monkeypatch):
    def failing(path):
        raise InputError(f"{path}/SHA256SUMS: cannot be written (Input/output error)")

    monkeypatch.setattr(checkpoints.sums, "seal", failing)
    with pytest.raises(InputError, match="m-00000: the state cannot be saved"):
        save_checkpoint(folder, tree(1))
    assert names(folder) == ["000001"]
    assert_same(load_checkpoint(folder), tree())


def test_a_mistake_in_the_tree_is_not_the_disks(folder):
    for wrong in (np.asarray([{}], object), np.asarray("text")):
        with pytest.raises(TypeError, match="expected numbers"):
            save_checkpoint(folder, {"x": wrong})
    assert names(folder) == ["000001"]


def test_of_one_process_among_several(folder, monkeypatch):
    """Orbax would write nothing on all but the first."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    save_checkpoint(folder, tree(3))
    monkeypatch.undo()
    assert_same(load_checkpoint(folder), tree(3))
    assert fault(folder) is None


PROGRAM = """
import sys, time
from pathlib import Path
import jax
from paramctl_jax.sweeps.checkpoints import load_checkpoint, save_checkpoint
from tests.sweeps.test_checkpoints import assert_same, tree
port, index, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
jax.distributed.initialize(f"127.0.0.1:{port}", 2, index)
assert jax.process_count() == 2
if index == 1:  # 0 does nothing of the kind meanwhile
    assert_same(load_checkpoint(folder / "m-00000"), tree())
    for value in (1, 2):
        save_checkpoint(folder / "m-00001", tree(value))
    assert_same(load_checkpoint(folder / "m-00001"), tree(2))
    (folder / "done").touch()
while not (folder / "done").exists():
    time.sleep(0.05)
"""


@pytest.mark.slow
def test_one_process_of_a_program_waits_for_no_other(folder):
    """With one that a process alone has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-W", "error", "-c", PROGRAM, port]
    both = [
        subprocess.Popen([*command, str(index), str(folder.parent)])
        for index in range(2)
    ]
    try:
        assert both[1].wait(120) == 0
        assert both[0].wait(120) == 0
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert_same(load_checkpoint(folder.parent / "m-00001"), tree(2))


def test_removed(folder):
    checkpoints.remove_checkpoint(folder)
    checkpoints.remove_checkpoint(folder)
    assert not folder.exists()
