"""A stimulus set from its folder: the table, the check of every file, the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paramctl_jax.artifacts import sha256_file
from paramctl_jax.images import read_image
from paramctl_jax.stimuli.table import TABLE, read_csv
from paramctl_jax.types import (
    ControversialSet,
    ImageSet,
    InputError,
    StimulusSet,
)


def load_stimuli(directory: str | Path, verify: bool = True) -> StimulusSet:
    """Loads a stimulus set and checks that its files are those that were judged.

    Args:
      directory: with ``stimulus_set.csv`` and its PNGs.
      verify: whether to compare the sha256 of every PNG with the table; a missing PNG
        is an error in any case.

    Returns:
      The set, in the order of the table.

    Raises:
      InputError: naming the table's line or the PNG.

    Example:
      ``stimuli = load_stimuli("runs/m1/stimuli")``
    """
    directory = Path(directory)
    stimuli = read_csv(directory / TABLE)
    for stimulus in stimuli:
        check_file(directory / stimulus.filename, stimulus.sha256, TABLE, verify)
    return StimulusSet(directory, stimuli)


def check_file(path: Path, sha256: str, table: str, verify: bool = True) -> None:
    """Refuses a PNG that is missing or not the one that a table lists.

    Args:
      path: of the PNG.
      sha256: of the table.
      table: its name, for the error.
      verify: whether to compare the digests.

    Raises:
      InputError: likewise.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a PNG that {table} lists, found no file")
    if verify and (found := sha256_file(path)) != sha256:
        raise InputError(
            f"{path}: expected the {sha256} of {table}, found {found}; the file was "
            "changed or damaged, copy it again from where it was made"
        )


def stimulus_images(stimuli: StimulusSet | ControversialSet) -> ImageSet:
    """Reads the PNGs of a set, keyed by stimulus id, in the order of the set.

    Raises:
      InputError: naming the PNG: missing, damaged, or of another size than the first.
    """
    first = None
    pixels = []
    for stimulus in stimuli.stimuli:
        path = stimuli.directory / stimulus.filename
        image = read_image(path)
        first = image.shape if first is None else first
        if image.shape != first:
            raise InputError(
                f"{path}: expected {first[0]} x {first[1]} pixels like the set's first "
                f"PNG, found {image.shape[0]} x {image.shape[1]}"
            )
        pixels.append(image)
    names = tuple(stimulus.stimulus_id for stimulus in stimuli.stimuli)
    return ImageSet(names, np.stack(pixels))
