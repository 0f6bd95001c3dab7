"""Brain-Score assemblies, written by xarray as Brain-Score writes them."""

import sys

import h5py
import numpy as np
import pytest

from paramctl_jax.recordings.netcdf import read_netcdf
from paramctl_jax.recordings.trials import group_trials
from paramctl_jax.types import InputError

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

SHOWN = ["im_b", "im_a", "im_b", "im_ü"]


def make_assembly(dims=("presentation", "neuroid", "time_bin"), bins=1, **coords):
    axes = {"presentation": 4, "neuroid": 3, "time_bin": bins}
    values = np.random.default_rng(0).standard_normal([axes[d] for d in dims])
    found = {
        "stimulus_id": ("presentation", SHOWN),
        "repetition": ("presentation", [0, 0, 1, 0]),
        "neuroid_id": ("neuroid", ["A_1", "A_2", "B_1"]),
        "region": ("neuroid", ["IT", "IT", "V4"]),
        "row": ("neuroid", [0, 1, 2]),
        "broken": ("neuroid", [False, True, False]),
    }
    if "time_bin" in dims:
        found["time_bin_start"] = ("time_bin", 70 + 100 * np.arange(bins))
        found["time_bin_end"] = ("time_bin", 170 + 100 * np.arange(bins))
    found = {k: v for k, v in (found | coords).items() if v is not None}
    return xarray.DataArray(values, dims=dims, coords=found)


def write(folder, assembly, name="data"):
    """As brainio's `write_netcdf`: the attributes move to the file, compressed."""
    path = folder / "assy_lab_Study.nc"
    assembly.attrs["stimulus_set_identifier"] = "lab.Study"
    dataset = assembly.to_dataset(name=name, promote_attrs=True)
    encoding = {name: {"zlib": True, "complevel": 9}}
    dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    return path


def test_presentations_become_trials(tmp_path):
    assembly = make_assembly()
    trials = read_netcdf(write(tmp_path, assembly), units="spikes/s")
    np.testing.assert_array_equal(trials.responses, assembly.values[..., 0])
    assert trials.stimulus_ids == tuple(SHOWN)
    assert trials.site_ids == ("A_1", "A_2", "B_1")
    assert trials.session_ids == ("",) * 4
    assert (trials.units, trials.window_ms) == ("spikes/s", (70.0, 170.0))
    assert trials.notes == ()
    meta = {name: values.tolist() for name, values in trials.site_meta.items()}
    assert meta == {
        "region": ["IT", "IT", "V4"],
        "row": [0, 1, 2],
        "broken": [False, True, False],
    }
    grouped = group_trials(trials)
    b = assembly.values[[0, 2], :, 0]
    np.testing.assert_array_equal(grouped.responses[0], b.T)


def test_the_index_that_brainio_resets_reads_alike(tmp_path):
    plain = make_assembly()
    indexed = plain.set_index(
        presentation=["stimulus_id", "repetition"],
        neuroid=["neuroid_id", "region", "row", "broken"],
        time_bin=["time_bin_start", "time_bin_end"],
    )
    reset = indexed.reset_index(["presentation", "neuroid", "time_bin"])
    trials = read_netcdf(write(tmp_path, reset))
    np.testing.assert_array_equal(trials.responses, plain.values[..., 0])
    assert trials.stimulus_ids == tuple(SHOWN)
    assert trials.window_ms == (70.0, 170.0)
    assert set(trials.site_meta) == {"region", "row", "broken"}


def test_old_files_say_image_id_and_name_no_variable(tmp_path):
    assembly = make_assembly(
        ("neuroid", "presentation"),
        stimulus_id=None,
        image_id=("presentation", SHOWN),
    )
    path = tmp_path / "old.nc"
    assembly.astype(np.float32).to_netcdf(path, engine="h5netcdf")
    trials = read_netcdf(path)
    assert trials.stimulus_ids == tuple(SHOWN)
    assert trials.responses.dtype == np.float64
    np.testing.assert_array_equal(
        trials.responses, assembly.values.T.astype(np.float32)
    )
    assert (trials.window_ms, trials.units) == (None, "unknown")
    assert any("units" in note for note in trials.notes)


def test_an_averaged_assembly_has_one_repeat(tmp_path):
    names = ("presentation", ["a", "b", "c", "d"])
    assembly = make_assembly(("presentation", "neuroid"), stimulus_id=names)
    assembly.attrs["units"] = "z"
    grouped = group_trials(read_netcdf(write(tmp_path, assembly)))
    assert (grouped.responses.shape, grouped.units) == ((4, 3, 1), "z")
    np.testing.assert_array_equal(grouped.responses[..., 0], assembly.values)


