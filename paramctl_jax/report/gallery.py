"""The stimuli on the page: every PNG once, as a grid that the slider reads too."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from paramctl_jax.report.grids import read_stimulus
from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.markup import data_uri, escaped, model_label, script_json
from paramctl_jax.report.style import model_colour, number
from paramctl_jax.types import Stimulus

BUDGET = 10_000_000  # bytes of all images on the page, before base64 adds a third
_REDUCTIONS = ((224, 90), (160, 88), (128, 85), (96, 80), (64, 75))  # side, quality


def embedded_stimuli(inputs: ReportInputs, budget: int) -> tuple[dict[str, str], str]:
    """Every stimulus as a data URI, within a budget.

    The PNG files themselves are embedded while they fit; else JPEG copies of the
    largest side that does. The files of the stimulus set are never touched.

    Args:
      inputs: the report's data.
      budget: bytes allowed for all images together.

    Returns:
      Data URI by stimulus id, and a remark on the reduction, empty for none.

    Raises:
      InputError: naming a PNG that is missing or cannot be read.
    """
    stimuli = inputs.stimuli.stimuli
    pixels = {s.stimulus_id: read_stimulus(inputs, s) for s in stimuli}
    files = {s.stimulus_id: inputs.stimuli.directory / s.filename for s in stimuli}
    if sum(path.stat().st_size for path in files.values()) <= budget:
        return {name: data_uri(path.read_bytes()) for name, path in files.items()}, ""
    copies: dict[str, bytes] = {}
    side = 0
    for side, quality in _REDUCTIONS:
        copies = {name: _jpeg(array, side, quality) for name, array in pixels.items()}
        if sum(map(len, copies.values())) <= budget:
            break
    remark = (
        f"images on this page are reduced copies (JPEG, at most {side} pixels a side) "
        "of the PNG files that were predicted from and shown"
    )
    return {n: data_uri(data, "image/jpeg") for n, data in copies.items()}, remark


def _jpeg(pixels: np.ndarray, side: int, quality: int) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(stream, format="JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def site_grids(inputs: ReportInputs, site: str, uris: dict[str, str]) -> str:
    """The stimuli of a site: one grid per model, side by side.

    Args:
      inputs: the report's data.
      site: which one.
      uris: every stimulus as a data URI, by id.
    """
    number_of = {s.stimulus_id: i for i, s in enumerate(inputs.stimuli.stimuli)}
    sweeps = [sweep for (_, name), sweep in inputs.sweeps.items() if name == site]
    grids = "\n".join(_grid(inputs, sweep, uris, number_of) for sweep in sweeps)
    columns = 1 + max((len(sweep.levels) for sweep in sweeps), default=0)
    return f'<div class="grids" style="--columns:{columns}">{grids}</div>'


def _grid(
    inputs: ReportInputs,
    sweep: SiteSweep,
    uris: dict[str, str],
    number_of: dict[str, int],
) -> str:
    index = inputs.models.index(sweep.model)
    made = sweep.accentuated()
    hits = sum(stimulus.hit for stimulus in made)
    headings = "".join(
        f'<th scope="col">{_heading(sweep, level)}</th>' for level in sweep.levels
    )
    rows = "\n".join(
        f'<tr><th scope="row" title="{escaped(seed)}">{escaped(seed)}</th>'
        + '<td class="gap"></td>'.join(
            "".join(
                _picture(inputs, sweep.cells.get((seed, level)), uris, number_of)
                for level in levels
            )
            for levels in ((None,), sweep.levels)
        )
        + "</tr>"
        for seed in sweep.seeds
    )
    return (
        f'<figure class="grid" style="--c:{model_colour(index)}">'
        f"<figcaption>{model_label(sweep.model, index)}"
        f'<span class="muted">{hits} of {len(made)} targets reached</span></figcaption>'
        '<div class="scroll"><table><thead><tr><th></th><th scope="col">seed</th>'
        f'<th class="gap"></th>{headings}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></figure>"
    )


def _heading(sweep: SiteSweep, level: int) -> str:
    target = sweep.target(level)
    return number(target) if math.isfinite(target) else f"level {level}"


def _picture(
    inputs: ReportInputs,
    stimulus: Stimulus | None,
    uris: dict[str, str],
    number_of: dict[str, int],
) -> str:
    if stimulus is None:
        return '<td class="empty"></td>'
    seed_image = stimulus.level is None
    missed = not seed_image and not stimulus.hit
    kind = "seed" if seed_image else "miss" if missed else ""
    said = [
        f"seed {stimulus.seed}" + (", not accentuated" if seed_image else ""),
        "" if seed_image else f"target {number(stimulus.target)}",
        f"predicted {number(stimulus.predicted)}" + (" (missed)" if missed else ""),
        f"recorded {number(inputs.response(stimulus))}",
    ]
    text = escaped(", ".join(part for part in said if part))
    at = number_of[stimulus.stimulus_id]
    return (
        f'<td class="{kind}"><button type="button" title="{text}">'
        f'<img data-i="{at}" src="{uris[stimulus.stimulus_id]}" alt="{text}">'
        "</button></td>"
    )


def explorer(inputs: ReportInputs) -> str:
    """The slider's controls and its data; the page's script fills and shows it."""
    return (
        '<div id="explorer" hidden>\n<div class="controls">'
        '<label>Site <select id="pick-site"></select></label>'
        '<label>Seed <select id="pick-seed"></select></label>'
        '<label>Model <select id="pick-model"></select></label></div>\n'
        '<div class="slider"><label for="pick-level">Level</label>'
        '<input id="pick-level" type="range" min="0" value="0" step="1">'
        '<output id="level-text" for="pick-level"></output></div>\n'
        '<div class="shown-now"><div id="panes"></div>\n'
        '<svg id="chart" viewBox="0 0 420 298" role="img" '
        'aria-label="recorded and predicted response over target level"></svg></div>\n'
        '<p class="muted small">Solid, dots: recorded. Dashed, ring: predicted from '
        "the PNG. Arrow keys move the slider; a click on an image below brings it here."
        '</p>\n<script type="application/json" id="stimulus-data">'
        f"{_payload(inputs)}</script></div>"
    )


def _payload(inputs: ReportInputs) -> str:
    return script_json(
        {
            "units": inputs.units,
            "models": list(inputs.models),
            "colours": [model_colour(i) for i in range(len(inputs.models))],
            "sites": list(inputs.sites),
            "stimuli": [
                _facts(inputs, stimulus) for stimulus in inputs.stimuli.stimuli
            ],
        }
    )


def _facts(inputs: ReportInputs, stimulus: Stimulus) -> dict[str, Any]:
    def finite(value: float) -> float | None:
        return float(f"{value:.6g}") if math.isfinite(value) else None

    return {
        "id": stimulus.stimulus_id,
        "model": inputs.models.index(stimulus.model),
        "site": inputs.sites.index(stimulus.site),
        "seed": stimulus.seed,
        "level": stimulus.level,
        "target": finite(stimulus.target),
        "predicted": finite(stimulus.predicted),
        "recorded": finite(inputs.response(stimulus)),
        "repeats": inputs.n_repeats.get(stimulus.stimulus_id),
        "hit": bool(stimulus.hit),
    }
