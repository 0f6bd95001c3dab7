"""Exports read back by readers that know nothing of this project."""

import ast
import csv
import dataclasses
import hashlib
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from paramctl_jax.stimuli.exchange import FORMATS, Display, export_stimuli
from paramctl_jax.stimuli.exchange.tables import misread, plain_columns
from paramctl_jax.types import (
    ControversialSet,
    ControversialStimulus,
    ImageSet,
    InputError,
    Stimulus,
    StimulusSet,
)

SITES, SEEDS, LEVELS, REPEATS = ("007", "1e5"), ("ant_1", "bee_2"), 3, 3


def png_file(folder, name, rng):
    path = folder / name
    Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def stimulus(folder, rng, site, seed, level):
    name = f"net-{'abc'[SITES.index(site)]}-{seed}-{'seed' if level is None else level}"
    target = float(rng.normal())
    return Stimulus(
        stimulus_id=name,
        filename=f"{name}.png",
        model="net",
        site=site,
        seed=seed,
        level=level,
        target=target,
        predicted=target * 1e-7 if level == 0 else target + 0.1,
        hit=level == 1,
        sha256=png_file(folder, f"{name}.png", rng),
        start=0.0,
        reached=0.0,
        step=3,
        stop_reason="hit",
        relative_error=0.01,
        rms=0.1,
        linf=0.2,
        clipped=0.0,
    )


@pytest.fixture
def stimuli(tmp_path):
    folder = tmp_path / "stimuli"
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = [
        stimulus(folder, rng, site, seed, level)
        for site in SITES
        for seed in SEEDS
        for level in (None, *range(LEVELS))
    ]
    return StimulusSet(folder, tuple(made))


@pytest.fixture
def anchors():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    return ImageSet(("owl_1", "owl_2", "nsd00007"), pixels)


@pytest.fixture
def export(stimuli, anchors, tmp_path):
    def make(form, **given):
        out = tmp_path / form
        settings = {"repeats": REPEATS, "anchors": anchors} | given
        return export_stimuli(stimuli, out, form, **settings)

    return make


N_STIMULI = len(SITES) * len(SEEDS) * (LEVELS + 1)
N_TRIALS = REPEATS * (N_STIMULI + 3)


def digest(path):
    return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("form", FORMATS)
def test_every_png_is_there_with_the_bytes_of_its_source(
    stimuli, anchors, export, form
):
    done = export(form)
    written = {digest(path): path for path in done.directory.rglob("*.png")}
    assert len(written) == N_STIMULI + 3 == done.n_images
    assert {one.sha256 for one in stimuli.stimuli} <= set(written)
    natural = [p for d, p in written.items() if p.stem in anchors.stimulus_ids]
    for path in natural:
        pixels = anchors.select([path.stem]).pixels[0]
        assert (np.asarray(Image.open(path)) == pixels).all()
    assert len(natural) == 3
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"],
        cwd=done.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout.count(": OK") == N_STIMULI + 3 + len(done.tables)
    assert not list(done.directory.parent.glob(f".{form}*"))


def test_brainscore_is_read_by_pandas_as_what_it_is(stimuli, anchors, export):
    done = export("brainscore", display=Display(visual_degrees=8.0))
    table = pandas.read_csv(done.directory / "stimulus_set.csv")
    ids = [one.stimulus_id for one in stimuli.stimuli]
    assert list(table["stimulus_id"]) == [*ids, *anchors.stimulus_ids]
    for row in table.to_dict("records"):
        path = done.directory / "stimuli" / row["filename"]
        assert digest(path) == row["sha256"]
    own = table[: len(ids)]
    assert list(own["site"]) == [f"site:{one.site}" for one in stimuli.stimuli]
    for name in ("target", "predicted"):
        known = [getattr(one, name) for one in stimuli.stimuli]
        np.testing.assert_allclose(own[name], known, rtol=1e-12, atol=0)
    assert list(own["hit"]) == [int(one.hit) for one in stimuli.stimuli]
    levels = [np.nan if s.level is None else s.level for s in stimuli.stimuli]
    np.testing.assert_array_equal(own["level"], levels)
    assert set(table["role"]) == {"seed", "driven", "anchor"}
    assert (table["degrees"] == 8).all()
    text = table.select_dtypes(exclude="number")
    assert not text.isna().any().any()  # missing values in numbers only
    assert list(table["model"][len(ids) :]) == ["-"] * 3
    assert any("prefixed by 'site:'" in note for note in done.notes)


