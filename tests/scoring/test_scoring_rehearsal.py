"""Rehearsals against scores taken animal by animal, closed forms and known levels."""

import numpy as np
import pytest

from paramctl_jax.scoring import crossed_bootstrap, expected_control, score_table
from paramctl_jax.scoring.rehearsal import interval_limits, score_rehearsal
from paramctl_jax.scoring.rehearsal_summary import format_rehearsal, notes

LEVELS = np.linspace(-3, 5, 11)
N_BOOTSTRAP = 300


def experiment(
    gains, animals, *, shape=(6, 8), sd=2.0, repeats=(2,), spread=0.0, seed=0
):
    """Predictions, averages over nested repeats, and truth of linear sites."""
    rng = np.random.default_rng(seed)
    size = (len(gains), *shape, len(LEVELS))
    predicted = LEVELS + rng.normal(0, 0.05, size)
    gain = np.asarray(gains)[:, None, None, None] + rng.normal(
        0, spread, (*size[:-1], 1)
    )
    truth = gain * predicted
    noise = rng.normal(0, sd, (max(repeats), animals, *size))
    recorded = np.stack([truth + noise[:n].mean(axis=0) for n in repeats])
    return predicted, recorded, truth


def scored(predicted, recorded, truth, repeats=(2,), names="ab", **options):
    options = {"n_bootstrap": N_BOOTSTRAP, **options}
    return score_rehearsal(
        list(names), repeats, repeats[0], predicted, recorded, truth, **options
    )


def with_gaps(recorded):
    """A lost site, a lost seed, single missing points, too few levels, and nothing."""
    recorded = recorded.copy()
    recorded[:, 1, :, 2] = np.nan
    recorded[:, 2, 0, :, 3] = np.nan
    recorded[:, 3, 1, 0, 0, 4] = np.nan
    recorded[:, 4, 1, 1, 3, 2:] = np.nan
    recorded[:, 5, :, [0, 2]] = np.nan
    recorded[:, 6] = np.nan
    recorded[:, 7, 0] = np.nan
    return recorded


@pytest.mark.parametrize("own_stimuli", [False, True])
def test_every_animal_is_scored_as_score_table_scores_it(table_of, joined, own_stimuli):
    predicted, recorded, truth = experiment((0.4, 0.3), 9, shape=(3, 4), spread=0.1)
    recorded = with_gaps(recorded)
    if own_stimuli:
        shift = np.random.default_rng(1).normal(0, 0.3, (9, *predicted.shape))
        predicted, truth = predicted + shift, truth + shift
    found = scored(predicted, recorded, truth)
    pair = found.pairs[0]
    for animal, y in enumerate(recorded[0]):
        p = predicted[animal] if own_stimuli else predicted
        tables = [table_of(p[m], y[m], model=name) for m, name in enumerate("ab")]
        score = score_table(joined(*tables), n_bootstrap=N_BOOTSTRAP)
        by_hand, ours = [], []
        for model in found.models:
            one = score.subjects[""][model.name]
            by_hand += [one.control_mean, one.overall("within_slope")]
            ours += [model.control[0, animal], model.slope[0, animal]]
        one = score.comparisons[0]
        by_hand += [one.difference, *one.ci, one.p_seeds, one.p_sites]
        ours += [pair.difference[0, animal], *pair.ci[0, animal]]
        ours += [pair.p_seeds[0, animal], pair.p_sites[0, animal]]
        np.testing.assert_allclose(ours, by_hand, rtol=0, atol=1e-12)
    assert (pair.power[0].p_min_seeds, pair.power[0].p_min_sites) == (
        2 / 2**4,
        2 / 2**3,
    )
    assert found.n_incomplete == 6  # a missing point leaves its sweep an r


def test_intervals_of_gaps_that_no_row_or_column_holds():
    d = np.random.default_rng(0).normal(0.2, 1, (6, 5, 7))
    d[1, 2, 3] = d[3, 0] = d[4, :, 1] = d[5, 1:] = np.nan
    d[0] = np.nan
    alone = [crossed_bootstrap(one, 200, 3, 0.9) for one in d]
    np.testing.assert_allclose(interval_limits(d, 200, 3, 0.9), alone, atol=1e-12)


def test_noise_alone_is_called_as_often_as_alpha_says():
    """Of 8 units, 2 x 6 of 2^8 sign patterns have p <= .05: level 12/256."""
    n, level = 1500, 12 / 256
    predicted, recorded, truth = experiment((0.0, 0.0), n, shape=(8, 8), seed=3)
    power = scored(predicted, recorded, truth).pairs[0].power[0]
    error = np.sqrt(level * (1 - level) / n)
    assert abs(power.by_seeds - level) < 4 * error
    assert abs(power.by_sites - level) < 4 * error
    assert power.by_interval < 0.05  # noise is resampled twice: too wide
    assert abs(power.difference) < 0.01


