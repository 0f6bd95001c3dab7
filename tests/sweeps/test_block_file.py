"""A block's file: equal for equal arrays, and every changed bit is seen."""

import os

import numpy as np
import pytest

from paramctl_jax.sweeps.block_file import fault, read_block, write_block
from paramctl_jax.types import InputError

ARRAYS = {
    "identity": np.asarray("sha256:00"),
    "x": np.arange(3, dtype=np.float32),
    "none": np.zeros((0, 2), np.int64),
}


@pytest.fixture
def path(tmp_path):
    return write_block(tmp_path / "m-00000.npz", ARRAYS)


def test_round_trip_also_by_numpy(path):
    found = read_block(path)
    assert found.keys() == ARRAYS.keys()
    with np.load(path, allow_pickle=False) as archive:
        for name, values in ARRAYS.items():
            for read in (found[name], archive[name]):
                np.testing.assert_array_equal(read, values)
                assert read.dtype == values.dtype
    assert fault(path) is None


def test_equal_arrays_give_equal_bytes(path, tmp_path):
    again = write_block(tmp_path / "again.npz", ARRAYS)
    assert again.read_bytes() == path.read_bytes()


def test_neither_names_order_nor_memory_layout_counts(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.asarray(True)}
    other = {"b": arrays["b"], "a": np.asfortranarray(arrays["a"])}
    one = write_block(tmp_path / "one.npz", arrays).read_bytes()
    assert write_block(tmp_path / "other.npz", other).read_bytes() == one


def test_every_flipped_bit_is_seen(path):
    whole = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(whole)):
            place, value = bit // 8, whole[bit // 8]
            os.pwrite(file.fileno(), bytes([value ^ 1 << bit % 8]), place)
            assert fault(path) is not None, bit
            os.pwrite(file.fileno(), bytes([value]), place)
    assert fault(path) is None


def test_every_other_length_is_seen(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert fault(path) is not None, length
    path.write_bytes(whole + b"\0")
    assert fault(path) is not None


def test_what_to_do_is_said(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"m-00000\.npz: damaged.*made anew"):
        read_block(path)
    path.unlink()
    with pytest.raises(InputError, match=r"m-00000\.npz: cannot be read"):
        read_block(path)


def test_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        write_block(tmp_path / "x.npz", {"x": np.asarray([{}], object)})
    assert list(tmp_path.iterdir()) == []
