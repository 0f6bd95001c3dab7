"""Controversial pairs in a linear world, where what a subject says is known (L0).

An image is a vector x, a model ``f(x) = w . x``, a natural image a draw of white noise;
images reach joint targets of two models by the smallest possible change.
"""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from paramctl_jax.scoring import crossed_bootstrap, ols_slope, sign_flip_test
from paramctl_jax.scoring.choice import choice_score, natural_sd
from paramctl_jax.types import (
    ControversialSet,
    ControversialStimulus,
    InputError,
    Recordings,
)

SITES, SEEDS, PIXELS = ("07", "V4_9", "V4_12", "b"), ("cat", "dog", "owl"), 40


def least_norm(x, axes, targets):
    """The image nearest to x at which every ``axis . image`` is its target."""
    return x + np.linalg.pinv(axes) @ (targets - axes @ x)


class World:
    """Two models' axes per site, natural images, and a set with joint targets."""

    def __init__(self, directory, levels=(2.0,), seed=0):
        rng = np.random.default_rng(seed)
        self.axes = rng.normal(size=(len(SITES), 2, PIXELS))
        self.natural = rng.normal(size=(200, PIXELS))
        said = np.einsum("smp,np->nsm", self.axes, self.natural)
        self.sd = said.std(axis=0)  # [site, model]
        self.images = {}
        made = []
        starts = rng.normal(size=(len(SEEDS), PIXELS))
        for s, i in np.ndindex(len(SITES), len(SEEDS)):
            made.append(self.stimulus(s, i, "", 0.0, starts[i]))
            for level in levels:
                for high, signs in (("A", (1, -1)), ("B", (-1, 1))):
                    targets = level * np.array(signs) * self.sd[s]
                    x = least_norm(starts[i], self.axes[s], targets)
                    made.append(self.stimulus(s, i, high, level, x))
        self.set = ControversialSet(directory, ("A", "B"), tuple(made))

    def stimulus(self, s, i, high, level, x):
        name = f"c-{SITES[s]}-{SEEDS[i]}-{high or 'seed'}-{level:g}"
        self.images[name] = x
        f = self.axes[s] @ x
        z = f / self.sd[s]
        return ControversialStimulus(
            stimulus_id=name, filename=f"{name}.png", high=high, site=SITES[s],
            seed=SEEDS[i], level=level, predicted={"A": float(f[0]), "B": float(f[1])},
            z={"A": float(z[0]), "B": float(z[1])}, controversiality=level,
            accepted=True, selected=True, sha256="sha256:00", rms=0.1, step=1,
        )  # fmt: skip

    def record(self, share_of_a, noise=0.0, repeats=2, seed=3):
        """A subject that is ``share z_A + (1 - share) z_B`` at every site."""
        rng = np.random.default_rng(seed)
        names = [str(n) for n in rng.permutation(list(self.images))]
        x = np.stack([self.images[name] for name in names])
        trials = self.respond(x, share_of_a)[..., None]
        trials = trials + rng.normal(0, noise, (*trials.shape[:2], repeats))
        return Recordings(trials, tuple(names), SITES)

    def respond(self, x, share_of_a):
        z = np.einsum("smp,np->nsm", self.axes, x) / self.sd
        return share_of_a * z[..., 0] + (1 - share_of_a) * z[..., 1]

    def scale(self, share_of_a):
        shown = self.respond(self.natural, share_of_a)
        names = tuple(f"n{i}" for i in range(len(shown)))
        return natural_sd(Recordings(shown[..., None], names, SITES))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize(("share", "kappa"), [(1.0, 2.0), (0.0, -2.0), (0.5, 0.0)])
def test_k13_kappa_is_the_commitment_itself(world, share, kappa):
    score = choice_score(world.set, world.record(share), scale=world.scale(share))
    found = [site.kappa for site in score.sites.values()]
    np.testing.assert_allclose(found, kappa, atol=1e-12)
    np.testing.assert_allclose(score.kappa, kappa, atol=1e-12)
    np.testing.assert_allclose(score.kappa_ci, kappa, atol=1e-12)
    assert (score.n_pairs, score.notes) == (12, ())


@pytest.mark.parametrize(("share", "sign"), [(1.0, 1), (0.0, -1)])
def test_k13_the_followed_model_predicts_and_the_other_is_reversed(world, share, sign):
    score = choice_score(world.set, world.record(share), scale=world.scale(share))
    for site in score.sites.values():
        np.testing.assert_allclose([site.r_a, site.r_b], [sign, -sign], atol=1e-12)
        assert site.choice == (1 + sign) / 2
        assert site.p_choice == 0.25  # three pairs agree: 2 / 2^3
    assert (score.p_seeds, score.p_min_seeds) == (0.25, 0.25)
    assert (score.p_sites, score.p_min_sites) == (0.125, 0.125)
    assert score.p_r_sites == 0.125


