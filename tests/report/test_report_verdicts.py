"""The sections of verdicts: there when their data is, and true to the records."""

import base64
import dataclasses

import numpy as np
import pytest
from closed_loop import build
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from parsed_page import Page
from verdict_records import (
    make_choice,
    make_controversial,
    make_replication,
    make_review,
    make_specificity,
    undefined_choice,
    with_verdicts,
)

from paramctl_jax.report import (
    DARK,
    LIGHT,
    contest_images,
    contest_panel,
    figure_png,
    peer_review_map,
    specificity_maps,
    write_report,
)
from paramctl_jax.report.contest_images import examples, pairs_of
from paramctl_jax.report.page import page
from paramctl_jax.report.style import model_colour
from paramctl_jax.report.words import choice_sentence
from paramctl_jax.types import InputError

SECTIONS = ("peers", "specificity", "contest", "replication")


@pytest.fixture(scope="module")
def full(inputs, tmp_path_factory):
    return with_verdicts(inputs, tmp_path_factory.mktemp("contest") / "stimuli")


@pytest.fixture(scope="module")
def report(full, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("full"), full)


@pytest.fixture(scope="module")
def html(report):
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


def sections(parsed):
    return [a["id"] for a in parsed.all("section") if a["id"] in SECTIONS]


def test_all_sections_in_order_with_their_figures(report, html, parsed):
    assert sections(parsed) == list(SECTIONS)
    assert parsed.open == []
    for name in ("peer_review", "specificity", "contest", "contest_images"):
        png = (report.parent / "figures" / f"{name}.png").read_bytes()
        assert base64.b64encode(png).decode() in html
    assert all(image["alt"] for image in parsed.all("img"))


def test_no_section_without_its_data(inputs):
    assert sections(Page(page(inputs, {}, {}))) == []


@pytest.mark.parametrize(
    ("anchor", "fields"),
    [
        ("peers", ("peer_review",)),
        ("specificity", ("specificity",)),
        ("contest", ("choice",)),
        ("contest", ("controversial",)),
        ("replication", ("replications",)),
    ],
)
def test_each_section_stands_alone(inputs, full, anchor, fields):
    alone = dataclasses.replace(inputs, **{f: getattr(full, f) for f in fields})
    assert sections(Page(page(alone, {}, {}))) == [anchor]


def values_of(parsed):
    return [float(a["data-value"]) for a in parsed.all("td") if "data-value" in a]


def test_numbers_of_the_page_are_the_records(full, parsed):
    shown = set(values_of(parsed))
    assert set(full.peer_review.control.ravel().tolist()) <= shown
    assert set(full.peer_review.slope.ravel().tolist()) <= shown
    for site in full.choice.sites.values():
        own = (site.kappa, site.choice, site.p_choice, site.r_a, site.r_b)
        assert {*own, site.up_a, site.up_b, site.sd} <= shown
    for one in full.replications:
        assert {*one.difference.tolist(), one.pooled, one.p_sites} <= shown
    assert parsed.row("robust − standard") is not None
    pooled = [row for row in parsed.rows if "2 of 2" in row]
    assert pooled[0][1:3] == ["+0.10 [−0.02, +0.21]", "+0.31 [+0.18, +0.44]"]
    row = parsed.row("standard on stimuli of robust")
    assert row[1:] == ["0.85", "[+0.70, +0.93]", "0.68", "5"]
    assert "2 sites of robust were not recorded" in parsed.text


def test_specificity_row_is_the_record(parsed):
    (row,) = [r for r in parsed.rows if r[:2] == ["robust", "0.75"]]
    assert row[2:] == ["0.25", "+0.50", "[+0.31, +0.66]", "0.5 (min 0.5)"]


def test_sentence_names_whom_the_subject_follows():
    follows = make_choice("a", "b", ("s",), ("x", "y"))
    kappa, (low, high) = follows.kappa, follows.kappa_ci
    assert choice_sentence(follows).startswith(
        f"The subject follows a: κ {kappa:+.2f} [{low:+.2f}, {high:+.2f}], p over "
        "seeds 0.002 (smallest attainable 0.001), over sites 0.0625 (smallest "
        "attainable 0.0625); 2 pairs at 1 site."
    )
    other = dataclasses.replace(follows, kappa=-0.6, kappa_ci=(-0.8, -0.4))
    assert choice_sentence(other).startswith("The subject follows b: κ −0.60")
    both = dataclasses.replace(follows, kappa=0.1, kappa_ci=(-0.1, 0.3))
    assert "a or b is open, the interval includes 0" in choice_sentence(both)
    none = dataclasses.replace(follows, kappa_ci=(np.nan, np.nan))
    assert "is open: κ" in choice_sentence(none)
    assert "(no interval)" in choice_sentence(none)


