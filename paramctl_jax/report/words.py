"""Verdicts as sentences and tables; what is undefined says why."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.markup import paragraph, rows_table
from paramctl_jax.report.style import number
from paramctl_jax.report.summary import Cell, Row
from paramctl_jax.report.tables import folded
from paramctl_jax.types import ChoiceScore, ChoiceSite, Replication, Specificity

NO_SITE = "no site has a defined score"
NO_PAIR = "no pair has a recorded response in both directions"
NO_R = "fewer than three recorded stimuli, or constant values"
NO_INTERVAL = "an interval needs at least two defined values"
NO_TEST = "nothing is left to test"


def with_interval(value: float, ends: Sequence[float], signed: bool = True) -> str:
    """A number with its interval.

    >>> with_interval(0.62, (0.4, 0.8)), with_interval(0.62, (math.nan, math.nan))
    ('+0.62 [+0.40, +0.80]', '+0.62 (no interval)')
    """
    if not math.isfinite(value):
        return "undefined"
    low, high = (float(end) for end in ends)
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{number(value, signed=signed)} (no interval)"
    ends_text = ", ".join(number(end, signed=signed) for end in (low, high))
    return f"{number(value, signed=signed)} [{ends_text}]"


def p_text(p: float, smallest: float) -> str:
    """A p with the smallest that its test can reach, as part of a sentence.

    >>> p_text(0.002, 0.002)
    '0.002 (smallest attainable 0.002)'
    """
    if not math.isfinite(p):
        return "undefined"
    return f"{p:.3g} (smallest attainable {smallest:.3g})"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "site"), counted(2, "site")
    ('1 site', '2 sites')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")


def choice_sentence(choice: ChoiceScore) -> str:
    """Whom the subject follows, with the numbers that say so.

    The subject follows a model where the 95 % interval of kappa leaves 0 out.

    Args:
      choice: the verdict.

    Returns:
      One sentence of plain text.
    """
    if not math.isfinite(choice.kappa):
        return f"Whom the subject follows is undefined: {NO_PAIR}."
    low, high = choice.kappa_ci
    leader = choice.a if choice.kappa > 0 else choice.b
    if low > 0 or high < 0:
        verdict = f"The subject follows {leader}"
    elif math.isfinite(low) and math.isfinite(high):
        verdict = (
            f"Whether the subject follows {choice.a} or {choice.b} is open, the "
            "interval includes 0"
        )
    else:
        verdict = f"Whether the subject follows {choice.a} or {choice.b} is open"
    return (
        f"{verdict}: κ {with_interval(choice.kappa, choice.kappa_ci)}, p over seeds "
        f"{p_text(choice.p_seeds, choice.p_min_seeds)}, over sites "
        f"{p_text(choice.p_sites, choice.p_min_sites)}; "
        f"{counted(choice.n_pairs, 'pair')} at {counted(len(choice.sites), 'site')}. "
        f"κ above 0 speaks for {choice.a}, below 0 for {choice.b}."
    )


def _value(value: float, reason: str, signed: bool = False) -> Cell:
    known = math.isfinite(value)
    return Cell(value, number(value, signed=signed), "" if known else reason)


def _ends(ends: Sequence[float], reason: str = NO_INTERVAL) -> Cell:
    low, high = (float(end) for end in ends)
    if not (math.isfinite(low) and math.isfinite(high)):
        return Cell(math.nan, "–", reason)
    return Cell(math.nan, f"[{number(low, signed=True)}, {number(high, signed=True)}]")


def _p(p: float, smallest: float) -> Cell:
    if not math.isfinite(p):
        return Cell(math.nan, "–", NO_TEST)
    return Cell(p, f"{p:.3g} (min {smallest:.3g})")


def _count(count: int) -> Cell:
    return Cell(float(count), str(count))


def choice_table(choice: ChoiceScore) -> str:
    """Every site of a contest, one row each."""
    if not choice.sites:
        return ""
    rows = [Row(name, _choice_cells(choice, s)) for name, s in choice.sites.items()]
    explained = paragraph(
        "κ: mean difference of the two directions over twice the site's SD. "
        "Choice: share of pairs that follow "
        f"{choice.a}, with an exact binomial test. Drive: change from the seed image, "
        "in SD. Sign-flip test over sites of the difference in r: p "
        f"{p_text(choice.p_r_sites, choice.p_min_sites)}.",
        "muted small",
    )
    return rows_table(rows, "site") + explained


def _choice_cells(choice: ChoiceScore, site: ChoiceSite) -> dict[str, Cell]:
    differences = site.a_high - site.b_high
    no_seed = "the seed images were not recorded, or no pair was"
    return {
        "pairs": _count(int(np.isfinite(differences).sum())),
        "SD": _value(site.sd, "the SD of the site's responses is not known"),
        "κ": _value(site.kappa, NO_PAIR, signed=True),
        "choice": _value(site.choice, NO_PAIR),
        "p of choice": _value(site.p_choice, NO_PAIR),
        f"r of {choice.a}": _value(site.r_a, NO_R),
        f"r of {choice.b}": _value(site.r_b, NO_R),
        f"drive up for {choice.a}": _value(site.up_a, no_seed, signed=True),
        f"drive up for {choice.b}": _value(site.up_b, no_seed, signed=True),
    }


def peer_table(inputs: ReportInputs) -> str:
    """Every pair of maker and reviewer, one row each."""
    review = inputs.peer_review
    if review is None:
        return ""
    rows = []
    for i, maker in enumerate(review.makers):
        for j, reviewer in enumerate(review.reviewers):
            cells = {
                "control": _value(float(review.control[i, j]), NO_SITE),
                "95 % CI": _ends(review.ci[i, j].tolist()),
                "slope": _value(float(review.slope[i, j]), NO_SITE),
                "sites": _count(int(review.n_sites[i, j])),
            }
            rows.append(Row(f"{reviewer} on stimuli of {maker}", cells))
    return rows_table(rows, "reviewer and maker")


def peer_sentence(inputs: ReportInputs) -> str:
    """Who predicts the responses to others' stimuli best, on average."""
    review = inputs.peer_review
    if review is None:
        return ""
    means = {
        reviewer: mean
        for reviewer, mean in zip(
            review.reviewers, review.generalisation.tolist(), strict=True
        )
        if math.isfinite(mean)
    }
    if not means:
        return "No model has a defined score on all stimuli of the others."
    ranked = sorted(means, key=lambda model: means[model], reverse=True)
    said = ", ".join(f"{model} {number(means[model])}" for model in ranked[:3])
    left_out = len(review.reviewers) - len(means)
    some = f" Left out: {left_out} with an undefined score." if left_out else ""
    return f"Mean control on the stimuli of other models, best first: {said}.{some}"


