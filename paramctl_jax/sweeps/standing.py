"""How far a sweep is, as a record and as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from paramctl_jax.progress import duration

_SHOWN_WORKERS, _SHOWN_FAILURES = 20, 10
_BAR = 16  # characters
_EXIT_CODES = {
    0: "done",
    1: "usage or data error",
    2: "finished with failed lanes or blocks",
    75: "stopped and saved, the same command goes on",
    130: "interrupted",
}


@dataclasses.dataclass(frozen=True)
class Counts:
    """Blocks, or the lanes in them, by what has become of them."""

    done: int = 0
    working: int = 0
    failed: int = 0
    missing: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.done + self.working + self.failed + self.missing

    def __add__(self, other: Counts) -> Counts:
        return Counts(*_sums(self, other))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the lanes of finished blocks ended; unknown without a worker's metrics."""

    hits: int = 0
    unreached: int = 0
    nonfinite: int = 0
    unknown: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(*_sums(self, other))


def _sums(one: Counts | Outcome, other: Counts | Outcome) -> Iterator[int]:
    pairs = zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    return (a + b for a, b in pairs)


@dataclasses.dataclass(frozen=True)
class ModelStatus:
    """One model, or all together."""

    model: str
    blocks: Counts = Counts()
    lanes: Counts = Counts()
    outcome: Outcome = Outcome()

    def __add__(self, other: ModelStatus) -> ModelStatus:
        return ModelStatus(
            self.model,
            self.blocks + other.blocks,
            self.lanes + other.lanes,
            self.outcome + other.outcome,
        )


@dataclasses.dataclass(frozen=True)
class WorkerStatus:
    """Who holds a claim.

    Attributes:
      owner, host: as the claim says; ``"?"`` where it cannot be read.
      claim: the block, or the stage.
      age: seconds since the claim last moved.
      silent: so long that the worker counts as dead, and the block as free.
    """

    owner: str
    host: str
    claim: str
    age: float
    silent: bool


@dataclasses.dataclass(frozen=True)
class Failure:
    """The last exception of a block that is not done."""

    block: str
    message: str
    owner: str


@dataclasses.dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
      workdir: the run directory.
      stage: what is done, in a few words.
      finished: nothing is left to compute before the second recording.
      collected: whether ``stimuli/`` is complete.
      models: of the sweep; none before it is planned.
      workers: that hold claims, the one that moved last first.
      failures: of blocks that are not done.
      rate: lanes a minute of all workers over the last quarter of an hour, or None.
      eta: seconds until every block is done at that rate, or None.
      last_exit: exit code of the last launch that ended, or None.
      next_command: to go on with; ``""`` where nothing is left.
    """

    workdir: str
    stage: str
    finished: bool
    collected: bool
    models: tuple[ModelStatus, ...] = ()
    workers: tuple[WorkerStatus, ...] = ()
    failures: tuple[Failure, ...] = ()
    rate: float | None = None
    eta: float | None = None
    last_exit: int | None = None
    next_command: str = ""

    @property
    def total(self) -> ModelStatus:
        """All models together."""
        return sum(self.models, ModelStatus("total"))

    def to_json(self) -> dict[str, Any]:
        """Plain content, the total included."""
        return {**dataclasses.asdict(self), "total": dataclasses.asdict(self.total)}

    def __str__(self) -> str:
        parts = [[f"{self.workdir}: {self.stage}", *_last_launch(self)]]
        if self.models:
            parts.append(_model_lines(self) + _pace(self))
        parts += [_worker_lines(self.workers), _failure_lines(self.failures)]
        parts.append([f"next: {self.next_command}"] if self.next_command else [])
        return "\n\n".join("\n".join(part) for part in parts if part)


def _last_launch(status: Status) -> list[str]:
    if status.finished or status.last_exit is None:
        return []
    meaning = _EXIT_CODES.get(status.last_exit, "unknown")
    return [f"the last launch to end had exit code {status.last_exit}: {meaning}"]


def _model_lines(status: Status) -> list[str]:
    heads = ("model", "", "done", "in work", "failed", "missing")
    total = status.total
    rows = [*status.models, *([total] if len(status.models) > 1 else [])]
    lines = table(
        (*heads, "hits", "unreached", "nonfinite"), [_model_cells(row) for row in rows]
    )
    lines.append(f"lanes, and blocks in brackets; {total.lanes.total} lanes in all")
    if total.outcome.unknown:
        lines.append(
            f"how {total.outcome.unknown} of the lanes done ended is unknown: the "
            "metrics of their workers are missing"
        )
    return lines


def _model_cells(row: ModelStatus) -> list[str]:
    lanes, blocks = dataclasses.astuple(row.lanes), dataclasses.astuple(row.blocks)
    cells = [f"{a} ({b})" if b else "0" for a, b in zip(lanes, blocks, strict=True)]
    *ends, unknown = dataclasses.astuple(row.outcome)
    if not sum(ends):
        ended = ["unknown" if unknown else "–"] * 3
    else:
        ended = [f"{ends[0]} ({share(ends[0], sum(ends))})", *map(str, ends[1:])]
    drawn = bar_of_blocks(row.blocks.done, row.blocks.total)
    return [short(row.model, 28), drawn, *cells, *ended]


def bar_of_blocks(done: int, total: int) -> str:
    """A bar that is full only when all is done, and empty only when nothing is.

    Example:
      >>> bar_of_blocks(5, 8), bar_of_blocks(9_999, 10_000)
      ('██████████░░░░░░', '███████████████░')
    """
    filled = _BAR * done // max(total, 1)
    filled = max(filled, 1) if done else 0
    return "█" * filled + "░" * (_BAR - filled)


def share(part: int, whole: int) -> str:
    """A percentage that is never rounded up to all or down to nothing.

    Example:
      >>> share(1, 3), share(99_999, 100_000), share(1, 100_000)
      ('33.3 %', '99.9 %', '0.1 %')
    """
    percent = 100 * part / max(whole, 1)
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f} %"


def _pace(status: Status) -> list[str]:
    if status.rate is None:
        return []
    left = "" if status.eta is None else f", about {duration(status.eta)} left"
    return [f"{status.rate:.3g} lanes a minute over the last 15 minutes{left}"]


def _worker_lines(workers: Sequence[WorkerStatus]) -> list[str]:
    rows = [
        [
            short(worker.owner, 40),
            short(worker.host, 30),
            short(worker.claim, 40),
            f"{duration(worker.age)} ago" + (", silent" if worker.silent else ""),
        ]
        for worker in workers[:_SHOWN_WORKERS]
    ]
    if not rows:
        return []
    lines = table(("worker", "host", "at work on", "moved"), rows, left=4)
    rest = len(workers) - len(rows)
    return [*lines, *([f"and {rest} more"] if rest else [])]


def _failure_lines(failures: Sequence[Failure]) -> list[str]:
    lines = [
        f"failed: {short(failure.block, 40)}: {short(failure.message, 160)}"
        for failure in failures[:_SHOWN_FAILURES]
    ]
    rest = len(failures) - len(lines)
    return [*lines, *([f"and {rest} more failed blocks"] if rest else [])]


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2
) -> list[str]:
    """Aligned columns under a line; the first ones to the left."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    text = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    ruled = [text[0], "─" * len(text[0]), *text[1:]]
    return [line.rstrip() for line in ruled]


def short(text: str, longest: int) -> str:
    """One printable line of at most so many characters.

    Example:
      >>> short("no such file", 9)
      'no such …'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
