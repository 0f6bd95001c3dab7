"""What a worker has done and how fast: one JSON object a line, a file per worker.

    {"event": "progress", "time": 1764262800.123, "lanes": 240, "steps": 9600, ...}

Counts of "progress" are of this process since its "start"; a "block" event counts the
lanes of one finished block, whoever began it. Nothing rests on these files: they may be
deleted, and where they cannot be written the work goes on without them.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, SupportsIndex

from paramctl_jax.sweeps.lenient import is_number
from paramctl_jax.types import InputError

WORKERS = "workers"
PERIOD = 60.0  # seconds between two "progress" events at least


class Metrics:
    """Appends the events of one worker to ``workers/OWNER.jsonl``.

    Every event is one write in append mode to a file opened for it: whole lines even
    from a process that is killed, and seen by other hosts of a network file system.

    Args:
      folder: the sweep's, in which ``workers/`` is made.
      owner_id: of this process; names the file.
      tensorboard: a folder to write scalars to as well, or None.

    Raises:
      InputError: TensorBoard is asked for and tensorboardX is not installed.

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp())
      >>> with Metrics(folder, "node1-42") as metrics:
      ...     metrics.start(host="node1", pid=42)
      ...     metrics.block("m-00000", lanes=11, hits=10, unreached=1, nonfinite=0,
      ...                   steps=400, seconds=8.5)
      ...     metrics.stop("done", 0)
      >>> [event["event"] for event in read_metrics(folder)["node1-42"]]
      ['start', 'block', 'stop']
    """

    def __init__(
        self, folder: str | Path, owner_id: str, tensorboard: str | Path | None = None
    ):
        self.path = Path(folder) / WORKERS / f"{owner_id}.jsonl"
        self._board = None if tensorboard is None else _Board(tensorboard, owner_id)
        self._last = -math.inf
        self._warned = False

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is left for TensorBoard; the file itself is never kept open."""
        if self._board is not None:
            self._harmless(self._board.close)
            self._board = None

    @property
    def due(self) -> bool:
        """Whether `progress` would write, for counts that cost something."""
        return time.monotonic() - self._last >= PERIOD

    def start(self, **facts: Any) -> None:
        """This process begins to work.

        Args:
          **facts: host, pid, devices, backend, versions, and whatever else is known.
        """
        self._last = time.monotonic()
        self._append("start", facts)

    def progress(
        self,
        *,
        lanes: SupportsIndex,
        steps: SupportsIndex,
        hits: SupportsIndex,
        block: str,
    ) -> None:
        """Counts since the start of this process; written once in `PERIOD` at most.

        Args:
          lanes: finished by this process, those of unfinished blocks included.
          steps: of all its slots together.
          hits: lanes that reached their level.
          block: the one at work.
        """
        if not self.due:
            return
        self._last = time.monotonic()
        counts = {"lanes": int(lanes), "steps": int(steps), "hits": int(hits)}
        self._append("progress", {**counts, "block": block})
        if self._board is not None:
            add = functools.partial(self._board.add, **counts)
            if not self._harmless(add):
                self._board = None  # a torn file is of no use to TensorBoard

    def block(
        self,
        name: str,
        *,
        lanes: SupportsIndex,
        hits: SupportsIndex,
        unreached: SupportsIndex,
        nonfinite: SupportsIndex,
        steps: SupportsIndex,
        seconds: int | float,
    ) -> None:
        """A block is finished and its file in place.

        Args:
          name: of the block.
          lanes: in the block.
          hits: lanes that reached their level.
          unreached: lanes that used up their steps.
          nonfinite: lanes that stopped at a non-finite value.
          steps: that the block took.
          seconds: that it took.
        """
        counts = {"lanes": lanes, "hits": hits, "unreached": unreached}
        counts |= {"nonfinite": nonfinite, "steps": steps}
        plain = {key: int(count) for key, count in counts.items()}
        self._append("block", {"name": name, **plain, "seconds": round(seconds, 3)})

    def stop(self, reason: str, exit_code: int | None = None) -> None:
        """This process ends, with this exit code."""
        self._append("stop", {"reason": reason, "exit_code": exit_code})

    def _append(self, event: str, content: Mapping[str, Any]) -> None:
        stamped = {"event": event, "time": round(time.time(), 3), **content}
        line = json.dumps(stamped, default=str, ensure_ascii=False) + "\n"
        self._harmless(lambda: _append_line(self.path, line.encode()))

    def _harmless(self, write: Callable[[], None]) -> bool:
        """Metrics that cannot be written are dropped, with one warning."""
        try:
            write()
            return True
        except OSError as error:
            if not self._warned:
                self._warned = True
                reason = error.strerror or error
                message = f"{self.path}: metrics are dropped ({reason})"
                warnings.warn(message, stacklevel=4)
            return False


def _append_line(path: Path, line: bytes) -> None:
    """One write; ends a torn line of a process before it first.

    Raises:
      OSError: also where only a part could be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
        if end:
            stream.seek(end - 1)
            line = line if stream.read(1) == b"\n" else b"\n" + line
        if stream.write(line) != len(line):
            raise OSError("only a part of a line could be written")


class _Board:
    """Scalars for TensorBoard, written here and now.

    tensorboardX's own `SummaryWriter` hands them to a thread through a bounded queue:
    on a full disk the thread dies and the program would wait for it.
    """

    def __init__(self, folder: str | Path, owner_id: str):
        try:
            files = importlib.import_module("tensorboardX.event_file_writer")
            messages = importlib.import_module("tensorboardX.proto.event_pb2")
        except ImportError as error:
            raise InputError(
                "TensorBoard scalars need tensorboardX, which is not installed; run "
                'pip install "paramctl_jax[tb]", or do without TensorBoard'
            ) from error
        self._folder = Path(folder) / owner_id
        self._open, self._message = files.EventsWriter, messages.Event
        self._file: Any = None
        self._before = (time.monotonic(), 0)

    def add(self, lanes: int, steps: int, hits: int) -> None:
        """Lanes in total and per minute, and the share that reached its level."""
        (before, had), now = self._before, time.monotonic()
        self._before = (now, lanes)
        scalars = {
            "lanes/total": lanes,
            "lanes/per_minute": 60 * (lanes - had) / max(now - before, 1e-9),
            "hits/fraction": hits / lanes if lanes else math.nan,
        }
        values = [{"tag": tag, "simple_value": x} for tag, x in scalars.items()]
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = self._open(str(self._folder / "events"))
        summary = {"value": values}
        message = self._message(wall_time=time.time(), step=steps, summary=summary)
        self._file.write_event(message)
        self._file.flush()

    def close(self) -> None:
        """Closes the file, if there is one."""
        if self._file is not None:
            self._file.close()


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole events of one file from `offset` on, and where to go on later.

    Damaged lines are skipped; a last line without its end is left for later.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return list(_events(whole)), offset + len(whole)


def _events(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(event, dict)
            and isinstance(event.get("event"), str)
            and is_number(event.get("time"))
        ):
            yield event


def read_metrics(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """All events of a sweep in the order they were written, per worker.

    Args:
      folder: the sweep's; one without metrics gives nothing.
    """
    files = sorted((Path(folder) / WORKERS).glob("*.jsonl"))
    return {path.stem: read_events(path)[0] for path in files}
