"""NWB files written by pynwb; rates counted again spike by spike."""

import datetime
import warnings

import h5py
import numpy as np
import pytest

from paramctl_jax.recordings.nwb import read_nwb
from paramctl_jax.types import InputError

pynwb = pytest.importorskip("pynwb")

N_TRIALS = 12
ONSETS = 0.5 * np.arange(N_TRIALS)
SHOWN = [f"im_{i % 4}" for i in range(N_TRIALS)]


def spikes(unit):
    rng = np.random.default_rng(unit)
    return np.sort(rng.uniform(-0.2, 6.2, 60 * (unit + 1)))


def count(times, low, high):
    return sum(low <= time < high for time in times)


def new_file(**about):
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return pynwb.NWBFile("test", "id-1", start, **about)


def add_trials(file, shown=SHOWN, onsets=ONSETS):
    file.add_trial_column("stimulus_id", "what was shown")
    for onset, name in zip(onsets, shown, strict=True):
        file.add_trial(start_time=onset, stop_time=onset + 0.3, stimulus_id=name)


def add_units(file, units=(3, 5), **columns):
    for unit in units:
        row = {name: values[unit] for name, values in columns.items()}
        file.add_unit(id=unit, **({"spike_times": spikes(unit)} | row))


def write(folder, file):
    path = folder / "day1.nwb"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pynwb.NWBHDF5IO(path, "w") as stream:
            stream.write(file)
    return path


def test_rates_agree_with_a_count_spike_by_spike(tmp_path):
    file = new_file(session_id="210325")
    add_trials(file)
    file.add_unit_column("quality", "of the sorting")
    file.add_unit_column("depth", "in mm")
    add_units(file, quality={3: "good", 5: "multi"}, depth={3: 0.5, 5: 1.25})
    trials = read_nwb(write(tmp_path, file), window_ms=[50, 175])
    expected = [
        [count(spikes(u), t + 0.050, t + 0.175) / 0.125 for u in (3, 5)] for t in ONSETS
    ]
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(trials.responses, expected, rtol=1e-12)
    assert trials.stimulus_ids == tuple(SHOWN)
    assert trials.site_ids == ("unit3", "unit5")
    assert trials.session_ids == ("210325",) * N_TRIALS
    assert (trials.units, trials.window_ms) == ("spikes/s", (50.0, 175.0))
    assert trials.site_meta["quality"].tolist() == ["good", "multi"]
    assert trials.site_meta["depth"].tolist() == [0.5, 1.25]
    assert set(trials.site_meta) == {"quality", "depth"}
    assert trials.notes == ()


def test_the_default_window_is_70_to_170_ms_and_half_open(tmp_path):
    file = new_file()
    add_trials(file, ["a"], [0.0])
    file.add_unit(spike_times=[0.069, 0.07, 0.12, 0.1699, 0.17])
    trials = read_nwb(write(tmp_path, file))
    assert trials.responses.tolist() == [[30.0]]
    assert trials.session_ids == ("",)


def test_the_order_of_spikes_does_not_matter(tmp_path):
    file = new_file()
    add_trials(file)
    add_units(file)
    path = write(tmp_path, file)
    ordered = read_nwb(path)
    with h5py.File(path, "r+") as content:
        times = content["units/spike_times"]
        first = int(content["units/spike_times_index"][0])
        times[:first] = times[:first][::-1]
    np.testing.assert_array_equal(read_nwb(path).responses, ordered.responses)


def test_a_silent_unit_is_silent(tmp_path):
    file = new_file()
    add_trials(file)
    add_units(file)
    file.add_unit(id=9, spike_times=[])
    trials = read_nwb(write(tmp_path, file))
    assert trials.site_ids[-1] == "unit9"
    np.testing.assert_array_equal(trials.responses[:, -1], 0)


def test_trials_outside_the_observation_are_missing_not_silent(tmp_path):
    file = new_file()
    add_trials(file)
    observed = {3: [[3.0, 7.0], [-1.0, 1.1]], 5: [[-1.0, 2.1], [2.1, 9.0]]}
    add_units(file, obs_intervals=observed)
    trials = read_nwb(write(tmp_path, file))

    def seen(unit, onset):
        low, high = onset + 0.07, onset + 0.17
        return any(a <= low and high <= b for a, b in observed[unit])

    expected = [not seen(3, onset) for onset in ONSETS]
    assert expected == [*[False] * 2, *[True] * 4, *[False] * 6]
    np.testing.assert_array_equal(np.isnan(trials.responses[:, 0]), expected)
    # Unit 5: the intervals touch at 2.1 s, amid the window of the trial at 2 s.
    assert not np.isnan(trials.responses[:, 1]).any()
    assert trials.responses[4, 1] == pytest.approx(count(spikes(5), 2.07, 2.17) * 10)
    assert trials.notes == ("4 of 24 responses outside a unit's obs_intervals: NaN",)