def test_k12_control_slope_follows_the_mixture():
    """Truth ``rho a + sqrt(1 - rho^2) b``: slope ``v . w / w . w`` along each path."""
    rng = np.random.default_rng(0)
    a, b = np.linalg.qr(rng.normal(size=(PIXELS, 2)))[0].T * 1.7
    starts, levels = rng.normal(size=(4, PIXELS)), np.linspace(-3, 5, 11)
    slopes = []
    for rho in (0.0, 0.25, 0.5, 0.75, 1.0):
        truth = rho * a + np.sqrt(1 - rho**2) * b
        for w in (a, b):
            path = np.stack(
                [[least_norm(x, w[None], [t]) for t in levels] for x in starts]
            )
            slopes.append(ols_slope(path @ w, path @ truth))
    of_a, of_b = np.array(slopes).reshape(5, 2, 4).transpose(1, 0, 2)
    rho = np.array([0.0, 0.25, 0.5, 0.75, 1.0])[:, None]
    np.testing.assert_allclose(of_a, np.broadcast_to(rho, of_a.shape), atol=1e-12)
    expected = np.broadcast_to(np.sqrt(1 - rho**2), of_b.shape)
    np.testing.assert_allclose(of_b, expected, atol=1e-12)
    assert (np.diff(of_a, axis=0) > 0).all()
    assert (np.diff(of_b, axis=0) < 0).all()


def test_numbers_of_a_noisy_subject_by_hand(world):
    responses = world.record(0.7, noise=2.0)
    score = choice_score(world.set, responses, n_bootstrap=200)
    y = dict(zip(responses.stimulus_ids, responses.responses.mean(axis=2), strict=True))
    kappa = np.empty((4, 3))
    for s, name in enumerate(SITES):
        site = score.sites[name]
        a, b, seed = (
            np.array([y[f"c-{name}-{i}-{end}"][s] for i in SEEDS])
            for end in ("A-2", "B-2", "seed-0")
        )
        sd = np.std(np.concatenate([a, b, seed]))
        kappa[s] = (a - b) / (2 * sd)
        np.testing.assert_allclose(site.kappa, kappa[s].mean(), atol=1e-12)
        np.testing.assert_allclose(site.up_a, (a - seed).mean() / sd, atol=1e-12)
        np.testing.assert_allclose(site.up_b, (b - seed).mean() / sd, atol=1e-12)
        np.testing.assert_allclose(site.sd, sd, atol=1e-12)
        own = [x for x in world.set.stimuli if x.site == name and x.high]
        for model, found in (("A", site.r_a), ("B", site.r_b)):
            r = scipy.stats.pearsonr(
                [x.predicted[model] for x in own],
                [y[x.stimulus_id][s] for x in own],
            )
            assert found == pytest.approx(r[0], abs=1e-12)
        wins = int((a > b).sum())
        assert site.choice == wins / 3
        assert site.p_choice == scipy.stats.binomtest(wins, 3).pvalue
    order = [list(score.sites).index(name) for name in SITES]
    in_order = np.empty_like(kappa)
    in_order[order] = kappa
    np.testing.assert_allclose(score.kappa, kappa.mean(), atol=1e-12)
    assert score.p_seeds == sign_flip_test(kappa.mean(axis=0))[0]
    assert score.p_sites == sign_flip_test(kappa.mean(axis=1))[0]
    np.testing.assert_allclose(score.kappa_ci, crossed_bootstrap(in_order, 200))
    assert any("no SD of natural images" in note for note in score.notes)


def test_rivals_swapped_turn_every_sign(world):
    responses = world.record(0.7, noise=1.0)
    ab = choice_score(world.set, responses, "A", "B", n_bootstrap=200)
    ba = choice_score(world.set, responses, "B", "A", n_bootstrap=200)
    np.testing.assert_allclose(ba.kappa, -ab.kappa, atol=1e-12)
    np.testing.assert_allclose(ba.kappa_ci, [-x for x in ab.kappa_ci[::-1]], atol=1e-12)
    assert (ba.p_seeds, ba.p_sites) == (ab.p_seeds, ab.p_sites)
    for name, site in ab.sites.items():
        assert ba.sites[name].r_a == pytest.approx(site.r_b, abs=1e-12)


def test_order_of_stimuli_does_not_matter(world):
    responses = world.record(0.7, noise=1.0)
    turned = dataclasses.replace(world.set, stimuli=world.set.stimuli[::-1])
    one, other = (
        choice_score(s, responses, n_bootstrap=100) for s in (world.set, turned)
    )
    assert list(one.sites) == list(other.sites)
    assert (one.kappa, one.kappa_ci, one.notes) == (
        other.kappa, other.kappa_ci, other.notes
    )  # fmt: skip


def test_several_levels_are_averaged_over_those_in_both_directions(tmp_path):
    world = World(tmp_path, levels=(1.0, 2.0))
    whole = world.record(1.0)
    score = choice_score(world.set, whole, scale=world.scale(1.0))
    np.testing.assert_allclose(score.kappa, 1.5, atol=1e-12)
    kept = [name for name in whole.stimulus_ids if name != "c-07-cat-B-2"]
    score = choice_score(world.set, whole.select_stimuli(kept), scale=world.scale(1.0))
    np.testing.assert_allclose(score.sites["07"].kappa, (1 + 1.5 + 1.5) / 3)
    assert score.n_pairs == 12
    assert score.notes == (
        "1 of 48 selected stimuli have no response at their site",
        "1 recorded stimuli lack the other direction of their pair",
    )


