"""The page of each site, and the slider that moves through its levels."""

import dataclasses
import importlib.resources
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from closed_loop import build
from parsed_page import Page

from paramctl_jax.report.further import further_cells
from paramctl_jax.report.page import page
from paramctl_jax.report.style import number
from paramctl_jax.types import ControlScore, PooledScore, SiteScore


@pytest.fixture(scope="module")
def html(inputs):
    return page(inputs, {}, {})


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


def site_parts(html):
    """The HTML of each site's page."""
    parts = re.split(r'(?=<details class="site")', html)[1:]
    return [re.split(r"</section>", part)[0] for part in parts]


def test_every_site_has_its_own_page_and_the_first_is_open(parsed, inputs):
    pages = [a for a in parsed.all("details") if a.get("class") == "site"]
    assert [int(a["data-site"]) for a in pages] == list(range(len(inputs.sites)))
    assert ["open" in a for a in pages] == [True, False]


def test_page_of_a_site_has_curves_numbers_and_its_own_images(html, inputs):
    for part, site in zip(site_parts(html), inputs.sites, strict=True):
        assert f"Site {site}" in part
        for model in inputs.models:
            score = inputs.site_score(model, site)
            for value in (score.control, score.slope, score.pooled_r):
                assert f'data-value="{value!r}"' in part
            assert f"model {model}, site {site}, 3 seed images" in part
        numbers = {int(i) for i in re.findall(r'data-i="(\d+)"', part)}
        stimuli = inputs.stimuli.stimuli
        assert numbers == {i for i, s in enumerate(stimuli) if s.site == site}


def test_curves_of_a_page_are_recorded_against_predicted(html, inputs):
    part, site = site_parts(html)[0], inputs.sites[0]
    drawn = [
        np.asarray([point.split(",") for point in line.split()], dtype=float)
        for line in re.findall(r'<polyline points="([^"]+)"', part)
    ]
    sweeps = [inputs.sweeps[model, site] for model in inputs.models]
    expected = [
        np.asarray(
            [(s.predicted, inputs.response(s)) for s in sweep.accentuated()
             if s.seed == seed]
        )
        for sweep in sweeps for seed in sweep.seeds
    ]  # fmt: skip
    shown, truth = np.concatenate(drawn), np.concatenate(expected)
    assert [len(line) for line in drawn] == [len(line) for line in expected]
    # One linear map of both axes, upside down for the second, rounded to .1 unit.
    (scale, start), (down, top) = (
        np.polyfit(truth[:, axis], shown[:, axis], 1) for axis in (0, 1)
    )
    assert down == pytest.approx(-scale, rel=2e-3)
    np.testing.assert_allclose(shown[:, 0], start + scale * truth[:, 0], atol=0.11)
    np.testing.assert_allclose(shown[:, 1], top + down * truth[:, 1], atol=0.11)


def test_undefined_control_of_a_site_is_said(tmp_path):
    inputs = build(tmp_path / "s", {"m": 1.0}, ("a",), change=lambda s, r: math.nan)
    text = Page(page(inputs, {}, {})).text
    assert "control undefined" in text
    assert "nothing recorded" in text


def test_many_models_are_summed_up_in_the_heading(tmp_path):
    gains = {f"m{i}": 0.2 * i for i in range(6)}
    inputs = build(tmp_path / "s", gains, ("a",), ("x", "y"), 4)
    control = [score.sites["a"].control for score in inputs.model_scores.values()]
    said = f"control {number(min(control))} to {number(max(control))} over 6 models"
    assert said in Page(page(inputs, {}, {})).text


def richer(score):
    """A score with further numbers, one of them undefined."""
    pooled = {"drop2": PooledScore(0.5, 1.0, 0.0, 0.2, 31)}
    return dataclasses.replace(
        score, spearman=0.875, intercept=0.21, r2_identity=-0.34, pooled=pooled
    )


def test_further_numbers_of_a_score_appear(inputs):
    plain = SiteScore(("x",), np.asarray([0.5]), 0.5, 1.0, 0.5, 1)
    found = further_cells(richer(plain))
    assert {name: cell.text for name, cell in found.items() if cell.text != "–"} == {
        "Spearman ρ": "0.88", "intercept": "0.21", "R² identity": "−0.34",
        "pooled r: without the two highest": "0.50",
    }  # fmt: skip
    assert found["noise-corrected"].text == "–"
    assert found["noise-corrected"].reason
    assert further_cells(plain) == further_cells(None) == {}
    scores = {
        model: dataclasses.replace(
            score, sites={site: richer(s) for site, s in score.sites.items()}
        )
        for model, score in inputs.model_scores.items()
    }
    shown = dataclasses.replace(inputs, score=ControlScore({"": scores}))
    text = Page(page(shown, {}, {})).text
    assert "Further numbers" in text
    assert "undefined with these recordings" in text


