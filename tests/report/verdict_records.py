"""Verdicts with known numbers, and a folder of controversial PNGs."""

import dataclasses

import numpy as np
from closed_loop import write_png

from paramctl_jax.types import (
    ChoiceScore,
    ChoiceSite,
    ControversialSet,
    ControversialStimulus,
    PeerReview,
    Replication,
    Specificity,
)

NAN = float("nan")


def make_review(models, undefined=()):
    """Row i, column j has control ``.9 - .1 i - .05 j``; NaN where undefined."""
    i, j = np.indices((len(models), len(models)))
    control = 0.9 - 0.1 * i - 0.05 * j
    for place in undefined:
        control[place] = np.nan
    ci = np.stack([control - 0.15, control + 0.08], axis=-1)
    sites = np.where(np.isfinite(control), 5, 0)
    notes = ("2 sites of robust were not recorded",)
    return PeerReview(
        tuple(models), tuple(models), control, ci, 0.8 * control, sites, notes
    )


def make_specificity(model, sites, others=("v4_90",)):
    recorded = (*sites, *others)
    control = np.full((len(sites), len(recorded)), 0.25)
    control[:, : len(sites)] += 0.5 * np.eye(len(sites))
    return Specificity(
        model, tuple(sites), recorded, control, 0.75, 0.25, 0.5, (0.31, 0.66), 0.5, 0.5
    )


def make_choice(a, b, sites, seeds, shift=0.8, notes=()):
    """Pairs that differ by `shift` on average; kappa taken as the record defines it."""
    rng = np.random.default_rng(3)
    found = {}
    for site in sites:
        seed = rng.normal(0.4, 0.3, len(seeds))
        half = shift / 2 + rng.normal(0, 0.4, len(seeds))
        a_high, b_high = seed + half, seed - half
        sd = float(np.std([a_high, b_high]))
        kappa = float(np.mean(a_high - b_high) / (2 * sd))
        choice = float(np.mean(a_high > b_high))
        found[site] = ChoiceSite(
            tuple(seeds), a_high, b_high, seed, kappa, choice, 0.021, kappa / 2,
            -kappa / 3, float(np.mean(half) / sd), float(-np.mean(half) / sd), sd,
        )  # fmt: skip
    kappa = float(np.mean([site.kappa for site in found.values()]))
    return ChoiceScore(
        a, b, found, kappa, (kappa - 0.2, kappa + 0.15), 0.002, 0.0625, 0.001, 0.0625,
        0.125, len(sites) * len(seeds), notes,
    )  # fmt: skip


def undefined_choice(a, b):
    """One site at which no pair was recorded in both directions."""
    none = np.full(1, np.nan)
    site = ChoiceSite(("owl",), none, none, none, *[NAN] * 7)
    return ChoiceScore(
        a, b, {"v4_07": site}, NAN, (NAN, NAN), NAN, NAN, NAN, NAN, NAN, 0,
        ("1 pair lacks a recording",),
    )  # fmt: skip


def make_controversial(directory, models, sites, seeds, levels=(1.0, 2.0)):
    """Both directions of every seed and level, and the seeds; the last is stronger."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    made = []
    for site in sites:
        for place, seed in enumerate(seeds):
            for high in ("", *models):
                for level in levels if high else (NAN,):
                    name = f"c{len(made):04d}"
                    write_png(directory / f"{name}.png", rng)
                    weak = level - 0.1 * place if high else NAN
                    z = {m: (weak if m == high else -weak) for m in models}
                    z = z if high else dict.fromkeys(models, 0.1)
                    made.append(
                        ControversialStimulus(
                            name, f"{name}.png", high, site, seed, level, z, z, weak,
                            bool(high), level == levels[-1], "sha256:0", 0.05, 12,
                        )
                    )  # fmt: skip
    return ControversialSet(directory, tuple(models), tuple(made))


def make_replication(a, b):
    return Replication(
        a, b, ("paul", "red"), np.asarray([0.105, 0.307]),
        np.asarray([[-0.02, 0.21], [0.18, 0.44]]), 2, 0.206, (0.07, 0.33), 0.5, 0.5,
        0.0117, 0.00195,
    )  # fmt: skip


def with_verdicts(inputs, directory):
    """The closed loop with everything that a report can show."""
    a, b = inputs.models[0], inputs.models[-1]
    seeds = next(iter(inputs.sweeps.values())).seeds
    return dataclasses.replace(
        inputs,
        peer_review=make_review(inputs.models),
        specificity=[make_specificity(m, inputs.sites) for m in inputs.models],
        choice=make_choice(a, b, inputs.sites, seeds),
        controversial=make_controversial(directory, (a, b), inputs.sites, seeds),
        replications=[make_replication(a, b)],
    )
