"""The sections of verdicts: peers, specificity, the contest, several subjects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from paramctl_jax.report.accentuation import Plate
from paramctl_jax.report.contest import SITES_SHOWN, contest_panel
from paramctl_jax.report.contest_images import contest_images, pairs_of, rivals
from paramctl_jax.report.heatmaps import peer_review_map, specificity_maps
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.markup import bullets, paragraph
from paramctl_jax.report.words import (
    NO_SITE,
    choice_sentence,
    choice_table,
    peer_sentence,
    peer_table,
    replication_table,
    specificity_table,
)


@dataclasses.dataclass(frozen=True)
class Chapter:
    """One section of the page.

    Attributes:
      anchor, heading: of the section.
      lead: HTML before its figures.
      plates: its figures.
      rest: HTML after them.
    """

    anchor: str
    heading: str
    lead: str
    plates: Sequence[Plate]
    rest: str


def chapters(inputs: ReportInputs) -> list[Chapter]:
    """The sections that the report's data allow, in the order of the page.

    Args:
      inputs: the report's data.

    Returns:
      Nothing where only control scores are known.
    """
    found = []
    if inputs.peer_review is not None:
        found.append(_peers(inputs))
    if inputs.specificity:
        found.append(_specificity(inputs))
    if inputs.choice is not None or _has_pairs(inputs):
        found.append(_contest(inputs))
    if inputs.replications:
        found.append(_replications(inputs))
    return found


def _has_pairs(inputs: ReportInputs) -> bool:
    several = inputs.controversial is not None and len(inputs.controversial.models) > 1
    return several and bool(pairs_of(inputs))


def _peers(inputs: ReportInputs) -> Chapter:
    review = inputs.peer_review
    assert review is not None  # `chapters` asks only then
    undefined = int(np.sum(~np.isfinite(review.control)))
    hatched = (
        f" Hatched: {undefined} of {review.control.size} undefined, {NO_SITE}."
        if undefined
        else ""
    )
    caption = (
        "Each row is a set of stimuli, named by the model that made them; each column "
        "is a model that predicts the responses to them. Framed: models on their own "
        "stimuli. Small: 95 % interval. Look for columns that stay light in every row: "
        "a model that predicts also what others made does not owe its score to its own "
        f"stimuli.{hatched}"
    )
    plate = Plate(
        "peer_review",
        "",
        "Control score of every reviewing model on the stimuli of every making model",
        caption,
        lambda theme: peer_review_map(inputs, theme),
    )
    return Chapter(
        "peers",
        "Peer review",
        paragraph(peer_sentence(inputs)),
        [plate],
        f"<details><summary>As a table</summary>{peer_table(inputs)}</details>"
        + bullets(review.notes),
    )


def _specificity(inputs: ReportInputs) -> Chapter:
    caption = (
        "The model's predictions for the site of the row, against the responses of the "
        "site of the column to the stimuli made for the row. Framed: the site itself. "
        "Look for a light diagonal; rows that are light throughout drove all sites "
        "together."
    )
    plate = Plate(
        "specificity",
        "",
        "Control of every recorded site by the stimuli made for each site",
        caption,
        lambda theme: specificity_maps(inputs, theme),
    )
    table = specificity_table(inputs.specificity)
    notes = [f"{one.model}: {note}" for one in inputs.specificity for note in one.notes]
    return Chapter("specificity", "Specificity", "", [plate], table + bullets(notes))


def _contest(inputs: ReportInputs) -> Chapter:
    choice = inputs.choice
    plates = [_contest_plate(inputs)] if choice is not None else []
    if _has_pairs(inputs):
        plates.append(_images_plate(inputs))
    if choice is None:
        told = paragraph("No responses to controversial stimuli were scored yet.")
        return Chapter("contest", "Controversial stimuli", told, plates, "")
    return Chapter(
        "contest",
        "Controversial stimuli",
        paragraph(choice_sentence(choice), "verdict"),
        plates,
        choice_table(choice) + bullets(choice.notes),
    )


def _contest_plate(inputs: ReportInputs) -> Plate:
    assert inputs.choice is not None
    sites = len(inputs.choice.sites)
    some = f" The first {SITES_SHOWN} of {sites} sites." if sites > SITES_SHOWN else ""
    caption = (
        "Above: each line joins the responses to the two stimuli made from one seed "
        "image, in the colour of the model that the pair follows; thick: their mean; "
        f"dotted: mean response to the un-accentuated seed images.{some} Below: κ of "
        "every site, and r of both models' predictions."
    )
    return Plate(
        "contest",
        "What the subject did",
        "Responses to pairs of controversial stimuli per site, kappa, both models' r",
        caption,
        lambda theme: contest_panel(inputs, theme),
    )


def _images_plate(inputs: ReportInputs) -> Plate:
    a, b = rivals(inputs)
    count = len(pairs_of(inputs))
    caption = (
        f"Left of each seed image the stimulus driven up for {a} and down for {b}, "
        "right of it the reverse; below, what both say of the saved PNG, in SD of "
        "their predictions of natural images. The strongest pairs of the "
        f"{count} seed images driven both ways: selected before accepted ones, then by "
        "the weaker direction."
    )
    return Plate(
        "contest_images",
        "Examples",
        "Seed images between the two controversial stimuli made from each",
        caption,
        lambda theme: contest_images(inputs, theme),
    )


def _replications(inputs: ReportInputs) -> Chapter:
    explained = paragraph(
        "Difference in control per subject with its 95 % interval. Pooled: mean over "
        "subjects; its interval resamples subjects, sites and seeds. With few subjects "
        "it speaks about these subjects only.",
        "muted small",
    )
    table = replication_table(inputs.replications)
    notes = dict.fromkeys(note for one in inputs.replications for note in one.notes)
    rest = table + explained + bullets(list(notes))
    return Chapter("replication", "Several subjects", "", [], rest)
