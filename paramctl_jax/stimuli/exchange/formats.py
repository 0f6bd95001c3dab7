"""The tables of each format: what its software reads, beside the PNGs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from paramctl_jax.artifacts import to_json
from paramctl_jax.stimuli.exchange.presentation import (
    LIST,
    Presentation,
    presentation_csv,
)
from paramctl_jax.stimuli.exchange.shown import ShownImage
from paramctl_jax.stimuli.exchange.tables import (
    ABSENT,
    delimited,
    metadata_columns,
    plain_columns,
)

SUBFOLDER = "stimuli"


@dataclasses.dataclass(frozen=True)
class Display:
    """How every image is shown.

    Attributes:
      presentation_ms, isi_ms: on, then off.
      visual_degrees: side of the image; None where it is not said.
      pixels_per_degree: of the rig's screen; None shows images pixel by pixel.
      task: name in BIDS files, letters and digits.
      timing_file: name of the rig's own MonkeyLogic timing script.
    """

    presentation_ms: float = 100.0
    isi_ms: float = 100.0
    visual_degrees: float | None = None
    pixels_per_degree: float | None = None
    task: str = "control"
    timing_file: str = "show_image"


@dataclasses.dataclass(frozen=True)
class Written:
    """What a format writes.

    Attributes:
      texts: text files by name.
      places: where each PNG goes, by stimulus id.
      load: how to load it in the target software.
      notes: what a user should know.
    """

    texts: Mapping[str, str]
    places: Mapping[str, str]
    load: str
    notes: tuple[str, ...] = ()


def brainscore(
    rows: Sequence[ShownImage], trials: Sequence[Presentation], display: Display
) -> Written:
    """``stimulus_set.csv`` and a flat folder, for ``StimulusSet.from_files``."""
    columns = metadata_columns(rows)
    columns["sha256"] = [row.sha256 for row in rows]
    if display.visual_degrees is not None:
        columns["degrees"] = [display.visual_degrees] * len(rows)
    texts, notes = plain_columns(columns)
    keys = {
        "stimulus_id": [row.stimulus_id for row in rows],
        "filename": [row.filename for row in rows],
    }
    return Written(
        {"stimulus_set.csv": delimited(keys | texts), LIST: _list(rows, trials)},
        _in_folder(rows),
        "StimulusSet.from_files('{out}/stimulus_set.csv', '{out}/stimuli')",
        notes,
    )


def monkeylogic(
    rows: Sequence[ShownImage], trials: Sequence[Presentation], display: Display
) -> Written:
    """A conditions file, one condition per image, and the order of conditions.

    Of two objects at one place MonkeyLogic draws that of the smaller number in front:
    the fixation point is TaskObject#1. Every condition may occur in every block.
    """
    blocks = " ".join(map(str, sorted({one.block for one in trials})))
    conditions = {row.stimulus_id: n for n, row in enumerate(rows, 1)}
    columns = {
        "Condition": list(conditions.values()),
        "Info": [f"'stimulus_id','{row.stimulus_id}'" for row in rows],
        "Frequency": [1] * len(rows),
        "Block": [blocks] * len(rows),
        "Timing File": [display.timing_file] * len(rows),
        "TaskObject#1": ["fix(0,0)"] * len(rows),
        "TaskObject#2": [f"pic({row.filename},0,0{_size(display)})" for row in rows],
    }
    # No cell of these holds a tab or a quote that csv would have to escape.
    lines = ["\t".join(columns)]
    lines += [
        "\t".join(map(str, cells)) for cells in zip(*columns.values(), strict=True)
    ]
    files = {row.stimulus_id: row.filename for row in rows}
    return Written(
        {
            "conditions.txt": "\n".join(lines) + "\n",
            LIST: presentation_csv(trials, files, condition=conditions),
        },
        files,
        "MonkeyLogic: [Load conditions file] {out}/conditions.txt, beside it a timing "
        f"script {display.timing_file}.m of the rig's own; {LIST} has the order of "
        "conditions",
    )


def _size(display: Display) -> str:
    """``,width,height`` in pixels where the screen's resolution is known."""
    if display.visual_degrees is None or display.pixels_per_degree is None:
        return ""
    side = round(display.visual_degrees * display.pixels_per_degree)
    return f",{side},{side}"


