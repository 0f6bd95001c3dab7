"""The status of hand-made run directories: whole, half-written, dead and large ones."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from launch import status as launcher
from paramctl_jax.sweeps.blocks import Block, Share, SweepPlan, write_plan
from paramctl_jax.sweeps.claims import LEASE
from paramctl_jax.sweeps.standing import Counts, Outcome
from paramctl_jax.sweeps.status import status
from paramctl_jax.sweeps.worker_logs import WINDOW, WorkerLogs
from paramctl_jax.types import InputError

ROOT = Path(__file__).parents[2]
NOW = 1_764_262_800.0


class RunDirectory:
    """A run directory written by hand."""

    def __init__(self, workdir):
        self.workdir = workdir
        self.write("run.json", {"config": {}})

    def write(self, name, content, age=0.0):
        path = self.workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        os.utime(path, (NOW - age, NOW - age))
        return path

    def plan(self, lanes=11, **blocks):
        shares = {
            model: Share(
                "sha256:0",
                tuple(
                    Block(f"{model}-{i:05d}", model, (i, i + 1), (0, 1), lanes)
                    for i in range(count)
                ),
            )
            for model, count in blocks.items()
        }
        (self.workdir / "sweep" / "plan.json").unlink(missing_ok=True)
        write_plan(self.workdir, SweepPlan(1, 16, shares))

    def done(self, *names):
        for name in names:
            self.write(f"sweep/blocks/{name}.npz", "")

    def claim(self, name, owner, age=1.0, **content):
        claim = {"owner": owner, "host": owner.split("-")[0], **content}
        self.write(f"sweep/claims/{name}.json", claim, age)

    def log(self, owner, *events, error=0.0, tail=""):
        """Events with their ages; `error` is what the worker's clock is ahead."""
        lines = [
            json.dumps({"event": kind, "time": NOW - age + error, **content})
            for age, kind, content in events
        ]
        text = "".join(line + "\n" for line in lines) + tail
        self.write(f"sweep/workers/{owner}.jsonl", text, age=events[-1][0])


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


def block(name, hits=9, unreached=1, nonfinite=1, lanes=11):
    ends = {"hits": hits, "unreached": unreached, "nonfinite": nonfinite}
    return {"name": name, "lanes": lanes, "steps": 400, "seconds": 9.0, **ends}


def under_way(run):
    """Two models, two live workers and a dead one, a failure, a free block."""
    run.plan(a=5, b=2)
    run.done("a-00000", "a-00001", "b-00000")
    run.claim("a-00002", "node1-1", age=4)
    run.claim("b-00001", "node2-1", age=20)
    run.claim("a-00003", "node3-1", age=LEASE + 100)
    run.write("sweep/failures/a-00004.json", {"message": "no\nmemory", "owner": "x"})
    run.write("sweep/failures/a-00000.json", {"message": "was tried again"})
    run.log(
        "node1-1",
        (600, "start", {"host": "node1"}),
        (300, "block", block("a-00000")),
        (2, "progress", {"lanes": 15, "steps": 9, "hits": 9}),
    )
    run.log(
        "node2-1",
        (500, "start", {}),
        (400, "block", block("b-00000", 11, 0, 0)),
        error=7200.0,
    )


def test_a_sweep_under_way_is_told_whole(run):
    under_way(run)
    found = status(run.workdir, now=NOW)
    a, b = found.models
    assert (a.model, b.model) == ("a", "b")
    assert a.blocks == Counts(done=2, working=1, failed=1, missing=1)
    assert a.lanes == Counts(22, 11, 11, 11)
    assert b.blocks == Counts(done=1, working=1)
    assert a.outcome == Outcome(9, 1, 1, unknown=11)
    assert found.total.outcome == Outcome(20, 1, 1, unknown=11)
    assert found.total.lanes.total == 77
    assert [(w.owner, w.host, w.claim, w.silent) for w in found.workers] == [
        ("node1-1", "node1", "a-00002", False),
        ("node2-1", "node2", "b-00001", False),
        ("node3-1", "node3", "a-00003", True),
    ]
    assert [(f.block, f.message) for f in found.failures] == [("a-00004", "no\nmemory")]
    assert not found.collected
    assert not found.finished
    assert found.rate == pytest.approx((15 + 11) / 10)  # since the first start
    left = 11 + 11 + 11 - 4  # of a: in work and missing; of b: in work; 4 under way
    assert found.eta == pytest.approx(60 * left / found.rate)
    assert (
        found.next_command == f"python -m launch.status --workdir={run.workdir} --watch"
    )


