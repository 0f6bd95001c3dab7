"""The authors' file names, both ways, and a score from their folders alone."""

import math
import re

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from paramctl_jax.scoring import control_score
from paramctl_jax.stimuli import load_stimuli, save_stimuli
from paramctl_jax.stimuli.exchange import (
    AuthorsImage,
    authors_name,
    export_stimuli,
    load_authors,
    parse_authors_name,
)
from paramctl_jax.types import InputError, Recordings


def theirs(model, unit, seed):
    """The pattern with which the authors' own scripts look for a sweep."""
    return re.compile(
        rf"^{re.escape(model)}_RidgeCV_unit_{unit}_img_{seed}"
        r"_level_(-?\d+\.\d+)_score_(-?\d+\.\d+)\.png$"
    )


@pytest.mark.parametrize(
    ("target", "predicted"),
    [(-1.656, 4.79), (0.0, -0.0), (3.0, 1e-9), (1e16, 0.1 + 0.2), (-2.5e-30, 1 / 3)],
)
def test_names_go_both_ways_with_every_digit(target, predicted):
    image = AuthorsImage("resnet50_robust", "RidgeCV", "25", "575", target, predicted)
    name = authors_name(image)
    assert parse_authors_name(name) == image
    match = theirs("resnet50_robust", 25, 575).match(name)
    assert match is not None
    assert (float(match[1]), float(match[2])) == (target, predicted)


def test_their_names_are_read():
    name = "clip_RN50_RidgeCV_unit_47_img_0131_level_-0.304_score_-0.298.png"
    assert parse_authors_name(name) == AuthorsImage(
        "clip_RN50", "RidgeCV", "47", "0131", -0.304, -0.298
    )


@pytest.mark.parametrize(
    "name",
    [
        "resnet50_RidgeCV_unit_7_img_1_level_0.5_score_0.5.PNG.txt",
        "resnet50_RidgeCV_unit_7_img_1_level_0.5.png",
        "resnet50_RidgeCV_unit_7_img_1_level_nan_score_0.5.png",
        "resnet50_RidgeCV_unit_7_img_1_level_0.5_score_1e5.png",
        "resnet50_unit_7_img_1_level_0.5_score_0.5_hp_tuning.png",
        "unit_7_img_1_level_0.5_score_0.5.png",
    ],
)
def test_other_names_are_none_of_theirs(name):
    assert parse_authors_name(name) is None


GOOD = {"model": "net", "fit": "RidgeCV", "site": "7", "seed": "ant"}


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "a_RidgeCV_unit_b"},
        {"fit": "ridge_cv"},
        {"site": "7_unit_8"},
        {"site": "7_img_8"},
        {"seed": "a_level_1.0_score_1.0"},
        {"model": ""},
        {"model": "a/b"},
        {"seed": "a\\b"},
        {"seed": "x" * 250},
        {"model": ".hidden"},
        {"target": math.nan},
        {"predicted": math.inf},
    ],
)
def test_what_a_name_would_not_give_back_is_refused(changed):
    image = AuthorsImage(**({**GOOD, "target": 1.0, "predicted": 2.0} | changed))
    with pytest.raises(
        InputError, match="expected one of at most 255 bytes that gives"
    ):
        authors_name(image)


def write(folder, *names):
    folder.mkdir(exist_ok=True)
    for n, name in enumerate(names):
        Image.new("RGB", (2, 2), (n, n, n)).save(folder / name)


def test_a_folder_of_theirs_is_scored_by_file_name(tmp_path):
    rng = np.random.default_rng(0)
    cells = [(u, i, t) for u in (3, 25) for i in (575, 850) for t in range(-2, 3)]
    predicted = {cell: cell[2] + rng.normal(0, 0.2) for cell in cells}
    folder = tmp_path / "theirs"
    names = {
        (u, i, t): f"net_RidgeCV_unit_{u}_img_{i}_level_{t:.3f}_score_{p:.3f}.png"
        for (u, i, t), p in predicted.items()
    }
    write(folder, *names.values(), "net_hp_tuning.png")
    stimuli = load_authors(folder)
    assert len(stimuli) == 20
    assert [s.level for s in stimuli.stimuli[:5]] == [0, 1, 2, 3, 4]
    assert {s.site for s in stimuli.stimuli} == {"3", "25"}
    for one in stimuli.stimuli:
        assert one.hit == (abs(one.predicted - one.target) <= 0.05 * 4)

    responses = (
        rng.normal(size=(20, 2, 3)) + np.array(list(predicted.values()))[:, None, None]
    )
    shown = tuple(f"D:\\day2\\{name[:-4]}.PNG" for name in names.values())
    score = control_score(
        stimuli, Recordings(responses, shown, ("3", "25")), n_bootstrap=10
    )
    for column, unit in enumerate((3, 25)):
        r = []
        for seed in (575, 850):
            rows = [n for n, cell in enumerate(cells) if cell[:2] == (unit, seed)]
            said = [float(f"{predicted[cells[n]]:.3f}") for n in rows]
            recorded = responses[rows, column].mean(axis=-1)
            r.append(scipy.stats.pearsonr(said, recorded).statistic)
        site = score.subjects[""]["net"].sites[str(unit)]
        np.testing.assert_allclose(site.control, np.mean(r), atol=1e-12)


def test_several_fits_are_models_of_their_own(tmp_path):
    tail = "unit_1_img_2_level_0.5_score_0.25.png"
    write(tmp_path, f"net_RidgeCV_{tail}", f"net_Lasso_{tail}", f"old_Lasso_{tail}")
    models = [one.model for one in load_authors(tmp_path).stimuli]
    assert models == ["net_Lasso", "net_RidgeCV", "old"]
    assert all(math.isnan(s.relative_error) for s in load_authors(tmp_path).stimuli)


def test_a_folder_without_their_names_is_refused(tmp_path):
    write(tmp_path, "ant.png")
    with pytest.raises(InputError, match="found 1 PNGs and none of these names"):
        load_authors(tmp_path)


def test_an_exported_set_comes_back(sweep, tmp_path):
    save_stimuli(tmp_path / "set", [sweep], progress=False)
    stimuli = load_stimuli(tmp_path / "set")
    done = export_stimuli(stimuli, tmp_path / "theirs", "authors")
    assert done.notes[0].startswith("6 seed and anchor images, which have no name")
    back = load_authors(tmp_path / "theirs")
    known = {s.sha256: s for s in stimuli.stimuli if s.level is not None}
    assert len(back) == len(known) == 24
    for one in back.stimuli:
        source = known[one.sha256]
        for name in ("model", "site", "seed", "level", "target", "predicted", "hit"):
            assert getattr(one, name) == getattr(source, name), name
    natural = {path.stem for path in (tmp_path / "theirs" / "natural").iterdir()}
    assert natural == {s.stimulus_id for s in stimuli.stimuli if s.level is None}
