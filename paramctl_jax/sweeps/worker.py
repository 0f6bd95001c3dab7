"""Works at the blocks of a sweep until none is free.

    next free block -> computed, its state saved now and then -> one file, renamed

Any number of workers share a run directory. Each finished block is one file, written
whole; what a worker that dies leaves behind is its last checkpoint, which the next one
goes on from. Two workers at one block cost time and change nothing: its bytes depend
on the block alone.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax import stopping
from paramctl_jax.artifacts import write_json
from paramctl_jax.progress import bar
from paramctl_jax.sweeps import checkpoints, lenient
from paramctl_jax.sweeps.block_file import write_block
from paramctl_jax.sweeps.blocks import (
    BLOCKS,
    CHECKPOINTS,
    FAILURES,
    FOLDER,
    Block,
    SweepPlan,
)
from paramctl_jax.sweeps.claims import Claims
from paramctl_jax.sweeps.metrics import Metrics
from paramctl_jax.sweeps.queue import Queue
from paramctl_jax.synthesis.snapshot import Keeper
from paramctl_jax.types import InputError

ENDS = ("hit", "unreached", "nonfinite")
_LONGEST_PAUSE = 15.0  # seconds between two looks at blocks in the hands of others
Arrays = Mapping[str, np.ndarray]
Compute = Callable[[Block, Keeper, Callable[[int, int], None]], Arrays]


def finished(workdir: Path) -> set[str]:
    """Names of the blocks that have their file."""
    return lenient.names(workdir / FOLDER / BLOCKS, ".npz")


def block_path(workdir: Path, name: str) -> Path:
    """Of a finished block."""
    return workdir / FOLDER / BLOCKS / f"{name}.npz"


class TakenOverError(Exception):
    """Another worker has broken this one's claim; it does the block now."""


class BlockKeeper:
    """Saves the state of one block: every so often, and when the program is to stop.

    Args:
      folder: of this block's checkpoint.
      identity: of its model's share; a checkpoint of another one is not gone on with.
      seconds: between two checkpoints.
      lost: whether another worker has taken the block over.
    """

    def __init__(
        self, folder: Path, identity: str, seconds: float, lost: Callable[[], bool]
    ):
        self.folder, self.seconds, self._lost = folder, seconds, lost
        self._identity = np.frombuffer(identity.encode(), np.uint8)
        self._last = time.monotonic()

    def load(self) -> Mapping[str, Any] | None:
        """The last checkpoint; None where there is none that can be gone on with."""
        found = checkpoints.load_checkpoint(self.folder)
        if found is None or not np.array_equal(found["identity"], self._identity):
            return None
        return found

    def due(self) -> bool:
        """Whether one is wanted now."""
        over = time.monotonic() - self._last >= self.seconds
        return over or stopping.asked() or self._lost()

    def save(self, snapshot: Mapping[str, Any]) -> None:
        """Saves; ends the work where the program is to stop.

        Raises:
          Stopped: once it is saved.
          TakenOverError: nothing is saved; two workers would be in each other's way.
        """
        if self._lost():
            raise TakenOverError
        tree = {**snapshot, "identity": self._identity}
        checkpoints.save_checkpoint(self.folder, tree)
        self._last = time.monotonic()
        if stopping.asked():
            raise stopping.Stopped(stopping.reason())


