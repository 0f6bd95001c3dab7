"""The exchange table: what is read, what is refused, and with which words."""

import dataclasses

import numpy as np
import pytest

from paramctl_jax.scoring import read_table, write_table
from paramctl_jax.types import InputError

HEADER = "model,site,seed,level,predicted,recorded"


@pytest.fixture
def written(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "responses.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_columns_in_any_order_extra_ones_ignored(written):
    path = written(
        "recorded,note,level,seed,site,model,predicted\n2.5,x,0,i1,s1,m,-1\n"
    )
    table = read_table(path)
    assert (table.model, table.site, table.seed) == (("m",), ("s1",), ("i1",))
    assert table.level == ("0",)
    assert table.subject == ("",)
    assert (table.predicted[0], table.recorded[0]) == (-1.0, 2.5)
    assert np.isnan(table.n_repeats[0])
    assert np.isnan(table.floor[0])
    assert len(table) == 1


def test_optional_columns_are_read(written):
    text = f"{HEADER},subject,n_repeats,floor\nm,s,i,0,1,2,paul,4,-.5\n"
    table = read_table(written(text))
    assert table.subject == ("paul",)
    assert (table.n_repeats[0], table.floor[0]) == (4.0, -0.5)


@pytest.mark.parametrize(
    ("newline", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig"), ("\r", "utf-8")]
)
def test_line_ends_and_byte_order_marks(written, newline, encoding):
    rows = [HEADER, "m,s,i,0,1,2", "", "m,s,i,1,3,4", ",,,,,"]
    table = read_table(written(newline.join(rows), encoding))
    np.testing.assert_array_equal(table.predicted, [1, 3])
    np.testing.assert_array_equal(table.recorded, [2, 4])


def test_ids_stay_text(written):
    text = f'{HEADER}\n"resnet, ""robust""",007,1e5, höchste ,1,2\nm,7,nan,,1,2\n'
    table = read_table(written(text))
    assert table.model == ('resnet, "robust"', "m")
    assert table.site == ("007", "7")
    assert table.seed == ("1e5", "nan")
    assert table.level == ("höchste", "")


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA"])
def test_missing_numbers_are_nan(written, cell):
    table = read_table(written(f"{HEADER}\nm,s,i,0,1,{cell}\nm,s,i,1,{cell},3\n"))
    np.testing.assert_array_equal(table.recorded, [np.nan, 3])
    np.testing.assert_array_equal(table.predicted, [1, np.nan])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty file"]),
        ("\n\n", ["empty file"]),
        (HEADER + "\n", ["only the header"]),
        (
            "model,site,level,predicted\na,b,c,1\n",
            ["missing", "seed, recorded", "found"],
        ),
        (HEADER.replace(",", ";") + "\nm;s;i;0;1;2\n", ["missing", "comma-separated"]),
        (f"{HEADER},recorded\nm,s,i,0,1,2,2\n", ["once", "recorded"]),
        (
            f"{HEADER}\nm,s,i,0,1,2\nm,s,i,1,high,2\n",
            ["row 3", "'predicted'", "'high'"],
        ),
        (f"{HEADER}\nm,s,i,0,1,#N/A\n", ["row 2", "'recorded'", "'#N/A'"]),
        (f"{HEADER}\n\nm,s,i,0,1,inf\n", ["row 3", "'recorded'", "'inf'"]),
        (f"{HEADER}\nm,s,i,0,1_0,2\n", ["row 2", "'predicted'", "'1_0'"]),
        (f'{HEADER}\nm,s,i,0,"1,5",2\n', ["row 2", "'predicted'", "'1,5'"]),
        (f"{HEADER}\nm,s,i,0,1\n", ["row 2", "6 cells", "found 5"]),
        (f"{HEADER}\nm,,i,0,1,2\n", ["row 2", "'site'", "an id"]),
        (f'{HEADER}\nm,"s,i,0,1,2\n', ["bad CSV"]),
        (f"{HEADER},n_repeats\nm,s,i,0,1,2,0\n", ["row 2", "'n_repeats'", "found 0"]),
        (f"{HEADER},n_repeats\nm,s,i,0,1,2,-3\n", ["row 2", "'n_repeats'", "found -3"]),
        (f"{HEADER},n_repeats\nm,s,i,0,1,2,two\n", ["row 2", "'n_repeats'", "'two'"]),
        (
            f"{HEADER},n_repeats\nm,s,i,0,1,2,.5\n",
            ["row 2", "'n_repeats'", "found 0.5"],
        ),
        (f"{HEADER},recorded_sd\nm,s,i,0,1,2,-1\n", ["row 2", "'recorded_sd'", "-1"]),
        (f"{HEADER},floor\nm,s,i,0,1,2,low\n", ["row 2", "'floor'", "'low'"]),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(written, text, words):
    path = written(text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused(written, encoding):
    with pytest.raises(InputError, match="UTF-8"):
        read_table(written(f"{HEADER}\nmüde,s,i,0,1,2\n", encoding))


def test_missing_file_and_directory_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="readable CSV file"):
            read_table(path)


def test_writing_and_reading_returns_every_digit(noisy_design, table_of, tmp_path):
    table = table_of(
        *noisy_design, subject="paul", site_names=["007", 'a "b", c', *"def"]
    )
    recorded = table.recorded.copy()
    recorded[3] = np.nan
    counts = np.arange(len(table), dtype=np.float64) + 1
    table = dataclasses.replace(table, recorded=recorded, n_repeats=counts)
    path = tmp_path / "new" / "table.csv"
    write_table(path, table)
    again = read_table(path)
    for field in dataclasses.fields(table):
        if field.name != "source":
            expected = getattr(table, field.name)
            np.testing.assert_array_equal(getattr(again, field.name), expected)
    header = path.read_text().splitlines()[0]
    assert header == "subject,model,site,seed,level,predicted,recorded,n_repeats"
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]
