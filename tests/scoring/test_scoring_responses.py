"""Stimulus set and recordings joined by id, scored, saved and scored again."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import (
    control_score,
    control_table,
    read_table,
    score_table,
    scores_to_json,
    write_table,
)
from paramctl_jax.types import InputError, Recordings, Stimulus, StimulusSet

SITES, SEEDS, LEVELS = ("007", "V4 12"), ("cat", "dog", "owl"), 5


def stimulus(model, site, seed, level, predicted):
    name = f"{model}-{site}-{seed}-{'seed' if level is None else level}".replace(
        " ", ""
    )
    return Stimulus(
        stimulus_id=name,
        filename=f"{name}.png",
        model=model,
        site=site,
        seed=seed,
        level=level,
        target=99.0 - predicted**2,  # far from predicted: must never enter a score
        predicted=predicted,
        hit=False,
        sha256="sha256:00",
        start=0.0,
        reached=predicted,
        step=3,
        stop_reason="max_steps",
        relative_error=1.0,
        rms=0.1,
        linf=0.2,
        clipped=0.0,
    )


@pytest.fixture
def stimuli(tmp_path):
    rng = np.random.default_rng(0)
    made = [
        stimulus(model, site, seed, level, float(rng.normal(level or 0.0, 0.2)))
        for model in ("a", "b")
        for site in SITES
        for seed in SEEDS
        for level in (None, *range(LEVELS))
    ]
    return StimulusSet(tmp_path, tuple(made))


@pytest.fixture
def responses(stimuli):
    """Stimuli in another order, an unused site between, up to three repeats."""
    rng = np.random.default_rng(1)
    order = rng.permutation(len(stimuli))
    ids = tuple(stimuli.stimuli[i].stimulus_id for i in order)
    predicted = np.array([stimuli.stimuli[i].predicted for i in order])
    signal = predicted[:, None, None] * np.array([0.5, 0.0, -0.2])[:, None]
    trials = signal + rng.normal(0, 0.4, (len(ids), 3, 3))
    trials[rng.random(trials.shape) < 0.2] = np.nan
    trials[..., 0] = np.where(np.isnan(trials).all(-1), 0.1, trials[..., 0])
    return Recordings(trials, ids, (SITES[0], "unused", SITES[1]))


def r_by_hand(stimuli, responses, model, site, seed, with_seed):
    predicted, recorded = [], []
    for one in stimuli.stimuli:
        if (one.model, one.site, one.seed) == (model, site, seed):
            if one.level is None and not with_seed:
                continue
            image = responses.stimulus_ids.index(one.stimulus_id)
            column = responses.site_ids.index(site)
            predicted.append(one.predicted)
            recorded.append(np.nanmean(responses.responses[image, column]))
    return scipy.stats.pearsonr(predicted, recorded).statistic


@pytest.mark.parametrize("include_seed", [False, True])
def test_score_of_the_target_site_against_predicted(stimuli, responses, include_seed):
    score = control_score(stimuli, responses, include_seed, n_bootstrap=100)
    for model in ("a", "b"):
        for site in SITES:
            expected = [
                r_by_hand(stimuli, responses, model, site, seed, include_seed)
                for seed in SEEDS
            ]
            got = score.subjects[""][model].sites[site]
            np.testing.assert_allclose(got.r, expected, atol=1e-13)
            assert got.seeds == SEEDS
    n_levels = LEVELS + include_seed
    assert score.subjects[""]["a"].n_rows == 2 * 3 * n_levels
    assert score.subjects[""]["a"].sites["007"].control > 0.7
    assert score.subjects[""]["a"].sites["V4 12"].control < 0
    assert len(score.notes) == include_seed  # the seeds' empty level is stated


def test_table_counts_the_valid_repeats(stimuli, responses):
    table = control_table(stimuli, responses, subject="paul")
    assert set(table.subject) == {"paul"}
    one = next(s for s in stimuli.stimuli if s.level == 2)
    row = table.predicted.tolist().index(one.predicted)
    trials = responses.responses[responses.stimulus_ids.index(one.stimulus_id), 0]
    assert table.n_repeats[row] == np.isfinite(trials).sum()
    np.testing.assert_allclose(table.recorded[row], np.nanmean(trials), atol=1e-15)


def some_missing(stimuli, responses):
    """The recordings without the first 4 accentuated stimuli, with two unknown ones."""
    gone = [s.stimulus_id for s in stimuli.stimuli if s.level is not None][:4]
    kept = [name for name in responses.stimulus_ids if name not in gone]
    fewer = responses.select_stimuli(kept)
    more = np.concatenate([fewer.responses, fewer.responses[:2]])
    ids = (*fewer.stimulus_ids, "grey", "anchor")
    return dataclasses.replace(fewer, responses=more, stimulus_ids=ids)


def test_missing_and_extra_stimuli_are_counted_and_noted(stimuli, responses):
    score = control_score(stimuli, some_missing(stimuli, responses), n_bootstrap=100)
    notes = " / ".join(score.notes)
    assert "4 of 72 stimuli were not recorded" in notes
    assert "2 recorded stimuli are not in the stimulus set" in notes
    assert "['grey', 'anchor']" in notes
    assert "a: 4 of 30 points left out" in notes
    assert "a: 1 of 6 sweeps have no r (fewer than 3 valid levels)" in notes
    model = score.subjects[""]["a"]
    assert (model.n_rows, model.n_seeds_used) == (30, 5)
    assert np.isnan(model.sites["007"].r[0])


@pytest.mark.parametrize("incomplete", [False, True])
def test_saved_table_gives_the_same_score(stimuli, responses, incomplete, tmp_path):
    if incomplete:
        responses = some_missing(stimuli, responses)
    direct = scores_to_json(control_score(stimuli, responses))
    write_table(tmp_path / "t.csv", control_table(stimuli, responses))
    saved = scores_to_json(score_table(read_table(tmp_path / "t.csv")))
    assert saved["subjects"] == direct["subjects"]
    assert saved["comparisons"] == direct["comparisons"]


def test_a_target_site_that_was_not_recorded_is_noted(stimuli, responses):
    score = control_score(stimuli, responses.select_sites(["007"]), n_bootstrap=100)
    assert score.subjects[""]["a"].n_sites == 1
    assert np.isnan(score.subjects[""]["a"].sites["V4 12"].control)
    notes = " / ".join(score.notes)
    assert "1 target sites were not recorded" in notes
    assert "1 of 2 sites have no control score" in notes


def test_nothing_in_common_is_refused(stimuli, responses):
    renamed = tuple(f"x{name}" for name in responses.stimulus_ids)
    others = dataclasses.replace(responses, stimulus_ids=renamed)
    with pytest.raises(InputError, match="stimulus ids that were recorded, found none"):
        control_score(stimuli, others)
    with pytest.raises(InputError, match="target sites that were recorded, found none"):
        control_score(stimuli, responses.select_sites(["unused"]))
    seeds_only = tuple(s for s in stimuli.stimuli if s.level is None)
    with pytest.raises(InputError, match="found none to score"):
        control_score(dataclasses.replace(stimuli, stimuli=seeds_only), responses)
