"""What is to be shown: PNGs of a set and natural anchor images, as rows of one kind."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from paramctl_jax.artifacts import sha256_bytes
from paramctl_jax.images import decode_image, encode_png
from paramctl_jax.types import (
    ControversialSet,
    ControversialStimulus,
    ImageSet,
    InputError,
    Stimulus,
    StimulusSet,
)

Cell = str | int | float | None
# Rigs take ASCII names without spaces, of at most 63 characters; pandas and Brain-Score
# take what begins with a letter for text.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,58}")
ROLES = ("driven", "seed", "anchor")


@dataclasses.dataclass(frozen=True)
class ShownImage:
    """One image to be shown, wherever it comes from.

    Attributes:
      stimulus_id: unique, begins with a letter; recordings are joined by it.
      filename: of the PNG in the export, without a folder.
      role: ``"driven"``: accentuated or controversial; ``"seed"``: an un-accentuated
        seed image; ``"anchor"``: a natural image, shown to put sessions on one scale.
      sha256: ``"sha256:<hex>"`` of the PNG.
      metadata: further columns; None where a column does not apply.
      source: the PNG's own path; None where `png` holds it.
      png: its bytes, for images that have no file of their own.
    """

    stimulus_id: str
    filename: str
    role: str
    sha256: str
    metadata: Mapping[str, Cell]
    source: Path | None = None
    png: bytes | None = None


def shown_images(
    stimuli: StimulusSet | ControversialSet, *, selected: bool = True
) -> tuple[ShownImage, ...]:
    """The rows of a stimulus set or of a controversial set.

    Args:
      stimuli: in either form.
      selected: of a controversial set only what was selected to be shown; else all.

    Returns:
      One row per PNG, in the order of the set.

    Raises:
      InputError: nothing to show, or a name that a rig cannot take.
    """
    where = str(stimuli.directory)
    if isinstance(stimuli, ControversialSet):
        chosen = [one for one in stimuli.stimuli if one.selected or not selected]
        rows = tuple(_of_contest(one, stimuli.directory) for one in chosen)
        lacking = "selected stimuli (nothing was accepted?)"
    else:
        rows = tuple(_of_sweep(one, stimuli.directory) for one in stimuli.stimuli)
        lacking = "stimuli"
    if not rows:
        raise InputError(f"{where}: expected {lacking}, found none to show")
    check_names(rows, where)
    return rows


def _of_sweep(one: Stimulus, folder: Path) -> ShownImage:
    metadata = _columns(one)
    role = "seed" if one.level is None else "driven"
    return _row(one, role, metadata, folder)


def _of_contest(one: ControversialStimulus, folder: Path) -> ShownImage:
    """Columns ``predicted_NAME`` and ``z_NAME`` per model; a seed drives no model."""
    metadata = _columns(one) | {"high": one.high or None}
    for kind, said in (("predicted", one.predicted), ("z", one.z)):
        metadata.pop(kind)
        metadata |= {f"{kind}_{name}": value for name, value in said.items()}
    return _row(one, "driven" if one.high else "seed", metadata, folder)


def _columns(one: Stimulus | ControversialStimulus) -> dict[str, Cell]:
    """The record's fields that are metadata of a row; yes and no as 1 and 0."""
    taken = ("stimulus_id", "filename", "sha256")
    fields = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
    return {
        name: int(value) if isinstance(value, bool) else value
        for name, value in fields.items()
        if name not in taken
    }


def _row(
    one: Stimulus | ControversialStimulus,
    role: str,
    metadata: Mapping[str, Cell],
    folder: Path,
) -> ShownImage:
    return ShownImage(
        stimulus_id=one.stimulus_id,
        filename=one.filename,
        role=role,
        sha256=one.sha256,
        metadata=metadata,
        source=folder / one.filename,
    )


def anchor_images(
    images: ImageSet, taken: Sequence[ShownImage] = ()
) -> tuple[ShownImage, ...]:
    """Natural images as anchors, under their own ids.

    Args:
      images: at the size at which the stimuli are shown.
      taken: what else is shown; its ids and file names are not free.

    Returns:
      One row per image, its PNG written by `encode_png`.

    Raises:
      InputError: an id that a rig cannot take, or that is taken.

    Example:
      >>> import numpy as np
      >>> one = ImageSet(("ant_0001",), np.zeros((1, 2, 2, 3), np.uint8))
      >>> anchor_images(one)[0].filename
      'ant_0001.png'
    """
    rows = []
    for name, pixels in zip(images.stimulus_ids, images.pixels, strict=True):
        png = encode_png(pixels)
        rows.append(
            ShownImage(name, f"{name}.png", "anchor", sha256_bytes(png), {}, png=png)
        )
    check_names((*taken, *rows), "anchor images")
    return tuple(rows)


def check_names(rows: Sequence[ShownImage], where: str) -> None:
    """Refuses names that a rig, pandas or a file system without case cannot take.

    Raises:
      InputError: naming the first one.
    """
    seen: set[str] = set()
    for row in rows:
        stem, dot, suffix = row.filename.rpartition(".")
        for what, name in (("stimulus id", row.stimulus_id), ("file name", stem)):
            if not _NAME.fullmatch(name):
                raise InputError(
                    f"{where}: {what} {name!r}: expected a letter, then at most 58 "
                    "letters, digits, _ or -; rename it"
                )
        if not dot or suffix != "png":
            raise InputError(
                f"{where}: expected a file name that ends in .png, found "
                f"{row.filename!r}"
            )
        keys = {row.stimulus_id.lower(), stem.lower()}
        if keys & seen:
            raise InputError(
                f"{where}: expected unique names, found {row.stimulus_id!r} (file "
                f"{row.filename}) twice; rename one of them"
            )
        seen |= keys


def png_bytes(row: ShownImage) -> bytes:
    """The PNG, checked against its digest and decoded once.

    Raises:
      InputError: naming the file: missing, changed since it was judged, or damaged.
    """
    where = str(row.source or row.filename)
    if row.png is not None:
        data = row.png
    else:
        assert row.source is not None
        try:
            data = row.source.read_bytes()
        except OSError as error:
            raise InputError(f"{where}: cannot be read ({error.strerror})") from error
    if (found := sha256_bytes(data)) != row.sha256:
        raise InputError(
            f"{where}: expected the {row.sha256} of its table, found {found}; the file "
            "was changed or damaged, copy it again from where it was made"
        )
    decode_image(data, where)
    return data
