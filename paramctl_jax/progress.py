"""One progress bar for every long stage: live on a terminal, a line a minute in a log.

A line of a log is whole and plain text, whether it moves or not, for a job that hangs
is to be seen as well:

    small_robust: lanes 240/1100 (21.8 %), 3.9/s, 3.7 min left, failed=1, hits=231
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import weakref
from collections import deque
from typing import Any

from tqdm import tqdm

LOG_INTERVAL = 60.0  # seconds between lines where nobody watches
_RECENT = 15  # lines that the rate is taken over
_BEFORE = 1.0  # seconds in which what is counted was done by an earlier run


def bar(items: Any = None, *, total: int | None = None, label: str, show: bool) -> tqdm:
    """A progress bar over `items`, or over `total` hand-counted ones.

    Where stderr is no terminal, work shorter than a minute prints nothing.

    Args:
      items: an iterable, or None to call ``update`` by hand.
      total: number of items, where it cannot be taken from `items`.
      label: what is being done, e.g. ``"small_robust: lanes"``.
      show: False keeps quiet.

    Example:
      >>> with bar(total=3, label="lanes", show=False) as lanes:
      ...     lanes.update(2)
      ...     lanes.set_postfix(hits=1)
    """
    if not show or sys.stderr.isatty():
        return tqdm(
            items,
            total=total,
            desc=label,
            disable=not show,
            file=sys.stderr,
            dynamic_ncols=True,
        )
    return _LogBar(items, total=total, desc=label)


def duration(seconds: int | float) -> str:
    """A length of time to two or three digits.

    Example:
      >>> duration(42), duration(222), duration(3 * 86400)
      ('42 s', '3.7 min', '3.0 days')
    """
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


class _LogBar(tqdm):
    """Counts as tqdm does; a thread writes a line every `LOG_INTERVAL`."""

    monitor_interval = 0  # tqdm's own thread would redraw

    def __init__(self, items: Any, *, total: int | None, desc: str):
        self._began = time.monotonic()
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._samples: deque[tuple[float, int | float]] = deque(maxlen=_RECENT + 1)
        super().__init__(
            items,
            total=total,
            desc=desc,
            file=sys.stderr,
            mininterval=_BEFORE,
            miniters=1,
            leave=False,
        )
        if self.disable:  # by tqdm's own environment variable
            return
        threading.Thread(
            target=_write_lines, args=(weakref.ref(self), self._over), daemon=True
        ).start()

    def update(self, n: int | float | None = 1) -> bool | None:
        """Counts `n` more; at once after the start, `n` that were there before."""
        answer = super().update(n)
        if time.monotonic() - self._began < _BEFORE:
            self.initial = self.n
        return answer

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Nothing: lines come at their own time."""
        del msg, pos
        return False

    def clear(self, nolock: bool = False) -> None:
        """Nothing: a line stays."""
        del nolock

    def close(self) -> None:
        """Ends the lines, with a last one where there were others."""
        with self._turn:
            self._over.set()
            ended = getattr(self, "disable", True)
            if not ended and self._samples and self._samples[-1][1] != self.n:
                self._write_line()
        super().close()

    def tick(self) -> None:
        """Writes a line, unless the work is over."""
        with self._turn:
            if not self._over.is_set():
                self._write_line()

    def _write_line(self) -> None:
        if not self._samples:
            self._samples.append((self._began, self.initial))
        self._samples.append((time.monotonic(), self.n))
        with contextlib.suppress(OSError, ValueError):  # the log is gone, not the work
            self.fp.write(self._line() + "\n")
            self.fp.flush()

    def _line(self) -> str:
        """Label, count, share, rate and time left, as far as they are known."""
        counted = f"{self.desc.removesuffix(': ')} {self._amount(self.n)}"
        if self.total:
            share = 100 * self.n / self.total
            counted += f"/{self._amount(self.total)} ({share:.1f} %)"
        (t0, n0), (t1, n1) = self._samples[0], self._samples[-1]
        rate = (n1 - n0) / max(t1 - t0, 1e-9)
        parts = [counted, self._per_time(rate)]
        if self.total and self.n < self.total:
            left = (self.total - self.n) / rate if rate > 0 else None
            parts.append(f"{duration(left)} left" if left else "no end in sight")
        return ", ".join([*parts, *([self.postfix] if self.postfix else [])])

    def _amount(self, count: int | float) -> str:
        if not self.unit_scale:
            return f"{count:g}" if isinstance(count, float) else str(count)
        return self.format_sizeof(count) + self.unit

    def _per_time(self, rate: float) -> str:
        for unit, seconds in (("s", 1.0), ("min", 60.0)):
            if rate * seconds >= 1:
                return f"{self._amount(float(f'{rate * seconds:.3g}'))}/{unit}"
        return f"{rate * 3600:.3g}/h"


def _write_lines(of: weakref.ref[_LogBar], over: threading.Event) -> None:
    """A line every minute, until the bar is closed or forgotten."""
    while not over.wait(LOG_INTERVAL):
        shown = of()
        if shown is None:
            return
        shown.tick()
        del shown
