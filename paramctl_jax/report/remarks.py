"""What a report says about itself: counts, and what a reader should be warned of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.style import number

TYPICAL = (
    "a and b show a typical site and seed image, not the best: those whose control, "
    "averaged over models, is the median; of more than three models those with the "
    "highest, the median and the lowest control. A red corner: the saved PNG misses "
    "its target."
)
HOW_TO_READ = {
    "Target, predicted, recorded": (
        "What was asked for; what the model says of the saved 8-bit PNG; what the "
        "subject did, averaged over repeats. The three are never mixed."
    ),
    "Encoding r": (
        "Pearson correlation of predicted and recorded responses to natural images "
        "that the model was not fitted on; mean over the sites that were scored."
    ),
    "Control": (
        "Pearson correlation of predicted and recorded over the levels of one seed, "
        "averaged over seeds, then mean ± SD over sites (ddof 0). The interval "
        "resamples seeds and sites. A seed with fewer than three valid levels, or with "
        "constant values, has no r and is left out and counted."
    ),
    "Slope": (
        "Change of the recorded per unit of predicted response. A correlation is blind "
        "to gain: r can be high while the subject moves by a fraction of "
        "what was asked."
    ),
    "Hits": (
        "Stimuli whose prediction, made again from the PNG, lies within 5 % of the "
        "level range of its target. Misses stay in the set, are flagged by a red "
        "corner and count in every denominator."
    ),
    "Peer review": (
        "Control with the predictions of another model than the one that made the "
        "stimuli. A model whose own stimuli alone speak for it has not been tested."
    ),
    "κ": (
        "Choice between two models by controversial stimuli, each seed image driven up "
        "for one and down for the other: mean difference of the responses to the two, "
        "over twice the site's SD. 0 where the subject follows neither."
    ),
    "p (min)": (
        "Exact sign-flip tests over seeds and over sites, each with the smallest p "
        "that it can reach with this many of them."
    ),
}


def counts(inputs: ReportInputs) -> dict[str, str]:
    """What was made and measured, in numbers."""
    stimuli = inputs.stimuli.stimuli
    made = [stimulus for stimulus in stimuli if stimulus.level is not None]
    repeats = sorted({int(n) for n in inputs.n_repeats.values()})
    recorded = sum(math.isfinite(inputs.response(stimulus)) for stimulus in stimuli)
    levels = sorted({len(sweep.levels) for sweep in inputs.sweeps.values()})
    result = {
        "models": str(len(inputs.models)),
        "sites": str(len(inputs.sites)),
        "seed images": str(len({stimulus.seed for stimulus in stimuli})),
        "levels per seed": _span(levels),
        "accentuated PNGs": str(len(made)),
        "un-accentuated seed PNGs": str(len(stimuli) - len(made)),
        "stimuli recorded": f"{recorded} of {len(stimuli)}",
    }
    return result | ({"repeats of each": _span(repeats)} if repeats else {})


def model_facts(inputs: ReportInputs) -> dict[str, str]:
    """Per model: its readout layer and how many images fitted and tested it."""
    facts = {}
    for model, evaluation in inputs.evaluations.items():
        readout = inputs.readouts.get(model)
        facts[model] = (f"readout {readout}; " if readout else "") + (
            f"fitted on {len(evaluation.train_ids)} images, evaluated on "
            f"{len(evaluation.test_ids)} others"
        )
    return facts


def remarks(inputs: ReportInputs) -> list[str]:
    """Warnings: those handed over, and those that the data itself gives rise to."""
    return [
        *_missed(inputs),
        *_unrecorded(inputs),
        *_unequal_levels(inputs),
        *inputs.score.notes,
        *inputs.notes,
    ]


def _missed(inputs: ReportInputs) -> list[str]:
    lines = []
    for model in inputs.models:
        sweeps = [sweep for (name, _), sweep in inputs.sweeps.items() if name == model]
        made = [stimulus for sweep in sweeps for stimulus in sweep.accentuated()]
        missed = [stimulus for stimulus in made if not stimulus.hit]
        if missed:
            worst = max(abs(s.predicted - s.target) for s in missed)
            lines.append(
                f"{model}: {len(missed)} of {len(made)} stimuli miss their target, at "
                f"most by {number(worst)} {inputs.units}"
            )
    return lines


def _unrecorded(inputs: ReportInputs) -> list[str]:
    stimuli = inputs.stimuli.stimuli
    missing = sum(not math.isfinite(inputs.response(stimulus)) for stimulus in stimuli)
    if missing == 0:
        return []
    return [f"{missing} of {len(stimuli)} stimuli have no recorded response"]


def _unequal_levels(inputs: ReportInputs) -> list[str]:
    """Sites whose target levels differ between models: r is over different ranges."""
    grids: dict[str, set[tuple[float, ...]]] = {}
    for (_, site), sweep in inputs.sweeps.items():
        grid = tuple(round(sweep.target(level), 6) for level in sweep.levels)
        if all(map(math.isfinite, grid)):
            grids.setdefault(site, set()).add(grid)
    differing = [site for site, grid in grids.items() if len(grid) > 1]
    if not differing:
        return []
    return [
        f"target levels differ between models at {len(differing)} sites "
        f"({', '.join(differing[:3])}); compare their control with care"
    ]


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names with plain text.

    >>> flattened({"versions": {"jax": "0.10.2"}, "devices": ["cpu:0"]})
    {'versions.jax': '0.10.2', 'devices': 'cpu:0'}
    """
    result: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            result |= flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            result[f"{prefix}{name}"] = ", ".join(str(item) for item in value)
        else:
            result[f"{prefix}{name}"] = str(value)
    return result


def _span(numbers: list[int]) -> str:
    if not numbers:
        return "0"
    low, high = numbers[0], numbers[-1]
    return str(low) if low == high else f"{low} to {high}"