def conditions_of(path):
    """A MonkeyLogic conditions file as MonkeyLogic reads it."""
    header, *lines = path.read_text(encoding="ascii").splitlines()
    names = header.split("\t")
    for line in lines:
        row = dict(zip(names, line.split("\t"), strict=True))
        fields = ast.literal_eval(f"[{row['Info']}]")
        row["Info"] = dict(zip(fields[::2], fields[1::2], strict=True))
        row["Block"] = [int(block) for block in row["Block"].split()]
        match = re.fullmatch(
            r"pic\(([^,()\s]+),(-?\d+),(-?\d+)(?:,(\d+),(\d+))?\)", row["TaskObject#2"]
        )
        yield row | {"pic": match.groups()}


@pytest.mark.parametrize("resolution", [None, 32.5])
def test_monkeylogic_conditions(stimuli, anchors, export, resolution):
    display = Display(
        visual_degrees=8.0, pixels_per_degree=resolution, timing_file="rsvp"
    )
    done = export("monkeylogic", display=display)
    rows = list(conditions_of(done.directory / "conditions.txt"))
    assert [int(row["Condition"]) for row in rows] == list(range(1, len(rows) + 1))
    ids = [one.stimulus_id for one in stimuli.stimuli]
    shown = [row["Info"]["stimulus_id"] for row in rows]
    assert shown == [*ids, *anchors.stimulus_ids]
    side = None if resolution is None else "260"
    for row in rows:
        assert (row["Frequency"], row["Block"]) == ("1", [1, 2, 3])
        assert (row["Timing File"], row["TaskObject#1"]) == ("rsvp", "fix(0,0)")
        name, *place = row["pic"]
        assert place == ["0", "0", side, side]
        assert (done.directory / name).is_file()
        assert len(name) <= 63
    trials = pandas.read_csv(done.directory / "presentation_list.csv")
    by_condition = {int(row["Condition"]): row["pic"][0] for row in rows}
    assert list(trials["filename"]) == [by_condition[n] for n in trials["condition"]]
    assert len(trials) == N_TRIALS


