"""Rehearsals of a run: the same scores as day 2 itself, files, figure and refusals."""

import io
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.stats
from matplotlib.colors import to_hex
from PIL import Image

from paramctl_jax import pipeline, rehearsing, sweeping
from paramctl_jax.animals import Animal, draw_animals
from paramctl_jax.artifacts import sha256_file
from paramctl_jax.experiment import Run, open_run
from paramctl_jax.report.rehearsal import rehearsal_figure, wilson
from paramctl_jax.report.style import LIGHT, figure_png, model_colour
from paramctl_jax.scoring import control_score
from paramctl_jax.stimuli.table import TABLE, stimulus_id, to_csv
from paramctl_jax.types import InputError, Recordings, Stimulus
from tests.nets import registered
from tests.test_study import small

ROOT = Path(__file__).parents[1]
MODELS = ("small_standard", "small_robust")
SITES, SEEDS, LEVELS = ("v10", "v9"), ("ant", "bee", "cat"), 4
GAINS = {"small_standard": 0.3, "small_robust": 0.9}


class Gaussian:
    """Stands in for a subject: linear sites, one of which may be lost."""

    site_ids = ("idle", "v9", "v10")

    def __init__(self, stimuli, loss=0.0):
        self.by_id = {s.stimulus_id: s for s in stimuli}
        self.loss, self.shown = loss, 0

    def truth(self, images):
        self.shown += len(images)
        rows = [self.by_id[name] for name in images.stimulus_ids]
        answers = [
            [GAINS[s.model] * s.predicted + site for site in range(3)] for s in rows
        ]
        return np.asarray(answers)

    def trials(self, truth, stimulus_ids, repeats, key, session):
        origin = [*np.asarray(jax.random.key_data(key)).tolist(), len(session)]
        trials = np.empty((*truth.shape, repeats))
        for row, name in enumerate(stimulus_ids):
            rng = np.random.default_rng([*origin, *name.encode()])
            trials[row] = truth[row][:, None] + rng.normal(size=(repeats, 3)).T
        if np.random.default_rng(origin).random() < self.loss:
            trials[:, 1] = np.nan
        return trials


def write_stimuli(folder):
    """Stimuli of two models with every seed image, in an order of their own."""
    folder.mkdir(parents=True)
    rng, made = np.random.default_rng(0), []
    for model in MODELS[::-1]:
        for site, seed in [(s, i) for s in SITES for i in SEEDS]:
            for level in (*range(LEVELS), None):
                name = stimulus_id(model, site, seed, level)
                path = folder / f"{name}.png"
                pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
                target = 0.4 if level is None else float(level)
                predicted = target + rng.normal(0, 0.05)
                lane = (model, site, seed, level, target, predicted, True)
                loop = (0.4, predicted, 9, "hit", 0.0, 0.1, 0.1, 0.0)
                made.append(Stimulus(name, path.name, *lane, sha256_file(path), *loop))
    (folder / TABLE).write_text(to_csv(made))
    return made


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rehearsal") / "stimuli"
    return folder.parent, write_stimuli(folder)


@pytest.fixture
def run_of(stimuli, monkeypatch):
    """A run that is fitted and accentuated, with a subject that costs nothing."""
    monkeypatch.setattr(pipeline, "fit", lambda run: None)
    monkeypatch.setattr(sweeping, "accentuate", lambda run: None)

    def make(loss=0.0, **changes):
        config = {
            "seed": 0,
            "models": MODELS,
            "subject": {"n_sites": 3},
            "presentation": {"day2_repeats": 3},
            "recordings": {"day1": ""},
            "scoring": {"n_bootstrap": 100, "random_seed": 5},
        }
        run = Run(config | changes, stimuli[0], progress=False)
        run.__dict__["subject"] = Gaussian(stimuli[1], loss)
        return run

    return make


@pytest.mark.parametrize("include_seed", [False, True])
def test_an_animal_is_scored_as_the_run_would_score_its_recordings(
    run_of, include_seed
):
    settings = {"n_bootstrap": 100, "random_seed": 5, "include_seed": include_seed}
    run = run_of(scoring=settings, loss=0.5)
    found = rehearsing.rehearse(run, 6, [1, 4])
    assert found.repeats == (1, 3, 4)
    assert found.n_levels == LEVELS + include_seed
    assert 0 < found.n_incomplete < 6
    names = tuple(s.stimulus_id for s in run.stimuli().stimuli)
    truth = np.asarray([[GAINS[n.split("-")[0]]] * 3 for n in names])
    truth = truth * [[s.predicted] for s in run.stimuli().stimuli] + np.arange(3)
    for animal in range(6):
        key = run.key("rehearsal", str(animal))
        trials = run.subject.trials(truth, names, 4, key, "day2")
        for at, n in enumerate(found.repeats):
            recorded = Recordings(trials[..., :n], names, run.subject.site_ids)
            score = control_score(run.stimuli(), recorded, **settings)
            for model in found.models:
                one = score.subjects[""][model.name]
                expected = one.control_mean, one.overall("within_slope")
                ours = model.control[at, animal], model.slope[at, animal]
                np.testing.assert_allclose(ours, expected, atol=1e-12)
            (c,) = score.comparisons
            sign = 1 if c.a == found.pairs[0].a else -1
            difference = sign * found.pairs[0].difference[at, animal]
            np.testing.assert_allclose(difference, c.difference, atol=1e-12)
            assert found.pairs[0].p_seeds[at, animal] == c.p_seeds
            ends = sorted(sign * found.pairs[0].ci[at, animal])
            np.testing.assert_allclose(ends, c.ci, atol=1e-12)


