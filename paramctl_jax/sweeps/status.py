"""How far a run is, read from the files in its directory and nothing else.

No network is loaded, nothing is computed or written, and no file is trusted to be
whole: workers write while this reads, and some have died while they wrote.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from paramctl_jax.history import launches
from paramctl_jax.sweeps import lenient
from paramctl_jax.sweeps.blocks import (
    BLOCKS,
    CLAIMS,
    FAILURES,
    FOLDER,
    PLAN,
    read_plan,
)
from paramctl_jax.sweeps.claims import LEASE
from paramctl_jax.sweeps.standing import (
    Counts,
    Failure,
    ModelStatus,
    Outcome,
    Status,
    WorkerStatus,
)
from paramctl_jax.sweeps.worker_logs import WorkerLogs
from paramctl_jax.types import InputError

_STATES = ("done", "working", "failed", "missing")
_COLLECT = "accentuate --role=collect"


def status(
    workdir: str | Path, logs: WorkerLogs | None = None, now: float | None = None
) -> Status:
    """How far the run in a directory is.

    Args:
      workdir: a run directory.
      logs: of an earlier look, to read on from there.
      now: seconds since 1970; None takes the clock.

    Raises:
      InputError: no run directory, or a plan that is damaged.
    """
    workdir = Path(workdir)
    if not (workdir / "run.json").is_file():
        found = "no run.json in it" if workdir.is_dir() else "no such directory"
        raise InputError(
            f"{workdir}: expected a run directory, found {found}; give the --workdir "
            "of a launch"
        )
    return _Look(workdir, logs, time.time() if now is None else now).status()


class _Look:
    """One look at a run directory."""

    def __init__(self, workdir: Path, logs: WorkerLogs | None, now: float):
        self.workdir, self.now = workdir, now
        self.sweep = workdir / FOLDER
        self.logs = WorkerLogs(self.sweep) if logs is None else logs
        self.logs.read()
        self.workers = self._workers()  # before the blocks: a block may get done
        self.working = {w.claim: w.owner for w in self.workers if not w.silent}
        self.plan = self._plan()
        self.outcomes = self.logs.outcomes()
        self.blocks = lenient.names(self.sweep / BLOCKS, ".npz")
        self.failures = self._failures()

    def status(self) -> Status:
        collected = self._collected()
        models = tuple(self._model(name) for name in self.plan or ())
        left = sum(model.lanes.total - model.lanes.done for model in models)
        rate = self.logs.rate(self.now) if left else None
        stage, following, finished = self._stage(models, collected)
        codes = [launch.get("exit_code") for launch in launches(self.workdir)]
        ended = [int(code) for code in codes if lenient.is_number(code)]
        return Status(
            workdir=str(self.workdir),
            stage=stage,
            finished=finished,
            collected=collected,
            models=models,
            workers=self.workers,
            failures=self.failures,
            rate=rate,
            eta=self._eta(models, rate),
            last_exit=ended[-1] if ended else None,
            next_command=self._command(following),
        )

    def _plan(self) -> dict[str, dict[str, int]] | None:
        """Lanes of every block of every model; None before the sweep is planned."""
        if not (self.sweep / PLAN).exists():
            return None
        shares = read_plan(self.workdir).models
        return {
            model: {block.name: block.lanes for block in share.blocks}
            for model, share in shares.items()
        }

    def _workers(self) -> tuple[WorkerStatus, ...]:
        found = []
        for path in sorted((self.sweep / CLAIMS).glob("[!.]*.json")):
            try:
                age = max(0.0, self.now - path.stat().st_mtime)
            except OSError:
                continue  # given up meanwhile
            claim = lenient.mapping(lenient.read(path))
            owner = lenient.text(claim, "owner", "id") or "?"
            host = lenient.text(claim, "host") or "?"
            found.append(WorkerStatus(owner, host, path.stem, age, age > LEASE))
        return tuple(sorted(found, key=lambda worker: (worker.age, worker.claim)))

    def _failures(self) -> tuple[Failure, ...]:
        found = []
        for path in sorted((self.sweep / FAILURES).glob("[!.]*.json")):
            if path.stem not in self.blocks:
                said = lenient.mapping(lenient.read(path))
                message = lenient.text(said, "message") or "no readable message"
                found.append(Failure(path.stem, message, lenient.text(said, "owner")))
        return tuple(found)

    def _model(self, model: str) -> ModelStatus:
        lanes_of = (self.plan or {})[model]
        failed = {failure.block for failure in self.failures}
        blocks: dict[str, int] = dict.fromkeys(_STATES, 0)
        lanes = blocks.copy()
        where = (("done", self.blocks), ("working", self.working), ("failed", failed))
        for name, count in lanes_of.items():
            state = next((s for s, them in where if name in them), "missing")
            blocks[state] += 1
            lanes[state] += count
        return ModelStatus(
            model, Counts(**blocks), Counts(**lanes), self._outcome(lanes_of)
        )

    def _outcome(self, lanes_of: Mapping[str, int]) -> Outcome:
        """How the lanes of the blocks done ended, as far as metrics say."""
        found = Outcome()
        for name in lanes_of.keys() & self.blocks:
            event = self.outcomes.get(name, {})
            ends = [event.get(end) for end in ("hits", "unreached", "nonfinite")]
            counts = [int(end) for end in ends if lenient.is_number(end)]
            if len(counts) == len(ends):
                found += Outcome(*counts)
            else:
                found += Outcome(unknown=lanes_of[name])
        return found

    def _eta(self, models: tuple[ModelStatus, ...], rate: float | None) -> float | None:
        left = sum(model.lanes.working + model.lanes.missing for model in models)
        if rate is None or not left:
            return None
        for lanes_of in (self.plan or {}).values():
            for name in lanes_of.keys() & self.working.keys() - self.blocks:
                under_way = self.logs.under_way(self.working[name])
                left -= min(lanes_of[name], under_way)
        return 60 * left / rate

    def _collected(self) -> bool:
        folder = self.workdir / "stimuli"
        planned = self.plan is not None
        return (folder / ("SHA256SUMS" if planned else "stimulus_set.csv")).exists()

    def _stage(
        self, models: tuple[ModelStatus, ...], collected: bool
    ) -> tuple[str, str, bool]:
        """What is done, what to launch next, and whether the stimuli are complete."""
        has = {
            name: (self.workdir / name).exists()
            for name in ("report.html", "encoding/comparisons.json", "encoding")
        }
        if collected and has["report.html"]:
            return "stimuli complete, report written", "", True
        if collected:
            return "stimuli complete, not scored yet", "report", True
        total = sum(models, ModelStatus("total"))
        if self.plan is not None and total.blocks.done == total.blocks.total:
            doing = "being collected" if self.working else "not collected"
            return f"every block done, stimuli {doing}", _COLLECT, False
        if self.plan is not None:
            doing = "under way" if self.working else "unfinished, nobody at work"
            return f"accentuation {doing}", "accentuate", False
        if has["encoding/comparisons.json"]:
            return "encoding done, sweep not planned yet", "accentuate", False
        if has["encoding"]:
            return "encoding begun", "fit_encoding", False
        recorded = "there" if self._recorded() else "not there yet"
        return f"nothing fitted, recordings {recorded}", "fit_encoding", False

    def _recorded(self) -> bool:
        run = lenient.mapping(lenient.read(self.workdir / "run.json"))
        config = lenient.mapping(run.get("config"))
        given = lenient.text(lenient.mapping(config.get("recordings")), "day1")
        return Path(given or self.workdir / "recordings" / "day1.npz").exists()

    def _command(self, stage: str) -> str:
        """The launch that goes on; its settings are in the directory."""
        where = f"--workdir={shlex.quote(str(self.workdir))}"
        if not stage:
            return ""
        if self.working:
            return f"python -m launch.status {where} --watch"
        stage, *role = stage.split()
        return " ".join([f"python -m launch.{stage}", where, *role])