@dataclasses.dataclass
class Worker:
    """One process at work on a sweep.

    Attributes:
      workdir: the run directory.
      plan: of the sweep, as its ``plan.json``.
      compute: ``compute(block, keeper, finished)``: the content of a block's file.
      claims: whose blocks are whose; entered by `work`.
      metrics: told of every block.
      start: place in the cyclic order of blocks where this worker begins.
      checkpoint_seconds: between two checkpoints of a block.
      progress: show a bar.
      failed: blocks that raised an exception here.
      ends: how the lanes of the blocks finished here ended.
      steps: crops run forward and backward for the blocks finished here.
    """

    workdir: Path
    plan: SweepPlan
    compute: Compute
    claims: Claims
    metrics: Metrics
    start: int = 0
    checkpoint_seconds: float = 300.0
    progress: bool = True
    failed: set[str] = dataclasses.field(default_factory=set)
    ends: dict[str, int] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(ENDS, 0)
    )
    steps: int = 0

    def work(self, patience: float = float("inf"), poll: float = 1.0) -> None:
        """Takes block after block.

        Args:
          patience: seconds to wait for blocks in the hands of others before leaving
            them to them.
          poll: seconds until the next look at them; the wait grows with every look.

        Raises:
          Stopped: a signal came, and the state is saved.
          InputError: a full disk, and whatever else the user can mend.
        """
        queue = Queue(
            list(self.plan.blocks),
            lambda: finished(self.workdir) | self.failed,
            self.claims,
            self.start,
            lambda name: name in self.failed or block_path(self.workdir, name).exists(),
        )
        with self.claims, stopping.orderly(), self._bar() as shown:
            while True:
                while (name := queue.next()) is not None:
                    self._one(queue, self.plan.blocks[name], shown)
                if not self._wait(queue, shown, patience, poll):
                    return

    def _wait(self, queue: Queue, shown: Any, patience: float, poll: float) -> bool:
        """Waits until there may be a free block; False where there will be none."""
        if not queue.pending() or patience <= 0:
            return False
        shown.set_description(f"{self._label}: waiting for other workers")
        began, pause = time.monotonic(), poll
        while (name := queue.next()) is None:
            if not queue.pending() or time.monotonic() - began > patience:
                return False
            end = time.monotonic() + pause
            while time.monotonic() < end:
                if stopping.asked():
                    raise stopping.Stopped(stopping.reason())
                time.sleep(min(0.2, poll))
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._catch_up(shown)
        self._one(queue, self.plan.blocks[name], shown)
        return True

    @property
    def _label(self) -> str:
        return f"{', '.join(self.plan.models)}: lanes"

    def _bar(self) -> Any:
        shown = bar(total=self.plan.lanes, label=self._label, show=self.progress)
        self._seen: set[str] = set()
        self._catch_up(shown)
        return shown

    def _catch_up(self, shown: Any) -> None:
        """Counts what others have finished, for the bar alone."""
        self._listed = time.monotonic()
        new = (finished(self.workdir) & self.plan.blocks.keys()) - self._seen
        self._seen |= new
        shown.update(sum(self.plan.blocks[name].lanes for name in new))

    def _one(self, queue: Queue, block: Block, shown: Any) -> None:
        """One block, from its last checkpoint to its file."""
        shown.set_description(f"{block.name}: lanes")
        try:
            self._finish(block, shown)
        except TakenOverError:
            self._catch_up(shown)
        except (InputError, stopping.Stopped, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - other blocks may well succeed
            self._record(block, error)
        finally:
            queue.finish(block.name)
        if time.monotonic() - self._listed > _LONGEST_PAUSE:
            self._catch_up(shown)

    def _finish(self, block: Block, shown: Any) -> None:
        folder = self.workdir / FOLDER / CHECKPOINTS / block.name
        identity = self.plan.models[block.model].identity
        keeper = BlockKeeper(
            folder,
            identity,
            self.checkpoint_seconds,
            lost=lambda: block.name in self.claims.lost,
        )
        began, told, hit = time.monotonic(), 0, 0

        def count(lanes: int, hits: int) -> None:
            nonlocal told, hit
            told, hit = told + lanes, hit + hits
            shown.update(lanes)
            self.metrics.progress(
                lanes=sum(self.ends.values()) + told,
                steps=self.steps,
                hits=self.ends["hit"] + hit,
                block=block.name,
            )

        arrays = self.compute(block, keeper, count)
        ends = dict(zip(ENDS, arrays["ends"].tolist(), strict=True))
        write_block(
            block_path(self.workdir, block.name),
            {**arrays, "identity": np.asarray(identity)},
        )
        self._seen.add(block.name)
        checkpoints.remove_checkpoint(folder)
        (self.workdir / FOLDER / FAILURES / f"{block.name}.json").unlink(True)
        self.steps += int(arrays["passes"][0])
        self.ends = {end: self.ends[end] + ends[end] for end in ENDS}
        shown.set_postfix(hits=self.ends["hit"], failed=self.ends["nonfinite"])
        self.metrics.block(
            block.name,
            lanes=block.lanes,
            hits=ends["hit"],
            unreached=ends["unreached"],
            nonfinite=ends["nonfinite"],
            steps=int(arrays["passes"][0]),
            seconds=time.monotonic() - began,
        )

    def _record(self, block: Block, error: Exception) -> None:
        """Of a block that failed: why, for whoever looks; others go on."""
        self.failed.add(block.name)
        message = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        record = {"message": message, "owner": self.claims.owner.id}
        record |= {"time": time.time(), "traceback": traceback.format_exc()}
        path = self.workdir / FOLDER / FAILURES / f"{block.name}.json"
        write_json(path, record)
        # its state may be what it failed from
        shutil.rmtree(self.workdir / FOLDER / CHECKPOINTS / block.name, True)
