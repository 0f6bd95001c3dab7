"""Verdicts beyond one model's control: peers, other sites, several animals, choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PeerReview:
    """Every model's predictions of the responses to every model's stimuli.

    Attributes:
      makers: models that made the stimuli, the rows.
      reviewers: models that predict the responses to them, the columns.
      control: control score of the reviewer's predictions on the maker's stimuli; the
        diagonal is each model's own control score.
      ci: crossed seed x site bootstrap of each entry, 95 %.
      slope: mean slope of recorded on the reviewer's predictions.
      n_sites: sites with a defined score behind each entry.
      notes: what was left out, in plain words.
    """

    makers: tuple[str, ...]
    reviewers: tuple[str, ...]
    control: Float[np.ndarray, "maker reviewer"]
    ci: Float[np.ndarray, "maker reviewer 2"]
    slope: Float[np.ndarray, "maker reviewer"]
    n_sites: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def generalisation(self) -> Float[np.ndarray, " reviewer"]:
        """Mean control of every reviewer on the stimuli that other models made.

        NaN where there are no others, or where one of those entries is undefined: a
        mean over fewer makers could not be compared with the other columns.
        """
        means = np.full(len(self.reviewers), np.nan)
        for column, reviewer in enumerate(self.reviewers):
            others = [row for row, name in enumerate(self.makers) if name != reviewer]
            if others:
                means[column] = self.control[others, column].mean()
        return means


@dataclasses.dataclass(frozen=True)
class Specificity:
    """Whether stimuli drive their own site rather than all sites together.

    Attributes:
      model: that made the stimuli.
      driven: sites that stimuli were made for, the rows.
      recorded: sites whose responses are scored, the columns; a superset of `driven`.
      control: mean over seeds of r between the predictions for the driven site and the
        responses of the recorded site.
      target: mean of `control` where driven and recorded are one site.
      others: mean over driven sites of the mean of `control` over the other sites.
      difference: `target` minus `others`, both over the sweeps that have the two.
      ci: of the difference, crossed seed x site bootstrap, 95 %.
      p_sites, p_min_sites: exact sign-flip test over driven sites, and the smallest p
        that it can reach.
      notes: what was left out, in plain words.
    """

    model: str
    driven: tuple[str, ...]
    recorded: tuple[str, ...]
    control: Float[np.ndarray, "driven recorded"]
    target: float
    others: float
    difference: float
    ci: tuple[float, float]
    p_sites: float
    p_min_sites: float
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ChoiceSite:
    """What one site says about two models, from pairs of controversial stimuli.

    A pair is one seed image driven both ways: up for `a` and down for `b` ("a"), and
    the reverse ("b").

    Attributes:
      seeds: of the pairs, in the order of the arrays.
      a_high, b_high, seed: recorded means of the stimulus driven up for `a`, of that
        driven up for `b`, and of the un-accentuated seed image (NaN: not shown).
      kappa: ``mean(a_high - b_high) / (2 sd)``, `sd` of the site's responses; above 0
        the site follows `a`.
      choice: share of pairs with ``a_high > b_high`` (ties count half).
      p_choice: exact two-sided binomial test of `choice` against one half.
      r_a, r_b: Pearson r of each model's predictions with the responses to all paired
        stimuli; NaN with fewer than three or constant values.
      up_a: ``mean(a_high - seed) / sd``: what driving `a` up did to the site.
      up_b: ``mean(b_high - seed) / sd``.
      sd: of the site's responses, the unit of `kappa`, `up_a` and `up_b`.
    """

    seeds: tuple[str, ...]
    a_high: Float[np.ndarray, " pair"]
    b_high: Float[np.ndarray, " pair"]
    seed: Float[np.ndarray, " pair"]
    kappa: float
    choice: float
    p_choice: float
    r_a: float
    r_b: float
    up_a: float
    up_b: float
    sd: float = float("nan")


@dataclasses.dataclass(frozen=True)
class ChoiceScore:
    """The verdict between two models from controversial stimuli.

    Attributes:
      a, b: the models.
      sites: by site id.
      kappa: mean over sites; above 0 the subject follows `a`.
      kappa_ci: crossed seed x site bootstrap, 95 %.
      p_seeds, p_sites: exact two-sided sign-flip tests over seeds and over sites.
      p_min_seeds, p_min_sites: the smallest p that these tests can reach.
      p_r_sites: sign-flip test over sites of ``r_a - r_b``.
      n_pairs: pairs behind `kappa`, over all sites.
      notes: what was left out, in plain words.
    """

    a: str
    b: str
    sites: Mapping[str, ChoiceSite]
    kappa: float
    kappa_ci: tuple[float, float]
    p_seeds: float
    p_sites: float
    p_min_seeds: float
    p_min_sites: float
    p_r_sites: float
    n_pairs: int
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Replication:
    """One difference between two models in several subjects.

    Attributes:
      a, b: the models.
      subjects: in the order of the arrays.
      difference: control of `a` minus control of `b` in each subject.
      ci: of each, 95 %.
      agree: subjects whose difference has the sign of the pooled one.
      pooled: mean over subjects.
      pooled_ci: subjects, and within them sites and seeds, resampled; with few
        subjects it speaks about these subjects only.
      p_subjects, p_min_subjects: exact sign-flip test over subjects, and the smallest
        p that it can reach.
      p_sites, p_min_sites: the same over the sites of all subjects together.
      notes: subjects that were left out, in plain words.
    """

    a: str
    b: str
    subjects: tuple[str, ...]
    difference: Float[np.ndarray, " subject"]
    ci: Float[np.ndarray, "subject 2"]
    agree: int
    pooled: float
    pooled_ci: tuple[float, float]
    p_subjects: float
    p_min_subjects: float
    p_sites: float
    p_min_sites: float
    notes: tuple[str, ...] = ()