def psychopy(
    rows: Sequence[ShownImage], trials: Sequence[Presentation], display: Display
) -> Written:
    """A conditions CSV in the order of presentation, for a sequential loop."""
    position = {row.stimulus_id: n for n, row in enumerate(rows)}
    order = [position[one.stimulus_id] for one in trials]
    texts, notes = plain_columns(metadata_columns(rows))
    columns: dict[str, Sequence[object]] = {
        "trial": [one.trial for one in trials],
        "image": [f"{SUBFOLDER}/{rows[n].filename}" for n in order],
        "stimulus_id": [one.stimulus_id for one in trials],
        "repeat": [one.repeat for one in trials],
        "block": [one.block for one in trials],
        "session": [one.session for one in trials],
        "is_anchor": [int(one.is_anchor) for one in trials],
        "duration_s": [_seconds(display.presentation_ms)] * len(trials),
        "isi_s": [_seconds(display.isi_ms)] * len(trials),
    }
    if display.visual_degrees is not None:
        columns["size_degrees"] = [display.visual_degrees] * len(trials)
    columns |= {name: [cells[n] for n in order] for name, cells in texts.items()}
    return Written(
        {"conditions.csv": delimited(columns)},
        _in_folder(rows),
        "PsychoPy: a loop with conditions {out}/conditions.csv, loopType 'sequential', "
        "image $image, duration $duration_s",
        notes,
    )


def bids(
    rows: Sequence[ShownImage], trials: Sequence[Presentation], display: Display
) -> Written:
    """``stimuli/``, one ``events.tsv`` per session and a sidecar of its columns.

    Trial i of a session begins at ``i (presentation + isi)`` and lasts `presentation`.
    """
    known = {row.stimulus_id: row for row in rows}
    texts = {f"task-{display.task}_events.json": to_json(_sidecar(display))}
    sessions = sorted({one.session for one in trials})
    for session in sessions:
        run = f"_run-{session}" if len(sessions) > 1 else ""
        shown = [one for one in trials if one.session == session]
        name = f"task-{display.task}{run}_events.tsv"
        texts[name] = _events(shown, known, display)
    return Written(
        texts,
        _in_folder(rows),
        "BIDS: copy {out}/stimuli to the dataset's /stimuli, the tables beside the "
        "recordings with sub- and ses- before their names; onsets are planned, put the "
        "measured ones in",
    )


def _events(
    trials: Sequence[Presentation], known: Mapping[str, ShownImage], display: Display
) -> str:
    step = display.presentation_ms + display.isi_ms
    shown = [known[one.stimulus_id] for one in trials]
    columns: dict[str, Sequence[object]] = {
        "onset": [_seconds(n * step) for n in range(len(trials))],
        "duration": [_seconds(display.presentation_ms)] * len(trials),
        "trial_type": [row.role for row in shown],
        "stim_file": [row.filename for row in shown],
        "stim_id": [row.stimulus_id for row in shown],
        "trial": [one.trial for one in trials],
        "block": [one.block for one in trials],
        "repeat": [one.repeat for one in trials],
    }
    metadata, _ = plain_columns(metadata_columns(shown))
    for name in ("model", "high", "site", "seed", "level", "target", "predicted"):
        if name in metadata:
            columns[name] = ["" if x == ABSENT else x for x in metadata[name]]
    return delimited(columns, "\t", missing="n/a")


_DESCRIPTIONS = {
    "trial": "Number of the presentation over all sessions, from 1.",
    "block": "Every block shows every stimulus once.",
    "repeat": "1 where the stimulus is shown for the first time.",
    "model": "Model whose encoding axis the stimulus follows.",
    "high": "Model that is driven up, the others down.",
    "site": "Recording site that the stimulus was made for.",
    "seed": "Natural image that the stimulus was made from.",
    "level": "Target level: its index in a sweep; in a contest, in SD.",
    "target": "Response asked for, in units of the fitted responses.",
    "predicted": "Response that the model predicts of the PNG, in the same units.",
}


def _sidecar(display: Display) -> dict[str, object]:
    trial_type = {
        "driven": "accentuated or controversial image",
        "seed": "un-accentuated seed image",
        "anchor": "natural image, for one scale over sessions",
    }
    columns: dict[str, object] = {
        "onset": {"Description": "Planned onset in its session.", "Units": "s"},
        "duration": {"Description": "Of the image.", "Units": "s"},
        "trial_type": {"Description": "Kind of image.", "Levels": trial_type},
        "stim_file": {"Description": "PNG, relative to /stimuli."},
        "stim_id": {"Description": "Id by which recordings are joined."},
    }
    columns |= {name: {"Description": text} for name, text in _DESCRIPTIONS.items()}
    presentation: dict[str, object] = {"InterStimulusInterval_ms": display.isi_ms}
    if display.visual_degrees is not None:
        presentation["VisualDegrees"] = display.visual_degrees
    return columns | {"StimulusPresentation": presentation}


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.6f}".rstrip("0").rstrip(".")


def _in_folder(rows: Sequence[ShownImage]) -> dict[str, str]:
    return {row.stimulus_id: f"{SUBFOLDER}/{row.filename}" for row in rows}


def _list(rows: Sequence[ShownImage], trials: Sequence[Presentation]) -> str:
    return presentation_csv(trials, {row.stimulus_id: row.filename for row in rows})
