"""Scores of whole tables: hand-worked, null, duplicated, incomplete."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import pearson_r, read_table, score_table, sweep_grids

HEADER = "model,site,seed,level,predicted,recorded"
# Two sites x two seeds x four levels; deviations of predicted are -1.5 -.5 .5 1.5.
# Per-seed r by hand: site 1: 1 and .6, site 2: -1 and 0. Slopes: 2 and .6, -1 and 0.
WORKED = {
    ("1", "a"): [2, 4, 6, 8],
    ("1", "b"): [2, 1, 4, 3],
    ("2", "a"): [4, 3, 2, 1],
    ("2", "b"): [3, 1, 4, 2],
}


def worked_table(tmp_path, extra=(), swapped=()):
    rows = [
        f"m,{site},{seed},{level},{level + 1},{value}"
        for (site, seed), values in WORKED.items()
        for level, value in enumerate(values)
    ]
    path = tmp_path / "worked.csv"
    path.write_text("\n".join([HEADER, *rows, *extra]) + "\n")
    return read_table(path)


def test_worked_by_hand(tmp_path):
    score = score_table(worked_table(tmp_path))
    model = score.subjects[""]["m"]
    first, second = model.sites["1"], model.sites["2"]
    np.testing.assert_allclose(first.r, [1, 0.6], atol=1e-12)
    np.testing.assert_allclose(second.r, [-1, 0.0], atol=1e-12)
    np.testing.assert_allclose([first.control, second.control], [0.8, -0.5], atol=1e-12)
    np.testing.assert_allclose([first.slope, second.slope], [1.3, -0.5], atol=1e-12)
    np.testing.assert_allclose(model.control_mean, 0.15, atol=1e-12)
    np.testing.assert_allclose(model.control_sd, 0.65, atol=1e-12)
    np.testing.assert_allclose(model.control_sd_ddof1, 0.65 * 2**0.5, atol=1e-12)
    pooled = scipy.stats.pearsonr([1, 2, 3, 4] * 2, [2, 4, 6, 8, 2, 1, 4, 3]).statistic
    np.testing.assert_allclose(first.pooled_r, pooled, atol=1e-12)
    assert first.seeds == second.seeds == ("a", "b")
    assert (model.n_sites, model.n_seeds_used) == (2, 4)
    assert (model.n_rows, model.n_duplicates) == (16, 0)
    assert score.comparisons == ()
    assert score.notes == ()


def test_control_is_scipys_mean_over_seeds_then_sites(noisy_design, table_of):
    predicted, recorded = noisy_design
    r = [
        [scipy.stats.pearsonr(p, y).statistic for p, y in zip(ps, ys, strict=True)]
        for ps, ys in zip(predicted, recorded, strict=True)
    ]
    model = score_table(table_of(predicted, recorded)).subjects[""]["m"]
    np.testing.assert_allclose(model.control_mean, np.mean(r), atol=1e-13)
    np.testing.assert_allclose(model.control_sd, np.mean(r, axis=1).std(), atol=1e-13)
    low, high = model.control_ci
    assert low < model.control_mean < high
    assert high - low < 0.3


def test_the_order_of_rows_changes_nothing(noisy_design, table_of):
    table = table_of(*noisy_design)
    order = np.random.default_rng(0).permutation(len(table))
    columns = {}
    for field in dataclasses.fields(table):
        column = getattr(table, field.name)
        if field.name != "source":
            picked = [column[i] for i in order]
            is_array = isinstance(column, np.ndarray)
            columns[field.name] = np.array(picked) if is_array else tuple(picked)
    shuffled = dataclasses.replace(table, **columns)
    assert_equal_scores(score_table(table), score_table(shuffled))


def assert_equal_scores(ours, theirs):
    assert ours.subjects.keys() == theirs.subjects.keys()
    for subject, models in ours.subjects.items():
        for name, model in models.items():
            other = theirs.subjects[subject][name]
            assert list(model.sites) == list(other.sites)
            for field in ("control_mean", "control_sd", "control_ci", "n_rows"):
                assert getattr(model, field) == getattr(other, field)


def test_another_model_in_the_table_changes_no_score(noisy_design, table_of, joined):
    predicted, recorded = noisy_design
    one = table_of(predicted, recorded)
    other = table_of(predicted[:3], -recorded[:3], model="other")
    both = score_table(joined(other, one)).subjects[""]["m"]
    alone = score_table(one).subjects[""]["m"]
    assert both.control_ci == alone.control_ci
    assert both.control_mean == alone.control_mean


def test_k9_the_seed_shown_at_every_level_is_undefined_and_counted(table_of):
    rng = np.random.default_rng(8)
    constant = np.broadcast_to(rng.normal(size=(5, 10, 1)), (5, 10, 11))
    recorded = rng.normal(size=(5, 10, 11))
    score = score_table(table_of(constant, recorded))
    model = score.subjects[""]["m"]
    assert np.isnan(model.control_mean)
    assert np.isnan(model.control_sd)
    assert np.isnan(model.control_ci).all()
    assert (model.n_sites, model.n_seeds_used, model.n_rows) == (0, 0, 550)
    assert any("50 of 50 sweeps have no r (constant pred" in n for n in score.notes)
    assert any("5 of 5 sites have no control score" in n for n in score.notes)


def test_k9_the_nominal_level_as_prediction_stays_in_the_null_band(table_of):
    """The target says nothing about responses to one image: |mean| < 1.96 * .045."""
    levels = np.broadcast_to(np.linspace(-2, 6, 11), (5, 10, 11))
    recorded = np.random.default_rng(1).normal(size=(400, 5, 10, 11))
    means = pearson_r(np.broadcast_to(levels, recorded.shape), recorded).mean((1, 2))
    np.testing.assert_allclose(means.std(), 0.1 / np.sqrt(5), atol=0.005)
    np.testing.assert_allclose(np.mean(np.abs(means) < 1.96 * 0.0447), 0.95, atol=0.03)
    model = score_table(table_of(levels, recorded[0])).subjects[""]["m"]
    np.testing.assert_allclose(model.control_mean, means[0], atol=1e-14)


def test_short_and_constant_sweeps_are_left_out_and_counted(noisy_design, table_of):
    predicted, recorded = (array.copy() for array in noisy_design)
    recorded[0, 0, 2:] = np.nan
    predicted[1, 1] = 0.7
    recorded[2, 2] = -0.1
    score = score_table(table_of(predicted, recorded))
    sites = score.subjects[""]["m"].sites
    assert [site.n_seeds_used for site in sites.values()] == [9, 9, 9, 10, 10]
    assert [len(site.seeds) for site in sites.values()] == [10] * 5
    for index, (site, gone) in enumerate(
        zip(["s0", "s1", "s2"], range(3), strict=True)
    ):
        kept = [
            scipy.stats.pearsonr(predicted[index, i], recorded[index, i]).statistic
            for i in range(10)
            if i != gone
        ]
        np.testing.assert_allclose(sites[site].control, np.mean(kept), atol=1e-13)
        assert np.isnan(sites[site].r[gone])
    notes = " / ".join(score.notes)
    assert "9 of 550 points left out" in notes
    assert (
        "1 of 50 sweeps have no r (fewer than 3 valid levels): site s0 seed i0" in notes
    )
    assert "1 of 50 sweeps have no r (constant predictions): site s1 seed i1" in notes
    assert (
        "1 of 50 sweeps have no r (constant recorded values): site s2 seed i2" in notes
    )


def test_a_dead_site_is_left_out_of_the_mean_with_a_reason(noisy_design, table_of):
    predicted, recorded = noisy_design[0], noisy_design[1].copy()
    recorded[4] = 0.0
    score = score_table(table_of(predicted, recorded))
    model = score.subjects[""]["m"]
    assert np.isnan(model.sites["s4"].control)
    assert model.sites["s4"].slope == 0.0
    four = score_table(table_of(predicted[:4], recorded[:4])).subjects[""]["m"]
    assert model.control_mean == four.control_mean
    assert model.control_ci == four.control_ci
    assert model.n_sites == 4
    assert any("1 of 5 sites" in n and "s4" in n for n in score.notes)


def test_duplicates_are_averaged_equally_and_counted(tmp_path):
    # Level 0 of (1, b) becomes (2 + 0) / 2 = 1, level 3 (3 + 5) / 2 = 4.
    score = score_table(
        worked_table(tmp_path, ["m,1,b,0,1,0", "m,1,b,3.0,4,5"]), n_bootstrap=10
    )
    model = score.subjects[""]["m"]
    expected = scipy.stats.pearsonr([1, 2, 3, 4], [1, 1, 4, 4]).statistic
    np.testing.assert_allclose(model.sites["1"].r[1], expected, atol=1e-12)
    assert (model.n_rows, model.n_duplicates) == (18, 2)
    assert score.notes == ("m: 2 duplicated rows averaged into their points",)


def point(tmp_path, rows, columns=""):
    """Predicted and recorded of level 0 among three levels."""
    path = tmp_path / "t.csv"
    rest = [f"m,s,i,{level},{level},{level}{columns and ',1'}" for level in (1, 2)]
    path.write_text("\n".join([HEADER + columns, *rows, *rest]))
    grid = sweep_grids(read_table(path))[""]["m"]
    return grid.predicted[0, 0, 0], grid.recorded[0, 0, 0], grid


def test_duplicates_are_weighted_by_repeats(tmp_path):
    rows = ["m,s,i,0,1,10,3", "m,s,i,0,2,20,1"]
    predicted, recorded, grid = point(tmp_path, rows, ",n_repeats")
    np.testing.assert_allclose([predicted, recorded], [1.25, 12.5], atol=1e-12)
    assert (grid.n_duplicates, grid.n_disagreeing, grid.n_invalid) == (1, 1, 0)


def test_duplicates_without_all_repeats_are_weighted_equally(tmp_path):
    rows = ["m,s,i,0,1,10,3", "m,s,i,0,1,20,"]
    assert point(tmp_path, rows, ",n_repeats")[:2] == (1.0, 15.0)


def test_duplicates_without_a_value_are_not_averaged_in(tmp_path):
    rows = ["m,s,i,0,1,10", "m,s,i,0,3,"]
    predicted, recorded, grid = point(tmp_path, rows)
    assert (predicted, recorded) == (1.0, 10.0)
    assert (grid.n_duplicates, grid.n_invalid) == (1, 0)


def test_duplicates_that_disagree_on_predicted_are_noted(tmp_path):
    score = score_table(worked_table(tmp_path, ["m,1,b,0,1.5,0"]), n_bootstrap=10)
    assert "m: duplicates disagree on predicted at 1 points" in score.notes


def test_duplicates_that_disagree_on_target_are_noted(noisy_design, table_of, joined):
    predicted, recorded = (values[:1, :1] for values in noisy_design)
    tables = [table_of(predicted, recorded, target=t) for t in (1.0, 1.0, 2.0, np.nan)]
    agree = score_table(joined(tables[0], tables[1], tables[3]), n_bootstrap=10)
    assert not any("disagree" in note for note in agree.notes)
    differ = score_table(joined(tables[0], tables[2]), n_bootstrap=10)
    assert "m: duplicates disagree on target at 11 points" in differ.notes
    (grid,) = sweep_grids(joined(tables[0], tables[3]))[""].values()
    assert (grid.target == 1.0).all()  # a row without a target takes nothing away


def test_ids_that_look_like_equal_numbers_stay_apart(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"m,{site},i,{k},{k},{k}" for site in ("7", "007", "7.0") for k in range(3)]
    path.write_text("\n".join([HEADER, *rows]))
    model = score_table(read_table(path), n_bootstrap=10).subjects[""]["m"]
    assert list(model.sites) == ["007", "7", "7.0"]
    assert model.n_duplicates == 0


def test_sites_and_levels_are_in_natural_order(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"m,{s},i,{k},{k},{k}" for s in ("10", "V4", "9") for k in (10, -1.5, 9)]
    path.write_text("\n".join([HEADER, *rows]))
    grid = sweep_grids(read_table(path))[""]["m"]
    assert grid.sites == ("9", "10", "V4")
    np.testing.assert_array_equal(grid.predicted[0, 0], [-1.5, 9, 10])


def test_levels_without_a_label_are_scored_and_noted(tmp_path):
    score = score_table(worked_table(tmp_path, ["m,1,a,,0,0"]), n_bootstrap=10)
    assert score.subjects[""]["m"].n_duplicates == 0
    assert any(note.startswith("1 rows without a level") for note in score.notes)


def test_seeds_need_not_be_shared_between_sites(noisy_design, table_of):
    table = table_of(*noisy_design)
    own = tuple(f"{s}-{i}" for s, i in zip(table.site, table.seed, strict=True))
    model = score_table(dataclasses.replace(table, seed=own)).subjects[""]["m"]
    shared = score_table(table).subjects[""]["m"]
    np.testing.assert_allclose(model.control_mean, shared.control_mean, atol=1e-14)
    assert model.n_seeds_used == 50
    assert all(len(site.seeds) == 10 for site in model.sites.values())


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 1), "single sweep"), ((1, 4), "single site"), ((4, 1), "single seed")],
)
def test_thin_designs_say_what_the_interval_means(noisy_design, table_of, shape, words):
    predicted, recorded = (a[: shape[0], : shape[1]] for a in noisy_design)
    score = score_table(table_of(predicted, recorded))
    assert len(score.notes) == 1
    assert words in score.notes[0]
    assert np.isnan(score.subjects[""]["m"].control_ci).all() == (shape == (1, 1))
