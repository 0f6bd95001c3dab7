"""Several animals: does a difference between two models replicate, and pooled?

Each animal gives its own difference and interval; the pooled one resamples animals
too. A sign-flip test over the sites of all animals together reaches what no single
animal's five sites can: with ten sites the smallest p is .00195.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.correlation import mean_defined
from paramctl_jax.scoring.inference import (
    crossed_bootstrap,
    crossed_draws,
    crossed_mean,
    sign_flip_test,
)
from paramctl_jax.scoring.sweeps import natural_order
from paramctl_jax.types import ControlScore, ModelScore, Replication


def replicate(
    score: ControlScore, *, n_bootstrap: int = 10_000, random_seed: int = 0
) -> tuple[Replication, ...]:
    """Every pair of models that at least two subjects saw, in each of them and pooled.

    ``pooled = mean over subjects of (mean over sites of mean over seeds of r_a - r_b)``

    Args:
      score: of several subjects, as `score_table` returns it.
      n_bootstrap: draws of every bootstrap.
      random_seed: of the random generators; results depend neither on the order of
        subjects, models or rows, nor on what else was scored.

    Returns:
      One record per pair, models in order of first appearance; empty with fewer than
      two subjects. A subject in which the pair has no sweep in common is left out of
      the record and named in its notes.
    """
    models = dict.fromkeys(m for scores in score.subjects.values() for m in scores)
    found = []
    for a, b in itertools.combinations(models, 2):
        differences = {
            subject: paired_differences(scores[a], scores[b])
            for subject, scores in score.subjects.items()
            if a in scores and b in scores
        }
        defined = {s: d for s, d in differences.items() if np.isfinite(d).any()}
        if len(defined) > 1:
            notes = tuple(
                f"subject {subject!r} is left out: no sweep in which both {a} and {b} "
                "have an r"
                for subject in differences
                if subject not in defined
            )
            found.append(_replication(a, b, defined, notes, n_bootstrap, random_seed))
    return tuple(found)


def paired_differences(
    a: ModelScore, b: ModelScore, of: str = "r"
) -> Float[np.ndarray, "site seed"]:
    """``r_a - r_b`` of every sweep, sites and seeds in natural order; NaN without both.

    Args:
      a: scores of one model.
      b: of the other, in the same subject.
      of: ``"r"`` or ``"slopes"``.
    """
    scores = (a, b)
    sites = natural_order(site for one in scores for site in one.sites)
    seeds = natural_order(
        seed for one in scores for site in one.sites.values() for seed in site.seeds
    )
    values = np.full((2, len(sites), len(seeds)), np.nan)
    for model, one in enumerate(scores):
        for name, site in one.sites.items():
            columns = [seeds.index(seed) for seed in site.seeds]
            given = getattr(site, of)
            if len(given):
                values[model, sites.index(name), columns] = given
    return values[0] - values[1]


def pooled_bootstrap(
    values: Mapping[str, Float[np.ndarray, "site seed"]],
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean over subjects of `crossed_mean`.

    A draw takes as many subjects as there are, with replacement, and for each taken a
    crossed resample of its own sites and seeds. With two subjects, half of the draws
    see one of them twice and the other not at all: the interval about spans both
    subjects' intervals and cannot speak about subjects that were not recorded.

    Args:
      values: by subject, e.g. `paired_differences`.
      n_bootstrap: number of draws.
      random_seed: of the random generators, one per subject, so that the order of
        subjects does not matter.
      confidence: coverage aimed at, in (0, 1).

    Returns:
      Lower and upper limit; NaN without a subject that has two defined values.
    """
    names = sorted(values)
    n = len(names)
    # [subject, turn, draw]: a subject taken twice in a draw is resampled twice.
    inner = np.stack(
        [
            crossed_draws(
                values[name], n * n_bootstrap, _seed_of(name, random_seed)
            ).reshape(n, n_bootstrap)
            for name in names
        ]
    )
    taken = np.random.default_rng(random_seed).integers(n, size=(n, n_bootstrap))
    draws = mean_defined(np.take_along_axis(inner, taken[None], axis=0)[0], axis=0)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _replication(
    a: str,
    b: str,
    values: Mapping[str, Float[np.ndarray, "site seed"]],
    notes: Sequence[str],
    n_bootstrap: int,
    random_seed: int,
) -> Replication:
    difference = np.asarray([crossed_mean(d) for d in values.values()])
    ci = [crossed_bootstrap(d, n_bootstrap, random_seed) for d in values.values()]
    pooled = float(np.mean(difference))
    p_subjects, p_min_subjects = sign_flip_test(difference, n_bootstrap, random_seed)
    # Sorted, as a sampled test (above 30 sites) depends on the order of its units.
    sites = np.concatenate(
        [mean_defined(values[name], axis=1) for name in sorted(values)]
    )
    p_sites, p_min_sites = sign_flip_test(sites, n_bootstrap, random_seed)
    return Replication(
        a=a,
        b=b,
        subjects=tuple(values),
        difference=difference,
        ci=np.asarray(ci),
        agree=int(np.sum(np.sign(difference) == np.sign(pooled))),
        pooled=pooled,
        pooled_ci=pooled_bootstrap(values, n_bootstrap, random_seed),
        p_subjects=p_subjects,
        p_min_subjects=p_min_subjects,
        p_sites=p_sites,
        p_min_sites=p_min_sites,
        notes=tuple(notes),
    )


def _seed_of(subject: str, random_seed: int) -> int:
    """A seed that depends on the subject's name, not on its place."""
    return zlib.crc32(f"{random_seed}/{subject}".encode())
