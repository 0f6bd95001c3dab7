"""Reading, writing and refusing recordings."""

import dataclasses

import numpy as np
import pytest

from paramctl_jax.recordings.files import (
    READERS,
    load_recordings,
    load_trials,
    read_file,
    save_recordings,
)
from paramctl_jax.types import InputError, Recordings, Trials


@pytest.fixture
def recordings():
    rng = np.random.default_rng(0)
    responses = rng.standard_normal((4, 3, 2))
    responses[1, 2, 1] = np.nan
    return Recordings(
        responses=responses,
        stimulus_ids=("im_a", "im_b", "im_c", "im_ü"),
        site_ids=("s0", "s1", "s2"),
        units="spikes/s",
        window_ms=(50.0, 150.0),
        site_meta={"area": np.array(["V4", "V4", "IT"]), "depth": np.arange(3)},
    )


def arrays(**changed):
    content = {
        "responses": np.zeros((4, 3, 2)),
        "stimulus_ids": np.array(["a", "b", "c", "d"]),
        "site_ids": np.array(["s0", "s1", "s2"]),
    }
    content.update(changed)
    return {name: value for name, value in content.items() if value is not None}


def test_round_trip_is_exact(tmp_path, recordings):
    path = tmp_path / "deep" / "day1.npz"
    save_recordings(path, recordings)
    loaded = load_recordings(path)
    np.testing.assert_array_equal(loaded.responses, recordings.responses)
    for field in ("stimulus_ids", "site_ids", "units", "window_ms"):
        assert getattr(loaded, field) == getattr(recordings, field)
    assert loaded.site_meta.keys() == recordings.site_meta.keys()
    for name, values in recordings.site_meta.items():
        np.testing.assert_array_equal(loaded.site_meta[name], values)
    save_recordings(tmp_path / "again.npz", loaded)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["day1.npz"]


def test_absent_optional_arrays_get_their_defaults(tmp_path):
    path = tmp_path / "plain.npz"
    np.savez(path, **arrays(responses=np.ones((4, 3, 1), dtype=np.int16)))
    loaded = load_recordings(path)
    assert (loaded.units, loaded.window_ms, loaded.site_meta) == ("z", None, {})
    assert loaded.responses.dtype == np.float64


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"site_ids": None}, r"missing \['site_ids'\]"),
        ({"response": np.zeros(3)}, r"unknown \['response'\]"),
        ({"responses": np.zeros((4, 3))}, r"\[image, site, repeat\].*\(4, 3\)"),
        ({"responses": np.zeros((4, 3, 0))}, r"non-empty.*\(4, 3, 0\)"),
        ({"responses": np.zeros((3, 4, 2))}, "4 ids, but responses hold 3 images"),
        ({"responses": np.zeros((4, 3, 2), complex)}, "real numbers, found complex"),
        ({"responses": np.full((4, 3, 2), "1")}, "real numbers"),
        ({"site_ids": np.array(["s0", "s1"])}, "2 ids, but responses hold 3 sites"),
        ({"site_ids": np.arange(3)}, "strings, found shape .3,. of int64"),
        ({"stimulus_ids": np.array(list("abca"))}, r"more than once, first \['a'\]"),
        ({"site_meta/area": np.array(["V4"])}, "site_meta/area.*each of 3 sites"),
        ({"window_ms": np.array([150.0, 50.0])}, "start before stop"),
        ({"window_ms": np.array([1.0, 2.0, 3.0])}, "window_ms"),
        ({"site_ids": np.array(["s0", "s1", None], object)}, "never loaded"),
    ],
)
def test_bad_contents_give_one_clear_line(tmp_path, changed, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays(**changed))
    with pytest.raises(InputError, match=message) as caught:
        load_recordings(path)
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, recordings, keep):
    path = tmp_path / "cut.npz"
    save_recordings(path, recordings)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(InputError, match=r"cut\.npz"):
        load_recordings(path)


