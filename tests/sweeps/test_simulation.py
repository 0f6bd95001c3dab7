"""A thousand workers, a million lanes, random deaths: nothing lost, little done twice.

The claims and the queue are the real ones, on real files; the engine is a stub and
time is virtual. Workers die, are started again or not, and freeze for longer than a
lease; what they were at work on is all that may be computed twice.
"""

import dataclasses
import heapq
import os
import random
from collections import Counter

import pytest

from paramctl_jax.sweeps import claims as module
from paramctl_jax.sweeps.claim_file import content_of
from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.sweeps.queue import Queue

LEASE, BEAT = 60.0, 10.0
PATIENCE = 1.5 * LEASE  # of a worker that finds nothing free
CACHED = 3.0
LANES = 100  # in a block
PER_HOST = 8
# what happens to a worker while it has a block, with these chances at `trouble` = 1
FATES = {"dies": 0.6, "dies after writing": 0.1, "freezes": 0.3}


@dataclasses.dataclass
class Worker:
    """One process: `place` is its task, which outlives it."""

    place: int
    owner: Owner
    claims: Claims
    queue: Queue
    frozen: bool = False
    beating: bool = False
    idle_since: float | None = None


class World:
    """Virtual time, and what has happened in it."""

    def __init__(self, folder, n_blocks, n_workers, trouble, seed):
        self.draw, self.trouble, self.n_workers = (
            random.Random(seed),
            trouble,
            n_workers,
        )
        self.names = [f"m-{index:05d}" for index in range(n_blocks)]
        self.blocks, self.claims = folder / "blocks", folder / "claims"
        self.blocks.mkdir()
        self.now, self.events, self.number = 0.0, [], 0
        self.living: set[int] = set()
        self.owners: list[str] = []  # by process number
        self.started, self.written = Counter(), Counter()
        self.died, self.froze = Counter(), Counter()
        self.listings, self.listed, self.listed_at = 0, set(), -CACHED
        for place in range(n_workers):
            self.at(
                self.draw.uniform(0, 30), self.start, place, f"h{place // PER_HOST}", 0
            )

    def at(self, delay, action, *arguments):
        self.number += 1
        event = (self.now + delay, self.number, action, arguments)
        heapq.heappush(self.events, event)

    def run(self):
        while self.events:
            self.now, _, action, arguments = heapq.heappop(self.events)
            action(*arguments)
            assert self.now < 1e5, "does not come to an end"

    def start(self, place, host, restart):
        pid = len(self.owners)
        owner = Owner(
            f"w{pid}", host, f"boot of {host}", pid, str(pid), f"1_{place}_0", restart
        )
        self.owners.append(owner.id)
        self.living.add(pid)
        claims = Claims(
            self.claims,
            owner,
            lease=LEASE,
            clock=lambda: self.now,
            alive=lambda pid, born: pid in self.living and born == str(pid),
        )
        first = place * len(self.names) // self.n_workers
        queue = Queue(self.names, self.done, claims, first, self.is_done)
        self.seek(Worker(place, owner, claims, queue))

    def done(self):
        """A listing, up to `CACHED` old, as those of a network's file system are."""
        self.listings += 1
        if self.now > self.listed_at + CACHED:
            names = os.listdir(self.blocks)
            self.listed = {name.removesuffix(".npz") for name in names}
            self.listed_at = self.now
        return self.listed

    def is_done(self, name):
        return os.path.exists(f"{self.blocks}/{name}.npz")

    def seek(self, worker):
        name = worker.queue.next()
        if name is not None:
            worker.idle_since = None
            self.begin(worker, name)
        elif worker.queue.pending():
            worker.idle_since = (
                self.now if worker.idle_since is None else worker.idle_since
            )
            idle = self.now - worker.idle_since
            if worker.place == 0 or idle <= PATIENCE:  # one waits for all
                self.at(max(10.0, idle), self.seek, worker)
            else:
                self.living.discard(worker.owner.pid)
        else:
            self.living.discard(worker.owner.pid)

    def begin(self, worker, name):
        self.started[name] += 1
        length = self.draw.uniform(30, 90)
        fate = "goes on"
        if worker.place and self.draw.random() < self.trouble:
            fate = self.draw.choices([*FATES], [*FATES.values()])[0]
        if fate == "dies":
            self.died[name] += 1
            self.at(length * self.draw.random(), self.die, worker)
        elif fate == "dies after writing":
            self.at(length, self.write, name)
            self.at(length, self.die, worker)
        elif fate == "freezes":
            self.froze[name] += 1
            worker.frozen = True
            self.at(length + 3 * LEASE, self.finish, worker, name)
        else:
            self.at(length, self.finish, worker, name)
        if not worker.beating:
            worker.beating = True
            self.at(BEAT, self.beat, worker)

    def beat(self, worker):
        worker.beating = worker.owner.pid in self.living
        if worker.beating:
            if not worker.frozen:
                worker.claims.beat()
            self.at(BEAT, self.beat, worker)

    def die(self, worker):
        """It leaves its claim; it may be started again, here or elsewhere."""
        self.living.remove(worker.owner.pid)
        again = self.draw.choice(["never", "here", "elsewhere"])
        if again == "here":
            self.at(20.0, self.start, worker.place, worker.owner.host, 0)
        elif again == "elsewhere":  # as Slurm does, and says so
            restart = worker.owner.restart + 1
            self.at(20.0, self.start, worker.place, f"other {worker.owner.id}", restart)

    def write(self, name):
        self.written[name] += 1
        path = self.blocks / f"{name}.npz"
        temporary = self.blocks.parent / name
        temporary.write_text(f"{LANES} lanes of {name}")  # equal, whoever writes it
        os.replace(temporary, path)

    def finish(self, worker, name):
        self.write(name)
        worker.frozen = False
        worker.queue.finish(name)
        self.seek(worker)


