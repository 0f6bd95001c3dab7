"""The report's tables that are not one row per model: differences, seeds, sites."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.markup import escaped, paragraph
from paramctl_jax.report.style import number
from paramctl_jax.report.summary import FEW, p_value, shown_comparisons


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of ready-made cells; the first of a row is its heading.

    Args:
      heads: plain text, escaped here.
      rows: HTML, one cell per head; the first one plain text, escaped here.
    """
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escaped(first)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return (
        '<div class="scroll"><table class="numbers">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def control_comparisons(inputs: ReportInputs) -> str:
    """Paired differences in control between models."""
    shown = shown_comparisons(inputs)
    if not shown:
        return ""
    heads = ("models", "difference in control", "95 % CI", "p over seeds")
    rows = [
        (
            f"{c.a} − {c.b}",
            number(c.difference, signed=True),
            _interval(c.ci),
            p_value(c.p_seeds, c.p_min_seeds),
            p_value(c.p_sites, c.p_min_sites),
        )
        for c in shown
    ]
    return "<h3>Differences in control</h3>" + folded(
        table((*heads, "p over sites"), rows), len(rows)
    )


def encoding_comparisons(inputs: ReportInputs) -> str:
    """Paired differences in encoding, and whether they are shown to be small."""
    shown = inputs.encoding_comparisons
    if not shown:
        return ""
    heads = ("models", "difference in encoding r", "90 % CI", "verdict")
    rows = [
        (
            f"{a} − {b}",
            number(float(c.mean.difference[0]), signed=True),
            _interval(tuple(c.mean.ci90[0])),
            escaped(c.verdict.replace(" -", " −")),
        )
        for (a, b), c in shown.items()
    ]
    bound = next(iter(shown.values())).bound
    explained = paragraph(
        "Models count as equally good encoders only if the 90 % interval lies within "
        f"± {number(bound)} (two one-sided tests at 5 %): a difference that is "
        "not significant is no equivalence.",
        "muted small",
    )
    return (
        "<h3>Differences in encoding</h3>"
        + folded(table(heads, rows), len(rows))
        + explained
    )


def seed_table(inputs: ReportInputs, model: str) -> str:
    """Correlation of every seed at every site of a model."""
    scores = {site: inputs.site_score(model, site) for site in inputs.sites_of(model)}
    known = {site: score for site, score in scores.items() if score is not None}
    seeds = dict.fromkeys(seed for score in known.values() for seed in score.seeds)
    if not seeds:
        return ""
    rows = []
    for site, score in known.items():
        r_of = dict(zip(score.seeds, score.r.tolist(), strict=True))
        rows.append((site, *(number(r_of.get(seed, math.nan)) for seed in seeds)))
    return "<h4>Control r of every seed</h4>" + table(("site", *seeds), rows)


def site_choice(inputs: ReportInputs) -> str:
    """Every recorded site: how reliable it is, and whether or why not it was chosen."""
    if not inputs.site_choice:
        return ""
    names = ("reliability", "ncsnr", "ceiling")
    rows = [
        (site, *(_known(entry[n]) for n in names), escaped(str(entry["status"])))
        for site, entry in inputs.site_choice.items()
    ]
    chosen = sum(entry["status"] == "chosen" for entry in inputs.site_choice.values())
    return (
        f"<details><summary>The choice of {chosen} among {len(rows)} recorded sites"
        f"</summary>{table(('site', *names, 'status'), rows)}</details>"
    )


def _known(value: float | None) -> str:
    return "–" if value is None else number(value)


def _interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"[{number(low, signed=True)}, {number(high, signed=True)}]"


def folded(html: str, count: int) -> str:
    """A table of more than a few rows, behind its number of rows."""
    if count <= FEW:
        return html
    return f"<details><summary>All {count}</summary>{html}</details>"
