"""Metrics: whole lines whatever happens, and no reason to stop when they cannot be."""

import importlib
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from paramctl_jax.sweeps import metrics as module
from paramctl_jax.sweeps.lenient import is_number
from paramctl_jax.sweeps.metrics import Metrics, read_events, read_metrics
from paramctl_jax.types import InputError

BLOCK = {
    "lanes": 11,
    "hits": 9,
    "unreached": 1,
    "nonfinite": 1,
    "steps": 400,
    "seconds": 8.49999,
}


def without_time(events):
    assert all(is_number(event["time"]) for event in events)
    return [{k: v for k, v in event.items() if k != "time"} for event in events]


@pytest.fixture
def minute(monkeypatch):
    """Lets a minute pass."""

    class Clock:
        now = 0.0
        time = staticmethod(time.time)

        def monotonic(self):
            return self.now

        def __call__(self):
            self.now += module.PERIOD

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_worker_tells_its_start_its_blocks_and_its_end(tmp_path):
    with Metrics(tmp_path, "node1-42") as metrics:
        metrics.start(host="node1", pid=42, devices=["cpu:0"], versions={"jax": "1"})
        counts = BLOCK | {"lanes": np.int64(11)}
        metrics.block("m-00000", **counts)
        metrics.stop("done", 0)
    (path,) = (tmp_path / "workers").iterdir()
    assert path.name == "node1-42.jsonl"
    lines = path.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert without_time(events) == [
        {
            "event": "start",
            "host": "node1",
            "pid": 42,
            "devices": ["cpu:0"],
            "versions": {"jax": "1"},
        },
        {"event": "block", "name": "m-00000", **BLOCK, "seconds": 8.5},
        {"event": "stop", "reason": "done", "exit_code": 0},
    ]
    assert all(event["time"] == round(event["time"], 3) for event in events)
    assert read_metrics(tmp_path) == {"node1-42": events}


def test_progress_is_written_once_a_minute(tmp_path, minute):
    metrics = Metrics(tmp_path, "w")
    metrics.start()
    metrics.progress(lanes=1, steps=10, hits=1, block="m-00000")
    minute()
    assert metrics.due
    metrics.progress(lanes=2, steps=20, hits=1, block="m-00000")
    assert not metrics.due
    metrics.progress(lanes=3, steps=30, hits=1, block="m-00000")
    minute()
    metrics.progress(lanes=np.int32(4), steps=40, hits=2, block="m-00001")
    first, *found = without_time(read_metrics(tmp_path)["w"])
    assert first == {"event": "start"}
    counts = {"lanes": 2, "steps": 20, "hits": 1, "block": "m-00000"}
    assert found[0] == {"event": "progress", **counts}
    assert [event["lanes"] for event in found] == [2, 4]


def test_a_torn_last_line_is_no_event_and_spoils_none(tmp_path):
    metrics = Metrics(tmp_path, "w")
    metrics.start(pid=1)
    with metrics.path.open("ab") as stream:
        stream.write(b'{"event": "block", "time": 17642')
    assert len(read_metrics(tmp_path)["w"]) == 1
    Metrics(tmp_path, "w").start(pid=2)
    assert [event["pid"] for event in read_metrics(tmp_path)["w"]] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0" * 50,
        b"\xff\xfe",
        b"[1, 2]",
        b'"start"',
        b'{"event": "start"}',
        b'{"event": 3, "time": 1.0}',
        b'{"event": "start", "time": true}',
        b'{"event": "start", "time": NaN}',
        b'{"event": "start", "time": 1e999}',
        b'{"event": "start", "time": ' + b"9" * 400 + b"}",
        b'{"event": "start", "time": ' + b"9" * 5000 + b"}",
        b"[" * 200_000,
        b'{"event": "start", "time": 1764262800.0, "pid',
    ],
    ids=lambda line: repr(line[:30]),
)
def test_damaged_lines_are_skipped(tmp_path, line):
    metrics = Metrics(tmp_path, "w")
    metrics.start(pid=1)
    with metrics.path.open("ab") as stream:
        stream.write(line + b"\n")
    metrics.stop("done", 0)
    events = read_metrics(tmp_path)["w"]
    assert [event["event"] for event in events] == ["start", "stop"]


def test_reading_goes_on_where_it_ended(tmp_path):
    metrics = Metrics(tmp_path, "w")
    assert read_events(metrics.path) == ([], 0)
    metrics.start(pid=1)
    begun, offset = read_events(metrics.path)
    assert offset == metrics.path.stat().st_size
    with metrics.path.open("ab") as stream:
        stream.write(b'{"event": "block",')
    assert read_events(metrics.path, offset) == ([], offset)
    with metrics.path.open("ab") as stream:
        stream.write(b' "time": 2.0}\n')
    rest, _ = read_events(metrics.path, offset)
    assert begun + rest == read_metrics(tmp_path)["w"]
    assert rest == [{"event": "block", "time": 2.0}]