def test_the_table_is_aligned_and_names_all_that_matters(run):
    under_way(run)
    text = str(status(run.workdir, now=NOW))
    head, line, a, b, total = text.split("\n\n")[1].splitlines()[:5]
    assert head.split()[:2] == ["model", "done"]
    assert set(line) == {"─"}
    assert len({len(row) for row in (head, line, a, b, total)}) == 1
    cells = ["22 (2)", "11 (1)", "11 (1)", "11 (1)", "9 (81.8 %)", "1", "1"]
    assert re.split(r"  +", a) == ["a", "██████░░░░░░░░░░", *cells]
    assert total.startswith("total  ██████░░░░░░░░░░  33 (3)")
    assert "how 11 of the lanes done ended is unknown" in text
    assert "2.6 lanes a minute over the last 15 minutes, about 11.2 min left" in text
    assert "node3-1  node3  a-00003     2.7 min ago, silent\n" in text
    assert "failed: a-00004: no memory" in text
    assert text.splitlines()[0] == f"{run.workdir}: accentuation under way"


def test_a_single_model_has_no_total(run):
    run.plan(a=2)
    assert "total" not in str(status(run.workdir, now=NOW))
    assert "–" in str(status(run.workdir, now=NOW))


def test_what_everybody_left_is_to_be_launched_again(run):
    run.plan(a=2)
    run.done("a-00000")
    run.claim("a-00001", "node1-1", age=LEASE + 1)
    found = status(run.workdir, now=NOW)
    assert found.models[0].blocks == Counts(done=1, missing=1)
    assert found.stage == "accentuation unfinished, nobody at work"
    assert found.rate is None
    assert found.eta is None


def test_the_last_launch_says_how_it_ended_and_how_to_go_on(run):
    run.plan(a=2)
    run.write("history/1.json", {"exit_code": 2})
    run.write("history/2.json", {"exit_code": 75, "command": "x --config=a.py"})
    run.write("history/3.json", {"exit_code": None})  # killed, or at work
    found = status(run.workdir, now=NOW)
    assert found.last_exit == 75
    assert "exit code 75: stopped and saved" in str(found)
    # without --config: the settings are in the directory
    command = f"python -m launch.accentuate --workdir={run.workdir}"
    assert found.next_command == command


def test_stages_of_a_run_one_after_the_other(run):
    def stage():
        found = status(run.workdir, now=NOW)
        return found.stage, found.next_command.split(" ")[2:3], found.finished

    fit, accentuate = ["launch.fit_encoding"], ["launch.accentuate"]
    assert stage() == ("nothing fitted, recordings not there yet", fit, False)
    run.write("recordings/day1.npz", "")
    assert stage() == ("nothing fitted, recordings there", fit, False)
    run.write("encoding/a.npz", "")
    assert stage() == ("encoding begun", fit, False)
    run.write("encoding/comparisons.json", [])
    assert stage() == ("encoding done, sweep not planned yet", accentuate, False)
    run.plan(a=1)
    unfinished = "accentuation unfinished, nobody at work"
    assert stage() == (unfinished, accentuate, False)
    run.claim("a-00000", "node1-1")
    assert stage() == ("accentuation under way", ["launch.status"], False)
    (run.workdir / "sweep/claims/a-00000.json").unlink()
    run.done("a-00000")
    run.write("stimuli/stimulus_set.csv", "")  # not the last file of the collection
    done = "every block done, stimuli not collected"
    assert stage() == (done, accentuate, False)
    assert status(run.workdir, now=NOW).next_command.endswith(" --role=collect")
    run.claim("collect", "node1-1")
    done = "every block done, stimuli being collected"
    assert stage() == (done, ["launch.status"], False)
    (run.workdir / "sweep/claims/collect.json").unlink()
    run.write("stimuli/SHA256SUMS", "")
    assert stage() == ("stimuli complete, not scored yet", ["launch.report"], True)
    run.write("report.html", "")
    assert stage() == ("stimuli complete, report written", [], True)


def test_recordings_of_a_lab_are_looked_for_where_the_config_says(run, tmp_path):
    path = tmp_path / "day1.nwb"
    run.write("run.json", {"config": {"recordings": {"day1": str(path)}}})
    assert "not there yet" in status(run.workdir, now=NOW).stage
    path.write_bytes(b"")
    assert status(run.workdir, now=NOW).stage.endswith("recordings there")


