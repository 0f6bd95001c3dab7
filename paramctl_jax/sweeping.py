"""The accentuation of a run by any number of workers in its directory.

    plan the blocks -> work at free ones until none is left -> collect the stimulus set

The run directory is the only coordinator: who is at work on what is a file, and what is
done is a file. Every role may be started at any time, again, and on any host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from paramctl_jax import artifacts, sums
from paramctl_jax.calibration import calibrate
from paramctl_jax.encoding import predict, relative_levels, target_levels
from paramctl_jax.experiment import Run
from paramctl_jax.stimuli.table import TABLE, read_csv
from paramctl_jax.stopping import Stopped
from paramctl_jax.sweeps import block_file
from paramctl_jax.sweeps.accentuation import Accentuation, plan_sweep
from paramctl_jax.sweeps.blocks import (
    BLOCKS,
    FOLDER,
    PLAN,
    SweepPlan,
    read_plan,
    write_plan,
)
from paramctl_jax.sweeps.collect import Collected, collect
from paramctl_jax.sweeps.metrics import Metrics
from paramctl_jax.sweeps.worker import Worker, block_path
from paramctl_jax.synthesis import Plan, make_plan
from paramctl_jax.types import EncodingModel, FailedError, ImageSet, InputError


def accentuate(run: Run) -> Path:
    """Moves every seed image to every target level along every model's axes.

    Returns:
      The folder of the stimulus set.

    Raises:
      FailedError: blocks raised exceptions; the others are done.
      InputError: with role ``"collect"``, blocks are missing or damaged.
      Stopped: by a signal; the same command goes on.
    """
    folder = run.workdir / "stimuli"
    if stimuli_whole(run) and blocks_whole(run):
        return folder
    plans = _plans(run)
    key = run.key("synthesis")
    plan = plan_sweep(plans.values(), key, run.config.get("sweep", {}).get("pairs"))
    _check_folder(run)
    write_plan(run.workdir, plan)
    collects = run.working.role == "collect"
    compute = None if collects else Accentuation(plans, key, folder)
    while True:
        if compute is not None:
            _work(run, plan, compute)
        if run.working.role == "work":
            return folder
        with run.claims.exclusive(
            "collect", lambda: stimuli_whole(run), progress=run.progress
        ) as mine:
            found = collect(run.workdir, plan, folder, run.progress) if mine else None
        if found is None or found.complete:
            return folder
        _redo(run, found)


def stimuli_whole(run: Run) -> bool:
    """Whether the stimulus set is there and every file of it is what was written.

    A damaged set loses its table, and is collected again.
    """
    folder = run.workdir / "stimuli"
    if not sums.sealed(folder):
        blocks = run.workdir / FOLDER / BLOCKS
        # sets of earlier versions have a table, and no blocks
        return (folder / TABLE).exists() and not blocks.exists()
    faults = sums.damaged(folder, [TABLE])
    if faults:
        (folder / sums.NAME).unlink(missing_ok=True)
    return not faults


def blocks_whole(run: Run) -> bool:
    """Whether every block's file is there and whole; those that are damaged go.

    A set that lacks a block is collected again. Sets of earlier versions have none.
    """
    if not (run.workdir / FOLDER / BLOCKS).exists():
        return True
    try:
        names = read_plan(run.workdir).blocks
    except InputError:
        names = {}
    paths = [block_path(run.workdir, name) for name in names]
    damaged = [path for path in paths if block_file.fault(path)]
    for path in damaged:
        path.unlink(missing_ok=True)
    if damaged or not names:
        (run.workdir / "stimuli" / sums.NAME).unlink(missing_ok=True)
    return bool(names) and not damaged


def failed_lanes(run: Run) -> int:
    """Lanes of the stimulus set whose numbers were not finite."""
    table = run.workdir / "stimuli" / TABLE
    if not table.exists():
        return 0
    return sum(row.stop_reason == "nonfinite" for row in read_csv(table))


def _plans(run: Run) -> dict[str, Plan]:
    """Every model's sweep, and ``levels.json``."""
    models = run.models()
    calibration = calibrate(run)
    day1 = calibration.recordings.select_sites(models[0].site_ids)
    levels = target_levels(day1, **run.config["levels"])
    planned = (run.workdir / FOLDER / PLAN).exists()
    if not (sums.whole(run.workdir / "levels.json") and planned):
        _write_levels(run, levels, models, calibration.images)
    return {
        model.name: make_plan(
            model, run.seeds, levels, sites=day1.site_ids, **run.config["synthesis"]
        )
        for model in models
    }


