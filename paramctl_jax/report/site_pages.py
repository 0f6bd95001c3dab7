"""A page per site: its control curves, its numbers and its stimuli, folded."""

from __future__ import annotations

import math

import numpy as np

from paramctl_jax.report.curves import points_of, site_limits
from paramctl_jax.report.further import further_cells
from paramctl_jax.report.gallery import site_grids
from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.markup import escaped, model_label, rows_table
from paramctl_jax.report.style import OUTSIDER, number
from paramctl_jax.report.summary import Row, site_cells
from paramctl_jax.report.tables import table

_SIDE = 190  # user units, of a curve's panel
_ORIGIN = 34  # its left edge


def site_pages(inputs: ReportInputs, uris: dict[str, str]) -> str:
    """All sites, the first one open.

    Args:
      inputs: the report's data.
      uris: every stimulus as a data URI, by id.

    Returns:
      One ``<details>`` per site of the report.
    """
    return "\n".join(
        _site_page(inputs, site, index, uris) for index, site in enumerate(inputs.sites)
    )


def _site_page(
    inputs: ReportInputs, site: str, index: int, uris: dict[str, str]
) -> str:
    sweeps = [sweep for (_, name), sweep in inputs.sweeps.items() if name == site]
    models = [m for m in inputs.models if site in inputs.sites_of(m)]
    rows = [Row(model, site_cells(inputs, model, site)) for model in models]
    colours = {name: place for place, name in enumerate(inputs.models)}
    limits = site_limits(inputs, site)
    curves = "".join(_curve(inputs, sweep, limits) for sweep in sweeps)
    parts = (
        f'<div class="curves">{curves}</div>',
        rows_table(rows, "model", colours) if rows else "",
        _further(inputs, site, models),
        _seeds(inputs, site, models),
        site_grids(inputs, site, uris),
    )
    return (
        f'<details class="site" data-site="{index}"{"" if index else " open"}>'
        f"<summary><h3>Site {escaped(site)}</h3>{_summary(inputs, site, models)}"
        f"</summary>\n{''.join(parts)}</details>"
    )


def _summary(inputs: ReportInputs, site: str, models: list[str]) -> str:
    """Control of every model beside the site's name; of many, the range."""
    scores = {model: inputs.site_score(model, site) for model in models}
    known = {m: s.control for m, s in scores.items() if s and math.isfinite(s.control)}
    if not known:
        return '<span class="muted">control undefined</span>'
    if len(known) > 4:
        low, high = min(known.values()), max(known.values())
        said = f"control {number(low)} to {number(high)} over {len(known)} models"
        return f'<span class="muted">{said}</span>'
    return "".join(
        f'<span class="of">{model_label(model, inputs.models.index(model))} '
        f"{number(control)}</span>"
        for model, control in known.items()
    )


def _further(inputs: ReportInputs, site: str, models: list[str]) -> str:
    """The numbers beyond the paper's, where the scores have them."""
    cells = {model: further_cells(inputs.site_score(model, site)) for model in models}
    rows = [Row(model, found) for model, found in cells.items() if found]
    if not rows:
        return ""
    colours = {name: place for place, name in enumerate(inputs.models)}
    shown = rows_table(rows, "model", colours)
    return f"<details><summary>Further numbers</summary>{shown}</details>"


def _seeds(inputs: ReportInputs, site: str, models: list[str]) -> str:
    """Correlation of every seed of the site, a row per model."""
    scores = {model: inputs.site_score(model, site) for model in models}
    known = {model: score for model, score in scores.items() if score is not None}
    seeds = list(dict.fromkeys(seed for s in known.values() for seed in s.seeds))
    if not seeds:
        return ""
    rows = []
    for model, score in known.items():
        r_of = dict(zip(score.seeds, score.r.tolist(), strict=True))
        rows.append((model, *(number(r_of.get(seed, math.nan)) for seed in seeds)))
    shown = table(("model", *seeds), rows)
    return f"<details><summary>Control r of every seed</summary>{shown}</details>"


def _curve(inputs: ReportInputs, sweep: SiteSweep, limits: tuple[float, float]) -> str:
    """Recorded against predicted as inline SVG: a line per seed, and the identity."""
    place = inputs.models.index(sweep.model)
    lines = []
    for seed in sweep.seeds:
        made = [s for s in sweep.accentuated() if s.seed == seed]
        points = _scaled(points_of(inputs, made), limits)
        if len(points):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            lines.append(f'<polyline points="{path}"/>')
    low, high = _ORIGIN, _ORIGIN + _SIDE
    said = (
        f"recorded against predicted response, model {sweep.model}, site {sweep.site}, "
        f"{len(lines)} seed images"
    )
    empty = "" if lines else f'<text x="{low + 50}" y="100">nothing recorded</text>'
    colour = inputs.colour(sweep.model)
    return (
        f'<figure class="curve" style="--c:{colour}">'
        f"<figcaption>{model_label(sweep.model, place)}</figcaption>"
        f'<svg viewBox="0 0 {high + 6} {high + 6}" role="img" fill="none" '
        f'font-size="11" aria-label="{escaped(said)}">'
        f'<g class="axis" stroke="{OUTSIDER}"><path d="M{low} 4V{_SIDE + 4}H{high}"/>'
        f'<path stroke-dasharray="4 3" d="M{low} {_SIDE + 4}L{high} 4"/></g>'
        f'<g stroke="{colour}" stroke-width="1.3" stroke-opacity=".65">'
        f'{"".join(lines)}</g><g fill="{OUTSIDER}">{_axis_texts(limits)}{empty}</g>'
        "</svg></figure>"
    )


def _scaled(points: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    low, high = limits
    share = (points - low) / (high - low)
    return np.stack(
        [_ORIGIN + _SIDE * share[:, 0], 4 + _SIDE * (1 - share[:, 1])], axis=1
    )


def _axis_texts(limits: tuple[float, float]) -> str:
    """The ends of both scales, which are one."""
    low, high = (number(end, 1) for end in limits)
    bottom, right = _SIDE + 4, _ORIGIN + _SIDE
    return (
        f'<text x="{_ORIGIN}" y="{bottom + 15}">{low}</text>'
        f'<text x="{right}" y="{bottom + 15}" text-anchor="end">{high}</text>'
        f'<text x="{_ORIGIN + _SIDE / 2}" y="{bottom + 15}" text-anchor="middle">'
        "predicted</text>"
        f'<text x="{_ORIGIN - 4}" y="{bottom}" text-anchor="end">{low}</text>'
        f'<text x="{_ORIGIN - 4}" y="14" text-anchor="end">{high}</text>'
        f'<text transform="translate({_ORIGIN - 8} {_SIDE / 2}) rotate(-90)" '
        'text-anchor="middle">recorded</text>'
    )
