"""Damaged and doctored stimulus sets are refused, by the file's name."""

import csv
import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from paramctl_jax.stimuli import (
    load_stimuli,
    near_duplicates,
    save_stimuli,
    stimulus_images,
    summarise,
)
from paramctl_jax.stimuli.table import to_csv
from paramctl_jax.types import InputError


@pytest.fixture
def folder(sweep, tmp_path):
    return save_stimuli(tmp_path / "set", [sweep], progress=False).directory


NAME = "small-site_b-bee_0002-L02.png"


def _truncate(folder):
    path = folder / NAME
    path.write_bytes(path.read_bytes()[:-60])


def _flip_a_bit(folder):
    data = bytearray((folder / NAME).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / NAME).write_bytes(bytes(data))


def _another_image(folder):
    (folder / NAME).write_bytes((folder / NAME.replace("L02", "L01")).read_bytes())


def _missing(folder):
    (folder / NAME).unlink()


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit, _another_image, _missing])
def test_damaged_png(folder, damage):
    damage(folder)
    with pytest.raises(InputError, match=re.escape(NAME)) as error:
        load_stimuli(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit])
def test_damaged_png_without_verification(folder, damage):
    damage(folder)
    stimuli = load_stimuli(folder, verify=False)
    with pytest.raises(InputError, match=re.escape(NAME)):
        stimulus_images(stimuli)


def test_png_of_another_size(folder):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / NAME)
    stimuli = load_stimuli(folder, verify=False)
    with pytest.raises(InputError, match=f"{re.escape(NAME)}: expected 8 x 8.*9 x 9"):
        stimulus_images(stimuli)


def _edit(old, new):
    def edit(text):
        assert old in text
        return text.replace(old, new, 1)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_edit("predicted", "prediction"), r"columns \['predicted'\]"),
        (lambda text: text.splitlines()[0], "expected one row per PNG, found none"),
        (lambda text: "", "expected the columns"),
        (_edit(",0,-1.3,", ",first,-1.3,"), r":3: .*int \| None.*'level'.*'first'"),
        (_edit(",0,-1.3,", ",0,high,"), ":3: .*float in column 'target'.*'high'"),
        (_edit(",True,", ",yes,"), ":2: .*bool in column 'hit'.*'yes'"),
        (_edit("small-site_a-ant_0001-L00,", ","), ":3: .*'stimulus_id'.*''"),
        (_edit(",small-site_a-ant_0001-L00.png", ",../x.png"), ":3: .*'../x.png'"),
        (_edit(",small-site_a-ant_0001-L00.png", r",..\x.png"), ":3: .*same folder"),
        (
            _edit("small-site_a-ant_0001-L00,", "SMALL-site_a-ant_0001-L01,"),
            "expected unique stimulus ids",
        ),
        (lambda text: text[: text.rindex(",", 0, -20)], "expected float in column"),
    ],
)
def test_doctored_table(folder, edit, message):
    table = folder / "stimulus_set.csv"
    table.write_text(edit(table.read_text()))
    with pytest.raises(InputError, match=message) as error:
        load_stimuli(folder)
    assert str(table) in str(error.value)
    assert "\n" not in str(error.value)


def test_further_columns_and_order_do_not_matter(folder):
    table = folder / "stimulus_set.csv"
    before = load_stimuli(folder)
    rows = [line.split(",") for line in table.read_text().splitlines()]
    extra = ["note", *["shown, twice"] * (len(rows) - 1)]
    lines = [
        ",".join([f'"{note}"', *reversed(row)])
        for note, row in zip(extra, rows, strict=True)
    ]
    table.write_text("\r\n".join(lines) + "\r\n")
    assert to_csv(load_stimuli(folder).stimuli) == to_csv(before.stimuli)


def test_tables_of_earlier_versions_are_read(folder):
    table = folder / "stimulus_set.csv"
    before = load_stimuli(folder)
    with table.open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0][-4:] == ["clipped", "ssim", "high_frequency", "off_axis"]
    table.write_text("\n".join(",".join(row[:-3]) for row in rows) + "\n")
    for old, new in zip(load_stimuli(folder).stimuli, before.stimuli, strict=True):
        assert np.isnan([old.ssim, old.high_frequency, old.off_axis]).all()
        assert (old.clipped, old.predicted) == (new.clipped, new.predicted)


def test_not_a_stimulus_set(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*cannot be read \(No such file"):
        load_stimuli(tmp_path / "nowhere")


def test_summary_counts_every_lane(folder):
    stimuli = load_stimuli(folder)
    lanes = [s for s in stimuli.stimuli if s.level is not None]
    text = summarise(stimuli)
    five = sum(s.relative_error <= 0.05 for s in lanes)
    two = sum(s.relative_error <= 0.02 for s in lanes)
    assert (two, five) == (8, 16)
    assert text.startswith("24 accentuated images and 6 seed images;")
    assert f"{five}/24 ({five / 24:.1%}) are within 5 %" in text
    assert f"{two}/24 ({two / 24:.1%}) within 2 %" in text
    assert max(lanes, key=lambda s: s.relative_error).stimulus_id in text
    assert "median of 0.001;" in text
    assert "; 0 of 24 lanes did not reach their level; 0 stopped" in text
    assert "0 stopped at a non-finite value; 0 neighbouring levels" in text
    assert "\n" not in text


def test_summary_names_what_was_not_reached(folder):
    stimuli = load_stimuli(folder)
    ends = {"L00": "unreached", "L01": "max_steps", "L02": "nonfinite"}
    changed = tuple(
        dataclasses.replace(s, stop_reason=ends.get(s.stimulus_id[-3:], "hit"))
        for s in stimuli.stimuli
    )
    text = summarise(dataclasses.replace(stimuli, stimuli=changed))
    assert (
        "12 of 24 lanes did not reach their level; the best images are kept and "
        "counted; 6 stopped at a non-finite value"
    ) in text


def test_near_duplicates(sweep, tmp_path):
    sweep.images[1, 0, 2] = sweep.images[1, 0, 1]
    sweep.images[1, 0, 2, 0, 0, 0] ^= 1
    sweep.images[0, 1, 3] = sweep.images[0, 1, 0]  # alike, but not neighbours
    stimuli = save_stimuli(tmp_path, [sweep], progress=False)
    assert near_duplicates(stimuli) == [
        ("small-site_b-ant_0001-L01", "small-site_b-ant_0001-L02")
    ]
    assert "1 neighbouring levels look the same" in summarise(stimuli)
