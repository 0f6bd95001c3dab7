"""``.npy`` arrays with sidecars and CSV tables, tidy and wide."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from paramctl_jax.recordings.tables import read_csv, read_npy
from paramctl_jax.types import InputError, Recordings, Trials

DATA = os.environ.get("PARAMCTL_DATA", "")


def refused(call, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_rows(path, rows, encoding="utf-8", **dialect):
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, **dialect).writerows(rows)
    return path


def write_npy(folder, responses, stimuli, sites):
    np.save(folder / "day 1.npy", responses)
    write_rows(folder / "day 1.stimuli.csv", stimuli)
    write_rows(folder / "day 1.sites.csv", sites)
    return folder / "day 1.npy"


def column(name, values):
    return [[name], *([value] for value in values)]


@pytest.fixture
def counts():
    return np.random.default_rng(0).integers(0, 9, (3, 5, 4)).astype(np.uint8)


def test_npy_with_named_axes_and_site_columns(tmp_path, counts):
    path = write_npy(
        tmp_path,
        np.asfortranarray(counts),
        [["shown", "stimulus_id"], *([f"n{i}", f"{i:03d}"] for i in range(5))],
        [
            ["depth", "site_id", "array", "pin"],
            *([f"{i}.5", f"s{i}", "AB"[i % 2], f"0{i}"] for i in range(3)),
        ],
    )
    read = read_npy(path, axes="site image repeat", units="spikes/100 ms")
    assert isinstance(read, Recordings)
    np.testing.assert_array_equal(read.responses, counts.transpose(1, 0, 2))
    assert read.stimulus_ids == ("000", "001", "002", "003", "004")
    assert read.units == "spikes/100 ms"
    assert read.site_meta["depth"].tolist() == [0.5, 1.5, 2.5]
    assert read.site_meta["array"].tolist() == ["A", "B", "A"]
    assert read.site_meta["pin"].tolist() == ["00", "01", "02"]
    say = refused(read_npy, path)
    assert "transpose with numpy.transpose(responses, (1, 0, 2))" in say
    assert "axes='site image repeat'" in say


@pytest.mark.parametrize("axes", ["site image", "site trial"])
def test_npy_of_counted_ids_needs_no_sidecar(tmp_path, counts, axes):
    np.save(tmp_path / "v4.npy", counts[:, :, 0])
    read = read_npy(
        tmp_path / "v4.npy", axes=axes, first_stimulus="image0009", first_site="site7"
    )
    assert read.stimulus_ids == tuple(f"image{n:04d}" for n in range(9, 14))
    assert read.site_ids == ("site7", "site8", "site9")
    assert isinstance(read, Trials if "trial" in axes else Recordings)
    np.testing.assert_array_equal(read.responses.squeeze(), counts[:, :, 0].T)


def test_ids_that_are_not_counted_say_what_to_write(tmp_path, counts):
    np.save(tmp_path / "v4.npy", counts)
    say = refused(read_npy, tmp_path / "v4.npy", first_stimulus="image")
    assert "end in a number" in say
    say = refused(
        read_npy, tmp_path / "v4.npy", first_stimulus="image0", first_site="s0",
        axes="site picture",
    )  # fmt: skip
    assert "axes" in say


def test_npy_of_two_axes_is_averages_or_trials(tmp_path, counts):
    sites = column("site_id", "abc")
    table = counts[..., 0].T
    path = write_npy(tmp_path, table, column("stimulus_id", "vwxyz"), sites)
    averages = read_npy(path)
    assert isinstance(averages, Recordings)
    np.testing.assert_array_equal(averages.responses, table[..., None])
    path = write_npy(tmp_path, table, column("stimulus_id", "vwvyz"), sites)
    trials = read_npy(path)
    assert isinstance(trials, Trials)
    np.testing.assert_array_equal(trials.responses, table)
    assert "more than once" in refused(read_npy, path, axes="image site")
    path = write_npy(
        tmp_path,
        table.T,
        [["stimulus_id", "session_id"], *zip("vwxyz", "11122", strict=True)],
        sites,
    )
    trials = read_npy(path, axes="site trial")
    assert isinstance(trials, Trials)
    assert trials.session_ids == tuple("11122")
    np.testing.assert_array_equal(trials.responses, table)
    averages = read_npy(path, axes="site image")
    assert averages.responses.shape == (5, 3, 1)


def test_npy_without_its_sidecars_says_what_to_write(tmp_path, counts):
    path = write_npy(tmp_path, counts, column("stimulus_id", "ab"), [["site_id"]])
    assert "one row or more" in refused(read_npy, path)
    (tmp_path / "day 1.sites.csv").unlink()
    say = refused(read_npy, path)
    assert "ids in day 1.sites.csv beside it" in say
    assert "header site_id and one row per site" in say
    write_rows(tmp_path / "day 1.sites.csv", column("site", "abc"))
    assert "expected a column 'site_id', found the columns site" in refused(
        read_npy, path
    )


@pytest.mark.parametrize(
    ("content", "say"),
    [
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:3], "truncated"),
        (lambda data: b"", "truncated"),
        (lambda data: data + b"x", "more data"),
        (lambda data: b"PK\x03\x04" + data, "not an .npy array"),
    ],
)
def test_damaged_npy_files_are_refused(tmp_path, counts, content, say):
    path = tmp_path / "day1.npy"
    np.save(path, counts)
    path.write_bytes(content(path.read_bytes()))
    assert say in refused(read_npy, path)


def test_python_objects_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    np.save(tmp_path / "x.npy", np.asarray([Bomb()], object), allow_pickle=True)
    assert "Python objects (never loaded)" in refused(read_npy, tmp_path / "x.npy")
    assert not (tmp_path / "executed").exists()
    assert "no such file" in refused(read_npy, tmp_path / "absent.npy")


@pytest.mark.skipif(not DATA, reason="PARAMCTL_DATA is not set to the V4 recordings")
def test_v4_session_as_downloaded(tmp_path):
    original = Path(DATA, "v4", "responses_raw_210325.npy")
    raw = np.load(original)
    (tmp_path / "v4.npy").symlink_to(original)
    n_sites, n_images, _ = raw.shape
    images = [f"image{n + 1:04d}" for n in range(n_images)]
    write_rows(tmp_path / "v4.stimuli.csv", column("stimulus_id", images))
    sites = column("site_id", [f"site{n:02d}" for n in range(n_sites)])
    write_rows(tmp_path / "v4.sites.csv", sites)
    read = read_npy(tmp_path / "v4.npy", axes="site image repeat")
    assert isinstance(read, Recordings)
    np.testing.assert_array_equal(read.responses[17], raw[:, 17])
    averaged = np.load(original.with_name("responses_averaged_210325.npy"))
    np.testing.assert_allclose(read.mean(), averaged.T, rtol=1e-12)


def tidy(rng, trials, sites):
    """Rows in random order, and the matrix they come from."""
    values = rng.standard_normal((len(trials), len(sites))).round(3)
    rows = [
        [trial, shown, site, values[i, j]]
        for i, (trial, shown) in enumerate(trials)
        for j, site in enumerate(sites)
    ]
    return [rows[i] for i in rng.permutation(len(rows))], values


def test_tidy_rows_in_any_order_give_the_matrix(tmp_path):
    trials = [("t0", "001"), ("t1", "1"), ("t2", "001"), ("t3", "ü, b")]
    sites = ("s0", "s1", "s2")
    rows, values = tidy(np.random.default_rng(1), trials, sites)
    header = ["trial", "stimulus_id", "site_id", "response"]
    path = write_rows(tmp_path / "x.csv", [header, *rows], encoding="utf-8-sig")
    read = read_csv(path)
    assert isinstance(read, Trials)
    order = list(dict.fromkeys(row[0] for row in rows))
    assert read.stimulus_ids == tuple(dict(trials)[trial] for trial in order)
    for i, trial in enumerate(order):
        for j, site in enumerate(read.site_ids):
            expected = values[[t for t, _ in trials].index(trial), sites.index(site)]
            assert read.responses[i, j] == expected
    assert (read.units, read.notes) == ("spikes/s", ())


def test_tidy_table_without_repeats_holds_averages(tmp_path):
    rows = [
        ["image", "channel", "rate", "units", "area"],
        ["a", "s1", "1.5", "spikes/s", "V4"],
        ["b", "s1", "", "spikes/s", "V4"],
        ["b", "s0", "inf", "spikes/s", "IT"],
    ]
    read = read_csv(
        write_rows(tmp_path / "x.csv", rows, quoting=csv.QUOTE_ALL),
        stimulus="image",
        site="channel",
        response="rate",
    )
    assert isinstance(read, Recordings)
    assert read.site_ids == ("s1", "s0")
    expected = [[[1.5], [np.nan]], [[np.nan], [np.inf]]]
    np.testing.assert_array_equal(read.responses, expected)
    assert read.units == "spikes/s"
    assert read.notes == ("columns that were not read: area",)


def test_tidy_rows_are_paired_by_session_and_repeat(tmp_path):
    rows = [
        ["stimulus_id", "site_id", "response", "session_id", "repeat"],
        ["a", "s0", 1, "d1", 1],
        ["a", "s0", 2, "d1", 2],
        ["a", "s1", 20, "d1", 2],
        ["a", "s0", 3, "d2", 1],
        ["a", "s1", 10, "d1", 1],
    ]
    read = read_csv(write_rows(tmp_path / "x.csv", rows))
    assert isinstance(read, Trials)
    expected = [[1, 10], [2, 20], [3, np.nan]]
    np.testing.assert_array_equal(read.responses, expected)
    assert read.session_ids == ("d1", "d1", "d2")
    unpaired = write_rows(tmp_path / "y.csv", [row[:4] for row in rows])
    read = read_csv(unpaired)
    # The n-th row of a site is its n-th presentation: s1 had 20 first.
    expected = [[1, 20], [2, 10], [3, np.nan]]
    np.testing.assert_array_equal(read.responses, expected)
    assert "n-th presentation" in read.notes[0]


def test_wide_tables(tmp_path):
    rows = [
        ["stimulus_id", "site_b", "site_a", "level", "session_id"],
        ["a", "1", "2", "9", "d1"],
        ["b", "3", "", "9", "d1"],
        ["a", "5", "6", "9", "d2"],
    ]
    read = read_csv(write_rows(tmp_path / "x.csv", rows))
    assert isinstance(read, Trials)
    assert read.site_ids == ("site_b", "site_a")
    np.testing.assert_array_equal(read.responses, [[1, 2], [3, np.nan], [5, 6]])
    assert read.session_ids == ("d1", "d1", "d2")
    assert read.notes == (
        "columns read as sites: site_b, site_a",
        "columns that were not read: level",
    )
    chosen = read_csv(tmp_path / "x.csv", sites="level, site_a")
    assert chosen.site_ids == ("level", "site_a")
    assert "did you mean 'site_a'" in refused(
        read_csv, tmp_path / "x.csv", sites=("site_aa",)
    )


def test_wide_table_of_numbers_holds_averages(tmp_path):
    rows = [["stimulus_id", "u7", "kind", "u1"], ["a", 1, "face", 2], ["b", 3, "", 4]]
    read = read_csv(write_rows(tmp_path / "x.csv", rows), units="spikes/s")
    assert isinstance(read, Recordings)
    assert (read.site_ids, read.units) == (("u7", "u1"), "spikes/s")
    np.testing.assert_array_equal(read.responses[..., 0], [[1, 2], [3, 4]])
    assert "not read: kind" in read.notes[1]


TIDY = "stimulus_id,site_id,response"


@pytest.mark.parametrize(
    ("text", "say"),
    [
        (f"{TIDY}\na,s0,1\nb,s0,x\n", "line 3, column 'response': expected a number"),
        (f"{TIDY}\n\na,s0,1\n\nb,s0,1_0\n", "line 5, column 'response'"),
        (f"{TIDY}\na,s0,1\n,s0,2\n", "line 3, column 'stimulus_id': expected an id"),
        (f"{TIDY}\na,,1\n", "line 2, column 'site_id'"),
        (f'{TIDY}\n"a\nb",s0,1\nb,s0\n', "line 4: expected 3 cells"),
        ("stimulus_id,site_id,rate\na,s0,1\n", "expected a column 'response', found"),
        ("id,site_id,response\na,s0,1\n", "expected a column 'stimulus_id'"),
        ("stimulus_id,kind\na,face\n", "one column of numbers per site"),
        ("stimulus_id\na\n", "one column of numbers per site"),
        ("stimulus_id,site_1\na,1\nb,one\n", "line 3, column 'site_1'"),
        ("stimulus_id,u1\na,1\nb,one\n", "line 3, column 'u1'"),
        ("a;b\n1;2\n", "found semicolons"),
        ("a\tb\n1\t2\n", "found tabs"),
        (f"{TIDY},response\na,s0,1,2\n", "['response'] missing or repeated"),
        ("", "an empty file"),
        (f"{TIDY}\n", "one row or more below the header"),
        (f'{TIDY}\n"a"x,s0,1\n', "comma-separated file"),
        (f"{TIDY},trial\na,s0,1,1\nb,s1,1,1\n", "line 3: expected one stimulus per"),
        (f"{TIDY},trial\na,s0,1,1\na,s0,1,1\n", "trial of line 2"),
        (f"{TIDY},repeat\na,s0,1,1\na,s0,1,1\n", "line 3: expected one row per trial"),
        (f"{TIDY},trial\na,s0,1,\n", "column 'trial'"),
        (f"{TIDY},units\na,s0,1,z\nb,s0,1,spikes/s\n", "found ['spikes/s', 'z']"),
        ("stimulus_id,trial,u1\na,1,1\na,1,2\n", "trial of line 2"),
    ],
)
def test_bad_tables_give_one_clear_line(tmp_path, text, say):
    path = tmp_path / "x.csv"
    path.write_text(text)
    found = refused(read_csv, path)
    assert say in found
    assert "x.csv" in found


def test_files_that_are_not_utf8_tables(tmp_path):
    (tmp_path / "x.csv").write_bytes("stimulus_id,s\nü,1\n".encode("utf-16"))
    assert "in UTF-8" in refused(read_csv, tmp_path / "x.csv")
    (tmp_path / "y.csv").write_text(f'{TIDY}\n"a,s0,1\n')
    assert "comma-separated" in refused(read_csv, tmp_path / "y.csv")
    assert "no such file" in refused(read_csv, tmp_path / "absent.csv")
    (tmp_path / "z.csv").write_text(f"{TIDY}\na,s0,1\n")
    assert "leave sites out" in refused(read_csv, tmp_path / "z.csv", sites=("s0",))


def test_a_trial_without_a_session_beside_npy_is_refused(tmp_path):
    stimuli = [["stimulus_id", "session_id"], ["a", "d1"], ["b", ""]]
    path = write_npy(tmp_path, np.zeros((2, 1)), stimuli, column("site_id", ["s0"]))
    assert "line 3, column 'session_id'" in refused(read_npy, path)


def test_a_damaged_npy_header_is_refused(tmp_path):
    path = write_npy(tmp_path, np.zeros((1, 1, 1)), [], [])
    data = bytearray(path.read_bytes())
    for position in range(10, 120):
        path.write_bytes(data[:position] + b"\0" + data[position + 1 :])
        assert "not an .npy array" in refused(read_npy, path)
