"""The figures of the whole experiment and of all models: true to the records."""

import dataclasses
import itertools

import numpy as np
import pytest
from closed_loop import build
from matplotlib.patches import Polygon
from matplotlib.text import Text
from PIL import Image

from paramctl_jax.encoding.resampling import encoding_interval
from paramctl_jax.report import (
    DARK,
    LIGHT,
    encoding_against_control,
    figure_png,
    overview,
    write_report,
)
from paramctl_jax.report.overview import mean_curve
from paramctl_jax.report.scatter import model_points, spread_out
from paramctl_jax.report.style import model_colour
from paramctl_jax.report.typical import shown_models, typical
from paramctl_jax.types import ControlScore, StimulusSet
from tests.evaluations import evaluation_of

TEN = {f"model_{i}": 0.12 * i - 0.1 for i in range(10)}


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ten") / "s"
    return build(folder, TEN, ("a", "b", "c"), ("x", "y", "z"), 4)


def test_typical_is_the_median_site_and_seed(ten):
    site, seed = typical(ten)
    scores = ten.model_scores.values()
    control = {s: np.mean([m.sites[s].control for m in scores]) for s in ten.sites}
    assert control[site] == np.median(list(control.values()))
    r = np.mean([score.sites[site].r for score in scores], axis=0)
    assert r["xyz".index(seed)] == np.median(r)


def test_extremes_and_median_are_shown_of_many(ten, inputs):
    shown = shown_models(ten, "a")
    control = {m: score.control_mean for m, score in ten.model_scores.items()}
    ranked = sorted(control, key=control.__getitem__)
    assert set(shown) == {ranked[0], ranked[4], ranked[-1]}
    assert shown == sorted(shown, key=ten.models.index)
    assert shown_models(inputs, "v4_07") == list(inputs.models)


def test_overview_draws_the_images_of_one_seed_with_their_targets(inputs):
    site, seed = typical(inputs)
    images, curves, models = overview(inputs).subfigs
    (axes,) = images.axes
    places = [(m, level) for m in inputs.models for level in (None, *range(5))]
    assert len(axes.images) == len(places)
    for image, (model, level) in zip(axes.images, places, strict=True):
        stimulus = inputs.sweeps[model, site].cells[seed, level]
        with Image.open(inputs.stimuli.directory / stimulus.filename) as stored:
            np.testing.assert_array_equal(image.get_array(), np.asarray(stored))
    texts = [text.get_text() for text in axes.texts]
    row = ["seed", "−1.40", "−0.25", "0.90", "2.05", "3.20"]
    assert texts == [name for m in inputs.models for name in (m, *row)]
    missed = sum(
        not inputs.sweeps[m, site].cells[seed, level].hit for m, level in places
    )
    assert sum(isinstance(patch, Polygon) for patch in axes.patches) == missed
    assert len(models.axes) == 3
    for axes, model in zip(curves.axes, inputs.models, strict=False):
        sweep = inputs.sweeps[model, site]
        lines = axes.lines[1:]  # the first one is the identity
        assert len(lines) == len(sweep.seeds) + 1
        made = [[sweep.cells[s, level] for level in range(5)] for s in sweep.seeds]
        pairs = [[(s.predicted, inputs.response(s)) for s in row] for row in made]
        drawn = [np.transpose(line.get_data()) for line in lines]
        np.testing.assert_allclose(drawn[:-1], pairs)
        np.testing.assert_allclose(drawn[-1], np.mean(pairs, axis=0))
        control = inputs.site_score(model, site).control
        assert axes.get_title(loc="left") == f"{model}  control {control:.2f}"


def test_mean_curve_leaves_out_what_was_not_recorded(tmp_path):
    def change(stimulus, response):
        gone = stimulus.level == 0 or (stimulus.level, stimulus.seed) == (1, "owl")
        return np.nan if gone else response

    inputs = build(tmp_path / "s", {"m": 1.0}, ("a",), ("owl", "cup"), 3, change)
    points, mean = mean_curve(inputs, inputs.sweeps["m", "a"])
    assert np.isnan(mean[0]).all()
    np.testing.assert_array_equal(mean[1], points[1, 1])
    np.testing.assert_allclose(mean[2], points[:, 2].mean(axis=0))


