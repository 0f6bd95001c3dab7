"""The section on accentuation: figures true to the records, and only what there is."""

import dataclasses
import io

import numpy as np
import pytest
from closed_loop import build, make_traces
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image

from paramctl_jax.report import DARK, LIGHT, figure_png, write_report
from paramctl_jax.report.accentuation import plates
from paramctl_jax.report.changes import changes, demand, errors, running_median
from paramctl_jax.report.paths import approach
from paramctl_jax.report.style import MISSED, model_colour
from paramctl_jax.report.transparency import cases, heated, transparency
from paramctl_jax.types import InputError, StimulusSet


def traced(inputs, **settings):
    traces = {m: make_traces(inputs.stimuli, m, **settings) for m in inputs.models}
    return dataclasses.replace(inputs, traces=traces)


@pytest.fixture(scope="module")
def paths(inputs):
    return traced(inputs)


@pytest.fixture(scope="module")
def lanes(inputs):
    return traced(inputs, route="lanes", maps=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One model, one site, one seed image."""
    folder = tmp_path_factory.mktemp("small")
    return traced(build(folder / "s", {"m": 1.0}, ("a",), ("x",), 3))


def changed(inputs, change):
    made = tuple(change(s) for s in inputs.stimuli.stimuli)
    return dataclasses.replace(
        inputs, stimuli=StimulusSet(inputs.stimuli.directory, made)
    )


def panels(figure):
    return [axes for row in figure.subfigs for axes in row.axes]


@pytest.mark.parametrize(("route", "rows"), [("paths", 2), ("lanes", 5)])
def test_approach_draws_every_row_of_its_site(request, route, rows):
    inputs = request.getfixturevalue(route)
    pairs = [(m, i) for m in inputs.models for i in range(len(inputs.sites))]
    shown = panels(approach(inputs))
    assert len(shown) == len(pairs) == 4
    for axes, (model, site) in zip(shown, pairs, strict=True):
        traces = inputs.traces[model]
        expected = traces.prediction[traces.site == site]
        drawn = [x for x in axes.lines if len(x.get_xdata()) == 11]
        assert len(drawn) == len(expected) == 3 * rows
        for line, prediction in zip(drawn, expected, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), prediction)
            assert line.get_color() == model_colour(inputs.models.index(model))


def test_approach_marks_saved_images_and_what_was_not_reached(paths):
    axes = panels(approach(paths))[0]
    made = paths.sweeps["robust", "v4_07"].accentuated()
    dots = [x for x in axes.lines if x.get_marker() == "o"]
    found = [(x.get_xdata()[0], x.get_ydata()[0]) for x in dots]
    assert found == [(s.step, s.reached) for s in made]
    missed = [to_hex(x.get_mec()) == MISSED for x in dots]
    assert missed == [s.stop_reason != "hit" for s in made]
    assert sum(missed) == 1
    (stem,) = axes.collections
    (s,) = [s for s in made if s.stop_reason != "hit"]
    np.testing.assert_allclose(
        stem.get_segments()[0], [(s.step, s.reached), (s.step, s.target)]
    )
    rules = {x.get_ydata()[0] for x in axes.lines if x.get_color() == LIGHT.rule}
    assert rules == {s.target for s in made}
    assert axes.texts[0].get_text() == "14 of 15 levels reached in the loop"


def test_steps_are_compressed_only_where_few_rows_take_by_far_the_longest(paths):
    axes = panels(approach(paths))[0]
    assert axes.get_xscale() == "linear"
    traces = paths.traces["robust"]
    prediction = np.full((len(traces.site), 300), np.nan, np.float32)
    prediction[:, :11] = traces.prediction
    prediction[0] = np.linspace(0, 1, 300)
    long = dataclasses.replace(traces, prediction=prediction)
    long = dataclasses.replace(paths, traces=dict(paths.traces) | {"robust": long})
    scales = [axes.get_xscale() for axes in panels(approach(long))]
    assert scales == ["asinh", "asinh", "linear", "linear"]


def test_errors_count_every_lane(inputs):
    def change(s):
        if s.level == 0 and s.model == "robust":
            return dataclasses.replace(s, relative_error=np.nan, predicted=np.nan)
        return s

    axes, side = errors(changed(inputs, change)).axes
    lines = [x for x in axes.lines if len(x.get_xdata()) > 2]
    ends = [x.get_xdata()[-1] for x in lines]
    assert ends == pytest.approx([100 * 24 / 30, 100])  # of 30, 6 without a prediction
    for line in lines:
        assert (np.diff(line.get_ydata()) >= 0).all()
    assert lines[1].get_ydata()[-1] == pytest.approx(0.8 / 4.6)
    texts = [text.get_text() for text in side.texts]
    assert texts[1::2] == [
        "of 30 lanes 22 within 5 %, 22 within 2 %",
        "of 30 lanes 28 within 5 %, 28 within 2 %",
    ]


def test_changes_draw_every_lane_over_its_demand(inputs):
    shown = changes(inputs).axes
    assert len(shown) == 4
    made = [
        (sweep, s)
        for (model, _), sweep in inputs.sweeps.items()
        for s in sweep.accentuated()
        if model == "robust"
    ]
    for axes, name in zip(
        shown, ("rms", "ssim", "high_frequency", "off_axis"), strict=True
    ):
        filled, missed = axes.collections[:2]
        expected = [
            (abs(s.target - s.start) / 4.6, getattr(s, name), s.hit) for _, s in made
        ]
        for dots, hit in ((filled, True), (missed, False)):
            points = [(x, y) for x, y, was in expected if was == hit]
            np.testing.assert_allclose(dots.get_offsets(), points)
        assert len(missed.get_offsets()) == 2


def test_demand_and_running_median(inputs):
    sweep = inputs.sweeps["robust", "v4_07"]
    assert demand(sweep, sweep.cells["owl", 4]) == pytest.approx(3.0 / 4.6)
    rng = np.random.default_rng(0)
    x = rng.permutation(64.0 + np.arange(64))
    middles, medians = running_median(np.stack([x, 2 * x], axis=1))
    np.testing.assert_allclose(middles, 67.5 + 8 * np.arange(8))
    np.testing.assert_allclose(medians, 2 * middles)


def test_cases_are_the_farthest_reached_image_of_each_seed(paths):
    found = cases(paths, "robust")
    assert [seed.seed for _, seed, _ in found] == ["owl", "cup", "fern"]
    assert [image.site for _, _, image in found] == ["v4_07", "v4_31", "v4_07"]
    # the top level of the first seed is missed: the one below was reached
    assert [image.level for _, _, image in found] == [3, 4, 4]
    traces = paths.traces["robust"]
    for row, _, image in found:
        assert traces.direction[row] == 1
        assert paths.sites[traces.site[row]] == image.site


def test_maps_lie_over_the_grey_seed():
    pixels = np.full((4, 4, 3), 200, np.uint8)
    change = np.zeros((2, 2), np.uint8)
    change[0, 1] = 255
    shown = heated(pixels, change)
    np.testing.assert_allclose(shown[:, :2], 0.55 * 200 / 255)
    np.testing.assert_allclose(shown[2:], 0.55 * 200 / 255)
    np.testing.assert_allclose(shown[:2, 2:], np.broadcast_to(
        colormaps["inferno"](255)[:3], (2, 2, 3)
    ))  # fmt: skip


def test_transparency_shows_seed_image_and_map(paths):
    figure = transparency(paths)
    images = [axes.images[0].get_array() for axes in panels(figure) if axes.images]
    assert len(images) == 2 * 3 * 3
    _, seed, image = cases(paths, "robust")[0]
    for shown, stimulus in zip(images, (seed, image), strict=False):
        with Image.open(paths.stimuli.directory / stimulus.filename) as stored:
            np.testing.assert_array_equal(shown, np.asarray(stored))


@pytest.mark.parametrize("draw", [approach, errors, changes, transparency])
def test_both_themes_and_equal_bytes(small, draw):
    pngs = [
        figure_png(draw(small, theme=t), t) for t in (LIGHT, DARK) for _ in range(2)
    ]
    assert pngs[0] == pngs[1] != pngs[2] == pngs[3]
    with Image.open(io.BytesIO(pngs[0])) as image:
        assert 150 < image.width < 12 * 72


def test_section_shows_only_what_there_is(inputs, paths, lanes):
    def names(inputs):
        return [plate.name for plate in plates(inputs)]

    assert names(inputs) == ["errors", "changes"]
    assert names(lanes) == ["approach", "errors", "changes"]
    assert names(paths) == ["approach", "errors", "changes", "transparency"]
    nothing = StimulusSet(inputs.stimuli.directory, ())
    assert names(dataclasses.replace(inputs, stimuli=nothing, recorded={})) == []
    empty = {"ssim": np.nan, "high_frequency": np.nan, "off_axis": np.nan}
    old = changed(inputs, lambda s: dataclasses.replace(s, **empty))
    assert len(changes(old).axes) == 1


def test_captions_say_what_is_drawn(paths, lanes):
    both = {m: (paths, lanes)[i].traces[m] for i, m in enumerate(paths.models)}
    mixed = dataclasses.replace(paths, traces=both)
    path, lane, two = (plates(inputs)[0].caption for inputs in (paths, lanes, mixed))
    assert path.startswith("Each line is a seed image driven up or down")
    assert lane.startswith("Each line is a seed image on its way to one level.")
    assert "levels, or a seed image on its way" in two
    assert "4 of 60 levels were not reached; their best images are kept" in path


def test_page_with_all_figures(small, tmp_path):
    html = write_report(tmp_path, small).read_text(encoding="utf-8")
    assert html.index("Accentuation</h2>") < html.index("Numbers of every site</h2>")
    assert len(plates(small)) == 4
    for plate in plates(small):
        assert (tmp_path / "figures" / f"{plate.name}.png").is_file()
        assert plate.heading in html
        assert plate.described in html


def test_foreign_traces_are_refused(inputs, paths):
    traces = paths.traces["robust"]
    with pytest.raises(InputError, match=r"traces of models \['x'\] without"):
        dataclasses.replace(inputs, traces={"x": traces})
    far = dataclasses.replace(traces, seed=traces.seed + 1)
    with pytest.raises(InputError, match="'robust' are of at least 4 seeds"):
        dataclasses.replace(inputs, traces={"robust": far})
