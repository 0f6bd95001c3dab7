"""Which of two models a subject follows, from pairs of controversial stimuli.

A pair is one seed image driven both ways: up for A and down for B, and the reverse. Per
site, over its n pairs, ``kappa = mean_i (y_i[A up] - y_i[B up]) / (2 sd)``: a subject
that is A gives the commitment itself (levels of 2 SD: kappa = 2), one that is B its
negative, one that is half of each 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.contest_pairs import Pair, matched_pairs, pair_notes
from paramctl_jax.scoring.correlation import mean_defined, pearson_r
from paramctl_jax.scoring.inference import (
    crossed_bootstrap,
    crossed_mean,
    sign_flip_test,
)
from paramctl_jax.scoring.responses import by_stimulus_id
from paramctl_jax.scoring.sweeps import natural_order
from paramctl_jax.types import (
    ChoiceScore,
    ChoiceSite,
    ControversialSet,
    InputError,
    Recordings,
    unknown,
)


def choice_score(
    stimuli: ControversialSet,
    responses: Recordings,
    a: str | None = None,
    b: str | None = None,
    *,
    scale: Mapping[str, float] | None = None,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> ChoiceScore:
    """Score the responses to controversial stimuli: does the subject follow `a` or `b`?

    Pairs are the accepted and selected stimuli of one site and seed image, driven up
    for `a` and for `b`, both recorded at that site; several levels of a pair are
    averaged over those present in both directions.

    Args:
      stimuli: what was shown.
      responses: axes ``[image, site, repeat]``, joined by id or file name and
        averaged over repeats.
      a: one model; the set's first if not given.
      b: the other; the set's second if not given.
      scale: SD of each site's responses to natural images, as `natural_sd` gives it.
        Without it, the SD over the site's own paired stimuli and seed images, which
        keeps signs but makes kappa at most sqrt(6) / 2: consistency, not size.
      n_bootstrap: draws of the crossed seed x site bootstrap.
      random_seed: of the random generator.

    Returns:
      Sites with at least one pair; everything left out is counted in the notes. All
      NaN where no site has one.

    Raises:
      InputError: an unknown model, two equal ones, no stimulus or no site in common, or
        a site without a positive scale.
    """
    a, b = _rivals(stimuli, a, b)
    responses = by_stimulus_id(stimuli, responses)
    _check_overlap(stimuli, responses)
    pairs = matched_pairs(stimuli, responses, a, b)
    by_site: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_site.setdefault(pair.site, []).append(pair)
    if scale is not None:
        _check_scale(scale, by_site)
    sites = {
        site: _site(by_site[site], None if scale is None else scale[site])
        for site in natural_order(by_site)
    }
    notes = pair_notes(stimuli, responses, a, b, pairs)
    if scale is None and sites:
        notes += (
            "kappa is in SD of the responses to the paired stimuli and their seed "
            "images, no SD of natural images was given",
        )
    still = sum(bool(np.isnan(site.sd)) for site in sites.values())
    if still:
        notes += (f"{still} sites have constant responses and no kappa",)
    return _score(a, b, sites, notes, n_bootstrap, random_seed)


def natural_sd(responses: Recordings) -> dict[str, float]:
    """SD over images of each site's repeat average, for `choice_score`'s `scale`.

    Args:
      responses: to natural images, in the units of the contest's responses.

    Returns:
      By site; NaN with fewer than two images. Trial noise left in the averages is part
      of it.

    Example:
      >>> natural_sd(Recordings(np.array([[[0.0]], [[2.0]]]), ("a", "b"), ("v4",)))
      {'v4': 1.0}
    """
    mean = responses.mean()
    found = {}
    for column, site in enumerate(responses.site_ids):
        known = mean[:, column][np.isfinite(mean[:, column])]
        found[site] = float(np.std(known)) if len(known) > 1 else np.nan
    return found


def _score(
    a: str,
    b: str,
    sites: Mapping[str, ChoiceSite],
    notes: tuple[str, ...],
    n_bootstrap: int,
    random_seed: int,
) -> ChoiceScore:
    kappa = _kappas(sites)
    p_seeds, p_min_seeds = sign_flip_test(
        mean_defined(kappa, axis=0), n_bootstrap, random_seed
    )
    p_sites, p_min_sites = sign_flip_test(
        mean_defined(kappa, axis=1), n_bootstrap, random_seed
    )
    r_differences = np.asarray([site.r_a - site.r_b for site in sites.values()])
    return ChoiceScore(
        a=a,
        b=b,
        sites=sites,
        kappa=crossed_mean(kappa),
        kappa_ci=crossed_bootstrap(kappa, n_bootstrap, random_seed),
        p_seeds=p_seeds,
        p_sites=p_sites,
        p_min_seeds=p_min_seeds,
        p_min_sites=p_min_sites,
        p_r_sites=sign_flip_test(r_differences, n_bootstrap, random_seed)[0],
        n_pairs=sum(len(site.seeds) for site in sites.values()),
        notes=notes,
    )


def _site(pairs: Sequence[Pair], scale: float | None) -> ChoiceSite:
    a_high, b_high, seed = (
        np.asarray([getattr(pair, name) for pair in pairs])
        for name in ("a_high", "b_high", "seed_response")
    )
    recorded = np.concatenate([pair.recorded for pair in pairs])
    said = np.concatenate([pair.predicted for pair in pairs], axis=1)
    shown = np.concatenate([recorded, seed[np.isfinite(seed)]])
    sd = float(np.std(shown)) if scale is None else float(scale)
    # Constant responses, to within rounding, have no SD to be measured in.
    if sd <= 1e-12 * float(np.max(np.abs(shown))):
        sd = np.nan
    choice, p_choice = _choices(a_high - b_high)
    return ChoiceSite(
        seeds=tuple(pair.seed for pair in pairs),
        a_high=a_high,
        b_high=b_high,
        seed=seed,
        kappa=float(np.mean(a_high - b_high)) / (2 * sd),
        choice=choice,
        p_choice=p_choice,
        r_a=float(pearson_r(said[0], recorded)),
        r_b=float(pearson_r(said[1], recorded)),
        up_a=float(mean_defined(a_high - seed)) / sd,
        up_b=float(mean_defined(b_high - seed)) / sd,
        sd=sd,
    )


def _choices(difference: Float[np.ndarray, " pair"]) -> tuple[float, float]:
    """Share of pairs above 0, ties half; exact binomial test of those without a tie."""
    import scipy.stats  # slow to import

    above, below = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    ties = len(difference) - above - below
    decided = above + below
    p = scipy.stats.binomtest(above, decided).pvalue if decided else 1.0
    return (above + ties / 2) / len(difference), float(p)


def _kappas(sites: Mapping[str, ChoiceSite]) -> Float[np.ndarray, "site seed"]:
    """One pair's share of kappa per entry; NaN where a site lacks the seed's pair."""
    seeds = natural_order(name for site in sites.values() for name in site.seeds)
    kappa = np.full((len(sites), len(seeds)), np.nan)
    for row, site in enumerate(sites.values()):
        columns = [seeds.index(name) for name in site.seeds]
        kappa[row, columns] = (site.a_high - site.b_high) / (2 * site.sd)
    return kappa


def _rivals(stimuli: ControversialSet, a: str | None, b: str | None) -> tuple[str, str]:
    where = f"controversial set {stimuli.directory}"
    if len(stimuli.models) < 2:
        raise InputError(f"{where}: expected two models, found {list(stimuli.models)}")
    a = stimuli.models[0] if a is None else a
    b = next(name for name in stimuli.models if name != a) if b is None else b
    for name in (a, b):
        if name not in stimuli.models:
            raise unknown(name, stimuli.models, f"model of {where}:")
    if a == b:
        raise InputError(f"{where}: expected two different models, found {a!r} twice")
    return a, b


def _check_overlap(stimuli: ControversialSet, responses: Recordings) -> None:
    for what, ours, theirs in (
        ("stimulus ids", [s.stimulus_id for s in stimuli.stimuli if s.high],
         responses.stimulus_ids),
        ("sites", [s.site for s in stimuli.stimuli], responses.site_ids),
    ):  # fmt: skip
        if not set(ours) & set(theirs):
            raise InputError(
                f"controversial set {stimuli.directory}: expected {what} that were "
                f"recorded, found none in common; the set has {ours[:3]}, the "
                f"recordings have {list(theirs[:3])}"
            )


def _check_scale(scale: Mapping[str, float], sites: Mapping[str, object]) -> None:
    bad = [site for site in sites if not 0 < scale.get(site, 0.0) < np.inf]
    if bad:
        raise InputError(
            f"scale: expected a positive SD for every site, found none for {bad[:3]} "
            f"({len(bad)} of {len(sites)} sites)"
        )
