"""Scores as text and as JSON, the launcher, and the authors' own recordings."""

import doctest
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from paramctl_jax.scoring import (
    format_scores,
    read_table,
    score_table,
    scores_to_json,
    write_table,
)
from paramctl_jax.scoring.records import FURTHER

ROOT = Path(__file__).parents[2]
MODEL_KEYS = {
    "control_mean",
    "control_sd",
    "control_sd_ddof1",
    "control_ci",
    "n_sites",
    "n_seeds_used",
    "n_rows",
    "n_duplicates",
    "p_permutation",
    "p_min_permutation",
    "pooled",
    "sites",
    "slope",
    "slope_ci",
    "pooled_r",
    *FURTHER,
}
SITE_KEYS = {"control", "slope", "pooled_r", "n_seeds_used", "pooled", *FURTHER}
PAIR_KEYS = {
    *("subject", "a", "b", "difference", "ci"),
    *("p_seeds", "p_sites", "p_min_seeds", "p_min_sites"),
    *("p_seeds_holm", "p_sites_holm"),
    *("slope_difference", "slope_ci"),
}


@pytest.fixture
def table(noisy_design, table_of, joined):
    """A good model, a poor one, and one whose predictions never change."""
    predicted, recorded = noisy_design
    return joined(
        table_of(predicted, -recorded, model="poor", subject="paul"),
        table_of(predicted, recorded, model="good", subject="paul"),
        table_of(np.ones((5, 10, 11)), recorded, model="still", subject="paul"),
    )


def test_json_has_the_documented_shape_and_is_strict(table):
    score = score_table(table)
    content = scores_to_json(score)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert set(content) == {
        *("subjects", "comparisons", "replications", "undefined", "notes")
    }
    assert content["replications"] == []  # of one subject there are none
    models = content["subjects"]["paul"]["models"]
    assert set(models) == {"poor", "good", "still"}
    for name, model in models.items():
        assert set(model) == MODEL_KEYS
        assert set(model["sites"]) == {"s0", "s1", "s2", "s3", "s4"}
        for site in model["sites"].values():
            assert set(site) == SITE_KEYS
            assert set(site["pooled"]) == {"none", "drop2"}
        counts = (model["n_rows"], model["n_duplicates"], model["n_sites"])
        assert counts == (550, 0, 0 if name == "still" else 5)
    assert models["good"]["control_mean"] == score.subjects["paul"]["good"].control_mean
    assert models["still"]["control_ci"] == [None, None]
    assert models["still"]["sites"]["s0"]["control"] is None
    assert models["still"]["p_permutation"] is None
    good = score.subjects["paul"]["good"]
    sites = good.sites.values()
    assert models["good"]["spearman"] == pytest.approx(
        np.mean([site.spearman for site in sites])
    )
    assert models["good"]["pooled"]["none"]["r"] == pytest.approx(
        np.mean([site.pooled["none"].r for site in sites])
    )
    assert models["good"]["pooled"]["intersect"]["r"] is None
    assert models["good"]["p_permutation"] == models["good"]["p_min_permutation"]
    assert [set(pair) for pair in content["comparisons"]] == [PAIR_KEYS] * 3
    first, to_still = content["comparisons"][:2]
    assert (first["subject"], first["a"], first["b"]) == ("paul", "poor", "good")
    assert first["p_min_sites"] == 0.0625
    assert to_still["difference"] is None
    assert to_still["p_seeds_holm"] is None
    assert first["p_seeds_holm"] == first["p_seeds"]  # the only defined test


def test_text_ranks_models_and_gives_a_reason_for_what_is_undefined(table):
    score = score_table(table)
    text = format_scores(score)
    lines = text.splitlines()
    assert lines[0] == "control score, subject paul"
    assert [line.split()[0] for line in lines[2:5]] == ["good", "poor", "still"]
    good = score.subjects["paul"]["good"]
    assert f"{good.control_mean:.3f} ± {good.control_sd:.3f}" in lines[2]
    assert "5/5   50/50" in lines[2]
    assert "0/5    0/50" in lines[4]
    assert "nan" not in text
    assert "0.00195 (0.00195)" in text
    assert "0.0625 (0.0625)" in text
    assert "- paul/still: 50 of 50 sweeps have no r (constant predictions)" in text


