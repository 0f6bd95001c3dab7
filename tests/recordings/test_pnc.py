"""The HDF5 layout of the paper's authors, written here as their code reads it."""

import h5py
import numpy as np
import pytest

from paramctl_jax.recordings.pnc import read_pnc
from paramctl_jax.types import InputError, Recordings, Trials

SHOWN = ["shared0001.png", "shared0002.png", "shared0001.png", "shared0003.png"]
DAYS = ["250428", "250428", "250429", "250429"]
AREAS = ["l_V4", "l_aIT", "l_pIT"]
STARTS = np.arange(0, 500, 100)  # of the bins of response_temporal, in ms


def write_subject(group, rng, strings=None):
    """One subject: float32 responses in bins, integer peaks, text as bytes."""
    strings = strings or h5py.string_dtype()
    temporal = rng.random((5, 4, 3)).astype(np.float32)
    peak = rng.integers(0, 200, (4, 3)).astype(np.uint8)
    trials = group.create_group("trials")
    trials["response_peak"] = peak
    trials["response_temporal"] = temporal
    trials.create_dataset("stimulus_name", data=SHOWN, dtype=strings)
    trials.create_dataset("session_dates", data=DAYS, dtype=strings)
    trials["stimulus_pos_deg"] = np.zeros((4, 2))
    repavg = group.create_group("repavg")
    repavg["response_peak"] = np.stack(
        [peak[[0, 2]].mean(axis=0), peak[1], peak[3]]
    ).astype(np.float32)
    repavg.create_dataset("stimulus_name", data=SHOWN[:2] + SHOWN[3:], dtype=strings)
    meta = group.create_group("neuron_metadata")
    meta["ncsnr"] = [0.3, 0.8, 1.5]
    meta["reliability"] = [0.4, 0.7, 0.9]
    meta.create_dataset("brain_area", data=AREAS, dtype=strings)
    meta.create_dataset("is_good", data=["True", "False", "True"], dtype=strings)
    meta["temporal_windows"] = STARTS
    meta["peak_respwindow"] = [100, 400]
    return peak, temporal


@pytest.fixture
def control(tmp_path):
    """Path, and what was written, of a file of two subjects."""
    path = tmp_path / "control_5monkeys.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        written = {
            name: write_subject(file.create_group(name), rng)
            for name in ("red_20250428-20250430", "paul_20250428-20250430")
        }
    return path, written