def test_one_of_several_time_bins_is_chosen(tmp_path):
    assembly = make_assembly(bins=3)
    path = write(tmp_path, assembly)
    trials = read_netcdf(path, time_bin=2)
    np.testing.assert_array_equal(trials.responses, assembly.values[..., 2])
    assert trials.window_ms == (270.0, 370.0)
    for chosen in (None, 3, -1):
        with pytest.raises(InputError, match=r"3 time bins.*0: 70-170 ms, 1: 170-270"):
            read_netcdf(path, time_bin=chosen)


@pytest.mark.parametrize("name", ["session", "session_id", "day"])
def test_sessions_are_read(tmp_path, name):
    days = np.array([210325, 210325, 210326, 210326])
    path = write(tmp_path, make_assembly(**{name: ("presentation", days)}))
    assert read_netcdf(path).session_ids == ("210325",) * 2 + ("210326",) * 2


def test_missing_responses_stay_missing_and_numbers_become_ids(tmp_path):
    assembly = make_assembly(stimulus_id=("presentation", [7, 8, 7, 9]))
    assembly[1, 2, 0] = np.nan
    trials = read_netcdf(write(tmp_path, assembly))
    assert np.argwhere(np.isnan(trials.responses)).tolist() == [[1, 2]]
    assert trials.stimulus_ids == ("7", "8", "7", "9")
    assert "stimulus_id: numbers read as text, as 7" in trials.notes


def test_units_of_time_do_not_turn_windows_into_durations(tmp_path):
    assembly = make_assembly()
    for bound in ("time_bin_start", "time_bin_end"):
        assembly[bound].attrs["units"] = "milliseconds"
    assert read_netcdf(write(tmp_path, assembly)).window_ms == (70.0, 170.0)


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ({"stimulus_id": None}, "stimulus_id or image_id along presentation"),
        ({"neuroid_id": None}, "neuroid_id along neuroid, found region, row"),
        ({"neuroid_id": ("neuroid", ["a", "b", "a"])}, r"more than once, first \['a'"),
        ({"neuroid_id": ("neuroid", [1.5, 2.0, 3.0])}, "expected ids"),
        ({"stimulus_id": ("presentation", ["a", "", "b", "c"])}, "an id in every"),
    ],
)
def test_unfit_coordinates_give_one_clear_line(tmp_path, coords, message):
    with pytest.raises(InputError, match=message) as caught:
        read_netcdf(write(tmp_path, make_assembly(**coords)))
    assert "assy_lab_Study.nc" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unfit_variables_give_one_clear_line(tmp_path):
    path = tmp_path / "x.nc"
    plain = make_assembly(("presentation", "neuroid"))

    def refused(dataset, message):
        dataset.to_netcdf(path, engine="h5netcdf")
        with pytest.raises(InputError, match=message):
            read_netcdf(path)

    text = plain.astype(str)
    refused(text.to_dataset(name="data"), "real numbers")
    refused(plain.rename(neuroid="unit").to_dataset(name="data"), "presentation and ne")
    refused(plain.expand_dims(fold=2).to_dataset(name="data"), "optionally, time_bin")
    refused(xarray.Dataset({"a": plain, "b": plain}), "expected one variable")


def test_other_variables_do_not_matter_beside_data(tmp_path):
    plain = make_assembly(("presentation", "neuroid"))
    path = tmp_path / "x.nc"
    xarray.Dataset({"data": plain, "latency": plain + 1}).to_netcdf(
        path, engine="h5netcdf"
    )
    np.testing.assert_array_equal(read_netcdf(path).responses, plain.values)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = write(tmp_path, make_assembly())
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(InputError, match=r"assy_lab_Study\.nc"):
        read_netcdf(path)


def test_an_hdf5_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "x.nc"
    with h5py.File(path, "w") as file:
        file["rates"] = np.zeros((2, 3))
    with pytest.raises(InputError, match=r"x\.nc: expected one variable.*rates"):
        read_netcdf(path)


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path, make_assembly())
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(InputError, match=r"paramctl_jax\[netcdf\]"):
        read_netcdf(path)


def test_a_classic_netcdf_file_is_named(tmp_path):
    path = tmp_path / "old.nc"
    make_assembly(("presentation", "neuroid"), broken=None).to_netcdf(
        path, engine="scipy"
    )
    with pytest.raises(InputError, match="found classic netCDF-3; convert it") as told:
        read_netcdf(path)
    assert str(told.value).startswith(str(path))