def test_undefined_is_said_with_its_reason_and_draws(inputs):
    told = dataclasses.replace(
        inputs,
        choice=undefined_choice("robust", "standard"),
        peer_review=make_review(inputs.models, [(0, 1)]),
    )
    parsed = Page(page(told, {}, {}))
    assert "Whom the subject follows is undefined: no pair has" in parsed.text
    assert "1 pair lacks a recording" in parsed.text
    assert "no site has a defined score" in parsed.text
    assert "fewer than three recorded stimuli, or constant values" in parsed.text
    row = parsed.row("v4_07")
    assert row[1] == "0"
    assert all(cell.startswith("–") for cell in row[2:])
    assert "Left out: 1 with an undefined score" in parsed.text
    assert " nan" not in parsed.text.lower()
    axes = contest_panel(told).subfigs[0].axes[0]
    assert axes.texts[0].get_text() == "no pair was recorded"
    assert not [line for line in axes.lines if len(line.get_xdata())]


HOSTILE = '<script>alert("x")</script>'


@pytest.mark.slow
def test_hostile_names_are_text(tmp_path):
    models = {HOSTILE: 0.8, "it's <b>": 0.4}
    inputs = build(tmp_path / "s", models, (HOSTILE,), (HOSTILE, "plain"), 3)
    full = with_verdicts(inputs, tmp_path / "c")
    full = dataclasses.replace(
        full, choice=dataclasses.replace(full.choice, notes=(HOSTILE,))
    )
    path = write_report(tmp_path / "out", full)
    parsed = Page(path.read_text(encoding="utf-8"))
    assert parsed.tags.count("script") == 2
    assert parsed.tags.count("b") == 0
    assert parsed.text.count(HOSTILE) > 10
    assert {file.parent.name for file in path.parent.rglob("*.png")} == {"figures"}


def test_peer_review_map_writes_frames_and_hatches(inputs):
    shown = dataclasses.replace(
        inputs, peer_review=make_review(inputs.models, [(1, 0)])
    )
    review = shown.peer_review
    axes, bar = peer_review_map(shown).axes
    image = axes.images[0]
    np.testing.assert_array_equal(image.get_array().mask, np.isnan(review.control))
    assert bar.get_ylabel() == "control r"
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    texts = [text.get_text() for text in axes.texts]
    assert texts == [
        "0.90", "0.75 to 0.98", "0.85", "0.70 to 0.93", "undefined", "0.75",
        "0.60 to 0.83",
    ]  # fmt: skip
    hatched = [p for p in axes.patches if p.get_hatch()]
    frames = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_lw() > 1]
    assert [p.get_xy() for p in hatched] == [(-0.5, 0.5)]
    assert [p.get_x() + 0.44 for p in frames] == pytest.approx([0, 1])
    assert [p.get_y() + 0.42 for p in frames] == pytest.approx([0, 1])


def test_text_is_readable_on_every_cell(inputs):
    review = make_review(inputs.models)
    control = np.linspace(-1, 1, 40).reshape(20, 2)
    wide = dataclasses.replace(
        review, makers=tuple(map(str, range(20))), control=control,
        ci=np.full((20, 2, 2), np.nan), slope=control, n_sites=control,
    )  # fmt: skip
    shown = dataclasses.replace(inputs, peer_review=wide)
    axes = peer_review_map(shown).axes[0]
    image = axes.images[0]

    def luminance(colour):
        rgb = np.asarray(colour[:3])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for text, value in zip(axes.texts, control.ravel(), strict=True):
        cell = luminance(image.cmap(image.norm(value)))
        ink = luminance([int(to_hex(text.get_color())[i : i + 2], 16) / 255
                         for i in (1, 3, 5)])  # fmt: skip
        low, high = sorted((cell, ink))
        assert (high + 0.05) / (low + 0.05) > 3.0


def test_specificity_maps_share_a_scale(full):
    *panels, _ = specificity_maps(full).axes
    assert [axes.get_title(loc="left") for axes in panels] == list(full.models)
    scales = {(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in panels}
    assert scales == {(0.0, 1.0)}
    for axes, one in zip(panels, full.specificity, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), one.control)


