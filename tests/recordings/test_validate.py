"""Arrays of any reader: what is taken, and what is refused with which words."""

import numpy as np
import pytest

from paramctl_jax.arrays import write_arrays
from paramctl_jax.recordings.assemble import assemble
from paramctl_jax.recordings.npz import read_npz, write_npz
from paramctl_jax.recordings.validate import make_recordings, make_trials
from paramctl_jax.types import InputError, Recordings, Trials


def ids(prefix, count):
    return np.asarray([f"{prefix}{index}" for index in range(count)], dtype=np.str_)


def named(images, sites):
    return {"stimulus_ids": ids("im", images), "site_ids": ids("s", sites)}


def refused(call, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "order", "axes"),
    [
        ((50, 640, 10), (1, 0, 2), "site image repeat"),
        ((640, 10, 50), (0, 2, 1), "image repeat site"),
        ((10, 640, 50), (1, 2, 0), "repeat image site"),
        ((10, 50, 640), (2, 1, 0), "repeat site image"),
        ((50, 10, 640), (2, 0, 1), "site repeat image"),
    ],
)
def test_transposed_responses_are_told_apart_and_mended(shape, order, axes):
    responses = np.zeros(shape, np.int8)
    say = refused(make_recordings, "x", responses=responses, **named(640, 50))
    assert "[image, site, repeat] = (640, 50, ...)" in say
    assert f"found shape {shape}" in say
    assert say.endswith(f"transpose with numpy.transpose(responses, {order})")
    mended = np.transpose(responses, order)
    assert make_recordings("x", responses=mended, **named(640, 50)).responses.shape == (
        640,
        50,
        10,
    )
    say = refused(
        make_recordings, "x", responses=responses, axes_option=True, **named(640, 50)
    )
    assert say.endswith(f"or read with axes='{axes}'")
    by_axes = assemble("x", {"responses": responses, **named(640, 50)}, axes=axes)
    assert by_axes.responses.shape == (640, 50, 10)


def test_axes_say_which_axis_is_which_value_by_value():
    responses = np.arange(24.0).reshape(2, 3, 4)  # [repeat, site, image]
    read = assemble(
        "x", {"responses": responses, **named(4, 3)}, axes="repeat, site, image"
    )
    for image in range(4):
        for site in range(3):
            for repeat in range(2):
                expected = responses[repeat, site, image]
                assert read.responses[image, site, repeat] == expected


@pytest.mark.parametrize(
    ("shape", "say"),
    [
        ((640, 50), "give responses[..., None]"),
        ((50, 640), "numpy.transpose(responses, (1, 0))[..., None]"),
        ((640, 49), "expected non-empty axes [image, site, repeat]"),
        ((640, 50, 10, 1), "found shape (640, 50, 10, 1)"),
        ((640, 50, 0), "found shape (640, 50, 0)"),
        ((0, 50, 3), "non-empty"),
        ((640,), "found shape (640,)"),
        ((), "found shape ()"),
        ((639, 50, 3), "640 ids, but responses hold 639 images"),
        ((640, 51, 3), "50 ids, but responses hold 51 sites"),
    ],
)
def test_other_shapes_of_recordings_are_refused(shape, say):
    found = refused(make_recordings, "x", responses=np.zeros(shape), **named(640, 50))
    assert say in found
    if shape in ((639, 50, 3), (640, 51, 3), (640, 49)):
        assert "transpose" not in found


@pytest.mark.parametrize(
    ("shape", "say"),
    [
        ((4, 30), "expected responses [trial, site] = (30, 4), found shape (4, 30)"),
        ((4, 30), "transpose with numpy.transpose(responses, (1, 0))"),
        ((29, 4), "30 ids, but responses hold 29 trials"),
        ((30, 4, 5), "axes [trial, site] for 30 trials and 4 sites, found shape"),
        ((30, 0), "non-empty"),
    ],
)
def test_other_shapes_of_trials_are_refused(shape, say):
    assert say in refused(make_trials, "x", responses=np.zeros(shape), **named(30, 4))


@pytest.mark.parametrize(
    "values",
    [
        np.ones((3, 2), complex),
        np.ones((3, 2), object),
        np.full((3, 2), "1.0"),
        np.ones((3, 2), bool),
        np.ones((3, 2), "datetime64[s]"),
    ],
)
def test_only_real_numbers_are_responses(values):
    for make, responses in (
        (make_trials, values),
        (make_recordings, values[..., None]),
    ):
        say = refused(make, "x", responses=responses, **named(3, 2))
        assert f"responses: expected real numbers, found {values.dtype}" in say


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint16, np.int64, np.float16, np.float32]
)
def test_numbers_become_float64_before_any_arithmetic(dtype):
    counts = np.asarray([[100, 101], [102, 103]], dtype)
    trials = make_trials("x", responses=counts, **named(2, 2))
    assert trials.responses.dtype == np.float64
    assert (trials.responses - trials.responses.mean()).tolist() == [
        [-1.5, -0.5],
        [0.5, 1.5],
    ]


def test_infinite_and_missing_responses_are_kept():
    values = np.asarray([[np.inf, np.nan], [-np.inf, 1.0]])
    trials = make_trials("x", responses=values, **named(2, 2))
    np.testing.assert_array_equal(trials.responses, values)
    recordings = make_recordings("x", responses=values[..., None], **named(2, 2))
    np.testing.assert_array_equal(recordings.responses[..., 0], values)


