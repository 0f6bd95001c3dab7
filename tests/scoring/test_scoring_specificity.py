"""Driven against other sites: worlds in which the answer is known, and scipy."""

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import control_score, sign_flip_test
from paramctl_jax.scoring.specificity import specificity
from paramctl_jax.types import Recordings, Stimulus, StimulusSet

SITES, SEEDS, LEVELS = ("a", "b", "c"), ("i1", "i2", "i3", "i4"), 7


def stimulus(model, site, seed, level, predicted):
    name = f"{model}-{site}-{seed}-{'seed' if level is None else level}"
    return Stimulus(
        stimulus_id=name, filename=f"{name}.png", model=model, site=site, seed=seed,
        level=level, target=0.0, predicted=predicted, hit=True, sha256="sha256:00",
        start=0.0, reached=predicted, step=3, stop_reason="hit", relative_error=0.0,
        rms=0.1, linf=0.2, clipped=0.0,
    )  # fmt: skip


def make_set(directory, models=("m",), sites=SITES):
    return StimulusSet(
        directory,
        tuple(
            stimulus(model, site, seed, level, 0.1 * (level or 0) ** 1.5)
            for model in models
            for site in sites
            for seed in SEEDS
            for level in (None, *range(LEVELS))
        ),
    )


def record(stimuli, own, other, noise=0.5, sites=(*SITES, "spare"), seed=0):
    """The driven site responds with gain `own`, every other one with gain `other`."""
    rng = np.random.default_rng(seed)
    made = [stimuli.stimuli[i] for i in rng.permutation(len(stimuli))]
    gain = np.where(
        np.array([[s.site == site for site in sites] for s in made]), own, other
    )
    drive = np.array([s.predicted for s in made])
    trials = (gain * drive[:, None])[..., None]
    trials = trials + rng.normal(0, noise, (len(made), len(sites), 3))
    return Recordings(trials, tuple(s.stimulus_id for s in made), tuple(sites))


@pytest.fixture
def stimuli(tmp_path):
    return make_set(tmp_path)


def test_agrees_with_scipy(stimuli):
    responses = record(stimuli, own=1.0, other=0.4)
    (found,) = specificity(stimuli, responses, n_bootstrap=50)
    row = {name: i for i, name in enumerate(responses.stimulus_ids)}
    mean = responses.responses.mean(axis=2)
    r = np.empty((3, 4, 4))  # driven, seed, recorded
    for d, i, c in np.ndindex(r.shape):
        own = [
            s for s in stimuli.stimuli
            if (s.site, s.seed) == (SITES[d], SEEDS[i]) and s.level is not None
        ]  # fmt: skip
        y = [mean[row[s.stimulus_id], c] for s in own]
        r[d, i, c] = scipy.stats.pearsonr([s.predicted for s in own], y)[0]
    assert (found.driven, found.recorded) == (SITES, (*SITES, "spare"))
    np.testing.assert_allclose(found.control, r.mean(axis=1), atol=1e-12)
    target = np.mean([r[d, :, d].mean() for d in range(3)])
    others = np.mean([np.delete(r[d], d, axis=1).mean() for d in range(3)])
    np.testing.assert_allclose(found.target, target, atol=1e-12)
    np.testing.assert_allclose(found.others, others, atol=1e-12)
    np.testing.assert_allclose(found.difference, target - others, atol=1e-12)
    d = [r[k, :, k].mean() - np.delete(r[k], k, axis=1).mean() for k in range(3)]
    assert found.p_sites == sign_flip_test(np.array(d))[0]
    assert found.p_min_sites == 0.25
    assert found.notes == ()


def test_target_is_the_control_score(stimuli):
    responses = record(stimuli, own=1.0, other=0.4)
    (found,) = specificity(stimuli, responses, n_bootstrap=20)
    score = control_score(stimuli, responses, n_bootstrap=20).subjects[""]["m"]
    np.testing.assert_allclose(found.target, score.control_mean, atol=1e-12)


def test_stimuli_that_drive_one_site_are_told_from_those_that_drive_all(stimuli):
    (alone,) = specificity(stimuli, record(stimuli, own=2.0, other=0.0))
    assert alone.ci[0] > 0.4
    (together,) = specificity(stimuli, record(stimuli, own=2.0, other=2.0))
    assert together.ci[0] <= 0.0 <= together.ci[1]
    assert together.others > 0.8
    assert abs(together.difference) < 0.05


def test_models_are_scored_apart_whatever_their_order(tmp_path):
    stimuli = make_set(tmp_path, models=("m", "n"))
    responses = record(stimuli, own=1.0, other=0.3)
    both = specificity(stimuli, responses, n_bootstrap=100)
    turned = StimulusSet(tmp_path, stimuli.stimuli[::-1])
    backward = specificity(turned, responses, n_bootstrap=100)
    assert [one.model for one in both] == ["m", "n"]
    assert [one.model for one in backward] == ["n", "m"]
    alone = StimulusSet(tmp_path, tuple(s for s in stimuli.stimuli if s.model == "n"))
    (single,) = specificity(alone, responses, n_bootstrap=100)
    for one in (backward[0], single):
        np.testing.assert_allclose(one.control, both[1].control, atol=1e-12)
        np.testing.assert_allclose(one.ci, both[1].ci, atol=1e-12)


def test_sites_that_were_not_recorded_are_left_out_and_named(stimuli):
    responses = record(stimuli, 1.0, 0.2, sites=("c", "a", "spare"))
    (found,) = specificity(stimuli, responses, n_bootstrap=20)
    assert (found.driven, found.recorded) == (("a", "c"), ("a", "c", "spare"))
    assert any("1 of 3 driven sites" in note for note in found.notes)
    assert found.control[0, 0] > found.control[0, 1]


def test_one_site_alone_has_control_and_no_difference(tmp_path):
    stimuli = make_set(tmp_path, sites=("a",))
    responses = record(stimuli, 1.0, 0.0, sites=("a",))
    (found,) = specificity(stimuli, responses, n_bootstrap=20)
    assert found.target > 0.5
    assert np.isnan([found.others, found.difference, *found.ci, found.p_sites]).all()
    assert any("no site other" in note for note in found.notes)


def test_unrecorded_stimuli_are_counted(stimuli):
    whole = record(stimuli, 1.0, 0.2)
    gone = {s.stimulus_id for s in stimuli.stimuli if (s.site, s.seed) == ("b", "i2")}
    kept = [name for name in whole.stimulus_ids if name not in gone]
    (found,) = specificity(stimuli, whole.select_stimuli(kept), n_bootstrap=20)
    assert any("1 of 12 sweeps are left out" in note for note in found.notes)
    assert np.isfinite(found.control).all()
