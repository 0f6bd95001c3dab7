"""Level L0: an image is a vector, a model ``f(x) = w . x``; all is closed form.

The stimuli of an axis w are the images of least change, ``x + (t - w . x) w / |w|^2``,
at which w says exactly t. Along them a truth v responds with the slope
``v . w / w . w`` and, without noise, with r = 1 or -1: r sees the size of that gain
through noise alone.
"""

from pathlib import Path

import numpy as np

from paramctl_jax.scoring import control_score
from paramctl_jax.types import Recordings, Stimulus, StimulusSet

LEVELS = np.linspace(-3.0, 5.0, 11)
N_SEEDS, PIXELS = 10, 60


def drawn(n_sites, seed=0):
    """Truths, and directions orthogonal to each, all of norm 1; seed images."""
    rng = np.random.default_rng(seed)
    truth, other = rng.normal(size=(2, n_sites, PIXELS))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    other -= np.sum(other * truth, axis=1, keepdims=True) * truth
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return truth, other, rng.normal(size=(N_SEEDS, PIXELS))


def in_modes(rng, modes, variance, own, n_sites):
    """Random axes within some modes, of given variance over images of variance `own`.

    Mode k of natural images has the variance ``own[k]``, and is pixel k.
    """
    axes = np.zeros((n_sites, len(own)))
    axes[:, modes] = rng.normal(size=axes[:, modes].shape)
    return axes * np.sqrt(variance / (axes**2 @ own))[:, None]


def sites_of(axes):
    return tuple(f"s{index:03d}" for index in range(len(axes)))


def gain(truth, axes):
    """``v . w / w . w`` per site."""
    return np.sum(truth * axes, axis=1) / np.sum(axes**2, axis=1)


def accentuated(models, seeds, levels=LEVELS):
    """Stimuli of every model's axes [site, pixel] from seeds [seed, pixel], and images.

    `levels` are the same for all sites, or one row per site.
    """
    stimuli, images = [], []
    for model, axes in models.items():
        targets = np.broadcast_to(levels, (len(axes), np.shape(levels)[-1]))
        for site, w, wanted in zip(sites_of(axes), axes, targets, strict=True):
            for number, x in enumerate(seeds):
                change = (wanted - w @ x)[:, None] * w / (w @ w)
                images.append(x + change)
                for level, target in enumerate(wanted.tolist()):
                    said = float(images[-1][level] @ w)
                    place = (model, site, f"i{number}", level)
                    stimuli.append(stimulus(place, target, said))
    shown = StimulusSet(Path("memory"), tuple(stimuli))
    return shown, np.concatenate(images)


def stimulus(place, target, said):
    model, site, seed, level = place
    name = "-".join(map(str, place))
    return Stimulus(
        stimulus_id=name, filename=f"{name}.png", model=model, site=site, seed=seed,
        level=level, target=target, predicted=said, hit=True, sha256="sha256:00",
        start=0.0, reached=said, step=1, stop_reason="hit", relative_error=0.0,
        rms=0.1, linf=0.1, clipped=0.0,
    )  # fmt: skip


def recorded(shown, images, truth, *, trial_sd=0.0, repeats=1, seed=1):
    """Trials of a subject whose sites are the rows of `truth`, at every stimulus."""
    rng = np.random.default_rng([seed, 77])  # not the stream of the axes
    mean = (images @ truth.T)[..., None]
    trials = mean + trial_sd * rng.normal(size=(*mean.shape[:2], repeats))
    return Recordings(
        trials, tuple(s.stimulus_id for s in shown.stimuli), sites_of(truth)
    )


def heard(images, truth, *, noise=0.0, seed=1):
    """Recordings of natural images; `noise` is the SD of the average of 5 trials."""
    rng = np.random.default_rng([seed, 3])
    trials = (images @ truth.T)[..., None]
    trials = trials + noise * rng.normal(size=(*trials.shape[:2], 5)) * np.sqrt(5)
    names = tuple(f"n{index:04d}" for index in range(len(images)))
    return Recordings(trials, names, sites_of(truth))


def scored(axes, truth, seeds, **noise):
    """The score of one model's axes in the subject `truth`."""
    shown, images = accentuated({"m": axes}, seeds)
    responses = recorded(shown, images, truth, **noise)
    return control_score(shown, responses, n_bootstrap=200).subjects[""]["m"]


def numbers(score, name):
    """One number of every site of a model's score."""
    return np.array([getattr(site, name) for site in score.sites.values()])