def simulate(folder, monkeypatch, **settings):
    """Runs a world to its end; claims are touched at the virtual time."""
    world, utime = World(folder, **settings), os.utime
    monkeypatch.setattr(
        module.os, "utime", lambda path: utime(path, ns=(int(world.now * 1e9),) * 2)
    )
    world.run()
    return world


def check(world):
    assert {path.stem for path in world.blocks.iterdir()} == set(world.names)
    for name in world.names:
        text = (world.blocks / f"{name}.npz").read_text()
        assert text == f"{LANES} lanes of {name}"
        # every computation ends in a file or in the death of its worker, and there is
        # another one only for a worker that died, or seemed to, with the block in hand
        assert world.started[name] == world.written[name] + world.died[name]
        assert world.started[name] <= 1 + world.died[name] + world.froze[name]
        assert world.written[name] <= 1 + world.froze[name]
    assert world.died.total() > 0
    assert world.written.total() > len(world.names)  # some only seemed to be dead
    for path in world.claims.iterdir():  # of those who died after writing
        assert path.stem in world.written
        owner = content_of(path)[0]["owner"]
        assert world.owners.index(owner) not in world.living
    assert not world.living
    # a block costs no listing: there are a few when a worker begins and when it ends
    assert world.listings < 10 * len(world.owners)


@pytest.mark.parametrize("seed", range(2))
def test_a_hundred_workers(seed, tmp_path, monkeypatch):
    world = simulate(
        tmp_path, monkeypatch, n_blocks=500, n_workers=100, trouble=0.15, seed=seed
    )
    check(world)


@pytest.mark.slow
def test_a_thousand_workers_and_a_million_lanes(tmp_path, monkeypatch):
    world = simulate(
        tmp_path, monkeypatch, n_blocks=10_000, n_workers=1000, trouble=0.05, seed=0
    )
    check(world)
    assert LANES * len(world.names) == 1_000_000