def test_trials_without_onset_or_stimulus_are_left_out_and_counted(tmp_path):
    file = new_file()
    shown = ["", *SHOWN[1:]]
    onsets = np.where(np.arange(N_TRIALS) == 4, np.nan, ONSETS)
    file.add_trial_column("stimulus_id", "what was shown")
    file.add_trial_column("image_onset", "s")
    for t, (onset, name) in enumerate(zip(onsets, shown, strict=True)):
        file.add_trial(
            start_time=float(t), stop_time=t + 1.0, stimulus_id=name, image_onset=onset
        )
    add_units(file)
    trials = read_nwb(write(tmp_path, file), onset="image_onset")
    assert trials.stimulus_ids == tuple(SHOWN[t] for t in range(12) if t not in (0, 4))
    assert trials.notes == (
        "1 of 12 trials left out: no image_onset",
        "1 of 12 trials left out: no stimulus_id",
    )
    expected = [count(spikes(3), t + 0.07, t + 0.17) * 10 for t in ONSETS]
    np.testing.assert_allclose(
        trials.responses[:, 0], np.delete(expected, [0, 4]), rtol=1e-12
    )


def test_another_table_and_integers_as_ids(tmp_path):
    file = new_file()
    table = pynwb.epoch.TimeIntervals(name="presentations", description="images")
    table.add_column(name="image", description="number")
    for t in range(3):
        table.add_row(start_time=float(t), stop_time=t + 0.2, image=10 + t % 2)
    file.add_time_intervals(table)
    add_units(file)
    trials = read_nwb(
        write(tmp_path, file), intervals="presentations", stimulus="image"
    )
    assert trials.stimulus_ids == ("10", "11", "10")
    assert trials.notes == ("image: numbers read as text, as 10",)


def test_columns_that_are_not_plain_are_left_out(tmp_path):
    file = new_file()
    add_trials(file)
    device = file.create_device("probe")
    group = file.create_electrode_group("e", "d", "V4", device)
    for _ in range(2):
        file.add_electrode(group=group, location="V4")
    waveform = {unit: np.ones(8) for unit in (3, 5)}
    add_units(
        file,
        waveform_mean=waveform,
        electrodes={3: [0], 5: [1]},
        electrode_group={3: group, 5: group},
    )
    assert read_nwb(write(tmp_path, file)).site_meta == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stimulus": "stimulus"}, "'stimulus_id'.*valid: id, start_time"),
        ({"stimulus": "tags"}, r"tags: expected one id for each of 12 rows"),
        ({"stimulus": "start_time"}, "start_time: expected ids"),
        ({"onset": "onset_time"}, "unknown column 'onset_time'.*start_time"),
        ({"onset": "stimulus_id"}, "expected one axis of numbers"),
        ({"intervals": "trial"}, "unknown table 'trial'; did you mean 'trials'"),
        ({"window_ms": (170.0, 70.0)}, "window_ms: expected start and stop"),
    ],
)
def test_wrong_options_list_what_there_is(tmp_path, options, message):
    file = new_file()
    file.add_trial_column("tags", "several per trial", index=True)
    file.add_trial_column("stimulus_id", "what was shown")
    for onset, name in zip(ONSETS, SHOWN, strict=True):
        onset = float(onset) + 0.1
        file.add_trial(
            start_time=onset, stop_time=9.0, stimulus_id=name, tags=["a", "b"]
        )
    add_units(file)
    with pytest.raises(InputError, match=message) as caught:
        read_nwb(write(tmp_path, file), **options)
    assert "day1.nwb" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_without_what_is_needed_are_refused(tmp_path):
    file = new_file()
    add_trials(file)
    with pytest.raises(InputError, match="unknown table 'units'"):
        read_nwb(write(tmp_path, file))
    file = new_file()
    add_trials(file)
    file.add_unit_column("depth", "in mm")
    file.add_unit(depth=1.0)
    with pytest.raises(InputError, match="'spike_times'; valid: depth, id"):
        read_nwb(write(tmp_path, file))
    path = tmp_path / "old.nwb"
    with h5py.File(path, "w") as content:
        content["nwb_version"] = "1.0.6"
    with pytest.raises(InputError, match=r"old\.nwb: expected an NWB 2 file"):
        read_nwb(path)


@pytest.mark.parametrize("ends", [[80, 40], [40, 1000], [40]])
def test_an_impossible_index_is_refused(tmp_path, ends):
    file = new_file()
    add_trials(file)
    add_units(file)
    path = write(tmp_path, file)
    with h5py.File(path, "r+") as content:
        del content["units/spike_times_index"]
        content["units/spike_times_index"] = ends
    with pytest.raises(InputError, match="spike_times_index: expected 2 increasing"):
        read_nwb(path)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, keep):
    file = new_file()
    add_trials(file)
    add_units(file)
    path = write(tmp_path, file)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(InputError, match=r"day1\.nwb"):
        read_nwb(path)


def test_observation_without_start_and_stop_is_refused(tmp_path):
    file = new_file()
    add_trials(file)
    add_units(file)
    path = write(tmp_path, file)
    with h5py.File(path, "a") as raw:
        raw["units/obs_intervals"] = np.zeros(3)
        raw["units/obs_intervals_index"] = [1, 3]
    with pytest.raises(
        InputError, match=r"expected \[interval, 2\].*found shape \(3,\)"
    ):
        read_nwb(path)
    with pytest.raises(InputError, match="window_ms"):
        read_nwb(path, window_ms=(0, np.inf))