def test_a_flipped_byte_is_refused(tmp_path, recordings):
    path = tmp_path / "flipped.npz"
    save_recordings(path, recordings)
    data = bytearray(path.read_bytes())
    data[data.index(recordings.responses.tobytes()) + 5] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="damaged"):
        load_recordings(path)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"unknown suffix '.xyz'.*one of .csv, .h5"):
        load_recordings(tmp_path / "day1.xyz")
    with pytest.raises(InputError, match="found nothing"):
        load_recordings(tmp_path / "absent.npz")
    with (tmp_path / "array.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(InputError, match="found one array"):
        load_recordings(tmp_path / "array.npz")
    (tmp_path / "text.npz").write_text("site,response\n")
    with pytest.raises(InputError, match=r"text\.npz"):
        load_recordings(tmp_path / "text.npz")


def test_objects_are_never_written(tmp_path, recordings):
    meta = {"note": np.array([1, "a", None], dtype=object)}
    with pytest.raises(InputError, match="site_meta/note"):
        save_recordings(
            tmp_path / "x.npz", dataclasses.replace(recordings, site_meta=meta)
        )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def trials_file(tmp_path):
    """Five trials of three images at two sites."""
    path = tmp_path / "trials.npz"
    np.savez(
        path,
        responses=np.arange(10.0).reshape(5, 2),
        stimulus_ids=["b", "a", "b", "c", "b"],
        site_ids=["s0", "s1"],
        session_ids=["d1", "d1", "d1", "d2", "d2"],
        units="spikes/s",
    )
    return path


def test_trials_are_grouped_by_stimulus_or_kept(trials_file):
    trials = load_trials(trials_file)
    assert isinstance(trials, Trials)
    assert trials.session_ids == ("d1", "d1", "d1", "d2", "d2")
    np.testing.assert_array_equal(trials.responses, np.arange(10.0).reshape(5, 2))
    grouped = load_recordings(trials_file)
    assert (grouped.stimulus_ids, grouped.units) == (("b", "a", "c"), "spikes/s")
    nan = np.nan
    expected = [[0, 4, 8], [1, 5, 9]], [[2, nan, nan], [3, nan, nan]]
    np.testing.assert_array_equal(grouped.responses[:2], expected)
    assert type(read_file(trials_file)) is Trials


def test_repeats_cannot_become_trials_again(tmp_path, recordings):
    path = tmp_path / "day1.npz"
    save_recordings(path, recordings)
    assert type(read_file(path)) is Recordings
    with pytest.raises(InputError, match=r"single trials.*\(4, 3, 2\)") as caught:
        load_trials(path)
    assert "day1.npz" in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_every_reader_names_a_missing_and_a_foreign_file(tmp_path, suffix):
    path = tmp_path / f"day1{suffix}"
    with pytest.raises(InputError, match=f"day1{suffix}: .*found nothing"):
        load_recordings(path)
    path.write_bytes(b"\x00\xff<html>no such page</html>" * 20)
    with pytest.raises(InputError, match=f"day1{suffix}") as caught:
        load_recordings(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("x.nwb", "window", "did you mean 'window_ms'.*stimulus, onset"),
        ("x.nc", "bin", "unknown option of read_netcdf 'bin'.*time_bin"),
        ("x.h5", "subjet", "did you mean 'subject'"),
        ("x.hdf5", "subjet", "did you mean 'subject'"),
        ("X.NWB", "windows", "unknown option of read_nwb 'windows'"),
        ("x.npz", "axis", "unknown option of read_npz 'axis'"),
    ],
)
def test_unknown_options_list_those_of_the_reader(tmp_path, name, option, message):
    for load in (load_recordings, load_trials):
        with pytest.raises(InputError, match=message) as caught:
            load(tmp_path / name, **{option: 1})
        assert name in str(caught.value)


def test_options_reach_the_reader(tmp_path):
    path = tmp_path / "day1.csv"
    path.write_text("image,site_id,response\na,s0,1\nb,s0,2\na,s0,3\n")
    loaded = load_recordings(path, stimulus="image")
    assert loaded.stimulus_ids == ("a", "b")
    np.testing.assert_array_equal(loaded.responses, [[[1, 3]], [[2, np.nan]]])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.nc", {"time_bin": 1.0}),
        ("x.mat", {"names": ["a"]}),
        ("x.nwb", {"window_ms": 70}),
        ("x.csv", {"sites": 3}),
        ("x.h5", {"subject": 250428}),
    ],
)
def test_an_option_of_another_type_is_refused(tmp_path, name, options):
    (tmp_path / name).touch()
    ((option, value),) = options.items()
    with pytest.raises(InputError, match=f"option {option}: expected .*found ") as told:
        load_recordings(tmp_path / name, **options)
    assert str(told.value).endswith(f"found {value!r}")
