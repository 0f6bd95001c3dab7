"""HDF5 files that are whole, cut, damaged or something else; text in all its types."""

import h5py
import numpy as np
import pytest

from paramctl_jax.recordings.hdf5 import open_hdf5, read_strings, text_ids
from paramctl_jax.types import InputError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "day1.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rates", data=np.arange(400.0), fletcher32=True)
        file["number"] = [1, 2]
        file["fixed"] = np.array([b"a", b"bc"])
        file["variable"] = ["ü", "zz"]
        file["scalar"] = "day 1"
        file["matrix"] = np.array([["a", "b"]], dtype=h5py.string_dtype())
        utf8 = h5py.string_dtype("utf-8", 4)
        file["utf8"] = np.array(["ü".encode(), b"q"], dtype=utf8)
        file["utf8_said_ascii"] = np.array(["ü".encode(), b"q"])
        file["latin1"] = np.array(["ü".encode("latin1")])
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fixed", ["a", "bc"]),
        ("variable", ["ü", "zz"]),
        ("scalar", "day 1"),
        ("matrix", [["a", "b"]]),
        ("utf8", ["ü", "q"]),
        ("utf8_said_ascii", ["ü", "q"]),
    ],
)
def test_text_of_every_type_becomes_str(path, name, expected):
    with open_hdf5(path) as file:
        text = read_strings(file[name])
    assert text.dtype.kind == "U"
    assert text.tolist() == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [("number", "/number: expected text, found int64"), ("latin1", "UTF-8")],
)
def test_what_is_no_text_is_refused(path, name, message):
    with pytest.raises(InputError, match=message), open_hdf5(path) as file:
        read_strings(file[name])


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(InputError, match=r"day1\.h5: ") as caught, open_hdf5(path):
        pass
    assert "\n" not in str(caught.value)


def test_damage_met_when_reading_is_told_as_damage(path):
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(50.0, 60.0).tobytes()) + 6] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="damaged HDF5 file"), open_hdf5(path) as file:
        file["rates"][:]


def test_missing_files_folders_and_contents_are_named(tmp_path, path):
    with pytest.raises(InputError, match="found nothing"), open_hdf5(tmp_path / "x.h5"):
        pass
    with pytest.raises(InputError, match="found a folder"), open_hdf5(tmp_path):
        pass
    with pytest.raises(InputError, match=r"'spikes' doesn't exist"):  # noqa: SIM117
        with open_hdf5(path) as file:
            file["spikes"]


def test_errors_of_the_caller_pass_unchanged(path):
    with pytest.raises(KeyError, match="mine"), open_hdf5(path):
        raise KeyError("mine")
    with pytest.raises(InputError, match=r"^clear$"), open_hdf5(path):
        raise InputError("clear")


@pytest.mark.parametrize(
    ("values", "ids", "is_noted"),
    [
        (np.array([b"a", b"b"]), ["a", "b"], False),
        (np.array(["a", None, np.nan], object), ["a", "", ""], False),
        (np.array([3, 12], np.uint8), ["3", "12"], True),
        (np.array([3.0, np.nan]), ["3", ""], True),
    ],
)
def test_ids_become_text(values, ids, is_noted):
    text, notes = text_ids("f", "stimulus_id", values)
    assert text.tolist() == ids
    assert bool(notes) == is_noted


@pytest.mark.parametrize(
    "values", [np.array([1.5]), np.array([True]), np.array([1j]), np.array([b"\xff"])]
)
def test_what_is_no_id_is_refused(values):
    with pytest.raises(InputError, match="f: stimulus_id: expected"):
        text_ids("f", "stimulus_id", values)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "x.h5").touch()
    with (
        pytest.raises(InputError, match="found an empty file"),
        open_hdf5(tmp_path / "x.h5"),
    ):
        pass