@pytest.mark.parametrize(
    ("changed", "say"),
    [
        ({"site_ids": np.array(["a", "a"])}, "site_ids: expected unique ids"),
        ({"site_ids": np.array(["a", ""])}, "1 empty ones, first at position 1"),
        ({"stimulus_ids": np.arange(3)}, "strings, found shape (3,) of int64"),
        ({"stimulus_ids": np.array([["a", "b", "c"]])}, "one axis of strings"),
        ({"session_ids": np.array(["d1", "d1"])}, "for each of 3 trials, found shape"),
        ({"session_ids": np.arange(3)}, "session_ids: expected one string"),
        ({"site_meta": {"area": np.array(["V4"])}}, "site_meta/area"),
        ({"window_ms": (170.0, 70.0)}, "start before stop"),
        ({"window_ms": (np.nan, 70.0)}, "start before stop"),
    ],
)
def test_trials_that_do_not_fit_are_refused(changed, say):
    arguments = {"responses": np.zeros((3, 2)), **named(3, 2), **changed}
    assert say in refused(make_trials, "day1.x", **arguments)


def test_a_stimulus_returns_in_trials_but_not_in_recordings():
    shown = np.array(["a", "b", "a"])
    trials = make_trials(
        "x",
        responses=np.zeros((3, 2)),
        stimulus_ids=shown,
        site_ids=ids("s", 2),
        session_ids=np.array(["d1", "d1", "d2"]),
        window_ms=[70, 170],
        notes=["one", "two"],
    )
    assert trials.stimulus_ids == ("a", "b", "a")
    assert trials.session_ids == ("d1", "d1", "d2")
    assert (trials.window_ms, trials.notes) == ((70.0, 170.0), ("one", "two"))
    say = refused(
        make_recordings,
        "x",
        responses=np.zeros((3, 2, 1)),
        stimulus_ids=shown,
        site_ids=ids("s", 2),
    )
    assert "1 of them more than once, first ['a']" in say


@pytest.mark.parametrize(
    "axes", ["site image", "image site repeats", "", "image image"]
)
def test_unknown_axes_are_refused(axes):
    arrays = {"responses": np.zeros((3, 2, 4)), **named(3, 2)}
    say = refused(assemble, "x", arrays, axes=axes)
    assert "axes: expected the names of the 3 axes" in say
    assert repr(axes) in say


def test_npz_holds_trials_where_a_stimulus_returns(tmp_path):
    path = tmp_path / "trials.npz"
    responses = np.arange(8).reshape(4, 2)
    arrays = {
        "responses": responses,
        "stimulus_ids": np.array(["a", "b", "a", "c"]),
        "site_ids": ids("s", 2),
        "site_meta/area": np.array(["V4", "IT"]),
        "window_ms": np.array([70, 170]),
    }
    write_arrays(path, arrays)
    trials = read_npz(path)
    assert isinstance(trials, Trials)
    np.testing.assert_array_equal(trials.responses, responses)
    assert (trials.units, trials.session_ids) == ("spikes/s", ("",) * 4)
    assert trials.site_meta["area"].tolist() == ["V4", "IT"]
    sessions = np.array(["d1", "d1", "d2", "d2"])
    write_arrays(path, {**arrays, "session_ids": sessions, "units": np.array("z")})
    trials = read_npz(path)
    assert isinstance(trials, Trials)
    assert (trials.units, trials.session_ids) == ("z", tuple(sessions.tolist()))


def test_npz_of_sessions_holds_trials_even_if_every_stimulus_is_shown_once(tmp_path):
    path = tmp_path / "trials.npz"
    once = {"responses": np.zeros((3, 2)), **named(3, 2)}
    write_arrays(path, {**once, "session_ids": ids("d", 3)})
    assert isinstance(read_npz(path), Trials)
    write_arrays(path, once)
    assert "give responses[..., None]" in refused(read_npz, path)
    write_arrays(
        path,
        {**once, "responses": np.zeros((3, 2, 1)), "session_ids": ids("d", 3)},
    )
    assert "session_ids: expected only with responses [trial, site]" in refused(
        read_npz, path
    )


def test_npz_keeps_notes(tmp_path):
    recordings = Recordings(
        responses=np.zeros((2, 1, 1)),
        stimulus_ids=("a", "b"),
        site_ids=("s",),
        notes=("3 of 64 trials left out", "ü"),
    )
    write_npz(tmp_path / "a.npz", recordings)
    read = read_npz(tmp_path / "a.npz")
    assert read.notes == recordings.notes


@pytest.mark.parametrize("kind", ["i8", "S3"])
def test_ids_of_another_type_name_the_conversion(kind):
    found = {"stimulus_ids": np.arange(2).astype(kind), "site_ids": ids("s", 1)}
    say = refused(make_recordings, "x", responses=np.zeros((2, 1, 1)), **found)
    assert say.endswith("give stimulus_ids.astype(str)")
    found["stimulus_ids"] = found["stimulus_ids"].astype(str)
    read = make_recordings("x", responses=np.zeros((2, 1, 1)), **found)
    assert read.stimulus_ids == ("0", "1")


@pytest.mark.parametrize("window", [(0.0, np.inf), (-np.inf, 0.0), (0.0, np.nan)])
def test_a_window_without_end_is_refused(window):
    shown = {"responses": np.zeros((2, 1, 1)), **named(2, 1)}
    assert "window_ms" in refused(make_recordings, "x", window_ms=window, **shown)