def test_stimuli_of_a_run_without_a_sweep_count(run):
    run.write("stimuli/stimulus_set.csv", "")
    assert status(run.workdir, now=NOW).collected


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "[" * 100_000, "\0\0"])
def test_damaged_files_of_workers_are_no_obstacle(run, damage):
    run.plan(a=3)
    run.done("a-00000")
    run.write("sweep/blocks/.a-00001.npz.x7", "half")
    run.write("sweep/claims/a-00001.json", damage, age=5)
    run.write("sweep/failures/a-00002.json", damage)
    run.write("history/1.json", damage)
    run.log(
        "node1-1",
        (60, "start", {}),
        (50, "block", block("a-00000", hits="nine")),
        (40, "block", {"name": 3, "lanes": None}),
        (30, "progress", {"lanes": "many"}),
        tail='{"event": "blo',
    )
    found = status(run.workdir, now=NOW)
    assert found.models[0].blocks == Counts(done=1, working=1, failed=1)
    assert found.models[0].outcome == Outcome(unknown=11)
    (worker,) = found.workers
    assert (worker.owner, worker.host, worker.age) == ("?", "?", 5)
    assert found.failures[0].message == "no readable message"
    assert " unknown" in str(found)


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"models": []}', '{"models": {"a": {"blocks": [1]}}}']
)
def test_a_damaged_plan_is_refused(run, damage):
    run.write("sweep/plan.json", damage)
    with pytest.raises(InputError, match=r"plan\.json: (damaged|not a readable)"):
        status(run.workdir, now=NOW)


def test_what_is_no_run_directory_is_refused(tmp_path):
    with pytest.raises(InputError, match="found no such directory"):
        status(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"found no run\.json in it"):
        status(tmp_path)


def test_zero_blocks_are_all_done(run):
    run.plan()
    assert status(run.workdir, now=NOW).stage.startswith("every block done")
    run.plan(a=0)
    found = status(run.workdir, now=NOW)
    assert found.stage.startswith("every block done")
    assert "░" * 16 in str(found)


def test_ten_thousand_blocks_and_a_hundred_workers(run):
    run.plan(a=9_000, b=1_000)
    names = [f"a-{i:05d}" for i in range(9_000)] + [f"b-{i:05d}" for i in range(999)]
    for folder in ("blocks", "claims", "workers"):
        (run.workdir / "sweep" / folder).mkdir(parents=True)
    for name in names:
        (run.workdir / f"sweep/blocks/{name}.npz").touch()
    for worker in range(100):
        blocks = [(1000 - worker, "block", block(n)) for n in names[worker::100]]
        run.log(f"node{worker}-1", (2000, "start", {}), *blocks)
        run.claim(f"unplanned-{worker:05d}", f"node{worker}-1", age=worker)
    found = status(run.workdir, now=NOW)
    assert found.total.blocks == Counts(done=9_999, missing=1)
    assert found.total.outcome == Outcome(9 * 9_999, 9_999, 9_999)
    text = str(found)
    assert "███████████████░" in text.splitlines()[6]  # not full before all is done
    assert "and 80 more" in text
    assert "node19-1" in text
    assert "node20-1" not in text


def test_of_a_block_done_twice_the_newest_event_counts(run):
    run.plan(a=1)
    run.done("a-00000")
    run.log("w2-1", (100, "start", {}), (20, "block", block("a-00000", 11, 0, 0)))
    run.log("w1-1", (100, "start", {}), (10, "block", block("a-00000", 10, 1, 0)))
    run.log("w3-1", (100, "start", {}), (30, "block", block("a-00000", 5, 6, 0)))
    assert status(run.workdir, now=NOW).total.outcome == Outcome(10, 1, 0)


def rate(run):
    logs = WorkerLogs(run.workdir / "sweep")
    logs.read()
    return logs.rate(NOW)


def test_the_rate_is_that_of_the_last_15_minutes(run):
    progress = [
        (age, "progress", {"lanes": 3600 - age}) for age in range(3600, -1, -60)
    ]
    run.log("w-1", (3600, "start", {}), *progress)
    assert rate(run) == pytest.approx(60)
    run.log("w-1", (3600, "start", {}), *progress[:-20])  # dead for 20 minutes
    assert rate(run) is None
    run.log("w-1", (3600, "start", {}), *progress[:-10])  # for 10 of them
    assert rate(run) == pytest.approx(20)
    run.log("w-2", (WINDOW, "start", {}), (1, "progress", {"lanes": 150}))
    assert rate(run) == pytest.approx(30)


