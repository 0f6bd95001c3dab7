"""A thousand workers, a million lanes, random deaths: nothing lost, little done twice.

The claims and the queue are the real ones, on real files; the engine is a stub and
time is virtual. Workers die at random, some for good, some to be started again, and
leave their claims behind.
"""

import heapq
import random
from pathlib import Path

import pytest

from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.sweeps.queue import Queue

LEASE, BEAT = 60.0, 10.0
LANES = 100  # in a block


class World:
    """Virtual time, and what has happened in it."""

    def __init__(self, folder, n_blocks, n_workers, death, seed=0):
        self.draw, self.death = random.Random(seed), death
        self.now, self.deaths, self.computed = 0.0, 0, []
        self.folder, self.names = folder, [f"m-{i:05d}" for i in range(n_blocks)]
        self.done: set[str] = set()
        self.in_flight_at_death = 0
        (folder / "blocks").mkdir()
        self.events: list[tuple[float, int, object]] = []
        self.counter = 0
        self.born = 0
        for rank in range(n_workers):
            self.start(rank, n_workers)

    def at(self, delay, action):
        self.counter += 1
        heapq.heappush(self.events, (self.now + delay, self.counter, action))

    def start(self, rank, n_workers):
        self.born += 1
        owner = Owner(id=f"w{self.born}", host=f"h{rank}", machine=f"m{self.born}")
        claims = Claims(
            self.folder / "claims", owner, lease=LEASE, clock=lambda: self.now
        )
        start = rank * len(self.names) // n_workers
        queue = Queue(self.names, lambda: set(self.done), claims, start, self.is_done)
        self.at(self.draw.uniform(0, 30), lambda: self.seek(rank, n_workers, queue))

    def is_done(self, name):
        return name in self.done

    def seek(self, rank, n_workers, queue, idle=5.0):
        """Takes a block; where none is free, looks again later, some patiently."""
        name = queue.next()
        if name is None:
            if queue.pending() and (idle < 40 or rank % 20 == 0):
                later = min(2 * idle, 40.0)
                self.at(idle, lambda: self.seek(rank, n_workers, queue, later))
            return
        length = self.draw.expovariate(1 / 120)
        if self.draw.random() < self.death:
            self.at(self.draw.uniform(0, length), lambda: self.die(rank, n_workers))
            return
        for number in range(1, int(length / BEAT) + 1):
            self.at(number * BEAT, queue._claims.beat)
        self.at(length, lambda: self.finish(rank, n_workers, queue, name))

    def die(self, rank, n_workers):
        """With its claim; somebody may start it again."""
        self.deaths += 1
        if self.draw.random() < 0.8:
            self.at(120.0, lambda: self.start(rank, n_workers))

    def finish(self, rank, n_workers, queue, name):
        self.computed.append(name)
        path = self.folder / "blocks" / f"{name}.npz"
        path.write_text(f"{name} has {LANES} lanes")  # equal, whoever writes it
        self.done.add(name)
        queue.finish(name)
        self.seek(rank, n_workers, queue)

    def run(self):
        while self.events:
            self.now, _, action = heapq.heappop(self.events)
            action()


def check(world):
    assert {p.stem for p in (world.folder / "blocks").iterdir()} == set(world.names)
    for path in (world.folder / "blocks").iterdir():
        assert path.read_text() == f"{path.stem} has {LANES} lanes"
    assert world.deaths > 0
    twice = len(world.computed) - len(world.names)
    assert twice == 0, f"{twice} blocks were finished twice, {world.deaths} deaths"
    left = list(Path(world.folder / "claims").glob("[!.]*.json"))
    assert left == []  # those of the dead were broken, or their blocks not needed


def test_a_hundred_workers(tmp_path):
    world = World(tmp_path, n_blocks=500, n_workers=100, death=0.1)
    world.run()
    check(world)


@pytest.mark.slow
def test_a_thousand_workers_and_a_million_lanes(tmp_path):
    world = World(tmp_path, n_blocks=10_000, n_workers=1000, death=0.02)
    world.run()
    check(world)
    assert LANES * len(world.names) == 1_000_000


def test_a_worker_that_only_seemed_dead_costs_time_alone(tmp_path):
    """It finishes after its claim was broken: done twice, with the same bytes."""
    now = [0.0]
    pair = [
        Claims(tmp_path, Owner(n, n, n), lease=LEASE, clock=lambda: now[0])
        for n in "ab"
    ]
    done = set()
    first, second = (Queue(["m-0"], lambda: set(done), claims) for claims in pair)
    assert first.next() == "m-0"
    assert second.next() is None
    now[0] = 100.0  # no beat came: its host was suspended
    assert second.next() == "m-0"
    done.add("m-0")
    first.finish("m-0")  # wakes up, and leaves the claim of the other alone
    assert second._claims._owner_of("m-0") == "b"
    second.finish("m-0")
    assert first.next() is None
    assert first.pending() == set()


def test_queue_begins_apart_and_goes_around(tmp_path):
    names = [f"m-{i}" for i in range(6)]
    done: set[str] = {"m-4"}
    claims = [Claims(tmp_path, Owner(n, n, n)) for n in "ab"]
    queues = [Queue(names, lambda: set(done), c, s) for c, s in zip(claims, (0, 3))]  # noqa: B905
    assert [queues[0].next(), queues[1].next()] == ["m-0", "m-3"]
    assert [queues[0].next(), queues[1].next()] == ["m-1", "m-5"]
    queues[0].finish("m-1")  # failed: free again, for anyone
    assert queues[1].next() == "m-1"
    assert queues[1].next() == "m-2"
    assert queues[1].next() is None
    assert queues[1].pending() == set(names) - {"m-4"}


def test_a_block_finished_between_the_look_and_the_claim(tmp_path):
    done: set[str] = set()
    claims = Claims(tmp_path, Owner("a", "a", "a"))
    real = claims.take

    def take(name, doubt):
        done.add(name)  # by somebody who releases it just now
        return real(name, doubt)

    claims.take = take
    queue = Queue(["m-0"], lambda: set(done), claims)
    assert queue.next() is None
    assert list(tmp_path.iterdir()) == []
