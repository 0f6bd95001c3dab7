"""The figures: what is drawn is what the records say."""

import io
import itertools

import matplotlib
import numpy as np
import pytest
from closed_loop import build
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Polygon
from PIL import Image

from paramctl_jax.report import (
    DARK,
    LIGHT,
    control_curves,
    encoding_and_control,
    figure_png,
    stimulus_grid,
)
from paramctl_jax.report.style import MISSED, PALETTE, model_colour
from paramctl_jax.types import ControlScore, InputError


def reds(axes):
    """Red corners within the grid (the legend's lies below it)."""
    bottom = axes.get_ylim()[0]
    return [
        patch
        for patch in axes.patches
        if isinstance(patch, Polygon)
        and to_hex(patch.get_facecolor()) == MISSED
        and patch.get_xy()[:, 1].max() <= bottom
    ]


def test_grid_shows_every_stimulus_and_flags_each_miss(inputs):
    axes = stimulus_grid(inputs, "robust", "v4_07").axes[0]
    sweep = inputs.sweeps["robust", "v4_07"]
    assert len(axes.images) == 3 * 6
    for image, seed in zip(axes.images[::6], sweep.seeds, strict=True):
        name = sweep.cells[seed, None].filename
        with Image.open(inputs.stimuli.directory / name) as stored:
            np.testing.assert_array_equal(image.get_array(), np.asarray(stored))
    assert len(reds(axes)) == 1
    texts = [text.get_text() for text in axes.texts]
    assert {"−1.40", "−0.25", "0.90", "2.05", "3.20", "seed image"} <= set(texts)
    assert any("14 of 15 targets reached" in text for text in texts)


def panels(figure):
    """The panels (without r strips) with their strips, in drawing order."""
    axes = [a for sub in figure.subfigs for a in sub.axes if a.get_xlabel() != "r"]
    return [(a, a.child_axes[0] if a.child_axes else None) for a in axes]


def test_curves_draw_predicted_and_recorded_of_every_level(inputs):
    shown = panels(control_curves(inputs))
    pairs = [(m, s) for m in inputs.models for s in inputs.sites]
    assert len(shown) == len(pairs) == 4
    for (axes, strip), (model, site) in zip(shown, pairs, strict=True):
        lines = [x for x in axes.lines if x.get_marker() == "None"][1:]
        sweep = inputs.sweeps[model, site]
        for line, seed in zip(lines, sweep.seeds, strict=True):
            made = [s for s in sweep.accentuated() if s.seed == seed]
            np.testing.assert_allclose(line.get_xdata(), [s.predicted for s in made])
            recorded = [inputs.recorded[s.stimulus_id] for s in made]
            np.testing.assert_allclose(line.get_ydata(), recorded)
        assert axes.get_xlim() == axes.get_ylim()
        score = inputs.score.subjects[""][model].sites[site]
        heights = [path[0, 1] for path in strip.collections[0].get_segments()]
        np.testing.assert_allclose(sorted(heights), sorted(score.r))
        numbers = axes.texts[0].get_text()
        assert numbers.startswith(f"r {score.control:.2f} · slope {score.slope:.2f}")
        assert numbers.endswith("3 of 3 seeds")
    for (first, _), (second, _) in zip(shown[:2], shown[2:], strict=True):
        assert first.get_xlim() == second.get_xlim()


def test_curves_mark_misses_open_and_seeds_without_r_grey(tmp_path):
    inputs = build(
        tmp_path / "s", {"m": 0.8}, ("a",),
        change=lambda s, r: 1.0 if s.seed == "cup" else r,
    )  # fmt: skip
    axes = panels(control_curves(inputs))[0][0]
    marked = [x for x in axes.lines if x.get_marker() == "o" and len(x.get_xdata())]
    open_circles = [x for x in marked if to_hex(x.get_mfc()) == LIGHT.surface]
    assert sum(len(x.get_xdata()) for x in open_circles) == 1
    colours = [x.get_color() for x in axes.lines if x.get_marker() == "None"][1:]
    assert colours == [model_colour(0), LIGHT.muted, model_colour(0)]
    assert axes.texts[0].get_text().endswith("2 of 3 seeds")


def test_curves_without_recordings_say_so(tmp_path):
    inputs = build(
        tmp_path / "s", {"m": 1.0}, ("a",), recorded={}, score=ControlScore({})
    )
    axes, strip = panels(control_curves(inputs))[0]
    texts = {text.get_text() for text in axes.texts}
    assert texts == {"nothing recorded", "no score"}
    assert strip is None


def test_comparison_draws_sites_means_and_intervals(inputs):
    left, middle, right = encoding_and_control(inputs).axes
    for index, model in enumerate(inputs.models):
        score = inputs.score.subjects[""][model]
        r = inputs.evaluations[model].r
        control = [site.control for site in score.sites.values()]
        dots = [axes.collections[2 * index].get_offsets() for axes in (left, middle)]
        np.testing.assert_allclose(dots[0][:, 0], r)
        np.testing.assert_allclose(dots[1][:, 0], control)
        np.testing.assert_allclose(
            right.collections[index].get_offsets(), np.stack([r, control], axis=1)
        )
        band = middle.patches[index]
        ends = (band.get_x(), band.get_x() + band.get_width())
        np.testing.assert_allclose(ends, score.control_ci)
        assert left.texts[index].get_text() == f"{r.mean():.2f}"
        assert middle.texts[index].get_text() == f"{score.control_mean:.2f}"
    assert left.get_xlim() == middle.get_xlim()


def test_many_models_with_negative_control_fit(tmp_path):
    gains = {f"model_{i}": 0.4 * i - 1 for i in range(9)}
    inputs = build(tmp_path / "s", gains, ("a", "b"), ("x", "y"), 4)
    left, middle, _ = encoding_and_control(inputs).axes
    controls = [s.control_mean for s in inputs.score.subjects[""].values()]
    assert left.get_xlim()[0] < min(controls) < 0
    assert [label.get_text() for label in left.get_yticklabels()] == list(gains)
    assert len(middle.texts) == 9


def test_themes_differ_and_leave_no_trace(inputs):
    before = matplotlib.rcParams.copy()
    corners = []
    for theme in (LIGHT, DARK):
        png = figure_png(encoding_and_control(inputs, theme), theme)
        assert png == figure_png(encoding_and_control(inputs, theme), theme)
        with Image.open(io.BytesIO(png)) as image:
            corners.append(image.convert("RGB").getpixel((2, 2)))
    expected = [tuple(round(255 * c) for c in to_rgb(t.surface)) for t in (LIGHT, DARK)]
    assert corners == expected
    assert dict(matplotlib.rcParams) == dict(before)


def test_grid_of_nothing_is_refused(inputs):
    with pytest.raises(InputError, match="no stimuli of model 'robust' for site 'x'"):
        stimulus_grid(inputs, "robust", "x")


# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def lab(colour, vision):
    rgb = np.asarray(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    xyz = np.asarray(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) @ seen / np.asarray([0.9505, 1.0, 1.089])  # fmt: skip
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.asarray([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_model_colours_are_distinct_to_colour_blind_readers(vision):
    seen = [lab(colour, vision) for colour in PALETTE]
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 15
    assert np.linalg.norm(seen[0] - seen[1]) > 60


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_model_colours_stand_out_from_the_surface(theme):
    def luminance(colour):
        rgb = np.asarray(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in PALETTE:
        low, high = sorted((luminance(colour), luminance(theme.surface)))
        assert (high + 0.05) / (low + 0.05) > 2.5
