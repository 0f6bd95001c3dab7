"""The page: sections in the order in which a reader asks, in one file."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence

from paramctl_jax.report.accentuation import Plate
from paramctl_jax.report.gallery import BUDGET, embedded_stimuli, explorer
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.markup import (
    bullets,
    data_uri,
    definitions,
    escaped,
    model_label,
    paragraph,
    rows_table,
    section,
)
from paramctl_jax.report.remarks import (
    HOW_TO_READ,
    TYPICAL,
    counts,
    flattened,
    model_facts,
    remarks,
)
from paramctl_jax.report.site_pages import site_pages
from paramctl_jax.report.style import model_colour, number
from paramctl_jax.report.summary import Row, model_rows, site_rows
from paramctl_jax.report.tables import (
    control_comparisons,
    encoding_comparisons,
    seed_table,
    site_choice,
)
from paramctl_jax.report.verdicts import Chapter, chapters

# Nothing may be fetched, from anywhere: the page works offline by construction.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_MOST_CARDS = 4

Picture = tuple[bytes, bytes, int]  # light PNG, dark PNG, width in px
Pictures = Mapping[str, Picture]


def page(
    inputs: ReportInputs,
    comparison: Pictures,
    curves: Pictures,
    plates: Sequence[tuple[Plate, Picture]] = (),
    verdicts: Mapping[str, Picture] | None = None,
) -> str:
    """The whole report as one HTML text.

    Args:
      inputs: the report's data.
      comparison: the comparison figure by its description.
      curves: the control curve figures by their descriptions.
      plates: the figures of the section on accentuation.
      verdicts: the figures of the sections of verdicts, by the names of their plates.

    Returns:
      HTML that refers to nothing outside itself.
    """
    verdicts = verdicts or {}
    drawn = [*comparison.values(), *curves.values(), *(p for _, p in plates)]
    drawn += verdicts.values()
    figures = sum(len(light) + len(dark) for light, dark, _ in drawn)
    uris, reduction = embedded_stimuli(inputs, BUDGET - figures)
    notes = [*remarks(inputs), *([reduction] if reduction else [])]
    rows = model_rows(inputs)
    body = [
        _header(inputs, notes),
        _cards(rows),
        _models_section(inputs, rows, comparison),
        *(_chapter(chapter, verdicts) for chapter in chapters(inputs)),
        _stimuli_section(inputs, uris),
        _curves_section(curves),
        _accentuation_section(plates),
        _sites_section(inputs),
        section("done", "What was done", definitions(counts(inputs)),
                definitions(model_facts(inputs))),
        section("reading", "How to read this", definitions(HOW_TO_READ)),
        section("notes", "Notes and warnings", bullets(notes) or paragraph("None.")),
        _provenance_section(inputs),
    ]  # fmt: skip
    return document(inputs.title, "\n".join(part for part in body if part))


def document(title: str, body: str) -> str:
    """A page that refers to nothing outside itself."""
    assets = importlib.resources.files("paramctl_jax.report") / "assets"
    css = (assets / "report.css").read_text(encoding="utf-8")
    script = (assets / "report.js").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _header(inputs: ReportInputs, notes: Sequence[str]) -> str:
    subject = inputs.subject or next(iter(inputs.score.subjects), "")
    lines = [f"<h1>{escaped(inputs.title)}</h1>"]
    if subject:
        lines.append(paragraph(f"Subject {subject}", "lede"))
    if inputs.ground_truth:
        lines.append(paragraph(inputs.ground_truth, "lede"))
    if notes:
        plural = "notes and warnings" if len(notes) > 1 else "note"
        lines.append(f'<p><a class="flag" href="#notes">{len(notes)} {plural}</a></p>')
    return "<header>" + "\n".join(lines) + "</header>"


def _cards(rows: Sequence[Row]) -> str:
    """The main numbers, large; with many models the figure says it better."""
    if len(rows) > _MOST_CARDS:
        return ""
    return f'<div class="cards">{"".join(map(_card, range(len(rows)), rows))}</div>'


def _card(index: int, row: Row) -> str:
    cells = row.cells
    control = number(cells["control"].value)
    return (
        f'<div class="card" style="--c:{model_colour(index)}">'
        f"{model_label(row.name, index)}"
        f'<p class="big">{control}<small>control r</small></p>'
        f'<p class="muted">{escaped(cells["95 % CI"].text)} 95 % CI</p>'
        f"<p>encoding r {escaped(cells['r'].text)} · "
        f"slope {escaped(cells['slope'].text)} · "
        f"hits {escaped(cells['hits'].text)}</p></div>"
    )


def _models_section(
    inputs: ReportInputs, rows: Sequence[Row], comparison: Pictures
) -> str:
    colours = {name: index for index, name in enumerate(inputs.models)}
    return section(
        "models",
        "Encoding and control",
        pictured(comparison),
        paragraph(TYPICAL, "muted small") if inputs.sweeps and comparison else "",
        rows_table(rows, "model", colours),
        paragraph(
            "Encoding (r, R², r / ceiling): held-out natural images, mean over the "
            "scored sites. Control: mean ± SD over sites.",
            "muted small",
        ),
        control_comparisons(inputs),
        encoding_comparisons(inputs),
    )


def _stimuli_section(inputs: ReportInputs, uris: dict[str, str]) -> str:
    if not inputs.sweeps:
        return section("stimuli", "Stimuli", paragraph("No stimuli were made."))
    legend = (
        f"Rows: seed images. Columns: target levels ({inputs.units}); first the "
        "un-accentuated seed."
    )
    flag = '<span class="corner"></span> the saved PNG misses its target'
    return section(
        "stimuli",
        "Stimuli, site by site",
        explorer(inputs),
        f'<p class="muted small">{escaped(legend)} {flag}.</p>',
        site_pages(inputs, uris),
    )


def _curves_section(curves: Pictures) -> str:
    caption = (
        "One line per seed image joins its levels. Both axes share one scale, the same "
        "for all models of a site; dashed: identity. The strip beside each panel has "
        "one tick per seed at its r and a bar at their mean. Open circles missed their "
        "target; grey lines have no r."
    )
    if not curves:
        return ""
    return section(
        "curves", "Control curves", pictured(curves), paragraph(caption, "muted small")
    )


def _accentuation_section(plates: Sequence[tuple[Plate, Picture]]) -> str:
    if not plates:
        return ""
    parts = [
        f"<h3>{escaped(plate.heading)}</h3>"
        + pictured({plate.described: picture})
        + paragraph(plate.caption, "muted small")
        for plate, picture in plates
    ]
    return section("accentuation", "Accentuation", *parts)


def _chapter(chapter: Chapter, pictures: Mapping[str, Picture]) -> str:
    """A section of verdicts; without the figures that were not drawn."""
    figures = [
        (f"<h3>{escaped(plate.heading)}</h3>" if plate.heading else "")
        + pictured({plate.described: pictures[plate.name]})
        + paragraph(plate.caption, "muted small")
        for plate in chapter.plates
        if plate.name in pictures
    ]
    return section(
        chapter.anchor, chapter.heading, chapter.lead, *figures, chapter.rest
    )


def pictured(pictures: Pictures) -> str:
    """Figures by their descriptions, light or dark as the reader's screen is."""
    return "\n".join(
        f'<div class="scroll"><picture class="figure">'
        f'<source media="(prefers-color-scheme: dark)" srcset="{data_uri(dark)}">'
        f'<img src="{data_uri(light)}" width="{width}" alt="{escaped(text)}">'
        "</picture></div>"
        for text, (light, dark, width) in pictures.items()
    )


def _sites_section(inputs: ReportInputs) -> str:
    tables = []
    for index, model in enumerate(inputs.models):
        rows = site_rows(inputs, model)
        if rows:
            tables.append(
                f"<details><summary>{model_label(model, index)}</summary>"
                f"{rows_table(rows, 'site')}{seed_table(inputs, model)}</details>"
            )
    return section("sites", "Numbers of every site", *tables, site_choice(inputs))


def _provenance_section(inputs: ReportInputs) -> str:
    if not inputs.provenance:
        return ""
    entries = definitions(flattened(inputs.provenance))
    body = (
        f'<details><summary>Show</summary><div class="mono">{entries}</div></details>'
    )
    return section("provenance", "Provenance", body)
