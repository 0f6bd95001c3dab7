"""Stimulus set and recordings joined by id, scored, saved and scored again."""

import dataclasses
import statistics

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
from paramctl_jax.scoring.responses import join_notes
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
    trials[:, 1] = 0.3  # so that every repeat was shown
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


def renamed(responses, name_of):
    """The recordings under other names."""
    names = tuple(name_of(name) for name in responses.stimulus_ids)
    return dataclasses.replace(responses, stimulus_ids=names)


@pytest.mark.parametrize(
    "name_of",
    [
        lambda name: f"{name}.png",
        lambda name: f"{name}.PNG",
        lambda name: f"stimuli/{name}.png",
        lambda name: f"D:\\rig\\day2\\{name}.Jpg",
        lambda name: f"day2/{name}",
        lambda name: f"day2/{name}.bmp" if name[-1] == "4" else name,
    ],
)
def test_file_names_are_joined_as_ids_are(stimuli, responses, name_of):
    expected = control_table(stimuli, responses, include_seed=True)
    named = renamed(responses, name_of)
    table = control_table(stimuli, named, include_seed=True)
    for field in dataclasses.fields(table):
        np.testing.assert_array_equal(
            getattr(table, field.name), getattr(expected, field.name)
        )
    count = len(set(named.stimulus_ids) - set(responses.stimulus_ids))
    assert join_notes(stimuli, named) == (
        f"{count} recorded stimuli were matched by their file names, first "
        f"{[n for n in named.stimulus_ids if n not in responses.stimulus_ids][:3]}",
    )


def test_a_file_name_that_differs_from_the_id_is_known(stimuli, responses):
    files = {s.stimulus_id: f"im_{n}" for n, s in enumerate(stimuli.stimuli)}
    other = StimulusSet(
        stimuli.directory,
        tuple(
            dataclasses.replace(s, filename=f"{files[s.stimulus_id]}.png")
            for s in stimuli.stimuli
        ),
    )
    table = control_table(other, renamed(responses, files.__getitem__))
    expected = control_table(stimuli, responses)
    np.testing.assert_array_equal(table.recorded, expected.recorded)


def test_stems_with_a_point_are_whole(stimuli, responses):
    """Only the endings of image files are endings: ``level_0.5`` is no ``level_0``."""
    named = renamed(responses, lambda name: f"{name}.5")
    with pytest.raises(InputError, match="none in common"):
        control_table(stimuli, named)


def with_row(responses, name, value):
    row = np.full((1, *responses.responses.shape[1:]), value)
    return dataclasses.replace(
        responses,
        responses=np.concatenate([responses.responses, row]),
        stimulus_ids=(*responses.stimulus_ids, name),
    )


def test_an_id_comes_before_a_file_name(stimuli, responses):
    one = next(s for s in stimuli.stimuli if s.level is not None)
    both = with_row(responses, f"{one.stimulus_id}.png", 1e6)
    table = control_table(stimuli, both)
    expected = control_table(stimuli, responses)
    np.testing.assert_array_equal(table.recorded, expected.recorded)
    (note,) = join_notes(stimuli, both)
    assert note.startswith("1 file names of stimuli recorded under their ids as well")
    assert f"{one.stimulus_id}.png" in note


def test_one_stimulus_under_two_file_names_is_refused(stimuli, responses):
    one = stimuli.stimuli[3].stimulus_id
    named = renamed(responses, lambda n: f"a/{n}.png" if n == one else n)
    both = with_row(named, f"b/{one}.png", 0.0)
    message = f"found 1 stimuli under several, first '{one}' under .'a/{one}.png', 'b/"
    with pytest.raises(InputError, match=message):
        control_table(stimuli, both)


def test_a_file_name_of_two_stimuli_is_refused(stimuli, responses):
    first, second = stimuli.stimuli[1:3]
    changed = dataclasses.replace(second, filename=f"{first.stimulus_id}.jpg")
    both = StimulusSet(stimuli.directory, (first, changed))
    named = renamed(
        responses.select_stimuli([first.stimulus_id]), lambda n: f"day2/{n}.jpg"
    )
    with pytest.raises(InputError, match="expected the name of one stimulus, found"):
        control_table(both, named)


def test_seed_images_recorded_under_their_own_ids(stimuli, responses):
    seeds = [s.stimulus_id for s in stimuli.stimuli if s.level is None]
    kept = [name for name in responses.stimulus_ids if name not in seeds]
    fewer = responses.select_stimuli(kept)
    for value, seed in enumerate(SEEDS):
        fewer = with_row(fewer, f"natural/{seed}.png" if value else seed, float(value))
    table = control_table(stimuli, fewer, include_seed=True)
    levels = np.array(table.level)
    by_seed = dict(zip(SEEDS, (0.0, np.nan, np.nan), strict=True))
    for n in np.flatnonzero(levels == ""):
        np.testing.assert_array_equal(table.recorded[n], by_seed[table.seed[n]])
    notes = " / ".join(join_notes(stimuli, fewer))
    assert "4 un-accentuated seeds have the responses to their seed images" in notes
    assert f"8 of {len(stimuli)} stimuli were not recorded" in notes
    assert "2 recorded stimuli are not in the stimulus set" in notes


def test_stimuli_with_other_numbers_of_repeats_are_told(stimuli, responses):
    trials = np.array(responses.responses)
    trials[2, :, 1:] = np.nan
    trials[7, :, 2:] = np.nan
    fewer = dataclasses.replace(responses, responses=trials)
    (note,) = join_notes(stimuli, fewer)
    ids = [s.stimulus_id for s in stimuli.stimuli]
    first = sorted((responses.stimulus_ids[n] for n in (2, 7)), key=ids.index)
    assert note == (
        f"2 of {len(stimuli)} recorded stimuli have fewer repeats (1, 2) than most "
        f"(3), first {first}"
    )


def test_more_repeats_are_told(stimuli, responses):
    trials = np.concatenate(
        [responses.responses, responses.responses[..., :1]], axis=-1
    )
    trials[1:, :, 3] = np.nan
    (note,) = join_notes(stimuli, dataclasses.replace(responses, responses=trials))
    assert f"1 of {len(stimuli)} recorded stimuli have more repeats (4)" in note


def test_targets_floors_and_the_sd_of_repeats(stimuli, responses):
    floor = {"floor": np.array([-1.5, 0.0, -2.5])}
    table = control_table(stimuli, dataclasses.replace(responses, site_meta=floor))
    shown = [s for s in stimuli.stimuli if s.level is not None]
    assert table.target.tolist() == [s.target for s in shown]
    for n, one in enumerate(shown):
        column = responses.site_ids.index(one.site)
        trials = responses.responses[
            responses.stimulus_ids.index(one.stimulus_id), column
        ]
        valid = trials[np.isfinite(trials)]
        sd = statistics.stdev(valid) if len(valid) > 1 else np.nan
        np.testing.assert_allclose(table.recorded_sd[n], sd, atol=1e-14)
        assert table.floor[n] == floor["floor"][column]
    assert np.isnan(table.recorded_sd).sum() == (table.n_repeats < 2).sum() > 0
    assert np.isnan(control_table(stimuli, responses).floor).all()
