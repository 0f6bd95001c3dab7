"""Who is at work on what: one winner, whatever dies, whatever the clocks say."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

from paramctl_jax.sweeps import claims as module
from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.types import InputError


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return float(self.now)


@pytest.fixture
def clock():
    return Clock()


def elsewhere(name="other", **changes):
    """An owner on another machine."""
    owner = Owner(id=name, host=name, machine=f"boot of {name}", pid=1, born="7")
    return dataclasses.replace(owner, **changes)


def claims_of(folder, owner, clock, lease=60.0):
    return Claims(folder, owner, lease=lease, clock=clock)


def owner_of(folder, name):
    return json.loads((folder / f"{name}.json").read_text())["owner"]


def test_one_takes_and_gives_back(tmp_path, clock):
    mine = claims_of(tmp_path, Owner.here(), clock)
    other = claims_of(tmp_path, elsewhere(), clock)
    assert mine.take("a")
    assert mine.take("a")  # still
    assert not other.take("a")
    assert owner_of(tmp_path, "a") == mine.owner.id
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
    beside = elsewhere("beside", slurm="12_3_0", restart=1)  # started by one script
    assert not claims_of(tmp_path, beside, clock).take("a")


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
    clock.now = 61
    assert mine.take("a")


def test_a_claim_whose_owner_touches_it_is_not_broken_for_being_unreadable(
    tmp_path, clock
):
    path = tmp_path / "a.json"
    path.write_text("{")
    mine = claims_of(tmp_path, Owner.here(), clock)
    for second in range(0, 300, 50):
        clock.now = second
        os.utime(path, (second, second))
        assert not mine.take("a")


@pytest.mark.parametrize(
    "field", ["owner", "host", "machine", "pid", "born", "slurm", "restart"]
)
def test_a_record_with_a_strange_field_ends_nobody(field, tmp_path, clock):
    claims_of(tmp_path, elsewhere(), clock).take("a")
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: ["strange"]}))
    mine = claims_of(tmp_path, elsewhere("mine", slurm="1_1_0", restart=1), clock)
    assert not mine.take("a")
    clock.now = 61
    assert mine.take("a")


def quick_and_slow(folder, clock):
    """Two that find one claim stale at the same time, and a third one."""
    claims_of(folder, elsewhere("dead"), clock).take("a")
    found = [claims_of(folder, elsewhere(n), clock) for n in ("quick", "slow", "third")]
    for one in found:
        assert not one.take("a")
    clock.now = 61
    return found


def test_a_new_claim_is_not_broken_for_an_old_one(tmp_path, clock, monkeypatch):
    """Between the verdict and the break, another has broken and taken it."""
    quick, slow, _ = quick_and_slow(tmp_path, clock)
    rename = os.rename

    def late(source, target):
        monkeypatch.setattr(os, "rename", rename)
        assert quick.take("a")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert not slow.take("a")
    assert owner_of(tmp_path, "a") == "quick"
    quick.beat()
    assert (quick.held, quick.lost) == ({"a"}, set())
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_instant_in_which_two_may_have_a_claim(tmp_path, clock, monkeypatch):
    """A third one takes the name while a new claim is away by mistake: one loses it."""
    quick, slow, third = quick_and_slow(tmp_path, clock)
    rename, link = os.rename, os.link

    def late(source, target):
        monkeypatch.setattr(os, "rename", rename)
        assert quick.take("a")
        rename(source, target)
        assert third.take("a")

    monkeypatch.setattr(os, "rename", late)
    assert not slow.take("a")
    assert os.link is link
    for one in (quick, third):
        one.beat()
    assert (quick.held, quick.lost) == (set(), {"a"})
    assert (third.held, third.lost) == ({"a"}, set())
    quick.release("a")  # no longer its own
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_many_that_break_at_once_have_one_winner(tmp_path, clock):
    names = [f"b{index}" for index in range(30)]
    for name in names:
        claims_of(tmp_path, elsewhere("dead"), clock).take(name)
    start, won = threading.Barrier(8), Counter()
    racers = [claims_of(tmp_path, elsewhere(f"w{n}"), clock) for n in range(8)]
    for racer in racers:
        assert not any(map(racer.take, names))
    clock.now = 61

    def race(racer):
        for name in names:
            start.wait()
            if racer.take(name):
                won[name, racer.owner.id] += 1

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for racer in racers:
        racer.beat()
    held = [name for racer in racers for name in racer.held]
    assert sorted(held) == sorted(names)  # whoever was second has lost it
    assert {name for name, _ in won} == set(names)


def test_giving_back_that_fails_does_no_harm(tmp_path, clock, monkeypatch):
    mine = claims_of(tmp_path, Owner.here(), clock)
    mine.take("a")

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail)
        patch.setattr(os, "remove", fail)
        mine.release("a")
    assert mine.held == set()
    assert (tmp_path / "a.json").exists()
    assert not claims_of(tmp_path, elsewhere(), clock).take("a")
    assert mine.take("a")  # at once: it is its own
    mine.release("a")
    assert list(tmp_path.iterdir()) == []


def test_without_hard_links(tmp_path, clock, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    mine = claims_of(tmp_path, Owner.here(), clock)
    assert mine.take("a")
    assert not claims_of(tmp_path, elsewhere(), clock).take("a")


def test_without_hard_links_a_new_claim_goes_back(tmp_path, clock, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    test_a_new_claim_is_not_broken_for_an_old_one(tmp_path, clock, monkeypatch)


def test_a_claim_hidden_from_this_user_lives_while_it_is_touched(
    tmp_path, clock, monkeypatch
):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    claims_of(tmp_path, elsewhere(), clock).take("a")
    mine = claims_of(tmp_path, elsewhere("mine"), clock)
    monkeypatch.setattr(module, "open", refuse, raising=False)
    for second in range(0, 300, 50):
        clock.now = second
        os.utime(tmp_path / "a.json", (second, second))
        assert not mine.take("a")
    clock.now = 350
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(InputError, match="cannot be written"):
        mine.take("a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path, clock):
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match=r"a\.json: cannot be written .*Permission"):
        claims_of(tmp_path, Owner.here(), clock).take("a")


def test_a_read_only_file_system(tmp_path, clock, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(type(tmp_path), "write_text", refuse)
    with pytest.raises(InputError, match=r"a\.json: cannot be written .*Read-only"):
        claims_of(tmp_path, Owner.here(), clock).take("a")


def test_a_folder_that_cannot_be_written(tmp_path, clock):
    (tmp_path / "claims").write_text("a file")
    with pytest.raises(InputError, match=r"a\.json: cannot be written"):
        claims_of(tmp_path / "claims", Owner.here(), clock).take("a")
    with pytest.raises(InputError, match="claims: cannot be written"):
        claims_of(tmp_path / "claims", Owner.here(), clock).names()


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


def _race(folder, names, barrier, results):
    mine = Claims(folder, Owner.here())
    barrier.wait()
    results.put((mine.owner.id, [name for name in names if mine.take(name)]))
    signal.pause()  # until it is killed, and releases nothing


def test_four_processes_that_race_and_are_killed(tmp_path):
    """One winner each while they live; all can be taken at once when they are gone."""
    names = [f"b{index}" for index in range(200)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier, results = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=_race, args=(tmp_path, names, barrier, results))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    won = dict(results.get(timeout=120) for _ in processes)
    assert sorted(name for mine in won.values() for name in mine) == sorted(names)
    mine = Claims(tmp_path, Owner.here())
    found = {name: owner_of(tmp_path, name) for name in mine.names()}
    assert found == {name: owner for owner, names in won.items() for name in names}
    assert not any(map(mine.take, names))
    for process in processes:
        process.kill()
        process.join()
    assert all(map(mine.take, names))


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


def test_a_stage_finished_between_the_look_and_the_claim(tmp_path):
    answers = iter([False, True])
    mine = Claims(tmp_path, Owner.here())
    with mine.exclusive("fit", lambda: next(answers), progress=False) as todo:
        assert not todo
        assert mine.held == set()


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