def change(stimuli, **changed):
    """The stimuli of seed cat, driven up for A, changed."""
    return dataclasses.replace(
        stimuli,
        stimuli=tuple(
            dataclasses.replace(x, **changed) if (x.seed, x.high) == ("cat", "A") else x
            for x in stimuli.stimuli
        ),
    )


@pytest.mark.parametrize("what", ["accepted", "selected"])
def test_what_was_not_to_be_shown_breaks_its_pair_and_is_counted(world, what):
    responses = world.record(1.0)
    score = choice_score(
        change(world.set, **{what: False}), responses, scale=world.scale(1.0)
    )
    assert score.n_pairs == 8
    assert all(site.seeds == ("dog", "owl") for site in score.sites.values())
    assert any(f"4 {'accepted ' * (what == 'selected')}stimuli were not {what}" == note
               for note in score.notes)  # fmt: skip
    assert "4 recorded stimuli lack the other direction of their pair" in score.notes


def test_a_third_models_stimuli_do_not_count(world):
    third = change(world.set, high="C")
    third = dataclasses.replace(third, models=("A", "B", "C"))
    score = choice_score(third, world.record(1.0), scale=world.scale(1.0))
    assert score.n_pairs == 8
    assert "4 stimuli drive up neither A nor B" in score.notes


def test_missing_seed_images_leave_kappa_and_are_counted(world):
    whole = world.record(1.0)
    kept = [n for n in whole.stimulus_ids if "seed" not in n] + ["c-07-cat-seed-0"]
    score = choice_score(world.set, whole.select_stimuli(kept), scale=world.scale(1.0))
    np.testing.assert_allclose(score.kappa, 2.0)
    assert np.isfinite(score.sites["07"].up_a)
    assert np.isnan(score.sites["b"].up_a)
    assert "11 of 12 pairs have no response to their seed image" in score.notes


def test_sites_without_pairs_and_unknown_stimuli_are_counted(world):
    whole = world.record(1.0)
    extra = Recordings(
        np.concatenate([whole.responses, np.zeros((1, 4, 2))]),
        (*whole.stimulus_ids, "anchor"),
        SITES,
    ).select_sites(["07", "b"])
    score = choice_score(world.set, extra, scale=world.scale(1.0))
    assert list(score.sites) == ["07", "b"]
    assert "2 of 4 sites have no pair: V4_12, V4_9" in score.notes
    assert "1 recorded stimuli are not in the controversial set" in score.notes


def test_no_pair_at_all_is_undefined_with_a_reason(world):
    whole = world.record(1.0)
    kept = [name for name in whole.stimulus_ids if "-B-" not in name]
    score = choice_score(world.set, whole.select_stimuli(kept))
    assert (score.sites, score.n_pairs) == ({}, 0)
    assert np.isnan([score.kappa, *score.kappa_ci, score.p_seeds]).all()
    assert any("4 of 4 sites have no pair" in note for note in score.notes)


def test_ties_count_half_and_silent_sites_have_no_kappa(world):
    whole = world.record(1.0)
    silent = dataclasses.replace(whole, responses=np.zeros_like(whole.responses))
    score = choice_score(world.set, silent)
    site = score.sites["07"]
    assert (site.choice, site.p_choice) == (0.5, 1.0)
    assert np.isnan([site.kappa, site.r_a, site.sd, score.kappa]).all()
    assert any("4 sites have constant responses" in note for note in score.notes)
    assert choice_score(world.set, silent, scale=world.scale(1.0)).kappa == 0.0


def test_natural_sd_is_that_of_the_repeat_averages():
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(30, 2, 4))
    trials[3, 0, 1] = np.nan
    found = natural_sd(
        Recordings(trials, tuple(f"i{i}" for i in range(30)), ("a", "b"))
    )
    expected = np.nanmean(trials, axis=2).std(axis=0)
    np.testing.assert_allclose([found["a"], found["b"]], expected)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"a": "C"}, "unknown model.*'C'"),
        ({"a": "B", "b": "B"}, "two different models"),
        ({"scale": {"07": 1.0}}, "positive SD for every site"),
        ({"scale": dict.fromkeys(SITES, 0.0)}, "positive SD for every site"),
    ],
)
def test_impossible_questions_are_refused(world, asked, message):
    with pytest.raises(InputError, match=message):
        choice_score(world.set, world.record(1.0), **asked)


def test_other_recordings_are_refused(world):
    whole = world.record(1.0)
    others = dataclasses.replace(
        whole, stimulus_ids=tuple(f"x{i}" for i in range(len(whole.stimulus_ids)))
    )
    with pytest.raises(InputError, match="stimulus ids that were recorded"):
        choice_score(world.set, others)
    with pytest.raises(InputError, match="expected two models"):
        choice_score(dataclasses.replace(world.set, models=("A",)), whole)
