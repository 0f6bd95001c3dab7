"""What the metrics of all workers say together: how blocks ended, and how fast it goes.

Clocks of hosts differ. A file's time of change is its file system's, and every event
changes the file: the difference to its last event is that worker's clock's error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax.sweeps.lenient import is_number
from paramctl_jax.sweeps.metrics import WORKERS, read_events

WINDOW = 900.0  # seconds that a rate is taken over


class WorkerLog:
    """One worker's file, read on from where the last reading ended.

    Attributes:
      outcomes: the newest "block" event of every block this worker finished.
    """

    def __init__(self, path: Path):
        self.outcomes: dict[str, Mapping[str, Any]] = {}
        self._path = path
        self._offset = 0
        self._series: deque[tuple[float, float]] = deque()  # time, lanes since ever
        self._first = 0.0
        self._earlier = 0.0  # lanes before the last start
        self._counted = 0.0  # lanes since, by "progress"
        self._finished = 0.0  # lanes since, in whole blocks
        self._clock_error = 0.0

    def read(self) -> None:
        """Takes in what was written since."""
        events, self._offset = read_events(self._path, self._offset)
        for event in events:
            self._take(event)
        if events:
            try:
                changed = self._path.stat().st_mtime
            except OSError:
                return
            self._clock_error = events[-1]["time"] - changed

    def _take(self, event: Mapping[str, Any]) -> None:
        lanes = event.get("lanes")
        lanes = float(lanes) if is_number(lanes) else 0.0
        name = event.get("name")
        if event["event"] == "start":
            self._earlier = self._total
            self._counted = self._finished = 0.0
        elif event["event"] == "progress":
            self._counted = lanes
        elif event["event"] == "block" and isinstance(name, str):
            self._finished += lanes
            self.outcomes[name] = event
        if not self._series:
            self._first = event["time"]
        self._series.append((event["time"], self._total))
        while len(self._series) > 2 and self._series[1][0] < event["time"] - WINDOW:
            self._series.popleft()

    @property
    def _total(self) -> float:
        return self._earlier + max(self._counted, self._finished)

    @property
    def first(self) -> float | None:
        """When the first event was written; None where there is none."""
        return self._first - self._clock_error if self._series else None

    @property
    def under_way(self) -> float:
        """Lanes finished in a block that is not."""
        return max(0.0, self._counted - self._finished)

    def lanes_since(self, moment: float) -> float:
        """Lanes finished from a moment on, by the file system's clock."""
        if not self._series:
            return 0.0
        times, lanes = np.asarray(self._series).T
        times = np.maximum.accumulate(times) - self._clock_error
        return float(lanes[-1] - np.interp(moment, times, lanes))


class WorkerLogs:
    """The files of all workers of a sweep.

    Args:
      folder: the sweep's.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder) / WORKERS
        self._logs: dict[str, WorkerLog] = {}

    def read(self) -> None:
        """Takes in what all workers, new ones too, have written since."""
        for path in sorted(self._folder.glob("*.jsonl")):
            self._logs.setdefault(path.stem, WorkerLog(path)).read()

    def outcomes(self) -> dict[str, Mapping[str, Any]]:
        """The newest "block" event of every block."""
        newest: dict[str, Mapping[str, Any]] = {}
        for log in self._logs.values():
            for name, event in log.outcomes.items():
                if name not in newest or newest[name]["time"] <= event["time"]:
                    newest[name] = event
        return newest

    def under_way(self, owner: str) -> float:
        """Lanes that a worker has finished in a block that is not."""
        return self._logs[owner].under_way if owner in self._logs else 0.0

    def rate(self, now: float) -> float | None:
        """Lanes a minute of all workers together, over the last `WINDOW`.

        Args:
          now: seconds, by the file system's clock.

        Returns:
          None where no lane was finished in that time.
        """
        begun = [log.first for log in self._logs.values() if log.first is not None]
        if not begun:
            return None
        since = max(now - WINDOW, min(begun))
        lanes = sum(log.lanes_since(since) for log in self._logs.values())
        return 60 * lanes / max(now - since, 1.0) if lanes > 0 else None
