"""Which readout to use: by inner cross-validation, or as the authors did."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from paramctl_jax.types import EncodingEvaluation, InputError

POLICIES = {
    "inner_cv": "chosen by cross-validation within the training images",
    "test_argmax": "authors, biased: chosen on the held-out images that evaluate it",
}
"""How a readout may be chosen, and what to say of it."""


@dataclasses.dataclass(frozen=True)
class ReadoutChoice:
    """One readout for all sites.

    Attributes:
      readout: the chosen one.
      policy: how it was chosen, one of `POLICIES`.
      scores: by readout, median R2 over the sites that every ranked readout has; NaN
        for a readout without any R2, which is not ranked.
      note: in plain words: the policy, and what was left out.
    """

    readout: str
    policy: str
    scores: Mapping[str, float]
    note: str

    def __str__(self) -> str:
        rows = [
            f"{name:>20} {score:7.3f}" + ("  <" if name == self.readout else "")
            for name, score in self.scores.items()
        ]
        return "\n".join([f"{'readout':>20} {'R2':>7}", *rows, self.note])


@dataclasses.dataclass(frozen=True)
class SiteReadoutChoice:
    """One readout per site.

    Attributes:
      readouts: by site; a site without any R2 has none, and a reason instead.
      policy: how they were chosen, one of `POLICIES`.
      scores: R2 by readout and site.
      reasons: by site without a readout.
      note: in plain words.
    """

    readouts: Mapping[str, str]
    policy: str
    scores: Mapping[str, Float[np.ndarray, " site"]]
    reasons: Mapping[str, str]
    note: str


def choose_readout(
    evaluations: Mapping[str, EncodingEvaluation], policy: str = "inner_cv"
) -> ReadoutChoice:
    """The readout with the largest median R2 over sites.

    ``"inner_cv"`` ranks by R2 of predictions of the training images by fits without
    them, so that the held-out R2 of the chosen readout is unbiased. ``"test_argmax"``
    ranks by held-out R2 itself, as the authors did: the largest of several noisy
    numbers is too large on average, so the note calls it biased.

    Args:
      evaluations: by readout, first to last, of the same sites, training and held-out
        images. Of equally good readouts the earlier one is chosen.
      policy: ``"inner_cv"`` or ``"test_argmax"``.

    Returns:
      The choice with every readout's score.

    Raises:
      InputError: an unknown policy; no readout; evaluations that differ in sites or
        images; no readout with an R2, or no site that has one for every readout.

    Example:
      >>> choice = choose_readout(evaluations)                      # doctest: +SKIP
      >>> choice.readout, choice.note                               # doctest: +SKIP
      ('layer3.5', 'chosen by cross-validation within the training images')

    Source: of the bias, Kriegeskorte et al. 2009, Nat. Neurosci. 12, 535-540.
    """
    table = _table(evaluations, policy)
    ranked = {name: row for name, row in table.items() if not np.isnan(row).all()}
    common = ~np.isnan(np.stack(list(ranked.values()) or [np.array([np.nan])]))
    common = common.all(axis=0)
    if not common.any():
        raise InputError(
            f"evaluations: no site has an R2 for every one of {len(table)} readouts; "
            "more images or other sites are needed"
        )
    median = {
        name: float(np.median(row[common])) if name in ranked else np.nan
        for name, row in table.items()
    }
    notes = [POLICIES[policy]]
    if not common.all():
        notes.append(f"{int(np.sum(~common))} of {len(common)} sites without an R2")
    if len(ranked) < len(table):
        without = [name for name in table if name not in ranked]
        notes.append(f"not ranked, no R2: {', '.join(without)}")
    return ReadoutChoice(
        readout=max(ranked, key=lambda name: median[name]),  # the first of equals
        policy=policy,
        scores=types.MappingProxyType(median),
        note="; ".join(notes),
    )


def choose_readouts_per_site(
    evaluations: Mapping[str, EncodingEvaluation], policy: str = "inner_cv"
) -> SiteReadoutChoice:
    """The readout with the largest R2 for each site, by the rules of `choose_readout`.

    Args:
      evaluations: by readout, of the same sites, training and held-out images.
      policy: ``"inner_cv"`` or ``"test_argmax"``; the bias of the latter is larger
        here, where no median over sites evens the noise out.

    Returns:
      A readout per site, or the reason why a site has none.

    Raises:
      InputError: an unknown policy; no readout; evaluations that differ in sites or
        images.
    """
    table = _table(evaluations, policy)
    names = list(table)
    site_ids = evaluations[names[0]].site_ids
    values = np.stack([table[name] for name in names])
    defined = ~np.isnan(values).all(axis=0)
    best = np.argmax(np.where(np.isnan(values), -np.inf, values), axis=0)
    reasons = {
        site: f"no R2 at any of {len(names)} readouts"
        for site, known in zip(site_ids, defined, strict=True)
        if not known
    }
    return SiteReadoutChoice(
        readouts={
            site: names[index]
            for site, index in zip(site_ids, best, strict=True)
            if site not in reasons
        },
        policy=policy,
        scores=table,
        reasons=reasons,
        note=POLICIES[policy]
        + (f"; {len(reasons)} sites without a readout" if reasons else ""),
    )


def _table(
    evaluations: Mapping[str, EncodingEvaluation], policy: str
) -> dict[str, Float[np.ndarray, " site"]]:
    """R2 per readout and site, of fits that can be compared."""
    if policy not in POLICIES:
        raise InputError(
            f"policy: expected one of {', '.join(POLICIES)}, found {policy!r}"
        )
    if not evaluations:
        raise InputError("evaluations: expected at least one readout, found none")
    first_name, first = next(iter(evaluations.items()))
    for name, other in evaluations.items():
        for field in ("site_ids", "train_ids", "test_ids"):
            if getattr(other, field) != getattr(first, field):
                raise InputError(
                    f"evaluations: {name!r} and {first_name!r} differ in their "
                    f"{field}; compare readouts on the same sites and the same split"
                )
    field = "cv_r2" if policy == "inner_cv" else "r2"
    return {name: getattr(value, field) for name, value in evaluations.items()}
