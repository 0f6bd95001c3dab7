"""Control scores as text to read and as JSON to keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from paramctl_jax.scoring.correlation import mean_defined
from paramctl_jax.types import Comparison, ControlScore, ModelScore

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
_PAIR_HEAD = ("a - b", "difference", "95 % CI", "p seeds", "p sites")


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
        parts += [_aligned([_MODEL_HEAD, *rows]), ""]
        pairs = [c for c in score.comparisons if c.subject == subject]
        if pairs:
            rows = [_pair_cells(pair) for pair in pairs]
            parts += [_PAIR_TITLE, _aligned([_PAIR_HEAD, *rows]), ""]
    if score.notes:
        parts += ["notes", *(f"- {note}" for note in score.notes)]
    return "\n".join(parts).rstrip() or "no scores"


def scores_to_json(score: ControlScore) -> dict[str, Any]:
    """The scores as plain JSON types; a number that is undefined is None.

    Args:
      score: what `control_score` or `score_table` returned.

    Returns:
      ``subjects`` -> subject -> ``models`` -> model -> control and its sites,
      ``comparisons`` and ``notes``, which say why a number is undefined.
    """
    return {
        "subjects": {
            subject: {"models": {m: _model_json(s) for m, s in models.items()}}
            for subject, models in score.subjects.items()
        },
        "comparisons": [_pair_json(pair) for pair in score.comparisons],
        "notes": list(score.notes),
    }


def _model_json(model: ModelScore) -> dict[str, Any]:
    return {
        "control_mean": _number(model.control_mean),
        "control_sd": _number(model.control_sd),
        "control_sd_ddof1": _number(model.control_sd_ddof1),
        "control_ci": _numbers(model.control_ci),
        "n_sites": model.n_sites,
        "n_seeds_used": model.n_seeds_used,
        "n_rows": model.n_rows,
        "n_duplicates": model.n_duplicates,
        "sites": {
            name: {
                "control": _number(site.control),
                "slope": _number(site.slope),
                "pooled_r": _number(site.pooled_r),
                "n_seeds_used": site.n_seeds_used,
            }
            for name, site in model.sites.items()
        },
    }


def _pair_json(pair: Comparison) -> dict[str, Any]:
    return {
        "subject": pair.subject,
        "a": pair.a,
        "b": pair.b,
        "difference": _number(pair.difference),
        "ci": _numbers(pair.ci),
        "p_seeds": _number(pair.p_seeds),
        "p_sites": _number(pair.p_sites),
        "p_min_seeds": _number(pair.p_min_seeds),
        "p_min_sites": _number(pair.p_min_sites),
    }


def _model_cells(model: ModelScore) -> tuple[str, ...]:
    sites = model.sites
    slope = mean_defined(np.asarray([site.slope for site in sites.values()]))
    pooled = mean_defined(np.asarray([site.pooled_r for site in sites.values()]))
    n_sweeps = sum(len(site.seeds) for site in sites.values())
    return (
        f"{_text(model.control_mean)} ± {_text(model.control_sd)}",
        _interval(model.control_ci),
        _text(float(slope)),
        _text(float(pooled)),
        f"{model.n_sites}/{len(sites)}",
        f"{model.n_seeds_used}/{n_sweeps}",
    )


def _pair_cells(pair: Comparison) -> tuple[str, ...]:
    return (
        f"{pair.a} - {pair.b}",
        _text(pair.difference, "+.3f"),
        _interval(pair.ci),
        f"{_text(pair.p_seeds, '.3g')} ({_text(pair.p_min_seeds, '.3g')})",
        f"{_text(pair.p_sites, '.3g')} ({_text(pair.p_min_sites, '.3g')})",
    )


def _aligned(rows: Sequence[Sequence[str]]) -> str:
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


def _text(value: float, form: str = ".3f") -> str:
    return "undefined" if math.isnan(value) else format(value, form)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]
