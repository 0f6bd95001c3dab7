"""Small pieces of HTML; every text passes through `escaped` on its way in."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from paramctl_jax.report.style import model_colour
from paramctl_jax.report.summary import Row, footnotes


def escaped(text: Any) -> str:
    """Text safe in element content and in quoted attributes.

    >>> escaped('<b class="x">')
    '&lt;b class=&quot;x&quot;&gt;'
    """
    return html.escape(str(text), quote=True)


def data_uri(data: bytes, kind: str = "image/png") -> str:
    """`data` as a URI that needs no second file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def script_json(content: Any) -> str:
    r"""JSON that no HTML parser takes for the end of its script element.

    >>> script_json({"id": "</script>"})
    '{"id":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def section(anchor: str, heading: str, *parts: str) -> str:
    """A titled section; empty parts are left out."""
    body = "\n".join(part for part in parts if part)
    return f'<section id="{anchor}">\n<h2>{escaped(heading)}</h2>\n{body}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return (
        f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"
    )


def bullets(lines: Sequence[str]) -> str:
    """An unordered list of plain text; empty for no lines."""
    if not lines:
        return ""
    return "<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in lines) + "</ul>"


def definitions(pairs: Mapping[str, str]) -> str:
    """A list of terms, each with its plain text."""
    entries = (
        f"<div><dt>{escaped(term)}</dt><dd>{escaped(text)}</dd></div>"
        for term, text in pairs.items()
    )
    return f"<dl>{''.join(entries)}</dl>"


def model_label(name: str, index: int) -> str:
    """A model's name beside its colour."""
    colour = model_colour(index)
    return f'<span class="model" style="--c:{colour}">{escaped(name)}</span>'


def rows_table(
    rows: Sequence[Row], first: str, colours: Mapping[str, int] | None = None
) -> str:
    """A table of numbers, with the reasons of undefined ones below.

    Every cell carries its value at full precision in ``data-value``.

    Args:
      rows: with the same columns each.
      first: heading of the first column.
      colours: position of each row's model, where rows are models.
    """
    reasons = footnotes(rows)
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in rows[0].cells)
    body = "\n".join(_table_row(row, reasons, colours) for row in rows)
    notes = "".join(
        f"<li><sup>{_mark(i)}</sup> {escaped(reason)}</li>"
        for i, reason in enumerate(reasons)
    )
    return (
        f'<div class="scroll"><table class="numbers">\n<thead><tr><th scope="col">'
        f"{escaped(first)}</th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        + (f'<ul class="reasons">{notes}</ul>' if notes else "")
    )


def _mark(index: int) -> str:
    return chr(ord("a") + index)


def _table_row(
    row: Row, reasons: Sequence[str], colours: Mapping[str, int] | None
) -> str:
    name = (
        escaped(row.name)
        if colours is None
        else model_label(row.name, colours[row.name])
    )
    cells = []
    for cell in row.cells.values():
        mark = f"<sup>{_mark(reasons.index(cell.reason))}</sup>" if cell.reason else ""
        value = f' data-value="{cell.value!r}"' if math.isfinite(cell.value) else ""
        cells.append(f"<td{value}>{escaped(cell.text)}{mark}</td>")
    return f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>'