def refused(*args, **kwargs):
    with pytest.raises(InputError) as caught:
        read_pnc(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("subject", ["paul_20250428-20250430", "paul"])
def test_trials_of_one_subject(control, subject):
    path, written = control
    trials = read_pnc(path, subject=subject)
    assert isinstance(trials, Trials)
    peak, _ = written["paul_20250428-20250430"]
    np.testing.assert_array_equal(trials.responses, peak)
    assert trials.responses.dtype == np.float64
    assert trials.stimulus_ids == tuple(name.removesuffix(".png") for name in SHOWN)
    assert trials.session_ids == tuple(DAYS)
    assert trials.site_ids == ("unit0", "unit1", "unit2")
    assert (trials.units, trials.window_ms) == ("spikes/s", (100.0, 400.0))
    assert trials.site_meta.keys() == {"ncsnr", "reliability", "brain_area", "is_good"}
    assert trials.site_meta["ncsnr"].tolist() == [0.3, 0.8, 1.5]
    assert trials.site_meta["brain_area"].tolist() == AREAS
    assert trials.site_meta["is_good"].tolist() == [True, False, True]
    assert trials.notes == (
        "image suffixes left off stimulus ids: 'shared0001.png' is 'shared0001'",
    )


def test_integer_peaks_are_not_truncated_when_standardised(control):
    path, written = control
    responses = read_pnc(path, subject="red").responses
    peak, _ = written["red_20250428-20250430"]
    z = (responses - responses.mean(axis=0)) / responses.std(axis=0)
    columns = peak.astype(float).T
    for site, values in enumerate(columns):
        mean = sum(values) / 4
        sd = (sum((value - mean) ** 2 for value in values) / 4) ** 0.5
        np.testing.assert_allclose(z[:, site], (values - mean) / sd, rtol=1e-12)


def test_repeat_averages_become_one_repeat(control):
    path, written = control
    recordings = read_pnc(path, subject="red", table="repavg")
    assert isinstance(recordings, Recordings)
    assert recordings.stimulus_ids == ("shared0001", "shared0002", "shared0003")
    peak = written["red_20250428-20250430"][0].astype(float)
    expected = np.stack([(peak[0] + peak[2]) / 2, peak[1], peak[3]])
    np.testing.assert_array_equal(recordings.responses, expected[..., None])


def test_temporal_responses_are_averaged_over_the_window(control):
    path, written = control
    trials = read_pnc(path, subject="red", response="response_temporal")
    _, temporal = written["red_20250428-20250430"]
    expected = (temporal[1].astype(float) + temporal[2] + temporal[3]) / 3
    np.testing.assert_allclose(trials.responses, expected, rtol=1e-12)


@pytest.mark.parametrize("strings", ["S32", h5py.string_dtype("utf-8", 32)])
def test_one_subject_at_the_top_of_the_file_with_fixed_length_text(tmp_path, strings):
    path = tmp_path / "red_20250428_vvs-encodingstimuli_z1_rw100-400.h5"
    with h5py.File(path, "w") as file:
        peak, _ = write_subject(file, np.random.default_rng(1), strings)
        meta = file["neuron_metadata"]
        del meta["brain_area"]
        areas = meta.create_group("brain_area")
        areas["probe0"] = np.asarray(["l_V4"] * 7, "S8")
        areas["probe1"] = np.asarray(AREAS, "S8")
        meta.attrs["channel"] = ["c0", "c1", "c2"]
        meta["mu"] = np.zeros((2, 3))
    trials = read_pnc(path)
    np.testing.assert_array_equal(trials.responses, peak)
    assert trials.units == "z"
    assert read_pnc(path, units="spikes/s").units == "spikes/s"
    assert trials.site_meta["brain_area"].tolist() == AREAS
    assert trials.site_meta["channel"].tolist() == ["c0", "c1", "c2"]
    assert "left out: mu" in trials.notes[-1]


def test_a_single_subject_needs_no_name(tmp_path, control):
    path, written = control
    with h5py.File(path, "a") as file:
        del file["paul_20250428-20250430"]
    peak, _ = written["red_20250428-20250430"]
    np.testing.assert_array_equal(read_pnc(path).responses, peak)


def test_numeric_days_and_ids_that_differ_only_by_suffix(control):
    path, _ = control
    with h5py.File(path, "a") as file:
        trials = file["red_20250428-20250430/trials"]
        del trials["session_dates"], trials["stimulus_name"]
        trials["day"] = [1, 1, 2, 2]
        trials["stimulus_name"] = ["a.png", "a.jpg", "score_4.20.png", "b"]
    read = read_pnc(path, subject="red")
    assert read.session_ids == ("1", "1", "2", "2")
    assert read.stimulus_ids == ("a.png", "a.jpg", "score_4.20.png", "b")
    with h5py.File(path, "a") as file:
        file["red_20250428-20250430/trials/stimulus_name"][1] = "c.png"
        del file["red_20250428-20250430/trials/day"]
    read = read_pnc(path, subject="red")
    assert read.stimulus_ids == ("a", "c", "score_4.20", "b")
    assert read.session_ids == ("",) * 4


@pytest.mark.parametrize(
    ("options", "say"),
    [
        ({}, "one of paul_20250428-20250430, red_20250428-20250430, found none chosen"),
        ({"subject": "venus"}, "'venus' fits 0"),
        ({"subject": "red", "table": "trial"}, "did you mean 'trials'"),
        ({"subject": "red", "response": "response_avg"}, "found response_peak, "),
        ({"subject": "red", "response": "stimulus_name"}, "found object"),
    ],
)
def test_options_that_do_not_fit_list_what_there_is(control, options, say):
    assert say in refused(control[0], **options)


def replace(file, name, values):
    del file[f"red_20250428-20250430/{name}"]
    if values is not None:
        file[f"red_20250428-20250430/{name}"] = values


@pytest.mark.parametrize(
    ("name", "values", "say"),
    [
        ("trials/stimulus_name", None, "expected a dataset 'stimulus_name'"),
        ("trials/stimulus_name", np.arange(4), "expected text, found int64"),
        ("trials/stimulus_name", ["a.png", "b.png"], "2 ids, but responses hold 4"),
        (
            "trials/response_peak",
            np.zeros((3, 4)),
            "numpy.transpose(responses, (1, 0))",
        ),
        ("trials/session_dates", ["d1"], "for each of 4 trials"),
        ("neuron_metadata/peak_respwindow", [400, 100], "start before stop"),
        ("trials", np.zeros(3), "expected one of"),
    ],
)
def test_damaged_layouts_are_refused(control, name, values, say):
    with h5py.File(control[0], "a") as file:
        replace(file, name, values)
    subject = None if name == "trials" else "red"
    if name == "trials":
        with h5py.File(control[0], "a") as file:
            file.copy("paul_20250428-20250430", "leap")
    assert say in refused(control[0], subject=subject)


@pytest.mark.parametrize(
    ("name", "values", "say"),
    [
        ("neuron_metadata/temporal_windows", None, "'temporal_windows'"),
        ("neuron_metadata/temporal_windows", np.arange(4), "expected [bin, row, site]"),
        ("neuron_metadata/peak_respwindow", [900, 950], "expected [bin, row, site]"),
    ],
)
def test_temporal_responses_without_usable_bins(control, name, values, say):
    with h5py.File(control[0], "a") as file:
        replace(file, name, values)
    assert say in refused(control[0], subject="red", response="response_temporal")


@pytest.mark.parametrize("keep", [0, 100, 0.3, 0.9])
def test_truncated_files_are_refused(control, keep):
    data = control[0].read_bytes()
    control[0].write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    assert "control_5monkeys.h5" in refused(control[0], subject="red")


def test_other_hdf5_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rates"] = np.zeros((3, 2))
    assert "expected groups /SUBJECT/trials, found ['rates']" in refused(
        tmp_path / "x.h5"
    )
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["red/trials"] = 1
    assert "expected a group 'trials'" in refused(tmp_path / "x.h5")


def test_a_trial_without_a_name_is_refused(control):
    path, _ = control
    with h5py.File(path, "a") as file:
        file["red_20250428-20250430/trials/stimulus_name"][1] = ""
    assert "expected an id in every entry" in refused(path, subject="red")


def test_a_broken_link_is_no_column(control):
    path, _ = control
    with h5py.File(path, "a") as file:
        meta = file["red_20250428-20250430/neuron_metadata"]
        meta["moved"] = h5py.SoftLink("/nowhere")
    assert "moved" not in read_pnc(path, subject="red").site_meta
