"""Known answers of the whole loop: what must come out when the truth is known.

One sweep on a tiny network serves all: K1 shows it to a subject that *is* the fitted
model, K3 to the subject whose noisy recordings were fitted, K9 shows the seed images
alone, K16 looks at step 0.
"""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from paramctl_jax.encoding import fit_encoding, predict, target_levels
from paramctl_jax.images import read_image
from paramctl_jax.scoring import control_score, control_table, score_table
from paramctl_jax.stimuli import load_stimuli, save_stimuli, stimulus_images
from paramctl_jax.subject import linear_subject, subject_of_model
from paramctl_jax.synthesis import accentuate
from paramctl_jax.types import Recordings

SEEDS = ("elephant_0006", "lotus_0005", "rooster_0003")


@pytest.fixture(scope="module")
def loop(tiny_backbone, photographs, tmp_path_factory):
    """Subject, model and stimulus set of one small experiment."""
    seeds = photographs.select(SEEDS)
    natural = photographs.drop(seeds)
    subject = linear_subject(
        tiny_backbone,
        photographs,
        "layer3.0",
        n_sites=2,
        components=12,
        ncsnr=(1.5, 2.0),
        key=jax.random.key(1),
        progress=False,
    )
    day1 = subject.record(natural, 5, jax.random.key(2), "day1", progress=False)
    model = fit_encoding(
        tiny_backbone,
        natural,
        day1,
        "layer3.0",
        components=60,
        key=jax.random.key(3),
        progress=False,
    )
    levels = target_levels(day1, count=5)
    sweep = accentuate(
        model, seeds, levels, key=jax.random.key(4), slots=4, progress=False
    )
    folder = tmp_path_factory.mktemp("loop") / "stimuli"
    return subject, model, sweep, save_stimuli(folder, [sweep], progress=False)


def noise_free(subject, stimuli) -> Recordings:
    images = stimulus_images(stimuli)
    return Recordings(
        subject.truth(images)[:, :, None], images.stimulus_ids, subject.site_ids
    )


def test_every_lane_hits(loop):
    _, _, sweep, stimuli = loop
    lanes = [s for s in stimuli.stimuli if s.level is not None]
    assert len(lanes) == 2 * 3 * 5
    assert sweep.hit.all()
    assert max(s.relative_error for s in lanes) <= 0.006


def test_k1_a_subject_that_is_the_model_is_controlled_perfectly(loop):
    _, model, _, stimuli = loop
    recorded = noise_free(subject_of_model(model), stimuli)
    score = control_score(stimuli, recorded).subjects[""][model.name]
    for site in score.sites.values():
        assert site.r.min() > 0.9999
        assert site.slope == pytest.approx(1, abs=0.01)
    table = control_table(stimuli, recorded)
    residual = np.sum((table.recorded - table.predicted) ** 2)
    assert 1 - residual / np.sum((table.recorded - table.recorded.mean()) ** 2) > 0.999


def test_k3_a_refit_controls_the_true_subject(loop):
    subject, model, _, stimuli = loop
    score = control_score(stimuli, noise_free(subject, stimuli))
    for site in score.subjects[""][model.name].sites.values():
        assert site.r.min() > 0.95
        assert 0.7 < site.slope < 1.15


def test_k9_seed_images_alone_have_no_score(loop):
    """The achieved prediction is constant: no r, counted, not zero."""
    subject, model, sweep, _ = loop
    shown = np.broadcast_to(
        sweep.seeds.pixels[None, :, None], sweep.images.shape
    )  # every level shows the seed
    unmoved = dataclasses.replace(sweep, images=np.ascontiguousarray(shown))
    _, _, _, stimuli = loop
    folder = stimuli.directory.parent / "unmoved"
    save_stimuli(folder, [unmoved], progress=False)
    stimuli = load_stimuli(folder)
    recorded = subject.record(
        stimulus_images(stimuli), 3, jax.random.key(5), "day2", progress=False
    )
    score = control_score(stimuli, recorded)
    model_score = score.subjects[""][model.name]
    assert np.isnan(model_score.control_mean)
    assert model_score.n_seeds_used == 0
    assert all(np.isnan(site.r).all() for site in model_score.sites.values())
    assert score.notes


def test_k9_the_target_does_not_leak_into_the_score(loop):
    """With the nominal level as x, noise around constant images stays in the null."""
    subject, _, sweep, stimuli = loop
    table = control_table(stimuli, noise_free(subject, stimuli))
    levels = np.asarray([float(level) for level in table.level])
    controls = []
    for draw in range(100):
        noise = np.random.default_rng(draw).normal(size=len(levels))
        nominal = dataclasses.replace(table, predicted=levels, recorded=noise)
        score = score_table(nominal, n_bootstrap=1).subjects[""]
        controls.append(next(iter(score.values())).control_mean)
    n_sweeps = sweep.hit.shape[0] * sweep.hit.shape[1]
    expected = 1 / np.sqrt(n_sweeps * (sweep.hit.shape[2] - 1))
    assert abs(np.mean(controls)) < 4 * expected / np.sqrt(100)
    assert np.std(controls) == pytest.approx(expected, rel=0.25)


def test_k16_step_zero_is_the_seed_exactly(loop):
    _, model, sweep, stimuli = loop
    rows = [s for s in stimuli.stimuli if s.level is None]
    assert len(rows) == 2 * 3
    for row in rows:
        seed = sweep.seeds.select([row.seed])
        saved = read_image(stimuli.directory / row.filename)
        np.testing.assert_array_equal(saved, seed.pixels[0])
        clean = predict(model, seed)[0, model.site_ids.index(row.site)]
        assert row.start == pytest.approx(clean, abs=1e-4)
        assert row.predicted == pytest.approx(clean, abs=1e-6)


def test_a_target_at_the_start_returns_the_seed(loop):
    """A lane that starts on target ends at step 0 with the seed's own bytes."""
    _, model, sweep, _ = loop
    start = sweep.start[:, :1]
    again = accentuate(
        model,
        sweep.seeds,
        np.concatenate([start, start + 0.5], axis=1),
        key=jax.random.key(4),
        slots=4,
        progress=False,
    )
    assert again.step[:, 0, 0].tolist() == [0, 0]
    assert again.hit.all()
    for site in range(2):
        np.testing.assert_array_equal(again.images[site, 0, 0], sweep.seeds.pixels[0])


def test_scores_agree_with_scipy(loop):
    subject, model, _, stimuli = loop
    recorded = noise_free(subject, stimuli)
    score = control_score(stimuli, recorded).subjects[""][model.name]
    site = model.site_ids[0]
    rows = [
        s
        for s in stimuli.stimuli
        if (s.site, s.seed) == (site, SEEDS[0]) and s.level is not None
    ]
    row = {name: i for i, name in enumerate(recorded.stimulus_ids)}
    responses = [recorded.responses[row[s.stimulus_id], 0, 0] for s in rows]
    expected = stats.pearsonr([s.predicted for s in rows], responses).statistic
    assert score.sites[site].r[score.sites[site].seeds.index(SEEDS[0])] == (
        pytest.approx(expected, abs=1e-12)
    )