def test_models_have_the_order_of_the_settings_and_images_are_shown_once(run_of):
    run = run_of()
    found = rehearsing.rehearse(run, 5, [2])
    assert tuple(model.name for model in found.models) == MODELS
    assert [(pair.a, pair.b) for pair in found.pairs] == [MODELS]
    assert run.subject.shown == len(run.stimuli())
    for model in found.models:
        np.testing.assert_allclose(model.true_control, 1, atol=1e-12)
        np.testing.assert_allclose(model.true_slope, GAINS[model.name], atol=1e-12)


def test_the_first_animals_and_repeats_do_not_depend_on_how_many_there_are(run_of):
    few = rehearsing.rehearse(run_of(), 3, [1, 2])
    many = rehearsing.rehearse(run_of(), 7, [1, 2, 9])
    for one, other in zip(few.models, many.models, strict=True):
        np.testing.assert_array_equal(one.control, other.control[:3, :3])
        assert len(np.unique(other.control[0])) == 7


def test_results_are_written_and_are_those_returned(run_of, stimuli):
    found = rehearsing.rehearse(run_of(loss=0.5), 8, [1, 2])
    text = (stimuli[0] / rehearsing.RESULT).read_text()
    assert "NaN" not in text
    stored = json.loads(text)
    assert stored["repeats"] == [1, 2, 3]
    assert stored["mode"] == "fixed"
    assert any("fixed fit" in note for note in stored["notes"])
    assert stored["models"][1]["control"] == found.models[1].control.tolist()
    assert stored["pairs"][0]["enough"] == dict(found.pairs[0].enough)
    assert stored["pairs"][0]["power"][2]["n_repeats"] == 3
    with Image.open(stimuli[0] / rehearsing.FIGURE) as image:
        assert min(image.size) > 400


def test_animals_with_their_own_stimuli_are_scored_together(run_of):
    """What a rehearsal that refits for every animal hands over."""
    run = run_of()
    animals = []
    for number in range(3):
        (animal,) = draw_animals(run, [run.key(str(number))], (3,))
        moved = (animal.predicted + number, animal.recorded, animal.noise_free)
        animals.append(Animal(*moved))
    found = rehearsing.finish(run, animals, (3,), mode="full")
    assert found.n_animals == 3
    stored = json.loads((run.workdir / rehearsing.RESULT).read_text())
    assert any("of its own" in note for note in stored["notes"])
    small = Animal(
        animals[0].predicted[:, :1], animals[0].recorded[:, :, :1],
        animals[0].noise_free[:, :1],
    )  # fmt: skip
    with pytest.raises(InputError, match="of one size"):
        rehearsing.finish(run, [*animals, small], (3,))