node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def moved(html, folder, actions=()):
    """What the slider shows after some actions, by the page's own script."""
    parsed = Page(html)
    files = {"script.js": parsed.scripts[1], "data.json": parsed.scripts[0]}
    for name, content in {**files, "actions.json": json.dumps(list(actions))}.items():
        (folder / name).write_text(content, encoding="utf-8")
    driver = Path(__file__).with_name("slider_dom.js")
    paths = [folder / name for name in ("script.js", "data.json", "actions.json")]
    command = ["node", str(driver), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def facts(inputs, stimulus, models=()):
    """The numbers that a pane shows of a stimulus; of a seed image, of all models."""

    def with_units(value):
        return f"{number(value)} {inputs.units}"

    if stimulus.level is None:
        same = [inputs.sweeps[m, stimulus.site].cells[stimulus.seed, None]
                for m in models]  # fmt: skip
    else:
        same = [stimulus]
    target = "none" if stimulus.level is None else with_units(stimulus.target)
    predicted = [with_units(s.predicted) for s in same]
    recorded = [with_units(inputs.response(s)) for s in same]
    return [target, *predicted, *recorded, "10"]


@node
def test_slider_starts_at_the_last_level_with_all_models(html, inputs, tmp_path):
    shown = moved(html, tmp_path)
    assert shown["hidden"] is False
    assert shown["options"]["pick-site"] == list(inputs.sites)
    assert shown["options"]["pick-model"] == ["all, side by side", *inputs.models]
    assert shown["level"].startswith("5 of 5: 3.20 z")
    assert [pane["name"].strip() for pane in shown["panes"]] == [
        "seed image", *inputs.models,
    ]  # fmt: skip
    assert shown["circles"] == 2 * len(inputs.models)  # a dot and a ring for each


@node
@pytest.mark.parametrize("level", [0, 3])
def test_slider_shows_the_records_of_every_level(html, inputs, tmp_path, level):
    actions = [
        ("pick-site", "change", "1"), ("pick-seed", "change", "cup"),
        ("pick-model", "change", "1"), ("pick-level", "input", str(level)),
    ]  # fmt: skip
    shown = moved(html, tmp_path, actions)
    model, site = inputs.models[1], inputs.sites[1]
    cells = inputs.sweeps[model, site].cells
    start, now = cells["cup", None], cells["cup", level]
    stimuli = list(inputs.stimuli.stimuli)
    assert [pane["image"] for pane in shown["panes"]] == [
        f"image {stimuli.index(stimulus)}" for stimulus in (start, now)
    ]
    assert shown["panes"][0]["facts"] == facts(inputs, start, [model])
    assert shown["panes"][1]["facts"] == facts(inputs, now)
    said = f"predicted {number(now.predicted)}, recorded {number(inputs.response(now))}"
    assert shown["spoken"].endswith(f"{model}: {said}")
    assert shown["open"] == [False, True]


@node
def test_click_on_an_image_of_another_site_brings_it(html, inputs, tmp_path):
    stimuli = inputs.stimuli.stimuli
    index = next(
        i for i, s in enumerate(stimuli)
        if (s.site, s.seed, s.level) == (inputs.sites[1], "fern", 2)
    )  # fmt: skip
    shown = moved(html, tmp_path, [(None, "click", index)])
    assert (shown["site"], shown["seed"], shown["index"]) == ("1", "fern", 2)
    assert f"image {index}" in [pane["image"] for pane in shown["panes"]]


@node
def test_slider_says_what_was_not_recorded(tmp_path):
    inputs = build(
        tmp_path / "s", {"m": 1.0}, ("a",), ("<i>",), 3, change=lambda s, r: math.nan
    )
    shown = moved(page(inputs, {}, {}), tmp_path)
    assert shown["panes"][1]["facts"][2] == "–"
    assert shown["spoken"].endswith("recorded –")
    assert shown["options"]["pick-seed"] == ["<i>"]


def test_scripts_pass_the_pages_own_policy():
    assets = importlib.resources.files("paramctl_jax.report") / "assets"
    script = (assets / "report.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|document\.write|eval\(|fetch\(", script)
    assert not re.search(r"import\s*\(|XMLHttpRequest|new Function", script)