def _write_levels(
    run: Run, levels: np.ndarray, models: list[EncodingModel], natural: ImageSet
) -> None:
    """Levels in response units, and in units of what each model says of nature.

    Equal levels are not equally far for two models: a regression predicts a narrower
    range than was recorded.
    """
    content: dict[str, Any] = {"sites": models[0].site_ids, "levels": levels}
    for model in models:
        relative = relative_levels(levels, predict(model, natural))
        content[model.name] = dataclasses.asdict(relative)
    artifacts.write_json(run.workdir / "levels.json", content)


def _check_folder(run: Run) -> None:
    """PNGs that no sweep of this directory has made are refused before any step."""
    folder = run.workdir / "stimuli"
    if any((run.workdir / FOLDER / name).exists() for name in (PLAN, BLOCKS)):
        return
    strange = sorted(path.name for path in folder.glob("*.png"))
    if strange:
        raise InputError(
            f"{folder}: expected no PNGs before the sweep, found {len(strange)}, first "
            f"{strange[0]}; move them elsewhere"
        )


def _work(run: Run, plan: SweepPlan, compute: Accentuation) -> None:
    working = run.working
    with _metrics(run) as metrics:
        worker = Worker(
            workdir=run.workdir,
            plan=plan,
            compute=compute,
            claims=run.claims,
            metrics=metrics,
            start=_start(run, len(plan.blocks)),
            checkpoint_seconds=working.checkpoint_seconds,
            progress=run.progress,
        )
        alone = working.role == "work"
        worker.work(patience=1.5 * run.claims.lease if alone else float("inf"))
    if worker.failed:
        names = ", ".join(sorted(worker.failed)[:3])
        raise FailedError(
            f"{run.workdir}: {len(worker.failed)} of {len(plan.blocks)} blocks failed, "
            f"first {names}; why is in sweep/failures; run the same command again to "
            "try them again"
        )


@contextlib.contextmanager
def _metrics(run: Run) -> Iterator[Metrics]:
    owner = run.claims.owner
    board = run.working.tensorboard
    with Metrics(run.workdir / FOLDER, owner.id, tensorboard=board) as metrics:
        metrics.start(
            host=owner.host,
            pid=owner.pid,
            devices=[str(device) for device in jax.local_devices()],
            backend=jax.default_backend(),
            versions={"jax": jax.__version__},
        )
        reason = "crashed"
        try:
            yield metrics
            reason = "done"
        except (InputError, Stopped, KeyboardInterrupt) as error:
            reason = " ".join(str(error).split()) or "interrupted"
            raise
        finally:
            metrics.stop(reason)


def _start(run: Run, n_blocks: int) -> int:
    """Workers begin apart: by their rank where they have one, or by their name."""
    working = run.working
    if working.count > 1:
        return working.index * n_blocks // working.count
    return zlib.crc32(run.claims.owner.id.encode()) if working.role == "work" else 0


def _redo(run: Run, found: Collected) -> None:
    """Damaged blocks are made anew, by others where this one only collects."""
    for name in found.damaged:
        block_path(run.workdir, name).unlink(missing_ok=True)
    if run.working.role == "collect":
        first = next(iter(found.damaged.values()), found.missing[:1])
        raise InputError(
            f"{run.workdir}: {len(found.missing)} blocks are missing and "
            f"{len(found.damaged)} damaged, first {first}; run launch.slurm with the "
            "same flags, or launch.accentuate, to make them"
        )
