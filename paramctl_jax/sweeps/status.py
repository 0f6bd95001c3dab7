"""How far a run is, read from the files in its directory and nothing else.

No network is loaded, nothing is computed or written, and no file is trusted to be
whole: workers write while this reads, and some have died while they wrote.
"""

from __future__ import annotations

import contextlib
import itertools
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paramctl_jax.sweeps import lenient
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

SILENT = 300.0  # seconds after which a claim that does not move is nobody's
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
        self.sweep = workdir / "sweep"
        self.notes: list[str] = []
        self.logs = WorkerLogs(self.sweep) if logs is None else logs
        self.logs.read()
        self.workers = self._workers()  # before the blocks: a block may get done
        self.working = {w.claim: w.owner for w in self.workers if not w.silent}
        self.plan = self._plan()
        self.outcomes = self.logs.outcomes()
        self.blocks = lenient.names(self.sweep / "blocks", ".npz")
        self.failures = self._failures()

    def status(self) -> Status:
        collected = self._collected()
        models = tuple(self._model(name) for name in self.plan or ())
        left = sum(model.lanes.total - model.lanes.done for model in models)
        rate = self.logs.rate(self.now) if left else None
        stage, following, finished = self._stage(models, collected)
        launches = self._launches()
        codes = [launch.get("exit_code") for launch in launches]
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
            next_command=self._command(following, launches),
            notes=tuple(self.notes),
        )

    def _plan(self) -> dict[str, dict[str, int]] | None:
        """Lanes of every block of every model; None before the sweep is planned."""
        path = self.sweep / "plan.json"
        content: Any = lenient.read(path)
        if content is None and not path.exists():
            return None
        try:
            models: Mapping[str, Any] = lenient.mapping(content)["models"]
            return {
                model: {block["name"]: int(block["lanes"]) for block in entry["blocks"]}
                for model, entry in models.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: expected the plan of a sweep, found something else; see "
                f"python -m launch.verify --workdir={self.workdir}"
            ) from error

    def _workers(self) -> tuple[WorkerStatus, ...]:
        found = []
        for path in sorted((self.sweep / "claims").glob("[!.]*.json")):
            try:
                age = max(0.0, self.now - path.stat().st_mtime)
            except OSError:
                continue  # given up meanwhile
            claim = lenient.mapping(lenient.read(path))
            owner = lenient.text(claim, "owner", "id") or "?"
            host = lenient.text(claim, "host") or "?"
            found.append(WorkerStatus(owner, host, path.stem, age, age > SILENT))
        return tuple(sorted(found, key=lambda worker: (worker.age, worker.claim)))

    def _failures(self) -> tuple[Failure, ...]:
        found = []
        for path in sorted((self.sweep / "failures").glob("[!.]*.json")):
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

    def _launches(self) -> list[Mapping[str, Any]]:
        """What is known of the launches, the oldest first."""
        run = lenient.read(self.workdir / "run.json")
        if run is None:
            self.notes.append("run.json: not readable")
        old = lenient.mapping(run).get("history")
        files = sorted((self.workdir / "history").glob("[!.]*.json"))
        entries = [*(old if isinstance(old, list) else []), *map(lenient.read, files)]
        return [entry for entry in entries if isinstance(entry, Mapping)]

    def _command(self, stage: str, launches: list[Mapping[str, Any]]) -> str:
        """The launch that goes on, with the config and the overrides of the last."""
        where = f"--workdir={shlex.quote(str(self.workdir))}"
        if not stage:
            return ""
        if self.working:
            return f"python -m launch.status {where} --watch"
        stage, *role = stage.split()
        given: list[str] = []
        for launch in launches:
            command = lenient.text(launch, "command") or lenient.text(
                lenient.mapping(launch.get("provenance")), "command"
            )
            given = list(_config_flags(command)) or given
        config = " ".join(given) or "--config=CONFIG"
        return " ".join([f"python -m launch.{stage}", config, where, *role])


def _config_flags(command: str) -> Iterator[str]:
    """The ``--config`` flags of a command line, written as one would type them."""
    words = command.split()
    with contextlib.suppress(ValueError):  # an apostrophe
        if shlex.join(shlex.split(command)) == command:  # quoted for a shell
            words = shlex.split(command)
    for word, following in itertools.pairwise([*words, ""]):
        if word.startswith(("--config=", "--config.")):
            yield shlex.quote(word)
        elif word == "--config":
            yield shlex.quote(f"--config={following}")
