"""Choosing a readout: the rule, its edges, and the bias of choosing on test images."""

import dataclasses

import numpy as np
import pytest

from paramctl_jax.encoding.evaluation import evaluate, r_squared
from paramctl_jax.encoding.selection import choose_readout, choose_readouts_per_site
from paramctl_jax.recordings import pearson
from paramctl_jax.types import InputError, Recordings

N_TRAIN, N_TEST, N_FEATURES = 60, 30, 5


def evaluation(cv_r2, r2=None):
    """A record with these R2 per site; nothing else in it matters here."""
    n_sites = len(cv_r2)
    zeros = np.zeros((4, n_sites))
    sites, ids = tuple(f"s{i}" for i in range(n_sites)), tuple("abcd")
    held_out = Recordings(zeros[..., None], ids, sites)
    made = evaluate(held_out, zeros, zeros, zeros, tuple("efgh"), n_bootstrap=1)
    cv_r2 = np.asarray(cv_r2, np.float64)
    r2 = cv_r2 if r2 is None else np.asarray(r2, np.float64)
    return dataclasses.replace(made, cv_r2=cv_r2, r2=r2)


def test_the_largest_median_wins_and_the_earlier_of_equals():
    table = {
        "layer1": evaluation([0.1, 0.2, 0.9], r2=[0.5, 0.5, 0.5]),
        "layer2": evaluation([0.3, 0.3, 0.3], r2=[0.1, 0.1, 0.1]),
        "layer3": evaluation([0.0, 0.3, 0.4], r2=[0.5, 0.5, 0.9]),
    }
    choice = choose_readout(table)
    assert (choice.readout, choice.policy) == ("layer2", "inner_cv")
    assert choice.scores == {"layer1": 0.2, "layer2": 0.3, "layer3": 0.3}
    assert "layer2" in str(choice)
    biased = choose_readout(table, "test_argmax")
    assert biased.readout == "layer1"
    assert biased.note == (
        "authors, biased: chosen on the held-out images that evaluate it"
    )
    per_site = choose_readouts_per_site(table)
    assert per_site.readouts == {"s0": "layer2", "s1": "layer2", "s2": "layer1"}
    assert not per_site.reasons
    per_site = choose_readouts_per_site(table, "test_argmax")
    assert per_site.readouts == {"s0": "layer1", "s1": "layer1", "s2": "layer3"}
    assert "biased" in per_site.note


def test_undefined_scores_are_said_and_never_ranked():
    nan = np.nan
    table = {
        "layer1": evaluation([nan, nan, nan]),
        "layer2": evaluation([0.1, nan, 0.1]),
        "layer3": evaluation([0.0, nan, 0.4]),
        "layer4": evaluation([0.9, nan, nan]),
    }
    choice = choose_readout(table)  # on s0, the one site that all ranked ones have
    assert choice.readout == "layer4"
    assert np.isnan(choice.scores["layer1"])
    assert "2 of 3 sites without an R2" in choice.note
    assert "not ranked, no R2: layer1" in choice.note
    per_site = choose_readouts_per_site(table)
    assert per_site.readouts == {"s0": "layer4", "s2": "layer3"}
    assert per_site.reasons == {"s1": "no R2 at any of 4 readouts"}
    assert "1 sites without a readout" in per_site.note
    with pytest.raises(InputError, match="no site has an R2"):
        choose_readout({"layer1": table["layer1"]})
    with pytest.raises(InputError, match="no site has an R2 for every one of 2"):
        choose_readout({"a": evaluation([0.1, nan]), "b": evaluation([nan, 0.1])})


@pytest.mark.parametrize(
    ("change", "policy", "message"),
    [
        ({}, "best", "policy: expected one of inner_cv, test_argmax, found 'best'"),
        (
            {"site_ids": ("s1", "s0")},
            "inner_cv",
            "'b' and 'a' differ in their site_ids",
        ),
        ({"test_ids": tuple("abce")}, "inner_cv", "differ in their test_ids"),
        ({"train_ids": ("x",)}, "inner_cv", "differ in their train_ids"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, policy, message):
    first = evaluation([0.1, 0.2])
    table = {"a": first, "b": dataclasses.replace(first, **change)}
    for choose in (choose_readout, choose_readouts_per_site):
        with pytest.raises(InputError, match=message):
            choose(table, policy)


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(InputError, match="at least one readout"):
        choose_readout({})


def noise_evaluations(rng, blank, n_readouts=20):
    """Least squares of pure-noise sites on noise features, with exact leave-one-out."""
    train = rng.standard_normal((N_TRAIN, len(blank.site_ids)))
    test = rng.standard_normal((N_TEST, len(blank.site_ids)))
    table = {}
    for readout in range(n_readouts):
        x, new = (rng.standard_normal((n, N_FEATURES)) for n in (N_TRAIN, N_TEST))
        inverse = np.linalg.pinv(x)
        weights, leverage = inverse @ train, np.sum(x * inverse.T, axis=1)
        residual = (train - x @ weights) / (1 - leverage)[:, None]
        table[f"layer{readout}"] = dataclasses.replace(
            blank,
            r=pearson(new @ weights, test),
            r2=r_squared(test, new @ weights),
            cv_r2=r_squared(train, train - residual),
        )
    return table


def test_choosing_on_test_images_is_biased_and_inner_cross_validation_is_not():
    rng = np.random.default_rng(0)
    blank = evaluation(np.zeros(3))
    found = {"inner_cv": [], "test_argmax": [], "fixed": []}
    for _ in range(60):
        table = noise_evaluations(rng, blank)
        for name, values in found.items():
            fixed = name == "fixed"
            chosen = "layer0" if fixed else choose_readout(table, name).readout
            values.append((table[chosen].r, table[chosen].r2))
    r, r2 = np.moveaxis([np.mean(v, axis=(0, 2)) for v in found.values()], 1, 0)
    # 180 values of r of SD 1 / sqrt(29): standard error .014, and nothing to predict.
    assert abs(r[0]) < 0.045
    assert r[1] > 0.1
    assert abs(r2[0] - r2[2]) < 0.06
    assert r2[1] > r2[2] + 0.05
