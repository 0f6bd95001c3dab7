"""The store of features: what it writes, resumes, refuses and finds damaged."""

import contextlib
import fcntl
import json
import shutil
import threading
from hashlib import sha256

import numpy as np
import pytest

from paramctl_jax.encoding import feature_writer
from paramctl_jax.encoding.feature_store import Entry, opened, stored, verify
from paramctl_jax.encoding.feature_writer import writing
from paramctl_jax.types import InputError

SHAPE = (10, 3)
ROWS = np.arange(30, dtype=np.float32).reshape(SHAPE)


@pytest.fixture
def entry(tmp_path):
    return Entry(tmp_path / "store", {"readout": "late"}, SHAPE, {"model": "tiny"})


def write(entry, start=0, stop=SHAPE[0]):
    with writing([entry], progress=False) as writers:
        for writer in writers:
            for first in range(start, stop, 2):
                writer.append(first, ROWS[first : first + 2])
            if stop == SHAPE[0]:
                writer.finish()


def names(entry):
    return sorted(path.name for path in entry.directory.iterdir())


def test_a_complete_entry_is_a_plain_npy_file_and_its_description(entry):
    assert stored(entry) is None
    write(entry)
    key = sha256(b'{\n  "readout": "late"\n}\n').hexdigest()
    assert names(entry) == [f"{key}.json", f"{key}.npy"]
    np.testing.assert_array_equal(np.load(entry.path, allow_pickle=False), ROWS)
    record = json.loads(entry.record.read_text())
    digest = f"sha256:{sha256(entry.path.read_bytes()).hexdigest()}"
    assert record == {
        "model": "tiny",
        "identity": {"readout": "late"},
        "images": 10,
        "features": 3,
        "rows": 10,
        "sha256": digest,
    }
    found = opened(entry)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, ROWS)


def test_rows_are_gone_on_with_where_they_stopped(entry):
    with contextlib.suppress(KeyboardInterrupt), writing([entry], False) as (writer,):
        writer.append(0, ROWS[:4])
        raise KeyboardInterrupt
    assert stored(entry) is None
    assert verify(entry.directory) == {}
    with writing([entry], False) as (writer,):
        assert writer.rows == 4
        writer.append(2, ROWS[2:7])  # two of them are there
        writer.append(7, ROWS[7:])
        with pytest.raises(InputError, match="deleted while"):
            opened(entry)
        writer.finish()
    np.testing.assert_array_equal(opened(entry), ROWS)


def test_an_unfinished_entry_is_not_called_complete(entry):
    with writing([entry], False) as (writer,):
        writer.append(0, ROWS[:9])
        with pytest.raises(ValueError, match="9 of 10 rows"):
            writer.finish()


def lose_the_rows(entry):
    with entry.partial.open("r+b") as stream:
        stream.truncate(entry.size(3))


def lose_the_header(entry):
    data = entry.partial.read_bytes()
    entry.partial.write_bytes(b"?" + data[1:])


def lose_the_record(entry):
    entry.record.write_text('{"rows": ')


def count_too_many(entry):
    entry.record.write_text('{"rows": 11}')


@pytest.mark.parametrize(
    "damage", [lose_the_rows, lose_the_header, lose_the_record, count_too_many]
)
def test_rows_that_cannot_be_trusted_are_written_again(entry, damage):
    write(entry, stop=4)
    damage(entry)
    with writing([entry], False) as (writer,):
        assert writer.rows == 0
    write(entry)
    np.testing.assert_array_equal(opened(entry), ROWS)


def test_rows_that_were_not_counted_are_dropped(entry):
    write(entry, stop=4)
    with entry.partial.open("ab") as stream:
        stream.write(b"half a row")
    write(entry, start=4)
    np.testing.assert_array_equal(opened(entry), ROWS)


def test_a_kill_between_digest_and_name_costs_nothing(entry):
    write(entry)
    entry.path.rename(entry.partial)
    assert stored(entry) is None
    assert verify(entry.directory) == {}
    with writing([entry], False) as (writer,):
        assert writer.rows == SHAPE[0]
        writer.finish()
    np.testing.assert_array_equal(opened(entry), ROWS)


def cut(entry):
    with entry.path.open("r+b") as stream:
        stream.truncate(entry.size(9))


def reshape(entry):
    np.save(entry.path, ROWS.reshape(3, 10))


def forget(entry):
    entry.record.unlink()


@pytest.mark.parametrize("damage", [cut, reshape, forget])
def test_a_damaged_entry_is_named_and_done_again(entry, damage):
    write(entry)
    damage(entry)
    assert list(verify(entry.directory)) == [entry.path.name]
    assert stored(entry) is None
    with pytest.warns(UserWarning, match=rf"{entry.key}\.npy: truncated or"):
        write(entry)
    np.testing.assert_array_equal(opened(entry), ROWS)
    assert verify(entry.directory) == {}


def test_verify_names_a_changed_byte_and_a_lost_file(entry):
    other = Entry(entry.directory, {"readout": "early"}, SHAPE)
    write(entry)
    write(other)
    assert verify(entry.directory) == {}
    data = bytearray(entry.path.read_bytes())
    data[-1] ^= 1
    entry.path.write_bytes(data)
    other.path.unlink()
    assert verify(entry.directory) == {
        entry.path.name: f"differs from its digest in {entry.record.name}",
        other.path.name: "is missing",
    }
    with pytest.raises(InputError, match="expected a directory"):
        verify(entry.directory / "nothing")


def test_one_process_at_a_time_has_an_entry(entry):
    left = []

    def second():
        with writing([entry], progress=False) as writers:
            left.append(len(writers))

    with writing([entry], False) as (writer,):
        with entry.partial.open("rb") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        waiting = threading.Thread(target=second)
        waiting.start()
        writer.append(0, ROWS)
        writer.finish()
    waiting.join()
    assert left == [0]  # nothing was left to do
    assert names(entry) == [entry.record.name, entry.path.name]


def test_too_little_space_is_said_beforehand(entry, monkeypatch):
    large = Entry(entry.directory, {"readout": "late"}, (2**10, 2**10))
    usage = shutil._ntuple_diskusage(0, 0, 3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(InputError, match=r"need 5 MiB, 3 MiB are free"),
        writing([large], False),
    ):
        raise AssertionError("unreachable")


def test_a_disk_that_fills_up_keeps_what_is_done(entry, monkeypatch):
    real = feature_writer._write_all

    def fill(stream, data):
        if stream.tell() >= entry.size(6):
            stream.write(data[:5])
            raise OSError(28, "No space left on device")
        real(stream, data)

    with monkeypatch.context() as patch:
        patch.setattr(feature_writer, "_write_all", fill)
        with pytest.raises(InputError, match=r"No space left on device"):
            write(entry)
    with writing([entry], False) as (writer,):
        assert writer.rows == 6
    write(entry, start=6)
    np.testing.assert_array_equal(opened(entry), ROWS)


def test_a_directory_that_cannot_be_one_is_refused(entry):
    entry.directory.write_text("a file")
    with pytest.raises(InputError, match=r"store: features cannot be stored \("):
        write(entry)
