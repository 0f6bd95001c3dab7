"""Every file of a run directory against its digest, and the inputs against the run's.

Nothing is changed: the command that made the directory, given again, makes anew what is
damaged or missing, and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from paramctl_jax import artifacts, sums
from paramctl_jax.configuration import VARIANTS, stored_config, stored_variants
from paramctl_jax.experiment import CONTROVERSIAL, Run, input_digests
from paramctl_jax.sweeps import block_file, checkpoints
from paramctl_jax.sweeps.accentuation import stimuli_of
from paramctl_jax.sweeps.blocks import BLOCKS, CHECKPOINTS, FOLDER, PLAN, read_plan
from paramctl_jax.types import InputError

SEALED = ("recordings", "encoding", "stimuli", CONTROVERSIAL, ".")


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was looked at and what is wrong with it.

    Attributes:
      checked: number of files.
      faults: what is wrong, by file relative to the run directory.
    """

    checked: int
    faults: Mapping[str, str]

    def __str__(self) -> str:
        said = [f"{name}: {fault}" for name, fault in sorted(self.faults.items())]
        if not said:
            return f"{self.checked:,} files checked, all are what was written"
        head = f"{self.checked:,} files checked, {len(said)} damaged or missing:"
        return "\n".join([head, *(f"  {line}" for line in said)])


def verify(workdir: str | Path, inputs: bool = True) -> Verification:
    """Compares a run directory with all digests that it holds.

    Args:
      workdir: the run directory.
      inputs: whether to digest weights, images and recordings again as well.

    Returns:
      What is wrong: files that differ, are missing or cannot be read, and inputs that
      are not those of the run.

    Raises:
      InputError: no run directory.

    Example:
      ``print(verify("runs/m1"))``
    """
    workdir = Path(workdir)
    run_file = workdir / artifacts.RUN_FILE
    if not run_file.is_file():
        raise InputError(
            f"{workdir}: expected a run directory, found no {run_file.name}"
        )
    found: list[tuple[str, str | None]] = [(run_file.name, _run_fault(run_file))]
    for folder in SEALED:
        found += _of_stage(workdir, folder)
    found += _of_blocks(workdir)
    found += _of_checkpoints(workdir)
    names = _variants(workdir) if found[0][1] is None else ()
    if inputs and not names and found[0][1] is None:
        found += _of_inputs(workdir)
    faults = {name: fault for name, fault in found if fault is not None}
    count = len(found)
    for name in names:
        own = verify(workdir / VARIANTS / name, inputs)
        count += own.checked
        faults |= {f"{VARIANTS}/{name}/{k}": fault for k, fault in own.faults.items()}
    return Verification(count, faults)


def _variants(workdir: Path) -> list[str]:
    """Of a study, those that were begun."""
    names = stored_variants(workdir)
    return [n for n in names if (workdir / VARIANTS / n / artifacts.RUN_FILE).is_file()]


def _run_fault(path: Path) -> str | None:
    """The file is the canonical text of its content, and holds its own digest."""
    try:
        content = artifacts.read_json(path)
        same = artifacts.to_json(content) == path.read_text()
        if same and artifacts.config_hash(content["config"]) == content["config_hash"]:
            return None
    except (InputError, KeyError, TypeError) as error:
        return f"cannot be read ({error})"
    return "differs from the digest that it holds"


def _of_stage(workdir: Path, name: str) -> Iterator[tuple[str, str | None]]:
    folder = workdir / name
    if not sums.sealed(folder):
        return
    faults = sums.damaged(folder)
    for file in sorted({*sums.listed(folder), *faults}):
        yield (Path(name) / file).as_posix(), faults.get(file)


def _of_blocks(workdir: Path) -> Iterator[tuple[str, str | None]]:
    """Blocks, and those of their PNGs that no sealed set holds yet."""
    folder = workdir / FOLDER
    if not (folder / PLAN).exists():
        return
    name = f"{FOLDER}/{PLAN}"
    names, problem = None, None
    try:
        names = read_plan(workdir).blocks
    except InputError as error:
        problem = str(error)
    yield name, problem
    sealed = sums.sealed(workdir / "stimuli")
    for path in sorted((folder / BLOCKS).glob("*.npz")):
        where, stray = path.relative_to(workdir).as_posix(), "is no block of this sweep"
        try:
            arrays = block_file.read_block(path)
        except InputError as error:
            yield where, str(error).removeprefix(f"{path}: ")
            continue
        yield where, stray if names is not None and path.stem not in names else None
        if not sealed:
            yield from _of_pngs(workdir, path, arrays)


def _of_pngs(
    workdir: Path, block: Path, arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, str | None]]:
    for row in stimuli_of(arrays, str(block)):
        path = workdir / "stimuli" / row.filename
        fault = None
        if not path.is_file():
            fault = "is missing"
        elif artifacts.sha256_file(path) != row.sha256:
            fault = f"differs from its digest in {block.name}"
        yield f"stimuli/{row.filename}", fault


def _of_checkpoints(workdir: Path) -> Iterator[tuple[str, str | None]]:
    folder = workdir / FOLDER / CHECKPOINTS
    for path in sorted(folder.glob("[!.]*")):
        yield path.relative_to(workdir).as_posix(), checkpoints.fault(path)


def _of_inputs(workdir: Path) -> Iterator[tuple[str, str | None]]:
    """Weights, images and recordings, read again from where the settings say."""
    stored = artifacts.read_json(workdir / artifacts.RUN_FILE)["config"]
    before, config = stored.get("inputs", {}), stored_config(workdir) or {}
    try:
        now = input_digests(Run(config, workdir, progress=False))
    except InputError as error:
        yield "inputs", f"cannot be read again ({error})"
        return
    for name in sorted(before.keys() | now.keys()):
        same = before.get(name) == now.get(name)
        yield f"input {name}", None if same else "is not that of the run"
