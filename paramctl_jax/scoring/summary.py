"""Control scores as text to read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.animals import replicate
from paramctl_jax.scoring.multiplicity import holm_comparisons
from paramctl_jax.scoring.pooled import MASKS
from paramctl_jax.scoring.records import over_sites
from paramctl_jax.types import Comparison, ControlScore, ModelScore, Replication

_FURTHER_TITLE = (
    "further numbers, means over sites (docs/scores.md); r within and noise-corrected: "
    "all sites' sweeps\nat once; p: against levels shuffled within seeds; undefined "
    "without target: modulation, permodel,\nintersect; without recorded_sd and "
    "n_repeats: noise-corrected"
)
_FURTHER_HEAD = (
    "model",
    "p (smallest)",
    "R2 identity",
    "Spearman",
    "rising",
    "modulation",
    "r within",
    "noise-corrected",
    *(f"pooled {mask}" for mask in MASKS),
)
_MODEL_HEAD = (
    "model",
    "control ± SD",
    "95 % CI",
    "slope",
    "pooled r",
    "sites",
    "sweeps",
)
_PAIR_TITLE = (
    "paired comparisons (crossed seed x site bootstrap; sign-flip tests, smallest "
    "attainable p in brackets)"
)
_PAIR_HEAD = ("a - b", "difference", "95 % CI", "p seeds", "Holm", "p sites", "Holm")
_SUBJECTS_TITLE = "differences in several subjects"
_SUBJECTS_HEAD = (
    "a - b",
    "subjects",
    "agree",
    "mean",
    "95 % CI",
    "p sites of all",
    "p subjects",
)


def format_scores(score: ControlScore) -> str:
    """A readable table per subject, models from best to worst, then pairs and notes.

    Args:
      score: what `control_score` or `score_table` returned.

    Returns:
      Lines of text. Control is mean ± SD (ddof 0) over sites of the mean r over seeds;
      slope and pooled r are means over sites; `sweeps` are those with an r, of all;
      p comes with the smallest value that the exact test can reach.

    Example:
      >>> print(format_scores(ControlScore({})))
      no scores
    """
    parts = []
    for subject, models in score.subjects.items():
        parts.append(f"control score{f', subject {subject}' if subject else ''}")
        ranked = sorted(models.items(), key=lambda item: _rank(item[1]))
        rows = [(name, *_model_cells(model)) for name, model in ranked]
        parts += [aligned([_MODEL_HEAD, *rows]), ""]
        rows = [(name, *_further_cells(model)) for name, model in ranked]
        parts += [_FURTHER_TITLE, aligned([_FURTHER_HEAD, *rows]), ""]
        pairs = [c for c in score.comparisons if c.subject == subject]
        if pairs:
            adjusted = holm_comparisons(pairs)
            rows = [_pair_cells(*both) for both in zip(pairs, adjusted, strict=True)]
            parts += [_PAIR_TITLE, aligned([_PAIR_HEAD, *rows]), ""]
    repeated = replicate(score)
    if repeated:
        rows = [_replication_cells(one) for one in repeated]
        parts += [_SUBJECTS_TITLE, aligned([_SUBJECTS_HEAD, *rows]), ""]
    if score.notes:
        parts += ["notes", *(f"- {note}" for note in score.notes)]
    return "\n".join(parts).rstrip() or "no scores"


def _model_cells(model: ModelScore) -> tuple[str, ...]:
    sites = model.sites
    n_sweeps = sum(len(site.seeds) for site in sites.values())
    return (
        f"{number_text(model.control_mean)} ± {number_text(model.control_sd)}",
        _interval(model.control_ci),
        number_text(model.overall("slope")),
        number_text(model.overall("pooled_r")),
        f"{model.n_sites}/{len(sites)}",
        f"{model.n_seeds_used}/{n_sweeps}",
    )


def _further_cells(model: ModelScore) -> tuple[str, ...]:
    names = ("r2_identity", "spearman", "rising", "modulation")
    names += ("r_within", "r_noise_corrected")
    return (
        _p(model.p_permutation, model.p_min_permutation),
        *(number_text(model.overall(name), ".2f") for name in names),
        *(number_text(over_sites(model, mask, "r"), ".2f") for mask in MASKS),
    )


def _pair_cells(pair: Comparison, adjusted: Float[np.ndarray, " 2"]) -> tuple[str, ...]:
    return (
        f"{pair.a} - {pair.b}",
        number_text(pair.difference, "+.3f"),
        _interval(pair.ci),
        _p(pair.p_seeds, pair.p_min_seeds),
        number_text(float(adjusted[0]), ".3g"),
        _p(pair.p_sites, pair.p_min_sites),
        number_text(float(adjusted[1]), ".3g"),
    )


def _replication_cells(one: Replication) -> tuple[str, ...]:
    return (
        f"{one.a} - {one.b}",
        str(len(one.subjects)),
        f"{one.agree}/{len(one.subjects)}",
        number_text(one.pooled, "+.3f"),
        _interval(one.pooled_ci),
        _p(one.p_sites, one.p_min_sites),
        _p(one.p_subjects, one.p_min_subjects),
    )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, the others to the right, two spaces between."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        padded = [cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *padded]))
    return "\n".join(lines)


def _rank(model: ModelScore) -> float:
    return math.inf if math.isnan(model.control_mean) else -model.control_mean


def _interval(limits: tuple[float, float]) -> str:
    if math.isnan(limits[0]):
        return "undefined"
    return f"[{limits[0]:.3f}, {limits[1]:.3f}]"


def number_text(value: float, form: str = ".3f") -> str:
    """A number, or the word for what has none."""
    return "undefined" if math.isnan(value) else format(value, form)


def _p(value: float, smallest: float) -> str:
    """A p with the smallest one that its test can reach."""
    return f"{number_text(value, '.3g')} ({number_text(smallest, '.3g')})"