def specificity_table(shown: Sequence[Specificity]) -> str:
    """Control of the driven site against that of all others, one row per model."""
    rows = [
        Row(
            one.model,
            {
                "driven site": _value(one.target, NO_SITE),
                "other sites": _value(one.others, NO_SITE),
                "difference": _value(one.difference, NO_SITE, signed=True),
                "95 % CI": _ends(one.ci),
                "p over sites": _p(one.p_sites, one.p_min_sites),
            },
        )
        for one in shown
    ]
    return rows_table(rows, "model") if rows else ""


def replication_table(shown: Sequence[Replication]) -> str:
    """Differences between two models in every subject and pooled, one row per pair."""
    if not shown:
        return ""
    subjects = list(dict.fromkeys(name for one in shown for name in one.subjects))
    rows = [Row(f"{one.a} − {one.b}", _replicated(one, subjects)) for one in shown]
    html = rows_table(rows, "models")
    return folded(html, len(rows))


def _replicated(one: Replication, subjects: Sequence[str]) -> dict[str, Cell]:
    cells = {}
    for subject in subjects:
        if subject not in one.subjects:
            cells[subject] = Cell(math.nan, "–", "not both models in this subject")
            continue
        at = one.subjects.index(subject)
        value = float(one.difference[at])
        known = math.isfinite(value)
        text = with_interval(value, one.ci[at].tolist()) if known else "–"
        cells[subject] = Cell(value, text, "" if known else NO_SITE)
    return cells | {
        "agree": Cell(float(one.agree), f"{one.agree} of {len(one.subjects)}"),
        "pooled": _value(one.pooled, NO_SITE, signed=True),
        "95 % CI": _ends(one.pooled_ci),
        "p over subjects": _p(one.p_subjects, one.p_min_subjects),
        "p over all sites": _p(one.p_sites, one.p_min_sites),
    }
