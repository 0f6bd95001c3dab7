"""Two and three animals: differences, pooled intervals and tests over all sites."""

import numpy as np
import pytest

from paramctl_jax.scoring import compare_models, crossed_bootstrap, score_table
from paramctl_jax.scoring.animals import pooled_bootstrap, replicate
from paramctl_jax.types import ControlScore


def sweeps(r):
    """Predictions and responses [site, seed, level] whose Pearson r is exactly r."""
    x, z = np.array([-1.0, -1, 1, 1]) / 2, np.array([-1.0, 1, -1, 1]) / 2
    recorded = r[..., None] * x + np.sqrt(1 - r[..., None] ** 2) * z
    return np.broadcast_to(x, recorded.shape), recorded


@pytest.fixture
def scored(table_of, joined):
    """Scores of two models in each subject, from arrays of r [site, seed]."""

    def score(subjects, site_names=None):
        tables = [
            table_of(
                *sweeps(r), model=model, subject=subject,
                site_names=(site_names or {}).get((subject, model)),
            )
            for subject, models in subjects.items()
            for model, r in models.items()
        ]  # fmt: skip
        return score_table(joined(*tables), n_bootstrap=20)

    return score


def two_animals(shift=(0.3, 0.2)):
    rng = np.random.default_rng(0)
    subjects = {}
    for name, by in zip(("paul", "red"), shift, strict=True):
        b = rng.normal(0.3, 0.1, (5, 10))
        subjects[name] = {"A": b + by + rng.normal(0, 0.05, (5, 10)), "B": b}
    return subjects


def test_differences_are_those_of_each_animal(scored):
    score = scored(two_animals())
    (one,) = replicate(score, n_bootstrap=500)
    assert (one.a, one.b, one.subjects) == ("A", "B", ("paul", "red"))
    for index, name in enumerate(one.subjects):
        models = score.subjects[name]
        alone = compare_models(name, "A", "B", models, n_bootstrap=500)
        np.testing.assert_allclose(one.difference[index], alone.difference, atol=1e-15)
        np.testing.assert_allclose(one.ci[index], alone.ci, atol=1e-15)
    by_hand = [np.mean(m["A"] - m["B"]) for m in two_animals().values()]
    np.testing.assert_allclose(one.difference, by_hand, atol=1e-12)
    np.testing.assert_allclose(one.pooled, one.difference.mean(), atol=1e-15)
    assert one.agree == 2
    assert one.notes == ()


def test_ten_sites_of_two_animals_reach_what_five_cannot(scored):
    (one,) = replicate(scored(two_animals()), n_bootstrap=200)
    assert one.p_sites == one.p_min_sites == 2 / 2**10
    assert one.p_subjects == one.p_min_subjects == 0.5


def test_animals_that_disagree_are_counted(scored):
    (one,) = replicate(scored(two_animals((0.4, -0.1))), n_bootstrap=200)
    assert one.agree == 1
    low, high = one.pooled_ci
    assert low < one.difference[1] < one.pooled < one.difference[0] < high


def by_index(values, n_draws, rng):
    """Subjects, then sites and seeds within each, resampled one draw at a time."""
    draws = []
    for _ in range(n_draws):
        means = []
        for subject in rng.integers(len(values), size=len(values)):
            d = values[subject]
            sites, seeds = (rng.integers(n, size=n) for n in d.shape)
            means.append(d[np.ix_(sites, seeds)].mean())
        draws.append(np.mean(means))
    return np.quantile(draws, [0.025, 0.975])


@pytest.mark.parametrize("n_subjects", [2, 4])
def test_pooled_interval_agrees_with_resampling_by_index(n_subjects):
    rng = np.random.default_rng(4)
    values = [rng.normal(by, 0.2, (5, 8)) for by in np.linspace(0, 0.2, n_subjects)]
    named = {f"m{i}": d for i, d in enumerate(values)}
    expected = by_index(values, 4000, np.random.default_rng(1))
    np.testing.assert_allclose(pooled_bootstrap(named), expected, atol=0.012)


def test_pooled_interval_of_two_animals_spans_both():
    rng = np.random.default_rng(4)
    values = {"x": rng.normal(0.0, 0.05, (5, 10)), "y": rng.normal(1, 0.05, (5, 10))}
    low, high = pooled_bootstrap(values)
    assert abs(low - crossed_bootstrap(values["x"])[0]) < 0.03
    assert abs(high - crossed_bootstrap(values["y"])[1]) < 0.03


def test_order_of_subjects_models_and_rows_does_not_matter(
    table_of, joined, noisy_design
):
    predicted, recorded = noisy_design
    rng = np.random.default_rng(3)
    parts = [
        table_of(
            predicted, recorded + rng.normal(0, sd, recorded.shape), model=model,
            subject=subject,
        )
        for subject in ("x", "y", "z")
        for model, sd in (("a", 0.5), ("b", 2.0))
    ]  # fmt: skip
    forward = score_table(joined(*parts), n_bootstrap=50)
    backward = score_table(joined(*parts[::-1]), n_bootstrap=50)
    (one,), (other,) = (replicate(s, n_bootstrap=300) for s in (forward, backward))
    assert (other.a, other.b) == ("b", "a")
    np.testing.assert_allclose(other.pooled, -one.pooled, atol=1e-15)
    np.testing.assert_allclose(other.pooled_ci, [-x for x in one.pooled_ci[::-1]])
    assert (other.p_sites, other.p_subjects) == (one.p_sites, one.p_subjects)


def test_pairs_need_two_animals(scored):
    subjects = two_animals()
    del subjects["red"]["B"]
    assert replicate(scored(subjects)) == ()
    assert replicate(ControlScore({})) == ()


def test_an_animal_without_a_common_sweep_is_named(scored):
    subjects = two_animals()
    subjects["venus"] = subjects["paul"]
    other_sites = {("venus", "B"): [f"t{i}" for i in range(5)]}
    (one,) = replicate(scored(subjects, other_sites), n_bootstrap=100)
    assert one.subjects == ("paul", "red")
    assert len(one.notes) == 1
    assert "'venus' is left out" in one.notes[0]