def test_overview_before_the_recordings(tmp_path):
    inputs = build(
        tmp_path / "s", {"m": 1.0}, ("a",), ("owl",), 3, recorded={},
        score=ControlScore({}),
    )  # fmt: skip
    axes = overview(inputs).subfigs[1].axes[0]
    assert axes.get_title(loc="left") == "m  no score"
    assert axes.texts[0].get_text() == "nothing recorded"


def test_scatter_draws_every_model_at_its_numbers(ten):
    axes = encoding_against_control(ten).axes[0]
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    inside = [line for line in points if line.get_transform() == axes.transData]
    assert len(inside) == 10
    for index, (line, model) in enumerate(zip(inside, ten.models, strict=True)):
        encoding = ten.evaluations[model].r.mean()
        control = ten.model_scores[model].control_mean
        assert line.get_xydata()[0] == pytest.approx([encoding, control])
        assert line.get_color() == model_colour(index)
    bars = [line for line in axes.lines if len(line.get_xdata()) == 2]
    up = [bar.get_ydata() for bar in bars if np.ptp(bar.get_ydata())]
    drawn = {tuple(ends) for ends in up}
    assert {score.control_ci for score in ten.model_scores.values()} <= drawn
    assert [text.get_text() for text in axes.texts] == list(ten.models)


def test_labels_of_ten_models_do_not_overlap(ten):
    figure = encoding_against_control(ten)
    axes = figure.axes[0]
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without arrows
    boxes = sorted(boxes, key=lambda box: box.y0)
    for below, above in itertools.pairwise(boxes):
        assert above.y0 >= below.y1 - 1
    assert all(box.x0 > axes.get_window_extent().x1 for box in boxes)
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_spread_out_is_the_nearest_in_squares():
    rng = np.random.default_rng(0)
    heights = rng.uniform(0, 1, 6).tolist()
    placed = np.asarray(spread_out(heights, 0.15))
    order = np.argsort(heights)
    assert np.all(np.diff(placed[order]) >= 0.15 - 1e-9)
    best = np.sum((placed - heights) ** 2)
    for _ in range(2000):
        other = placed + rng.normal(0, 0.02, 6)
        if np.all(np.diff(other[order]) >= 0.15):
            assert np.sum((other - heights) ** 2) >= best - 1e-9


def measured(rng, n_images, n_sites, noise):
    recorded, error = rng.standard_normal((2, n_images, n_sites))
    predicted = recorded + noise * error
    pairs = zip(recorded.T, predicted.T, strict=True)
    r = np.asarray([np.corrcoef(y, p)[0, 1] for y, p in pairs])
    return evaluation_of(
        [f"s{i}" for i in range(n_sites)], (), [f"i{i}" for i in range(n_images)],
        r=r, recorded=recorded, predicted=predicted,
    )  # fmt: skip


def test_encoding_interval_is_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(1)
    evaluation = measured(rng, 60, 4, 1.0)
    low, high = encoding_interval(evaluation, range(4), 4000)
    draws = []
    for _ in range(1500):
        images, sites = rng.integers(60, size=60), rng.integers(4, size=4)
        y, p = evaluation.recorded[images], evaluation.predicted[images]
        draws.append(np.mean([np.corrcoef(y[:, s], p[:, s])[0, 1] for s in sites]))
    expected = np.quantile(draws, [0.025, 0.975])
    np.testing.assert_allclose([low, high], expected, atol=0.02)
    assert low < evaluation.r.mean() < high


def test_encoding_interval_of_too_few_images_is_undefined():
    few = measured(np.random.default_rng(2), 2, 3, 1.0)
    assert np.isnan(encoding_interval(few, range(3))).all()


def test_models_without_control_have_no_point(inputs):
    scores = dict(inputs.model_scores)
    scores["robust"] = dataclasses.replace(scores["robust"], control_mean=np.nan)
    partly = dataclasses.replace(inputs, score=ControlScore({"": scores}))
    assert list(model_points(partly)) == ["standard"]
    assert list(model_points(inputs)) == list(inputs.models)


def test_scatter_is_written_from_three_models_on(ten, tmp_path):
    """The closed loop's own report, of two models, has none: its files are counted."""
    nothing = StimulusSet(tmp_path, ())
    write_report(tmp_path, dataclasses.replace(ten, stimuli=nothing, recorded={}))
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"encoding_and_control.png", "encoding_against_control.png"}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_overview_repeats_byte_for_byte(inputs, theme):
    first, second = (figure_png(overview(inputs, theme), theme) for _ in range(2))
    assert first == second
