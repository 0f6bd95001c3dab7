"""Who is at work on what: one winner, whatever dies, whatever the clocks say."""

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from paramctl_jax.sweeps import claims as module
from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.types import InputError


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def elsewhere(name="other", **changes):
    """An owner on another machine."""
    owner = Owner(id=name, host=name, machine=f"boot of {name}", pid=1, born="7")
    return dataclasses.replace(owner, **changes)


def claims_of(folder, owner, clock, lease=60.0):
    return Claims(folder, owner, lease=lease, clock=clock)


def test_one_takes_and_gives_back(tmp_path, clock):
    mine = claims_of(tmp_path, Owner.here(), clock)
    other = claims_of(tmp_path, elsewhere(), clock)
    assert mine.take("a")
    assert mine.take("a")  # still
    assert not other.take("a")
    assert other.others()["a"]["owner"] == mine.owner.id
    other.release("a")  # not its own: nothing happens
    assert not other.take("a")
    mine.release("a")
    assert other.take("a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_two_owners_here_are_told_apart():
    assert Owner.here().id != Owner.here().id
    assert Owner.here().born == Owner.here().born != ""


def test_a_lease_ends_by_the_lookers_own_clock(tmp_path, clock):
    mine = claims_of(tmp_path, elsewhere("mine"), clock)
    other = claims_of(tmp_path, elsewhere(), clock)
    mine.take("a")
    assert not other.take("a")  # seen for the first time
    clock.now = 59
    assert not other.take("a")
    mine.beat()
    clock.now = 61
    assert not other.take("a")  # it has moved
    clock.now = 130
    assert other.take("a")
    mine.beat()
    assert mine.lost == {"a"}
    assert mine.held == set()
    assert other.held == {"a"}


@pytest.mark.parametrize("skew", [-1e6, 1e6])
def test_clocks_of_other_hosts_do_not_count(skew, tmp_path, clock):
    mine = claims_of(tmp_path, elsewhere("mine"), clock)
    other = claims_of(tmp_path, elsewhere(), clock)
    mine.take("a")
    path = tmp_path / "a.json"
    times = path.stat().st_mtime + skew
    os.utime(path, (times, times))
    assert not other.take("a")
    clock.now = 59
    assert not other.take("a")
    clock.now = 61
    assert other.take("a")


def test_a_process_of_this_machine_that_is_gone(tmp_path, clock):
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    here = Owner.here()
    gone = dataclasses.replace(here, id="gone", pid=int(child.stdout), born="1")
    claims_of(tmp_path, gone, clock).take("a")
    claims_of(tmp_path, dataclasses.replace(here, id="alive"), clock).take("b")
    mine = claims_of(tmp_path, here, clock)
    assert mine.take("a")
    assert not mine.take("b")


def test_an_earlier_start_of_this_task(tmp_path, clock):
    first = elsewhere("first", slurm="12_3_0", restart=0)
    claims_of(tmp_path, first, clock).take("a")
    neighbour = elsewhere("neighbour", slurm="12_4_0", restart=1)
    assert not claims_of(tmp_path, neighbour, clock).take("a")
    again = elsewhere("again", slurm="12_3_0", restart=1)
    assert claims_of(tmp_path, again, clock).take("a")


def test_slurm_is_read_from_the_surroundings(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert (Owner.here().slurm, Owner.here().restart) == ("12_3_0", 2)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": 3}', "\xff"])
def test_a_claim_that_cannot_be_read_is_taken_until_its_lease_ends(
    content, tmp_path, clock
):
    (tmp_path / "a.json").write_text(content)
    mine = claims_of(tmp_path, Owner.here(), clock)
    assert not mine.take("a")
    assert mine.others() == {}
    clock.now = 61
    assert mine.take("a")


def test_a_new_claim_is_not_broken_for_an_old_one(tmp_path, clock):
    """Between the verdict and the break, another has broken and taken it."""
    claims_of(tmp_path, elsewhere("dead"), clock).take("a")
    slow, quick = (claims_of(tmp_path, elsewhere(n), clock) for n in ("slow", "quick"))
    for one in (slow, quick):
        assert not one.take("a")
    clock.now = 61
    assert slow.stale("a")
    assert quick.take("a")
    assert not slow._break("a")
    assert quick._owner_of("a") == "quick"
    assert not slow.take("a")


def test_without_hard_links(tmp_path, clock, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    mine = claims_of(tmp_path, Owner.here(), clock)
    assert mine.take("a")
    assert not claims_of(tmp_path, elsewhere(), clock).take("a")


def test_a_folder_that_cannot_be_written(tmp_path, clock):
    (tmp_path / "claims").write_text("a file")
    with pytest.raises(InputError, match=r"a\.json: cannot be written"):
        claims_of(tmp_path / "claims", Owner.here(), clock).take("a")


def test_a_thread_beats_and_leaving_gives_all_back(tmp_path):
    beaten = threading.Event()
    with Claims(tmp_path, Owner.here(), beat=0.01) as mine:
        assert mine.take("a")
        before = (tmp_path / "a.json").stat().st_mtime_ns
        for _ in range(500):
            if (tmp_path / "a.json").stat().st_mtime_ns != before:
                beaten.set()
                break
            beaten.wait(0.01)
        assert beaten.is_set()
    assert list(tmp_path.iterdir()) == []


def test_hiccups_of_the_file_system_are_waited_out(tmp_path, clock, monkeypatch):
    mine = claims_of(tmp_path, Owner.here(), clock)
    mine.take("a")

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module.os, "utime", fail)
    mine.beat()
    assert mine.held == {"a"}


def _race(folder, names, queue):
    mine = Claims(folder, Owner.here())
    queue.put([name for name in names if mine.take(name)])


def test_four_processes_have_one_winner_each(tmp_path):
    names = [f"b{index}" for index in range(200)]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=_race, args=(tmp_path, names, queue)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    won = [name for _ in processes for name in queue.get(timeout=120)]
    for process in processes:
        process.join()
    # those whose owner had ended already could be taken again
    assert set(won) == set(names)
    assert len(won) <= 4 * len(names)
    records = [json.loads((tmp_path / f"{n}.json").read_text()) for n in names]
    assert all(record["owner"] for record in records)


def test_threads_have_one_winner_each(tmp_path, clock):
    """Owners that all live: nothing is taken twice."""
    names = [f"b{index}" for index in range(100)]
    won, start = [], threading.Barrier(8)

    def race(number):
        mine = claims_of(tmp_path, elsewhere(f"w{number}"), clock)
        start.wait()
        won.extend(name for name in names if mine.take(name))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(names)


def test_one_at_a_time_does_a_stage(tmp_path):
    done, order = [], []

    def work(number):
        mine = Claims(tmp_path, elsewhere(f"w{number}"))
        with mine.exclusive(
            "fit", lambda: bool(done), progress=False, poll=0.01
        ) as todo:
            order.append((number, todo))
            if todo:
                done.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert [todo for _, todo in order].count(True) == 1
    assert list(tmp_path.iterdir()) == []