def test_one_model_is_rehearsed_without_power(run_of):
    found = rehearsing.rehearse(run_of(models=MODELS[:1]), 4, [1])
    assert (len(found.models), found.pairs) == (1, ())
    figure = rehearsal_figure(found)
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("animals", "repeats", "changes", "message"),
    [
        (1, [1], {}, "animals: expected at least 2, found 1"),
        (2, [], {}, "repeats: expected numbers of at least 1"),
        (2, [4, 0], {}, "repeats: expected numbers of at least 1"),
        (2, [1], {"subject": None}, "config.subject: expected an in-silico subject"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused(
    run_of, animals, repeats, changes, message
):
    with pytest.raises(InputError, match=message) as caught:
        rehearsing.rehearse(run_of(**changes), animals, repeats)
    assert "\n" not in str(caught.value)


def test_the_figure_shows_the_record(run_of):
    found = rehearsing.rehearse(run_of(), 40, [1, 2, 8])
    left, right = rehearsal_figure(found).axes
    at = found.repeats.index(3)
    for row, model in enumerate(found.models):
        spread, colour = model.control_spread[at], model_colour(row)
        own = [x for x in left.lines if to_hex(x.get_color()) == colour]
        bar, median = own[0], own[1]
        np.testing.assert_allclose(bar.get_xdata(), [spread.low, spread.high])
        np.testing.assert_allclose(median.get_xdata(), [spread.median])
        np.testing.assert_allclose(own[2].get_xdata(), model.true_control[:1])
        values, edges, base = left.patches[row].get_data()
        heights = np.asarray(base) - values
        counts = np.histogram(model.control[at], edges)[0]
        np.testing.assert_allclose(heights * counts.max(), heights.max() * counts)
    assert sum(counts) == 40
    drawn = [x for x in right.lines if len(x.get_ydata()) == 4]
    power = found.pairs[0].power
    for line, by in zip(drawn, ("interval", "seeds", "sites"), strict=False):
        np.testing.assert_allclose(
            line.get_ydata(), [getattr(one, f"by_{by}") for one in power]
        )
    texts = {text.get_text() for text in right.texts}
    assert texts == {"interval", "over seeds: p ≥ 0.25", "over sites: p ≥ 0.5"}
    labels = [label.get_text() for label in right.get_xticklabels()]
    assert labels == ["1", "2", "3\nplanned", "8"]


def test_the_figure_is_reproducible_and_on_its_background(run_of):
    found = rehearsing.rehearse(run_of(), 4, [1])
    first, second = (figure_png(rehearsal_figure(found)) for _ in range(2))
    assert first == second
    with Image.open(io.BytesIO(first)) as image:
        corner = image.convert("RGB").getpixel((0, 0))
    assert corner == tuple(bytes.fromhex(LIGHT.surface[1:]))


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (7, 20), (100, 100)])
def test_intervals_of_shares_are_wilsons(hits, n):
    expected = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
    low, high = wilson(np.asarray([hits / n]), n)
    np.testing.assert_allclose([low[0], high[0]], list(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--animals=1", "animals"), ("--repeats=2,x", "whole numbers of at least 1")],
)
def test_bad_flags_end_in_one_line_before_anything_is_written(tmp_path, flag, message):
    config = "--config=configs/quickstart.py"
    command = [config, f"--workdir={tmp_path / 'run'}", flag]
    done = subprocess.run(
        [sys.executable, "-m", "launch.rehearse", *command],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert message in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_launcher_rehearses_a_run_and_again_from_its_results(launcher, tmp_path):
    workdir = launcher.fresh(tmp_path / "run")
    flags = ("--animals=5", "--repeats=1,2", "--noprogress")
    first = launcher.finish("rehearse", workdir, *flags)
    assert "rehearsal: 5 animals, 2 sites x 3 seed images x 3 levels" in first
    assert "fixed fit" in first
    assert str(workdir / rehearsing.FIGURE) in first
    before = (workdir / rehearsing.RESULT).read_bytes()
    blocks = {p: p.stat().st_mtime_ns for p in workdir.glob("sweep/blocks/*.npz")}
    assert blocks
    assert launcher.finish("rehearse", workdir, *flags) == first
    assert (workdir / rehearsing.RESULT).read_bytes() == before
    assert {p: p.stat().st_mtime_ns for p in blocks} == blocks


def test_in_full_every_animal_is_a_run_of_its_own(run_of, monkeypatch):
    opened = []

    def open_run(config, folder, progress, loaded):
        opened.append((config["seed"], folder.name))
        return run_of(**config)

    monkeypatch.setattr(rehearsing, "open_run", open_run)
    found = rehearsing.rehearse(run_of(), 3, [2], mode="full")
    assert opened == [(1, "000"), (2, "001"), (3, "002")]
    assert found.mode == "full"
    control = found.models[0].control[0]
    assert len(set(control.tolist())) == 3
    assert found.n_animals == 3


def test_in_full_a_real_day_1_is_refused(run_of):
    run = run_of(recordings={"day1": "day1.npz"})
    with pytest.raises(InputError, match=r"day1=day1\.npz: expected none"):
        rehearsing.rehearse(run, 3, [2], mode="full")


def test_an_unknown_mode(run_of):
    with pytest.raises(InputError, match="did you mean 'full'"):
        rehearsing.rehearse(run_of(), 3, [2], mode="ful")


@pytest.mark.slow
def test_full_animals_differ_in_their_truth_and_resume(tmp_path):
    (tmp_path / "weights").mkdir()
    with registered(tmp_path / "weights"):
        config = small()
        del config["variants"]
        run = open_run(config, tmp_path / "run", False)
        found = rehearsing.rehearse(run, 2, [1], mode="full")
        truths = [
            open_run(
                {**config, "seed": 1 + animal},
                tmp_path / "run" / "animals" / f"{animal:03d}",
                False,
            ).subject.source.weights
            for animal in range(2)
        ]
        again = rehearsing.rehearse(run, 2, [1], mode="full")
    assert np.abs(truths[0] - truths[1]).max() > 0.1 * np.abs(truths[0]).max()
    for model, same in zip(found.models, again.models, strict=True):
        np.testing.assert_array_equal(model.control, same.control)