def test_two_models_with_one_stimulus_set_and_answer_never_differ():
    predicted, recorded, truth = experiment((0.4,), 20)
    twice = (np.concatenate([predicted, predicted]), recorded[:, :, [0, 0]])
    pair = scored(*twice, np.concatenate([truth, truth])).pairs[0]
    assert (pair.difference == 0).all()
    assert (pair.p_seeds == 1).all()
    power = pair.power[0]
    assert (power.by_seeds, power.by_sites, power.by_interval) == (0, 0, 0)
    assert set(pair.enough.values()) == {None}


def test_control_follows_the_attenuation_formula():
    repeats = (1, 4, 16)
    predicted, recorded, truth = experiment((0.5, 0.2), 40, repeats=repeats)
    found = scored(predicted, recorded, truth, repeats, n_bootstrap=20)
    for model, gain in zip(found.models, (0.5, 0.2), strict=True):
        np.testing.assert_allclose(model.true_control, 1, atol=1e-12)
        np.testing.assert_allclose(model.true_slope, gain, atol=1e-12)
        for spread, n in zip(model.control_spread, repeats, strict=True):
            expected = expected_control(gain, LEVELS.std(), 2.0, n)
            assert abs(spread.median - expected) < 0.03
            assert spread.low < spread.median < spread.high
        for spread in model.slope_spread:
            assert abs(spread.median - gain) < 0.02
    assert found.models[0].true_control.shape == (40,)


def test_repeats_buy_power_and_the_fewest_that_suffice_are_named():
    repeats = (1, 2, 4, 8)
    predicted, recorded, truth = experiment(
        (0.4, 0.25), 60, repeats=repeats, shape=(5, 8), sd=2.5
    )
    pair = scored(predicted, recorded, truth, repeats).pairs[0]
    power = [one.by_seeds for one in pair.power]
    assert power[0] < 0.8 <= power[-1]
    reached = [n for n, share in zip(repeats, power, strict=True) if share >= 0.8]
    assert pair.enough["seeds"] == reached[0]
    assert pair.enough["sites"] is None  # five sites: p is .0625 or more
    assert [one.by_sites for one in pair.power] == [0.0] * 4
    assert pair.power[0].p_min_sites == 0.0625


def test_an_animal_without_a_site_shows_nothing_and_leaves_the_others_alone():
    predicted, recorded, truth = experiment((0.9, 0.1), 20, sd=1.0)
    whole = scored(predicted, recorded, truth)
    recorded[:, :5] = np.nan
    found = scored(predicted, recorded, truth)
    assert whole.pairs[0].power[0].by_seeds == 1
    assert found.pairs[0].power[0].by_seeds == 0.75
    np.testing.assert_array_equal(
        found.models[0].control[:, 5:], whole.models[0].control[:, 5:]
    )
    assert np.isfinite(found.models[0].control_spread[0].median)
    assert found.n_incomplete == 5
    assert any("5 of 20 animals lack sweeps" in note for note in notes(found))


def test_one_model_has_a_distribution_and_no_pairs():
    predicted, recorded, truth = experiment((0.4,), 5)
    found = scored(predicted, recorded, truth, names="a")
    assert found.pairs == ()
    text = format_rehearsal(found)
    assert "power" not in text.split("notes")[0]
    assert f"{found.models[0].control_spread[0].median:.3f}" in text


def test_equal_input_gives_equal_records():
    arrays = experiment((0.4, 0.3), 6)
    first, second = (scored(*arrays) for _ in range(2))
    np.testing.assert_array_equal(first.pairs[0].ci, second.pairs[0].ci)
    assert first.pairs[0].power == second.pairs[0].power


def test_the_table_says_what_the_record_says():
    repeats = (2, 4)
    arrays = experiment((0.6, 0.3, 0.2), 30, repeats=repeats, shape=(5, 8))
    found = scored(*arrays, repeats, names="abc")
    lines = format_rehearsal(found).splitlines()
    assert lines[0] == (
        "rehearsal: 30 animals, 5 sites x 8 seed images x 11 levels per model"
    )
    spread = found.models[1].control_spread[0]
    (row,) = [line for line in lines if line.startswith("b  ")]
    assert row.split()[1:4] == [
        f"{spread.median:.3f}", f"[{spread.low:.3f},", f"{spread.high:.3f}]"
    ]  # fmt: skip
    start = lines.index(next(line for line in lines if line.startswith("power at")))
    table = lines[start + 1 : start + 2 + 9]
    assert len({len(line) for line in table}) == 1  # aligned
    assert table[0].split() == ["a", "-", "b", "2", "4", "enough"]
    power, enough = found.pairs[0].power, found.pairs[0].enough["seeds"]
    shares = [f"{one.by_seeds:.2f}" for one in power]
    assert table[1].split()[-3:] == [*shares, "none" if enough is None else str(enough)]
    assert "(0.00781)" in table[1]
    said = "\n".join(lines[lines.index("notes") :])
    assert "fixed fit" in said
    assert "p over sites cannot reach 0.05 with 5 sites (smallest 0.0625)" in said
    assert "p over seeds cannot" not in said
    assert max(len(line) for line in lines[lines.index("notes") :]) <= 88
