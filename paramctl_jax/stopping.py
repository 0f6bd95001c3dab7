"""Stopping in an orderly way: a first signal is noted, a second one ends at once.

SIGTERM (a cluster that wants its machine back), SIGUSR1 (its warning) and SIGINT
(Ctrl-C) end a program where it stands, unless work that can be saved is under way:
that work asks `asked` after every step, saves, and raises `Stopped`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1", "SIGINT")
    if hasattr(signal, name)
)


class Stopped(Exception):
    """What is done is on disk; the same command goes on from there."""


class _State:
    """Of this process, as signals are."""

    def __init__(self) -> None:
        self.orderly = 0
        self.noted: int | None = None
        self.watchers: list[Callable[[], bool]] = []


_STATE = _State()


def listen() -> None:
    """Takes the signals over; called once, by a launcher, in the main thread."""
    _STATE.noted = None
    for number in SIGNALS:
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    del frame
    if _STATE.orderly and _STATE.noted is None:
        _STATE.noted = number
        message = b"\nstopping after this step (again: at once)\n"
        with contextlib.suppress(OSError):
            os.write(2, message)
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(f"stopped by {signal.Signals(number).name}")


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Within, a first signal is only noted, for `asked`.

    Raises:
      Stopped: on leaving, where a signal came and nothing has acted on it.

    Example:
      >>> with orderly():
      ...     asked()
      False
    """
    _STATE.orderly += 1
    try:
        yield
    finally:
        _STATE.orderly -= 1
    if not _STATE.orderly and asked():
        raise Stopped(reason())


def asked() -> bool:
    """Whether a signal has been noted, or a watcher wants an end."""
    if _STATE.noted is None and any(watcher() for watcher in _STATE.watchers):
        _STATE.noted = signal.SIGTERM
    return _STATE.noted is not None


def reason() -> str:
    """What asked for the end, for messages.

    Example:
      >>> reason()
      'stopped'
    """
    if _STATE.noted is None:
        return "stopped"
    return f"stopped by {signal.Signals(_STATE.noted).name}"


@contextlib.contextmanager
def watching(watcher: Callable[[], bool]) -> Iterator[None]:
    """Within, an end is also asked for where ``watcher()`` is true.

    Args:
      watcher: cheap, for it is called after every step.
    """
    _STATE.watchers.append(watcher)
    try:
        yield
    finally:
        _STATE.watchers.remove(watcher)
