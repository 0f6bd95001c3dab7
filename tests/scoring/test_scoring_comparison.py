"""Paired comparisons of models on common sweeps."""

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import score_table


@pytest.fixture
def two_models(noisy_design, table_of, joined):
    """Model "a" follows the responses, "b" is noisier by design."""
    predicted, recorded = noisy_design
    worse = recorded + np.random.default_rng(7).normal(0, 1.5, recorded.shape)
    a = table_of(predicted, recorded, model="a")
    return joined(a, table_of(predicted, worse, model="b")), predicted, recorded, worse


def r_of(predicted, recorded):
    return np.array(
        [
            [scipy.stats.pearsonr(p, y).statistic for p, y in zip(ps, ys, strict=True)]
            for ps, ys in zip(predicted, recorded, strict=True)
        ]
    )


def test_difference_and_tests_of_a_complete_design(two_models):
    table, predicted, recorded, worse = two_models
    score = score_table(table)
    (pair,) = score.comparisons
    d = r_of(predicted, recorded) - r_of(predicted, worse)
    assert (pair.subject, pair.a, pair.b) == ("", "a", "b")
    np.testing.assert_allclose(pair.difference, d.mean(), atol=1e-13)
    models = score.subjects[""]
    np.testing.assert_allclose(
        pair.difference, models["a"].control_mean - models["b"].control_mean, atol=1e-13
    )
    assert pair.ci[0] < pair.difference < pair.ci[1]
    assert pair.ci[0] > 0
    assert (d.mean(axis=0) > 0).all()
    assert (d.mean(axis=1) > 0).all()
    assert (pair.p_seeds, pair.p_min_seeds) == (2 / 2**10, 2 / 2**10)
    assert (pair.p_sites, pair.p_min_sites) == (0.0625, 0.0625)


def test_equal_models_do_not_differ(noisy_design, table_of, joined):
    tables = [table_of(*noisy_design, model=name) for name in "ab"]
    (pair,) = score_table(joined(*tables)).comparisons
    assert (pair.difference, pair.ci) == (0.0, (0.0, 0.0))
    assert (pair.p_seeds, pair.p_sites) == (1.0, 1.0)


def test_only_common_sweeps_are_compared(noisy_design, table_of, joined):
    predicted, recorded = noisy_design
    worse = recorded + np.random.default_rng(7).normal(0, 1.5, recorded.shape)
    holes = recorded.copy()
    holes[0, 0] = np.nan
    a = table_of(predicted, holes, model="a")
    b = table_of(predicted[:3, :9], worse[:3, :9], model="b")
    score = score_table(joined(a, b))
    (pair,) = score.comparisons
    d = r_of(predicted[:3, :9], recorded[:3, :9]) - r_of(
        predicted[:3, :9], worse[:3, :9]
    )
    d[0, 0] = np.nan
    expected = np.mean([np.nanmean(row) for row in d])
    np.testing.assert_allclose(pair.difference, expected, atol=1e-13)
    assert (pair.p_min_seeds, pair.p_min_sites) == (2.0**-8, 0.25)
    (note,) = [n for n in score.notes if "missing" in n]
    assert note.startswith("b: 23 of 50 sweeps of this subject are missing")
    assert "sites s3, s4 altogether" in note


def test_models_without_a_common_site_are_undefined_with_a_reason(
    noisy_design, table_of, joined
):
    a = table_of(*noisy_design, model="a")
    names = ["t0", "t1", "t2", "t3", "t4"]
    b = table_of(*noisy_design, model="b", site_names=names)
    score = score_table(joined(a, b))
    (pair,) = score.comparisons
    numbers = [pair.difference, *pair.ci, pair.p_seeds, pair.p_sites]
    assert np.isnan(numbers).all()
    assert sum("50 of 100 sweeps" in note for note in score.notes) == 2


def test_pairs_stay_within_a_subject(noisy_design, table_of, joined):
    predicted, recorded = noisy_design
    tables = [
        table_of(predicted, sign * recorded, model=model, subject=subject)
        for subject in ("paul", "red")
        for model, sign in (("x", 1), ("y", -1), ("z", 1))
    ]
    score = score_table(joined(*tables), n_bootstrap=100)
    pairs = [(pair.subject, pair.a, pair.b) for pair in score.comparisons]
    names = [("x", "y"), ("x", "z"), ("y", "z")]
    assert pairs == [(s, *pair) for s in ("paul", "red") for pair in names]
    x, y = score.subjects["red"]["x"], score.subjects["red"]["y"]
    np.testing.assert_allclose(x.control_mean, -y.control_mean, atol=1e-13)