@pytest.mark.parametrize("name", ["sweeps", "correlation", "inference", "summary"])
def test_examples_run(name):
    results = doctest.testmod(importlib.import_module(f"paramctl_jax.scoring.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def launch(*flags):
    return subprocess.run(
        [sys.executable, "-m", "launch.score", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_launcher_prints_and_writes_the_scores(table, tmp_path):
    write_table(tmp_path / "t.csv", table)
    out = tmp_path / "scores.json"
    done = launch(f"--table={tmp_path / 't.csv'}", f"--out={out}", "--n_bootstrap=200")
    assert (done.returncode, done.stderr) == (0, "")
    expected = score_table(read_table(tmp_path / "t.csv"), n_bootstrap=200)
    assert done.stdout.strip() == format_scores(expected)
    assert json.loads(out.read_text()) == scores_to_json(expected)


def test_launcher_refuses_in_one_line(tmp_path):
    table, out = tmp_path / "bad.csv", tmp_path / "scores.json"
    table.write_text("model,site,seed,level,predicted,recorded\nm,s,i,0,1,many\n")
    done = launch(f"--table={table}", f"--out={out}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {table}: row 2, column 'recorded': expected a number, found 'many'\n"
    )
    assert not out.exists()


def test_launcher_does_not_overwrite_its_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("model,site,seed,level,predicted,recorded\nm,s,i,0,1,2\n")
    before = path.read_bytes()
    done = launch(f"--table={path}", f"--out={path}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --out: expected another file")
    assert path.read_bytes() == before


def test_several_subjects_are_compared(noisy_design, table_of, joined, tmp_path):
    """Two animals, the second with the models' order reversed."""
    predicted, recorded = noisy_design
    tables = [
        table_of(predicted, sign * recorded, model=model, subject=subject)
        for subject, sign, model in [
            ("one", 1, "good"),
            ("one", -1, "poor"),
            ("two", -1, "poor"),
            ("two", 1, "good"),
        ]
    ]
    score = score_table(joined(*tables), n_bootstrap=200)
    (found,) = scores_to_json(score)["replications"]
    assert (found["a"], found["b"]) == ("good", "poor")
    assert found["agree"] == 2
    assert found["p_min_sites"] == 2 / 2**10
    assert found["p_subjects"] == 0.5
    text = format_scores(score)
    assert "differences in several subjects" in text
    assert "good - poor" in text


def test_the_target_may_be_in_another_column(table, tmp_path):
    """As in the authors' tables, whose level is the target."""
    write_table(tmp_path / "t.csv", table)
    out = tmp_path / "scores.json"
    flags = (f"--table={tmp_path / 't.csv'}", f"--out={out}", "--n_bootstrap=50")
    assert launch(*flags, "--target_column=level").returncode == 0
    model = json.loads(out.read_text())["subjects"]["paul"]["models"]["good"]
    assert set(model["sites"]["s0"]["pooled"]) == {
        "none",
        "permodel",
        "drop2",
        "intersect",
    }
    done = launch(*flags, "--target_column=goal")
    assert done.returncode == 1
    assert "missing column(s) goal" in done.stderr


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("paul", {"resnet50": (0.615, 0.226, 0.267), "robust": (0.720, 0.104, 0.396)}),
        ("red", {"resnet50": (0.303, 0.225, 0.095), "robust": (0.610, 0.129, 0.270)}),
    ],
)
def test_authors_recordings_give_their_control_sd_and_slope(subject, expected):
    folder = os.environ.get("PARAMCTL_DATA")
    if not folder:
        pytest.skip("PARAMCTL_DATA names no folder with control_tables/")
    table = read_table(Path(folder) / "control_tables" / f"{subject}.csv")
    score = score_table(table, n_bootstrap=100).subjects[subject]
    assert len(score) == 10
    for name, numbers in expected.items():
        got = score["resnet50_robust" if name == "robust" else name]
        slope = np.mean([site.slope for site in got.sites.values()])
        found = (got.control_mean, got.control_sd, slope)
        np.testing.assert_allclose(found, numbers, atol=0.0005)
        assert (got.n_sites, got.n_seeds_used) == (5, 50)