def test_contest_panel_draws_pairs_kappa_and_r(full):
    figure = contest_panel(full)
    upper, lower = figure.subfigs
    choice = full.choice
    for axes, site in zip(upper.axes, choice.sites.values(), strict=False):
        *pairs, mean, _ = axes.lines
        drawn = np.asarray([line.get_ydata() for line in pairs])
        np.testing.assert_array_equal(drawn, np.stack([site.a_high, site.b_high], 1))
        np.testing.assert_allclose(mean.get_ydata(), drawn.mean(axis=0))
        expected = [model_colour(0 if a > b else 1) for a, b in drawn]
        assert [line.get_color() for line in pairs] == expected
    left, right = lower.axes
    dots = [line.get_xdata() for line in left.lines if line.get_marker() == "o"]
    assert np.ravel(dots).tolist() == [s.kappa for s in choice.sites.values()]
    interval, mean = left.lines[-3:-1]
    assert tuple(interval.get_xdata()) == choice.kappa_ci
    assert mean.get_xdata()[0] == choice.kappa
    dots = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    expected = [r for s in choice.sites.values() for r in (s.r_a, s.r_b)]
    assert dots == expected


def test_examples_are_the_strongest_pairs_of_different_seeds(full):
    pairs = pairs_of(full)
    assert len(pairs) == len(full.sites) * 3
    assert all(p.a_high.level == p.b_high.level == 2.0 for p in pairs)
    assert all((p.a_high.high, p.b_high.high) == full.models for p in pairs)
    assert all(p.seed.high == "" and p.seed.seed == p.a_high.seed for p in pairs)
    shown = examples(full)
    assert [p.a_high.seed for p in shown] == ["owl", "cup", "fern", "owl"]
    axes = contest_images(full).axes[0]
    assert len(axes.images) == 12
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("robust +2.0 SD") == texts.count("standard −2.0 SD") == 2


def test_one_direction_alone_is_no_pair(full, tmp_path):
    kept = [s for s in full.controversial.stimuli if s.high != "standard"]
    half = dataclasses.replace(full.controversial, stimuli=tuple(kept))
    shown = dataclasses.replace(full, controversial=half, choice=None)
    assert "contest" not in sections(Page(page(shown, {}, {})))
    with pytest.raises(InputError, match="no seed image was driven up for both"):
        contest_images(shown)


def test_missing_controversial_png_is_named(inputs, tmp_path):
    made = make_controversial(tmp_path, inputs.models, ("v4_07",), ("owl",))
    shown = dataclasses.replace(inputs, controversial=made)
    (tmp_path / made.stimuli[0].filename).unlink()
    with pytest.raises(InputError, match=r"c0000\.png: expected the PNG of stimulus"):
        contest_images(shown)


def test_verdict_of_another_set_is_refused(inputs, full):
    with pytest.raises(InputError, match=r"the verdict is between \['a', 'b'\]"):
        dataclasses.replace(full, choice=undefined_choice("a", "b"))


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (peer_review_map, "a peer review"),
        (specificity_maps, "specificity"),
        (contest_panel, "the verdict of a contest"),
        (contest_images, "controversial stimuli of two models"),
    ],
)
def test_figures_without_data_say_what_is_missing(inputs, draw, expected):
    with pytest.raises(InputError, match=f"expected {expected}"):
        draw(inputs)


def test_models_without_an_evaluation_are_grey(inputs):
    names = ("other", *inputs.models)
    shown = dataclasses.replace(inputs, peer_review=make_review(names))
    labels = peer_review_map(shown).axes[0].get_yticklabels()
    assert [label.get_color() for label in labels][1:] == [
        model_colour(0), model_colour(1),
    ]  # fmt: skip
    assert labels[0].get_color() == inputs.colour("other")
    assert inputs.colour("other") not in {model_colour(i) for i in range(6)}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_figures_repeat_byte_for_byte(full, theme):
    for draw in (peer_review_map, contest_panel, contest_images):
        first, second = (figure_png(draw(full, theme), theme) for _ in range(2))
        assert first == second


def test_many_replications_are_folded(inputs):
    several = [make_replication(f"m{i}", "n") for i in range(7)]
    told = dataclasses.replace(inputs, replications=several)
    parsed = Page(page(told, {}, {}))
    assert "All 7" in parsed.text
    specific = [make_specificity("m", ("a",), ())]
    told = dataclasses.replace(inputs, specificity=specific)
    assert "Specificity" in Page(page(told, {}, {})).text
