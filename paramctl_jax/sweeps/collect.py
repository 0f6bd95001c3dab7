"""From finished blocks to a stimulus set: complete by its files, or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from paramctl_jax import sums
from paramctl_jax.artifacts import atomic_write, sha256_file
from paramctl_jax.progress import bar
from paramctl_jax.stimuli.table import TABLE, check_unique, to_csv
from paramctl_jax.stimuli.traces import TracedPart, save_traced_parts
from paramctl_jax.sweeps.accentuation import stimuli_of, traced_part
from paramctl_jax.sweeps.block_file import read_block
from paramctl_jax.sweeps.blocks import Block, SweepPlan
from paramctl_jax.sweeps.worker import block_path
from paramctl_jax.types import InputError, Stimulus


@dataclasses.dataclass
class Collected:
    """What was found.

    Attributes:
      missing: blocks without a file.
      damaged: what is wrong with a block or one of its PNGs, by block.
      failed_lanes: that were not finite.
    """

    missing: list[str] = dataclasses.field(default_factory=list)
    damaged: dict[str, str] = dataclasses.field(default_factory=dict)
    failed_lanes: int = 0

    @property
    def complete(self) -> bool:
        """Whether the set could be made."""
        return not self.missing and not self.damaged


def collect(
    workdir: Path, plan: SweepPlan, directory: Path, progress: bool = True
) -> Collected:
    """Reads all blocks, checks every file of theirs, and writes the set's table.

    Leaves ``stimulus_set.csv``, ``traces.npz`` and ``SHA256SUMS``, the last one last;
    nothing where a block is missing or damaged.

    Args:
      workdir: the run directory.
      plan: all blocks.
      directory: of the PNGs.
      progress: show a bar.

    Returns:
      What is missing or damaged.

    Raises:
      InputError: blocks of another sweep, or PNGs that belong to none.
    """
    found = Collected()
    stimuli: list[Stimulus] = []
    traces: list[TracedPart] = []
    blocks = bar(plan.blocks.values(), label="stimuli: blocks", show=progress)
    for block in blocks:
        path = block_path(workdir, block.name)
        if not path.exists():
            found.missing.append(block.name)
            continue
        try:
            rows, part, failed = _read(path, block, plan)
            _check_pngs(directory, rows)
        except DamagedError as error:
            found.damaged[block.name] = str(error)
            continue
        stimuli += rows
        traces += part
        found.failed_lanes += failed
    if found.complete:
        _write(directory, stimuli, traces, progress)
    return found


class DamagedError(InputError):
    """A block, or a PNG of it, is not what was written."""


def _read(
    path: Path, block: Block, plan: SweepPlan
) -> tuple[list[Stimulus], list[TracedPart], int]:
    try:
        arrays = read_block(path)
    except InputError as error:
        raise DamagedError(str(error)) from error
    if str(arrays["identity"]) != plan.models[block.model].identity:
        raise InputError(
            f"{path}: a block of another sweep; expected one made with this run's "
            "encoding model, levels, seed images and settings; delete it and run the "
            "same command again"
        )
    rows = list(stimuli_of(arrays, str(path)))
    failed = int(np.asarray(arrays["ends"])[-1])
    return rows, list(traced_part(block.model, arrays)), failed


def _check_pngs(directory: Path, rows: list[Stimulus]) -> None:
    for row in rows:
        path = directory / row.filename
        if not path.is_file():
            raise DamagedError(f"{path}: is missing")
        if sha256_file(path) != row.sha256:
            raise DamagedError(f"{path}: differs from its digest")


def _write(
    directory: Path,
    stimuli: list[Stimulus],
    traces: list[TracedPart],
    progress: bool,
) -> None:
    check_unique(stimuli, str(directory))
    names = {stimulus.filename for stimulus in stimuli}
    others = sorted({path.name for path in directory.glob("*.png")} - names)
    if others:
        raise InputError(
            f"{directory}: expected the PNGs of this sweep alone, found {len(others)} "
            f"more, first {others[0]}; move them elsewhere"
        )
    save_traced_parts(directory, traces)
    atomic_write(directory / TABLE, to_csv(stimuli).encode())
    sums.seal(directory, progress=progress)