def test_a_start_begins_to_count_anew(run):
    run.log(
        "w-1",
        (600, "start", {}),
        (500, "progress", {"lanes": 30}),
        (300, "start", {}),
        (200, "progress", {"lanes": 20}),
        (100, "block", block("a-00000", lanes=40)),
        (0, "progress", {"lanes": 50}),
    )
    assert rate(run) == pytest.approx(8)


def test_clocks_of_workers_need_not_agree(run):
    for worker, error in enumerate((-86_400.0, 0.0, 3_600.0)):
        events = (600, "start", {}), (0, "progress", {"lanes": 40})
        run.log(f"w{worker}-1", *events, error=error)
    assert rate(run) == pytest.approx(12)


def test_nobody_has_no_rate(run):
    assert rate(run) is None
    run.log("w-1", (0, "start", {}))
    assert rate(run) is None


def test_a_second_look_reads_on(run):
    run.plan(a=2)
    run.done("a-00000", "a-00001")
    logs = WorkerLogs(run.workdir / "sweep")
    first = (100, "start", {}), (50, "block", block("a-00000"))
    run.log("w-1", *first, tail='{"event": "block", "time"')
    assert status(run.workdir, logs, NOW).total.outcome == Outcome(9, 1, 1, 11)
    run.log("w-1", *first, (10, "block", block("a-00001", 11, 0, 0)))
    assert status(run.workdir, logs, NOW).total.outcome == Outcome(20, 1, 1)
    assert status(run.workdir, logs, NOW) == status(run.workdir, now=NOW)


def test_text_of_others_is_printed_plain(run):
    run.plan(a=1)
    message = "\x1b[31mred\r\n" + "x" * 500
    run.write("sweep/failures/a-00000.json", {"message": message})
    text = str(status(run.workdir, now=NOW))
    assert "\x1b" not in text
    assert "\r" not in text
    assert max(map(len, text.splitlines())) < 250


def launched(*given):
    return subprocess.run(
        [sys.executable, "-m", "launch.status", *given],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_launcher_ends_with_0_while_the_run_is_unfinished(run):
    under_way(run)
    before = {p: p.stat().st_mtime_ns for p in run.workdir.rglob("*")}
    done = launched(f"--workdir={run.workdir}", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["total"]["lanes"]["done"] == 33
    assert [model["model"] for model in found["models"]] == ["a", "b"]
    assert {p: p.stat().st_mtime_ns for p in run.workdir.rglob("*")} == before


def test_the_launcher_refuses_what_is_no_run(tmp_path):
    done = launched(f"--workdir={tmp_path}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}: expected a run directory")


def watched(monkeypatch, run, *given, changes=()):
    """Launches in this process; every sleep makes the next change instead."""
    waiting = list(changes)
    monkeypatch.setattr(launcher.time, "sleep", lambda seconds: waiting.pop(0)())
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["status"])
    with flagsaver.flagsaver():
        flags.FLAGS(["status", f"--workdir={run.workdir}", "--watch", *given])
        launcher.main([])
    assert not waiting


def test_watching_ends_when_all_is_done(run, monkeypatch, capsys):
    run.plan(a=1)
    changes = (
        lambda: run.done("a-00000"),
        lambda: run.write("stimuli/SHA256SUMS", ""),
    )
    watched(monkeypatch, run, "--json", changes=changes)
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [look["total"]["blocks"]["done"] for look in looks] == [0, 1, 1]
    assert [look["finished"] for look in looks] == [False, False, True]


def test_watching_redraws_on_a_terminal_only(run, monkeypatch, capsys):
    run.plan(a=1)
    changes = [lambda: run.write("stimuli/SHA256SUMS", "")]
    watched(monkeypatch, run, changes=changes)
    assert "\x1b" not in capsys.readouterr().out
    (run.workdir / "stimuli/SHA256SUMS").unlink()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    watched(monkeypatch, run, changes=changes)
    assert capsys.readouterr().out.count("\x1b[H\x1b[J") == 2


def test_watching_is_interrupted_by_ctrl_c(run):
    run.plan(a=1)
    with subprocess.Popen(
        [sys.executable, "-m", "launch.status", f"--workdir={run.workdir}", "--watch"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert "accentuation unfinished" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate()
    assert watching.returncode == 130
    assert "Traceback" not in errors
