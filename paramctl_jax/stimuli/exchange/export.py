"""From a set of stimuli to what the rig or another tool reads."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from paramctl_jax.stimuli.exchange.authors import authors
from paramctl_jax.stimuli.exchange.folder import check_free, write_folder
from paramctl_jax.stimuli.exchange.formats import (
    Display,
    Written,
    bids,
    brainscore,
    monkeylogic,
    psychopy,
)
from paramctl_jax.stimuli.exchange.presentation import Presentation, presentation_list
from paramctl_jax.stimuli.exchange.shown import (
    ShownImage,
    anchor_images,
    shown_images,
)
from paramctl_jax.types import (
    ControversialSet,
    ImageSet,
    InputError,
    StimulusSet,
    unknown,
)

Format = Callable[[Sequence[ShownImage], Sequence[Presentation], Display], Written]
FORMATS: Mapping[str, Format] = {
    "brainscore": brainscore,
    "monkeylogic": monkeylogic,
    "psychopy": psychopy,
    "bids": bids,
    "authors": lambda rows, trials, display: authors(rows, trials),
}


@dataclasses.dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
      directory: of the export.
      tables: its text files.
      n_images: PNGs written.
      trials: the order of presentation.
      load: how to load it in the target software.
      notes: what a user should know.
    """

    directory: Path
    tables: tuple[str, ...]
    n_images: int
    trials: tuple[Presentation, ...]
    load: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        n_anchors = sum(one.is_anchor for one in self.trials)
        lines = [
            f"{self.directory}: {self.n_images} PNGs, {', '.join(self.tables)}",
            f"trials  {len(self.trials)}, {n_anchors} of them of anchors",
            f"load    {self.load}",
            *(f"note    {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def export_stimuli(
    stimuli: StimulusSet | ControversialSet,
    out: str | Path,
    format: str,
    *,
    repeats: int = 1,
    anchors: ImageSet | None = None,
    anchor_every: int | None = None,
    sessions: int = 1,
    random_seed: int = 0,
    display: Display | None = None,
) -> Export:
    """Writes stimuli, in a shuffled order with anchors, as other software reads them.

    Args:
      stimuli: of a sweep or a contest; of a contest what was selected.
      out: a new folder; an export is never overwritten.
      format: one of `FORMATS`.
      repeats: presentations of every stimulus.
      anchors: natural images, at the size of the stimuli.
      anchor_every: one anchor per so many stimuli; None shows all once per block.
      sessions: into which the blocks are divided.
      random_seed: of the order; equal seeds give equal exports.
      display: how every image is shown.

    Returns:
      What was written, and how to load it.

    Raises:
      InputError: an unknown format, a folder that is not free, a damaged PNG, a name or
        value that the format cannot represent; nothing is written then.

    Example:
      ``print(export_stimuli(stimuli, "rig", "monkeylogic", repeats=4))``
    """
    if format not in FORMATS:
        raise unknown(format, FORMATS, "format")
    display = display or Display()
    _check_display(display)
    check_free(out)
    rows = shown_images(stimuli)
    natural = anchor_images(anchors, rows) if anchors is not None else ()
    trials = presentation_list(
        [row.stimulus_id for row in rows],
        repeats,
        random_seed,
        anchors=[row.stimulus_id for row in natural],
        anchor_every=anchor_every,
        sessions=sessions,
    )
    rows += natural
    written = FORMATS[format](rows, trials, display)
    places = [(written.places[row.stimulus_id], row) for row in rows]
    folder = write_folder(out, written.texts, places)
    load = written.load.replace("{out}", str(folder))
    tables = tuple(written.texts)
    notes = (*written.notes, *_equal_notes(rows))
    return Export(folder, tables, len(rows), trials, load, notes)


def _equal_notes(rows: Sequence[ShownImage]) -> tuple[str, ...]:
    """Equal PNGs under several ids, such as one seed image for several sites."""
    owners = defaultdict(list)
    for row in rows:
        owners[row.sha256].append(row.stimulus_id)
    equal = [ids for ids in owners.values() if len(ids) > 1]
    if not equal:
        return ()
    n_ids = sum(map(len, equal))
    return (
        f"{len(equal)} PNGs have several ids, {n_ids} in all, and are shown that much "
        f"more often, first {equal[0][:2]}",
    )


def _check_display(display: Display) -> None:
    lengths = {
        "presentation_ms": display.presentation_ms,
        "visual_degrees": display.visual_degrees,
        "pixels_per_degree": display.pixels_per_degree,
    }
    for name, value in lengths.items():
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name}: expected a number above 0, found {value}")
    if not 0 <= display.isi_ms < float("inf"):
        raise InputError(f"isi_ms: expected at least 0, found {display.isi_ms}")
    if not (display.task.isascii() and display.task.isalnum()):
        raise InputError(f"task: expected letters and digits, found {display.task!r}")
    if not display.timing_file.isascii() or not display.timing_file.isidentifier():
        raise InputError(
            f"timing_file: expected the name of a MATLAB script without .m, found "
            f"{display.timing_file!r}"
        )
