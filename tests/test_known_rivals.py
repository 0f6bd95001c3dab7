"""K4 and K13 with networks: two backbones fitted to the responses of one subject.

A reads the subject's own network, B another one of the same architecture and other
random weights.
"""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from paramctl_jax.backbones import random_backbone, registry
from paramctl_jax.backbones.families import resnet
from paramctl_jax.encoding import fit_encoding, target_levels
from paramctl_jax.scoring import choice_score, control_score, natural_sd
from paramctl_jax.stimuli import save_controversial, save_stimuli, stimulus_images
from paramctl_jax.subject import linear_subject, subject_of_model
from paramctl_jax.subject.noise import trial_noise
from paramctl_jax.synthesis import accentuate, controversial
from paramctl_jax.types import Recordings

pytestmark = pytest.mark.slow

READOUT, QUIET = "layer3.0", {"progress": False}
NOISE = 5.0  # SD of a trial in natural SDs of the truth; four trials: 2.5


@pytest.fixture(scope="module")
def world(tiny_backbone, photographs):
    """Subject, seed images, all others, models A and B fitted to the same trials."""
    build = partial(resnet.small_resnet, width=8, classes=10, residual_scale=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.REGISTRY, "B", registry.Spec(build, input_size=32))
        other = random_backbone("B", jax.random.key(9), through="layer3")
    seeds = photographs.select(photographs.stimulus_ids[::25][:8])
    natural = photographs.drop(seeds)
    subject = linear_subject(
        tiny_backbone,
        photographs,
        READOUT,
        n_sites=2,
        components=12,
        ncsnr=(1.5, 2.0),
        key=jax.random.key(1),
        **QUIET,
    )
    day1 = subject.record(natural, 5, jax.random.key(2), "day1", **QUIET)
    models = tuple(
        fit_encoding(
            dataclasses.replace(backbone, name=name),
            natural,
            day1,
            READOUT,
            components=60,
            key=jax.random.key(3),
            **QUIET,
        )
        for name, backbone in (("A", tiny_backbone), ("B", other))
    )
    return subject, seeds, natural, day1, models


@pytest.fixture(scope="module")
def shown(world, tmp_path_factory):
    _, seeds, _, day1, models = world
    levels = target_levels(day1, count=5)
    sweeps = [
        accentuate(model, seeds, levels, key=jax.random.key(4), slots=8, **QUIET)
        for model in models
    ]
    return save_stimuli(tmp_path_factory.mktemp("shown"), sweeps, **QUIET)


def test_k4_the_subjects_own_backbone_controls_better_than_another(world, shown):
    """Both hit their levels; the noise-free gains differ, and with noise so does r."""
    subject = world[0]
    assert np.mean([s.hit for s in shown.stimuli]) == 1
    images = stimulus_images(shown)
    truth = Recordings(
        subject.truth(images)[..., None], images.stimulus_ids, subject.site_ids
    )
    clean = control_score(shown, truth, n_bootstrap=1000)
    for site in subject.site_ids:
        own, other = (clean.subjects[""][m].sites[site] for m in "AB")
        assert own.r.min() > 0.95
        assert own.control > other.control
        assert own.slope - other.slope > 0.2
    (pair,) = clean.comparisons
    assert pair.ci[0] > 0
    assert pair.p_seeds == pair.p_min_seeds == 2 / 2**8
    differences = []
    for session in range(8):
        noise = trial_noise(jax.random.key(5), session, images.stimulus_ids, 2, 4)
        day2 = dataclasses.replace(truth, responses=truth.responses + NOISE * noise)
        score = control_score(shown, day2, n_bootstrap=10)
        differences.append(score.comparisons[0].difference)
    assert np.mean(differences) > 3 * np.std(differences, ddof=1) / np.sqrt(8) > 0


@pytest.fixture(scope="module")
def contest(world, tmp_path_factory):
    """Both models at the same commitment: one up 1 SD, the other down 1 SD."""
    _, seeds, natural, _, models = world
    sweep = controversial(
        models,
        seeds.select(seeds.stimulus_ids[:4]),
        natural,
        key=jax.random.key(6),
        levels=(1.0,),
        contest="joint",
        learning_rate=0.1,
        **QUIET,
    )
    assert (sweep.stop_reason == "hit").all()
    folder = tmp_path_factory.mktemp("contest")
    return sweep, save_controversial(folder, sweep, **QUIET)


@pytest.mark.parametrize(("share", "kappa"), [(1.0, 1.0), (0.0, -1.0), (0.5, 0.0)])
def test_k13_kappa_is_the_joint_level_for_whom_the_subject_is(
    world, contest, share, kappa
):
    """z-scored on natural images; the contest's tolerance is .02."""
    natural, models = world[2], world[-1]
    sweep, stimuli = contest

    def responses(images):
        said = [subject_of_model(model).truth(images) for model in models]
        z = (np.stack(said) - sweep.center[:, None]) / sweep.scale[:, None]
        mixed = share * z[0] + (1 - share) * z[1]
        return Recordings(mixed[..., None], images.stimulus_ids, sweep.site_ids)

    day2 = responses(stimulus_images(stimuli))
    ones = dict.fromkeys(sweep.site_ids, 1.0)
    score = choice_score(stimuli, day2, "A", "B", scale=ones)
    for site in score.sites.values():
        assert site.kappa == pytest.approx(kappa, abs=0.025)
        if kappa:
            assert np.sign([site.r_a, site.r_b]).tolist() == [kappa, -kappa]
            assert abs(site.r_a) > 0.99
    if share in (0.0, 1.0):  # in natural SDs, as a rig would have it
        scale = natural_sd(responses(natural))
        assert list(scale.values()) == pytest.approx([1, 1], abs=0.05)
