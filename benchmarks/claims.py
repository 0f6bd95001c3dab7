"""What a block costs a worker beside its computation: claim, looks, beats, listings.

    python -m benchmarks.claims --folder=/shared/scratch

Workers go through the blocks of an empty sweep with the package's own claims and queue;
a block is one small file, and nothing is computed. Run it on the file system that a
sweep is to run on: a call costs microseconds on a disk and milliseconds over a network.
"""

from __future__ import annotations

import argparse
import collections
import functools
import multiprocessing as mp
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paramctl_jax.sweeps import claim_file
from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.sweeps.queue import Queue

CALLS = ("link", "unlink", "rename", "replace", "utime", "listdir", "stat", "mkdir")


class Sweep:
    """Blocks and claims in a folder, and one worker's way through them."""

    def __init__(self, folder: Path, n_blocks: int):
        self.blocks, self.claims = folder / "blocks", folder / "claims"
        self.blocks.mkdir(parents=True, exist_ok=True)
        self.claims.mkdir(exist_ok=True)
        self.names = [f"m-{index:05d}" for index in range(n_blocks)]

    def done(self) -> set[str]:
        """Names of the finished blocks."""
        return {name.removesuffix(".npz") for name in os.listdir(self.blocks)}

    def is_done(self, name: str) -> bool:
        """Whether one is finished."""
        return os.path.exists(f"{self.blocks}/{name}.npz")

    def work(self, index: int, count: int) -> tuple[int, float, list[float]]:
        """Blocks that this worker did, all its seconds, and those to get each block."""
        claims = Claims(self.claims, Owner.here())
        start = index * len(self.names) // count
        queue = Queue(self.names, self.done, claims, start, self.is_done)
        began, waits = time.perf_counter(), []
        while True:
            asked = time.perf_counter()
            name = queue.next()
            if name is None:
                break
            waits.append(time.perf_counter() - asked)
            with open(f"{self.blocks}/{name}.npz", "xb"):
                pass
            queue.finish(name)
        return len(waits), time.perf_counter() - began, waits


@contextmanager
def counted() -> Iterator[collections.Counter[str]]:
    """Counts the calls to the file system that claims and queue make."""
    counts: collections.Counter[str] = collections.Counter()

    def counting(name: str, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    real = {name: getattr(os, name) for name in CALLS}
    path_open = Path.write_text
    for name, function in real.items():
        setattr(os, name, counting(name, function))
    Path.write_text = counting("write", path_open)  # type: ignore[method-assign]
    claim_file.open = counting("read", open)  # type: ignore[attr-defined]
    try:
        yield counts
    finally:
        for name, function in real.items():
            setattr(os, name, function)
        Path.write_text = path_open  # type: ignore[method-assign]
        del claim_file.open  # type: ignore[attr-defined]


def one_worker(folder: Path, n_blocks: int) -> None:
    """Seconds and calls of a worker that is alone."""
    done, seconds, waits = Sweep(folder / "timed", n_blocks).work(0, 1)
    with counted() as counts:
        Sweep(folder / "counted", n_blocks).work(0, 1)
    print(
        f"one worker, {done} blocks: {1e6 * seconds / done:.0f} us a block, of them "
        f"{1e6 * statistics.median(waits):.0f} us (median) to get it"
    )
    each = ", ".join(f"{name} {n / done:.2f}" for name, n in counts.most_common())
    print(f"  operations a block: {each}")


def many_workers(folder: Path, n_blocks: int, count: int) -> None:
    """Seconds of workers that share the blocks, all at once."""
    sweep = Sweep(folder / "shared", n_blocks)
    context = mp.get_context("spawn")
    with context.Pool(count) as pool:
        pool.map(abs, range(count), chunksize=1)  # imports are over
        jobs = [(index, count) for index in range(count)]
        results = pool.starmap(sweep.work, jobs, chunksize=1)
    done = sum(n for n, _, _ in results)
    waits = sorted(wait for _, _, each in results for wait in each)
    print(
        f"{count} workers, {done} blocks done of {n_blocks}: "
        f"{1e6 * sum(s for _, s, _ in results) / done:.0f} us a block and worker; "
        f"to get one {1e6 * statistics.median(waits):.0f} us (median), "
        f"{1e3 * waits[int(0.999 * len(waits))]:.1f} ms (99.9 %)"
    )


def looks(folder: Path, n_blocks: int, n_claims: int) -> None:
    """A look of an idle worker, and a beat, while others are at work on the rest."""
    sweep = Sweep(folder / "idle", n_blocks)
    for name in sweep.names[n_claims:]:
        (sweep.blocks / f"{name}.npz").touch()
    others = Claims(sweep.claims, Owner("other", "other"))
    for name in sweep.names[:n_claims]:
        others.take(name)
    mine = Claims(sweep.claims, Owner.here())
    queue = Queue(sweep.names, sweep.done, mine, 0, sweep.is_done)
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        assert queue.next() is None
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    others.beat()
    beat = (time.perf_counter() - began) / n_claims
    print(
        f"{n_blocks} blocks, {n_claims} in the hands of others: "
        f"{1e3 * statistics.median(seconds):.1f} ms a look that finds none free, "
        f"{1e6 * beat:.0f} us a beat and claim"
    )


def main() -> None:
    """Runs and prints everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where; a temporary one by default")
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        one_worker(Path(name), options.blocks)
        many_workers(Path(name), options.blocks, options.workers)
        looks(Path(name), options.blocks, min(1000, options.blocks))


if __name__ == "__main__":
    main()