def test_psychopy_conditions(stimuli, export):
    display = Display(presentation_ms=70.0, isi_ms=130.0, visual_degrees=8.0)
    done = export("psychopy", display=display)
    with (done.directory / "conditions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(name.isidentifier() for name in rows[0])
    assert [int(row["trial"]) for row in rows] == list(range(1, N_TRIALS + 1))
    known = {one.stimulus_id: one for one in stimuli.stimuli}
    for row in rows:
        path = done.directory / row["image"]
        assert not Path(row["image"]).is_absolute()
        assert (row["duration_s"], row["isi_s"]) == ("0.07", "0.13")
        if row["stimulus_id"] in known:
            one = known[row["stimulus_id"]]
            assert digest(path) == one.sha256
            assert float(row["predicted"]) == one.predicted
            assert row["is_anchor"] == "0"
        else:
            assert (row["role"], row["predicted"], row["is_anchor"]) == (
                *("anchor", "", "1"),
            )


def test_bids_events(stimuli, export):
    display = Display(presentation_ms=100.0, isi_ms=133.5, task="day2")
    done = export("bids", display=display, sessions=2)
    columns = json.loads((done.directory / "task-day2_events.json").read_text())
    files = sorted(done.directory.glob("*.tsv"))
    assert [path.name for path in files] == [
        "task-day2_run-1_events.tsv",
        "task-day2_run-2_events.tsv",
    ]
    shown = []
    for path in files:
        raw = path.read_text()
        assert "\t\t" not in raw
        assert "\t\n" not in raw
        table = pandas.read_csv(io.StringIO(raw), sep="\t", dtype={"site": str})
        assert list(table.columns[:2]) == ["onset", "duration"]
        np.testing.assert_allclose(table["onset"], 0.2335 * np.arange(len(table)))
        assert (table["duration"] == 0.1).all()
        assert set(table.columns) <= set(columns)
        for name in table["stim_file"]:
            assert (done.directory / "stimuli" / name).is_file()
        anchors = table[table["trial_type"] == "anchor"]
        assert anchors[["model", "site", "target"]].isna().all().all()
        shown += list(table["stim_id"])
    assert shown == [one.stimulus_id for one in done.trials]
    assert set(columns["trial_type"]["Levels"]) == {"driven", "seed", "anchor"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_png_is_refused_by_name_and_leaves_nothing(
    stimuli, export, tmp_path, form
):
    path = stimuli.directory / stimuli.stimuli[5].filename
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{path.name}: expected the sha256:"):
        export(form)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stimuli"]
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: cannot be read"):
        export(form)


def test_a_png_that_was_damaged_before_its_digest_is_refused(stimuli, tmp_path):
    first = stimuli.stimuli[0]
    path = stimuli.directory / first.filename
    path.write_bytes(path.read_bytes()[:-40])
    damaged = dataclasses.replace(first, sha256=digest(path))
    chosen = StimulusSet(stimuli.directory, (damaged, *stimuli.stimuli[1:]))
    with pytest.raises(InputError, match=f"{first.filename}: truncated or damaged"):
        export_stimuli(chosen, tmp_path / "out", "bids")


def test_an_export_is_never_overwritten(export, tmp_path):
    done = export("psychopy")
    before = {p: p.read_bytes() for p in done.directory.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=r"expected a new or empty folder, found 3"):
        export("psychopy")
    assert {
        p: p.read_bytes() for p in done.directory.rglob("*") if p.is_file()
    } == before
    (tmp_path / "bids").write_text("")
    with pytest.raises(InputError, match="expected a new folder, found a file"):
        export("bids")
    (tmp_path / "brainscore").mkdir()  # empty
    export("brainscore")


def test_equal_settings_give_equal_bytes(stimuli, anchors, tmp_path):
    def files(name, seed):
        done = export_stimuli(
            stimuli, tmp_path / name, "bids", anchors=anchors, random_seed=seed
        )
        files = [path for path in done.directory.rglob("*") if path.is_file()]
        return {p.relative_to(done.directory): p.read_bytes() for p in files}

    assert files("a", 4) == files("b", 4)
    assert files("a2", 4) != files("c", 5)


def contest(folder, high, level, selected, rng):
    name = f"up_{high.replace(' ', '_') or 'none'}-s-ant-{level}"
    predicted = {"net 1": 1.25, "net_2": -0.5}
    return ControversialStimulus(
        stimulus_id=name,
        filename=f"{name}.png",
        high=high,
        site="s",
        seed="ant",
        level=float(level),
        predicted=predicted,
        z={name: 2 * value for name, value in predicted.items()},
        controversiality=float("nan") if not high else 1.0,
        accepted=bool(high),
        selected=selected,
        sha256=png_file(folder, f"{name}.png", rng),
        rms=0.1,
        step=2,
    )


@pytest.fixture
def pair(tmp_path):
    rng = np.random.default_rng(2)
    folder = tmp_path / "contest"
    folder.mkdir()
    made = (
        contest(folder, "", 0, True, rng),
        contest(folder, "net 1", 1, True, rng),
        contest(folder, "net_2", 1, True, rng),
        contest(folder, "net_2", 2, False, rng),
    )
    return ControversialSet(folder, ("net 1", "net_2"), made)


def test_of_a_controversial_set_what_was_selected_is_shown(pair, tmp_path):
    done = export_stimuli(pair, tmp_path / "out", "brainscore", repeats=2)
    table = pandas.read_csv(done.directory / "stimulus_set.csv")
    assert list(table["stimulus_id"]) == [s.stimulus_id for s in pair.stimuli[:3]]
    assert list(table["high"]) == ["-", "net 1", "net_2"]
    assert list(table["role"]) == ["seed", "driven", "driven"]
    assert (table["predicted_net_1"] == 1.25).all()
    assert (table["z_net_2"] == -1).all()
    assert list(table["controversiality"].isna()) == [True, False, False]
    assert len(done.trials) == 6


def test_what_a_contest_cannot_be_is_said(pair, tmp_path):
    with pytest.raises(InputError, match="'up_net_1-s-ant-1': expected one of a sweep"):
        export_stimuli(
            dataclasses.replace(pair, stimuli=pair.stimuli[1:2]),
            tmp_path / "out",
            "authors",
        )


def test_names_that_no_rig_takes_are_refused(stimuli, tmp_path):
    pixels = np.zeros((1, 6, 6, 3), np.uint8)
    for name in ("7", "owl 1", "größe", "a" * 60, "../owl", ""):
        with pytest.raises(InputError, match="expected a letter, then at most 58"):
            export_stimuli(
                stimuli, tmp_path / "x", "bids", anchors=ImageSet((name,), pixels)
            )
    taken = stimuli.stimuli[0].stimulus_id.upper()
    with pytest.raises(InputError, match="expected unique names, found 'NET-A"):
        export_stimuli(
            stimuli, tmp_path / "x", "bids", anchors=ImageSet((taken,), pixels)
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "brainscor"}, "did you mean 'brainscore'"),
        ({"repeats": 0}, "repeats: expected at least 1, found 0"),
        ({"sessions": 3, "repeats": 2}, "sessions: expected at most one per block"),
        (
            {"display": Display(presentation_ms=0.0)},
            "presentation_ms: expected a number",
        ),
        ({"display": Display(isi_ms=-1.0)}, "isi_ms: expected at least 0"),
        ({"display": Display(task="a_b")}, "task: expected letters and digits"),
        ({"display": Display(timing_file="a b")}, "timing_file: expected the name"),
    ],
)
def test_unfit_settings_are_refused_before_anything_is_written(
    stimuli, tmp_path, given, message
):
    settings = {"format": "monkeylogic"} | given
    with pytest.raises(InputError, match=message):
        export_stimuli(stimuli, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_equal_pngs_under_several_ids_are_told(stimuli, tmp_path):
    first, second = (stimuli.stimuli[n] for n in (0, 4))
    (stimuli.directory / second.filename).write_bytes(
        (stimuli.directory / first.filename).read_bytes()
    )
    equal = dataclasses.replace(second, sha256=first.sha256)
    chosen = dataclasses.replace(stimuli, stimuli=(first, equal))
    (note,) = export_stimuli(chosen, tmp_path / "out", "monkeylogic").notes
    assert note.startswith("1 PNGs have several ids, 2 in all")


TEXTS = (
    *("a", "V4", "1e5", "007", "NA", "nan", "None", "null", "inf", "-Infinity", "TRUE"),
    *("1_000", "0x1f", " 3", "", "n/a", "<NA>", "1.#IND", "e5", "+5.", ".5", "-"),
)


@pytest.mark.parametrize("text", TEXTS)
def test_what_pandas_would_misread_is_known(text):
    cells = ["zzz", text] if text in ("TRUE",) else [text, text]
    read = pandas.read_csv(
        io.StringIO('"x","y"\n' + "".join(f'"{c}",1\n' for c in cells))
    )
    kept = [value == cell for value, cell in zip(read["x"], cells, strict=True)]
    if not all(kept):
        assert misread(text)
    if misread(text):
        texts, _ = plain_columns({"x": [text, text]})
        again = pandas.read_csv(
            io.StringIO('"x","y"\n' + "".join(f'"{c}",1\n' for c in texts["x"]))
        )
        assert list(again["x"]) == [f"x:{text}"] * 2
