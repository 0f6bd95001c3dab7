"""The page: complete, offline, escaped, and true to the records."""

import base64
import dataclasses
import json
import math
import re

import numpy as np
import pytest
from closed_loop import build
from parsed_page import Page
from PIL import Image

from paramctl_jax.encoding import compare_encoding
from paramctl_jax.report import summary_table, write_report
from paramctl_jax.report.gallery import embedded_stimuli
from paramctl_jax.report.page import page
from paramctl_jax.types import ControlScore, InputError, StimulusSet
from tests.evaluations import evaluation_of


@pytest.fixture(scope="module")
def report(inputs, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report"), inputs)


@pytest.fixture(scope="module")
def html(report):
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


def test_tags_are_balanced_and_ids_unique(parsed):
    assert parsed.open == []
    ids = [
        attributes["id"] for _, attributes in parsed.attributes if "id" in attributes
    ]
    assert len(ids) == len(set(ids))
    anchors = [a["href"].removeprefix("#") for a in parsed.all("a")]
    assert set(anchors) <= set(ids)


def test_nothing_is_fetched(parsed, html):
    for _, attributes in parsed.attributes:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#"))
        assert not any(name.startswith("on") for name in attributes)
    without_images = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//cdn|url\(|@import", without_images)
    assert "link" not in parsed.tags


def test_every_figure_is_written_and_those_of_the_page_are_embedded(
    report, html, inputs
):
    figures = {path.name: path for path in (report.parent / "figures").iterdir()}
    assert len(figures) == len(inputs.sweeps) + 5
    for path in figures.values():
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 200
    curves = ("overview.png", "control_curves_00.png")
    for name in (*curves, "errors.png", "changes.png"):
        assert base64.b64encode(figures[name].read_bytes()).decode() in html


def test_every_stimulus_is_embedded_once_as_its_own_file(parsed, inputs):
    images = {int(a["data-i"]): a for a in parsed.all("img") if "data-i" in a}
    assert sorted(images) == list(range(len(inputs.stimuli)))
    for index, stimulus in enumerate(inputs.stimuli.stimuli):
        data = (inputs.stimuli.directory / stimulus.filename).read_bytes()
        encoded = images[index]["src"].removeprefix("data:image/png;base64,")
        assert base64.b64decode(encoded) == data


def test_missed_targets_are_flagged(parsed, inputs):
    flagged = [a for a in parsed.all("td") if a.get("class") == "miss"]
    missed = [s for s in inputs.stimuli.stimuli if s.level is not None and not s.hit]
    assert len(flagged) == len(missed) == 4


def test_slider_data_are_the_records(parsed, inputs):
    data = json.loads(parsed.scripts[0])
    assert data["models"] == list(inputs.models)
    assert data["sites"] == list(inputs.sites)
    for entry, stimulus in zip(data["stimuli"], inputs.stimuli.stimuli, strict=True):
        assert entry["id"] == stimulus.stimulus_id
        assert data["models"][entry["model"]] == stimulus.model
        assert data["sites"][entry["site"]] == stimulus.site
        assert (entry["seed"], entry["level"]) == (stimulus.seed, stimulus.level)
        assert entry["predicted"] == pytest.approx(stimulus.predicted, abs=1e-5)
        assert entry["recorded"] == pytest.approx(
            inputs.recorded[stimulus.stimulus_id], abs=1e-5
        )


@pytest.mark.parametrize("model", ["robust", "standard"])
def test_table_holds_the_score_record(parsed, inputs, model):
    score = inputs.score.subjects[""][model]
    row = parsed.row(model)
    assert row[1] == "2"
    assert row[5] == f"{score.control_mean:.2f} ± {score.control_sd:.2f}"
    assert row[6] == f"[{score.control_ci[0]:.2f}, {score.control_ci[1]:.2f}]"
    slopes = [site.slope for site in score.sites.values()]
    assert row[7] == f"{sum(slopes) / 2:.2f}"
    assert row[8:] == ["6/6", "28/30"]
    exact = [float(a["data-value"]) for a in parsed.all("td") if "data-value" in a]
    assert score.control_mean in exact
    for site in score.sites.values():
        assert site.control in exact
        assert site.pooled_r in exact


def test_comparison_row(parsed, inputs):
    row = parsed.row("robust − standard")
    difference = inputs.score.comparisons[0].difference
    assert row[1:] == [
        f"+{difference:.2f}", "[+0.10, +0.40]", "0.25 (min 0.25)", "0.5 (min 0.5)",
    ]  # fmt: skip


HOSTILE = ('<script>alert("m")</script>', 'it\'s "7"&<b>', "../../up $x_1$")


def test_encoding_differences_and_the_choice_of_sites_are_shown(inputs):
    rng = np.random.default_rng(0)
    recorded, error = rng.standard_normal((2, 60, 3))
    evaluations = {
        name: evaluation_of(
            ("s0", "s1", "s2"), (), tuple(f"im{i}" for i in range(60)),
            recorded=recorded, predicted=recorded + noise * error,
        )
        for name, noise in (("a", 0.3), ("b", 2.0))
    }  # fmt: skip
    comparison = compare_encoding(evaluations["a"], evaluations["b"], n_bootstrap=500)
    choice = {
        "v4_07": {
            "reliability": 0.9,
            "ncsnr": 1.2,
            "ceiling": 0.95,
            "status": "chosen",
        },
        "<b>": {"reliability": None, "ncsnr": None, "ceiling": None, "status": "a < b"},
    }
    shown = dataclasses.replace(
        inputs, encoding_comparisons={("a", "b"): comparison}, site_choice=choice
    )
    html = page(shown, {}, {})
    parsed = Page(html)
    (row,) = [row for row in parsed.rows if row[0] == "a − b"]
    assert row[3].startswith("different")
    assert "is no equivalence" in parsed.text
    assert ["v4_07", "0.90", "1.20", "0.95", "chosen"] in parsed.rows
    assert ["<b>", "–", "–", "–", "a < b"] in parsed.rows
    assert "The choice of 1 among 2 recorded sites" in parsed.text


def test_hostile_ids_are_text(tmp_path):
    model, site, seed = HOSTILE
    inputs = build(
        tmp_path / "stimuli", {model: 0.8}, (site,), (seed, "plain"), 3,
        title=model, ground_truth=model, notes=(model,),
        provenance={model: {"</style>": [model]}},
    )  # fmt: skip
    report = write_report(tmp_path / "out", inputs)
    parsed = Page(report.read_text(encoding="utf-8"))
    assert parsed.tags.count("script") == 2
    assert parsed.tags.count("b") == 0
    assert all(name in parsed.text for name in HOSTILE)
    assert model not in parsed.scripts[1]
    assert json.loads(parsed.scripts[0])["models"] == [model]
    names = {path.parent for path in tmp_path.rglob("*.png")}
    assert names == {tmp_path / "stimuli", tmp_path / "out" / "figures"}


def constant_cup(stimulus, response):
    return 1.0 if (stimulus.seed, stimulus.model) == ("cup", "standard") else response


def test_seed_without_r_is_counted_and_printed(tmp_path):
    inputs = build(tmp_path / "s", change=constant_cup)
    parsed = Page(page(inputs, {}, {}))
    assert parsed.row("standard")[8] == "4/6"
    seeds = [row for row in parsed.rows if len(row) == 4 and row[0] == "v4_07"][-1]
    assert seeds[2] == "–"
    assert "4/6" in summary_table(inputs)


def test_unrecorded_stimuli_give_reasons_not_nan(tmp_path):
    inputs = build(tmp_path / "s", change=lambda s, r: math.nan)
    parsed = Page(page(inputs, {}, {}))
    control = parsed.row("robust")[5]
    assert re.fullmatch("–[a-z]", control)
    assert "no seed has three recorded levels" in parsed.text
    assert "72 of 72 stimuli have no recorded response" in parsed.text
    assert not re.search(r"\bnan\b", parsed.text, re.IGNORECASE)
    assert json.loads(parsed.scripts[0])["stimuli"][0]["recorded"] is None


def test_report_before_the_recordings(tmp_path):
    inputs = build(
        tmp_path / "s", {"robust": 1.0}, ("a",), ("owl",), 3,
        recorded={}, n_repeats={}, score=ControlScore({}),
    )  # fmt: skip
    report = write_report(tmp_path / "out", inputs)
    parsed = Page(report.read_text(encoding="utf-8"))
    assert "no recordings were scored" in parsed.text
    assert parsed.row("robust")[-1] == "2/3"


def test_page_without_stimuli(inputs):
    empty = StimulusSet(inputs.stimuli.directory, ())
    parsed = Page(page(dataclasses.replace(inputs, stimuli=empty, recorded={}), {}, {}))
    assert "No stimuli were made." in parsed.text
    assert parsed.tags.count("script") == 1
    assert parsed.row("robust")[-1] == "–a"


def test_large_sets_are_reduced_and_say_so(inputs):
    whole = sum(p.stat().st_size for p in inputs.stimuli.directory.iterdir())
    originals, remark = embedded_stimuli(inputs, whole)
    assert remark == ""
    assert all(uri.startswith("data:image/png") for uri in originals.values())
    reduced, remark = embedded_stimuli(inputs, whole - 1)
    assert "JPEG" in remark
    assert set(reduced) == set(originals)
    assert sum(map(len, reduced.values())) < sum(map(len, originals.values()))


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_png_is_named_and_leaves_no_page(tmp_path, content):
    inputs = build(tmp_path / "s", {"m": 1.0}, ("a",), ("x",), 3)
    broken = tmp_path / "s" / "s0002.png"
    broken.unlink()
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(InputError, match=r"s0002\.png: expected the PNG of"):
        write_report(tmp_path / "out", inputs)
    assert not (tmp_path / "out" / "report.html").exists()
