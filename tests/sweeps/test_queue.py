"""Which block a worker takes next, and how little it asks the file system for that."""

import threading

import pytest

from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.sweeps.queue import Queue

NAMES = [f"m-{index:05d}" for index in range(6)]


class Sweep:
    """What is done, and how often that was listed or asked."""

    def __init__(self, folder, names=NAMES, done=()):
        self.folder, self.names, self.done = folder, names, set(done)
        self.listings, self.looks = 0, 0
        self.now = 0.0

    def listed(self):
        self.listings += 1
        return set(self.done)

    def is_done(self, name):
        self.looks += 1
        return name in self.done

    def queue(self, owner, start=0):
        claims = Claims(self.folder, Owner(owner, owner), clock=lambda: self.now)
        return Queue(self.names, self.listed, claims, start, self.is_done)

    def claimed(self):
        return sorted(path.stem for path in self.folder.iterdir())


def test_begins_at_its_own_place_and_goes_around(tmp_path):
    sweep = Sweep(tmp_path, done=["m-00004"])
    queues = [sweep.queue("a", 0), sweep.queue("b", 3 + 6 * 5)]
    taken = [[queue.next() for _ in range(2)] for queue in queues]
    assert taken == [["m-00000", "m-00001"], ["m-00003", "m-00005"]]
    assert queues[1].next() == "m-00002"
    assert [queue.next() for queue in queues] == [None, None]
    assert queues[0].pending() == set(NAMES) - sweep.done
    assert sweep.claimed() == sorted(queues[0].pending())


def test_nothing_is_left_when_all_is_done(tmp_path):
    sweep = Sweep(tmp_path, done=NAMES)
    queue = sweep.queue("a")
    assert queue.next() is None
    assert queue.pending() == set()
    assert sweep.claimed() == []


@pytest.mark.parametrize("start", [-1, 0, 7])
def test_no_blocks_at_all(start, tmp_path):
    queue = Sweep(tmp_path, names=[]).queue("a", start)
    assert queue.next() is None
    assert queue.pending() == set()


def test_what_failed_is_free_again_behind_what_nobody_has_begun(tmp_path):
    sweep = Sweep(tmp_path)
    first, second = sweep.queue("a"), sweep.queue("b")
    assert [first.next(), second.next()] == ["m-00000", "m-00001"]
    first.finish("m-00000")  # not done
    found = [second.next() for _ in range(5)]
    assert found == ["m-00002", "m-00003", "m-00004", "m-00005", "m-00000"]


def test_claims_of_the_silent_come_last(tmp_path):
    sweep = Sweep(tmp_path)
    silent, other = sweep.queue("a"), sweep.queue("b")
    assert silent.next() == "m-00000"
    assert [other.next() for _ in range(5)] == NAMES[1:]
    assert other.next() is None  # sees it for the first time
    sweep.now = 61.0
    other.finish("m-00003")  # not done
    assert other.next() == "m-00003"
    assert other.next() == "m-00000"


def test_a_worker_that_only_seemed_dead_costs_time_alone(tmp_path):
    """It finishes after its claim was broken: done twice, with the same bytes."""
    sweep = Sweep(tmp_path, names=NAMES[:1])
    first, second = sweep.queue("a"), sweep.queue("b")
    assert first.next() == "m-00000"
    assert second.next() is None
    sweep.now = 61.0  # no beat came: its host was suspended
    assert second.next() == "m-00000"
    sweep.done.add("m-00000")
    first.finish("m-00000")  # wakes up, and leaves the claim of the other alone
    assert sweep.claimed() == ["m-00000"]
    second.finish("m-00000")
    assert sweep.claimed() == []
    assert first.next() is None
    assert first.pending() == set()


def test_a_block_finished_between_the_look_and_the_claim(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, names=NAMES[:1])
    real = Claims.take

    def take(claims, name):
        sweep.done.add(name)  # by somebody who releases it just now
        return real(claims, name)

    monkeypatch.setattr(Claims, "take", take)
    assert sweep.queue("a").next() is None
    assert sweep.claimed() == []


def test_a_block_costs_no_listing(tmp_path):
    names = [f"m-{index:05d}" for index in range(300)]
    sweep = Sweep(tmp_path, names)
    queue = sweep.queue("a")
    while (name := queue.next()) is not None:
        sweep.done.add(name)
        queue.finish(name)
    assert sweep.done == set(names)
    assert sweep.listings == 2  # at the beginning and at the end
    assert sweep.looks == 2 * len(names)


def test_an_old_listing_is_given_up(tmp_path):
    """Others have finished nearly all: a few looks, then a listing."""
    names = [f"m-{index:05d}" for index in range(300)]
    sweep = Sweep(tmp_path, names)
    queue = sweep.queue("a")
    assert queue.next() == names[0]
    sweep.done |= set(names[:-1])
    assert queue.next() == names[-1]
    assert sweep.listings == 2
    assert sweep.looks < 20


def test_many_claims_are_asked_in_turn(tmp_path):
    """A look at a thousand claims of others reads a few; all are read in the end."""
    names = [f"m-{index:05d}" for index in range(100)]
    sweep = Sweep(tmp_path, names)
    silent, other = sweep.queue("a"), sweep.queue("b")
    assert [silent.next() for _ in names] == names
    for _ in range(4):
        before = sweep.looks
        assert other.next() is None
        assert sweep.looks - before < 50
    sweep.now = 61.0
    taken = [other.next() for _ in range(len(names))]
    assert sorted(filter(None, taken)) == names


def test_threads_share_the_blocks(tmp_path):
    """Real races: every block is computed once while all owners live."""
    names = [f"m-{index:05d}" for index in range(200)]
    sweep = Sweep(tmp_path, names)
    computed, barrier = [], threading.Barrier(8)

    def work(number):
        queue = sweep.queue(f"w{number}", start=0)  # all at the same place
        barrier.wait()
        while (name := queue.next()) is not None:
            computed.append(name)
            sweep.done.add(name)
            queue.finish(name)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(computed) == names
    assert sweep.claimed() == []
