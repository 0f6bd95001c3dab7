"""The pooled score and its exclusion masks against numpy and scipy."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from paramctl_jax.scoring import (
    exclusion_masks,
    permutation_test,
    pooled_score,
    score_table,
    sweep_grids,
)

TARGETS = np.linspace(-1.0, 3.0, 5)


def design(misses=()):
    """One model, 2 sites x 3 seeds x 5 levels; `misses` are a quarter range off."""
    rng = np.random.default_rng(0)
    target = np.broadcast_to(TARGETS, (2, 3, 5)).copy()
    predicted = target + 0.01
    for cell in misses:
        predicted[cell] += 1.0
    return target, predicted, 0.5 * predicted + rng.normal(0, 0.3, predicted.shape)


def grid_of(table_of, misses=(), **changes):
    target, predicted, recorded = design(misses)
    values = {"target": target, **changes}
    return sweep_grids(table_of(predicted, recorded, **values))[""]["m"]


def test_pooled_score_is_scipys_on_clamped_predictions(table_of):
    floor = np.full((2, 3, 5), -0.5)
    _, predicted, recorded = design()
    table = table_of(predicted, recorded, floor=floor)
    site = score_table(table, n_bootstrap=10).subjects[""]["m"].sites["s1"]
    p, y = np.maximum(predicted[1], -0.5).ravel(), recorded[1].ravel()
    line = stats.linregress(p, y)
    found = site.pooled["none"]
    assert found.r == pytest.approx(stats.pearsonr(p, y).statistic)
    assert (found.slope, found.intercept) == pytest.approx((line.slope, line.intercept))
    expected = 1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2)
    assert found.r2_identity == pytest.approx(expected)
    assert found.n_points == 15
    raw = stats.pearsonr(predicted[1].ravel(), y).statistic
    assert site.pooled_r == pytest.approx(raw) != pytest.approx(found.r)


def test_missed_levels_and_the_two_highest_are_left_out(table_of):
    grid = grid_of(table_of, misses=[(0, 1, 3), (1, 2, 4)])
    masks = exclusion_masks({"m": grid})["m"]
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "none": 30,
        "permodel": 28,
        "drop2": 18,
        "intersect": 28,
    }
    assert not masks["permodel"][0, 1, 3]
    assert masks["drop2"][..., :3].all()
    assert not masks["drop2"][..., 3:].any()


@pytest.mark.parametrize(
    ("targets", "labels", "dropped"),
    [
        ([-3, -2, np.nan, -1, 0], "01234", {"3.0", "4.0"}),  # one target is missing
        ([5, 1, 2, 3, 4], "01234", {"0.0", "4.0"}),
        ([np.nan] * 5, ["4", "3", "10", "2", ""], {"10.0", "4.0"}),  # "": the seed
        ([np.nan] * 4, ["low", "mid", "up", "top"], {"low", "mid", "up", "top"}),
    ],
)
def test_the_two_highest_are_those_of_targets_else_of_labels(
    table_of, targets, labels, dropped
):
    p = np.arange(float(len(labels)))[None, None]
    table = table_of(p, p**2, target=np.asarray(targets, np.float64)[None, None])
    grid = sweep_grids(dataclasses.replace(table, level=tuple(labels)))[""]["m"]
    mask = exclusion_masks({"m": grid})["m"]["drop2"]
    assert set(grid.labels[~mask]) == dropped


def test_intersect_keeps_what_every_model_hit(table_of):
    a = grid_of(table_of, misses=[(0, 0, 1)])
    b = grid_of(table_of, misses=[(0, 0, 2), (1, 1, 1)])
    masks = exclusion_masks({"a": a, "b": b})
    np.testing.assert_array_equal(masks["a"]["intersect"], masks["b"]["intersect"])
    lost = np.argwhere(~masks["a"]["intersect"]).tolist()
    assert lost == [[0, 0, 1], [0, 0, 2], [1, 1, 1]]
    assert masks["a"]["permodel"].sum() == 29


def test_a_site_that_a_model_lacks_has_no_intersect(table_of):
    whole = grid_of(table_of)
    fields = ("predicted", "recorded", "target", "floor", "n_repeats", "recorded_sd")
    half = dataclasses.replace(
        whole,
        sites=whole.sites[:1],
        labels=whole.labels[:1],
        shown=whole.shown[:1],
        **{name: getattr(whole, name)[:1] for name in fields},
    )
    masks = exclusion_masks({"whole": whole, "half": half})
    assert masks["whole"]["intersect"][0].all()
    assert not masks["whole"]["intersect"][1].any()


def test_without_targets_there_is_no_mask_of_misses(table_of):
    grid = grid_of(table_of, target=np.nan)
    assert set(exclusion_masks({"m": grid})["m"]) == {"none", "drop2"}


def test_few_or_constant_points_are_undefined():
    p = np.zeros((1, 4))
    score = pooled_score(p, p + np.arange(4.0), p * np.nan, p == 0)
    assert np.isnan([score.r, score.slope]).all()
    assert score.n_points == 4


def test_permutation_p_counts_the_shuffles_beyond_the_observed():
    """Against all 6 orders of one sweep of three levels."""
    predicted = np.array([[[0.0, 1.0, 2.0]]])
    recorded = np.array([[[0.0, 2.0, 1.0]]])
    p, p_min = permutation_test(predicted, recorded, n_permutations=20_000)
    # r = .5 or more in 3 of 6 orders: 012, 021, 102
    assert p == pytest.approx(0.5, abs=0.02)
    assert p_min == 1 / 20_001
    assert np.isnan(permutation_test(predicted * 0, recorded)).all()


def test_permutation_p_is_uniform_without_control():
    rng = np.random.default_rng(1)
    predicted = np.broadcast_to(np.arange(11.0), (2, 3, 11))
    p = [
        permutation_test(predicted, rng.normal(size=predicted.shape), 199, seed)[0]
        for seed in range(200)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.01