def test_no_metrics_are_no_error(tmp_path):
    assert read_metrics(tmp_path) == {}
    assert read_metrics(tmp_path / "nowhere") == {}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_drops_metrics_with_one_warning(tmp_path):
    folder = tmp_path / "workers"
    folder.mkdir()
    (folder / "w.jsonl").symlink_to("/dev/full")
    metrics = Metrics(tmp_path, "w")
    with pytest.warns(UserWarning, match=r"w\.jsonl: metrics are dropped \(No space"):
        metrics.start()
    metrics.block("m-00000", **BLOCK)  # a second warning would be an error here
    (folder / "w.jsonl").unlink()  # space again
    metrics.stop("done", 0)
    assert [event["event"] for event in read_metrics(tmp_path)["w"]] == ["stop"]


def test_a_short_write_is_a_drop_and_spoils_no_later_line(tmp_path, monkeypatch):
    metrics = Metrics(tmp_path, "w")
    metrics.start(pid=1)
    true_open = pathlib.Path.open

    class Short:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *raised):
            self.stream.close()

        def write(self, line):
            return self.stream.write(line[:7])

        def __getattr__(self, name):
            return getattr(self.stream, name)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "open", lambda *a, **k: Short(true_open(*a, **k)))
        with pytest.warns(UserWarning, match="only a part"):
            metrics.block("m-00000", **BLOCK)
    metrics.stop("done", 0)
    events = read_metrics(tmp_path)["w"]
    assert [event["event"] for event in events] == ["start", "stop"]


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path):
    (tmp_path / "workers").write_text("in the way")
    metrics = Metrics(tmp_path, "w")
    with pytest.warns(UserWarning, match="metrics are dropped"):
        metrics.start()
    metrics.stop("done", 0)


def test_a_killed_writer_leaves_whole_lines(tmp_path):
    """The file of a process killed while it writes has lost nothing but its end."""
    program = (
        "import sys\n"
        "from paramctl_jax.sweeps.metrics import Metrics\n"
        "metrics = Metrics(sys.argv[1], 'w')\n"
        "n = 0\n"
        "while True:\n"
        "    metrics.start(n=n)\n"
        "    n += 1\n"
        "    if n == 200: print('go', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"go\n"
        writer.send_signal(signal.SIGKILL)
    Metrics(tmp_path, "w").start(n="again")
    *before, last = [event["n"] for event in read_metrics(tmp_path)["w"]]
    assert before == list(range(len(before)))
    assert len(before) >= 200
    assert last == "again"


def scalars(path):
    """Tags and values of a TensorBoard file, read record by record."""
    messages = importlib.import_module("tensorboardX.proto.event_pb2")
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = messages.Event.FromString(data[12 : 12 + length])
        found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
        data = data[16 + length :]
    return found


def test_tensorboard_has_lanes_rate_and_hits(tmp_path, minute):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    with Metrics(tmp_path, "w", tensorboard=tmp_path / "tb") as metrics:
        metrics.start()
        minute()
        metrics.progress(lanes=40, steps=100, hits=30, block="m-00000")
        minute()
        metrics.progress(lanes=100, steps=250, hits=75, block="m-00000")
    (path,) = (tmp_path / "tb" / "w").iterdir()
    assert scalars(path) == [
        (100, "lanes/total", 40),
        (100, "lanes/per_minute", 40),
        (100, "hits/fraction", 0.75),
        (250, "lanes/total", 100),
        (250, "lanes/per_minute", 60),
        (250, "hits/fraction", 0.75),
    ]


def test_a_tensorboard_that_cannot_be_written_is_given_up(tmp_path, minute):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    (tmp_path / "tb").write_text("in the way")
    with Metrics(tmp_path, "w", tensorboard=tmp_path / "tb") as metrics:
        minute()
        with pytest.warns(UserWarning, match="metrics are dropped"):
            metrics.progress(lanes=1, steps=1, hits=1, block="m-00000")
        minute()
        metrics.progress(lanes=2, steps=2, hits=1, block="m-00000")
    assert [event["lanes"] for event in read_metrics(tmp_path)["w"]] == [1, 2]


def test_tensorboard_without_its_package_is_refused_at_once(tmp_path, monkeypatch):
    def missing(name, *rest):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(module.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r'pip install "paramctl_jax\[tb\]"'):
        Metrics(tmp_path, "w", tensorboard=tmp_path / "tb")
    assert not list(tmp_path.iterdir())
