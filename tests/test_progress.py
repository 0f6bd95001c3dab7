"""A live bar on a terminal; in a log whole lines, one a minute, none for short work.

No test waits for a minute or asserts a time: the lines' own thread sleeps for an hour,
and what it would do is called by hand, but for one test of the thread itself.
"""

import gc
import io
import threading
import types
import weakref

import pytest

from paramctl_jax import progress
from paramctl_jax.progress import bar


class Log(io.StringIO):
    """A stderr that is or is not a terminal, and tells when a line is written."""

    def __init__(self, terminal=False):
        super().__init__()
        self.terminal = terminal
        self.several = threading.Event()

    def isatty(self):
        return self.terminal

    def write(self, text):
        super().write(text)
        if self.getvalue().count("\n") >= 2:
            self.several.set()
        return len(text)

    @property
    def lines(self):
        text = self.getvalue()
        assert not text or text.endswith("\n")
        assert not {"\r", "\x1b"} & set(text)
        return text.splitlines()


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


def written_to(monkeypatch, terminal=False):
    """Stderr as the bars see it; pytest puts its own back into `sys`."""
    log = Log(terminal)
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=log))
    return log


@pytest.fixture
def log(monkeypatch):
    log = written_to(monkeypatch)
    monkeypatch.setattr(progress, "LOG_INTERVAL", 3600.0)
    return log


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def minute(bar, clock):
    clock.now += 60
    bar.tick()


def test_short_work_writes_nothing_to_a_log(log):
    assert list(bar(range(5), label="images", show=True)) == list(range(5))
    with bar(total=3, label="lanes", show=True) as shown:
        shown.update(3)
        shown.set_postfix(hits=3)
        shown.refresh()
    assert log.lines == []


def test_a_line_a_minute_tells_count_share_rate_and_time_left(log, clock):
    with bar(total=1100, label="m: lanes", show=True) as shown:
        clock.now += 30
        shown.update(120)
        shown.set_postfix(hits=100, failed=1)
        minute(shown, clock)
        assert log.lines == [
            "m: lanes 120/1100 (10.9 %), 1.33/s, 12.2 min left, failed=1, hits=100"
        ]
        shown.update(980)
    last = "m: lanes 1100/1100 (100.0 %), 12.2/s, failed=1, hits=100"
    assert log.lines[1:] == [last]


def test_nothing_new_is_said_twice_at_the_end(log, clock):
    with bar(total=2, label="stimuli", show=True) as shown:
        clock.now += 2
        shown.update(2)
        minute(shown, clock)
        shown.close()
        shown.tick()
    assert log.lines == ["stimuli 2/2 (100.0 %), 1.94/min"]


def test_work_that_does_not_move_is_seen(log, clock):
    with bar(total=1, label="m.npz: waiting for another process", show=True) as shown:
        minute(shown, clock)
        minute(shown, clock)
    line = "m.npz: waiting for another process 0/1 (0.0 %), 0/h, no end in sight"
    assert log.lines == [line, line]


def test_what_an_earlier_run_did_counts_but_is_no_speed(log, clock):
    with bar(total=1000, label="lanes", show=True) as shown:
        shown.update(900)
        clock.now += 60
        shown.update(60)
        shown.tick()
        assert log.lines == ["lanes 960/1000 (96.0 %), 1/s, 40 s left"]


def test_the_rate_is_that_of_the_last_quarter_of_an_hour(log, clock):
    with bar(total=10_000, label="lanes", show=True) as shown:
        for count in [600] + [60] * 15:
            clock.now += 30
            shown.update(count)
            clock.now += 30
            shown.tick()
        assert ", 1/s, " in log.lines[-1]
        assert ", 1/s, " not in log.lines[-2]


def test_bytes_and_unknown_totals(log, clock):
    with bar(total=None, label="weights", show=True) as shown:
        shown.unit, shown.unit_scale = "B", True
        clock.now += 30
        shown.update(3_000_000)
        clock.now += 30
        shown.tick()
    assert log.lines == ["weights 3.00MB, 50.0kB/s"]


def test_slow_work_is_told_per_hour(log, clock):
    with bar(total=4, label="fits", show=True) as shown:
        clock.now += 7200
        shown.update()
        shown.tick()
        assert log.lines == ["fits 1/4 (25.0 %), 0.5/h, 6.0 h left"]


def test_an_iteration_writes_its_last_line_where_it_had_others(log, clock):
    items = bar(range(3), label="images", show=True)
    for item in items:
        if item == 1:
            minute(items, clock)
    assert len(log.lines) == 2
    assert log.lines[-1].startswith("images 3/3 (100.0 %), ")


def test_an_error_leaves_a_last_line(log, clock):
    def fail():
        with bar(total=3, label="lanes", show=True) as shown:
            minute(shown, clock)
            shown.update()
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert log.lines[-1].startswith("lanes 1/3 (33.3 %)")


def test_a_log_that_cannot_be_written_does_not_stop_the_work(log, clock, monkeypatch):
    def full(text):
        raise OSError(28, "No space left on device")

    with bar(total=3, label="lanes", show=True) as shown:
        monkeypatch.setattr(log, "write", full)
        minute(shown, clock)
        shown.update(3)
    assert shown.n == 3


def test_the_lines_come_by_themselves_and_end_with_the_bar(log, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.001)
    before = set(threading.enumerate())
    with bar(total=10, label="lanes", show=True):
        (writer,) = set(threading.enumerate()) - before
        assert log.several.wait(timeout=60)
    writer.join(timeout=60)
    assert not writer.is_alive()
    assert all(line.startswith("lanes 0/10 (0.0 %)") for line in log.lines)


def test_a_forgotten_bar_is_not_kept_by_its_thread(log):
    shown = bar(total=10, label="lanes", show=True)
    forgotten = weakref.ref(shown)
    del shown
    gc.collect()
    assert forgotten() is None


def test_a_terminal_has_a_live_bar(monkeypatch):
    terminal = written_to(monkeypatch, terminal=True)
    with bar(total=4, label="m: lanes", show=True) as shown:
        shown.update(4)
    assert "m: lanes: 100%" in terminal.getvalue()
    assert terminal.getvalue().startswith("\r")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_quiet_bar_counts_nothing_and_says_nothing(monkeypatch, terminal):
    quiet = written_to(monkeypatch, terminal)
    threads = threading.active_count()
    with bar(total=4, label="lanes", show=False) as shown:
        shown.update(4)
        shown.set_postfix(hits=2)
    assert list(bar("ab", label="letters", show=False)) == ["a", "b"]
    assert quiet.getvalue() == ""
    assert threading.active_count() == threads
