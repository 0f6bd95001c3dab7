"""A worker with a stub for the computation: failures, takeovers, patience."""

import json

import numpy as np
import pytest

from paramctl_jax.sweeps.block_file import read_block
from paramctl_jax.sweeps.blocks import Share, SweepPlan, partition
from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.sweeps.metrics import Metrics, read_metrics
from paramctl_jax.sweeps.worker import Worker, finished
from paramctl_jax.types import InputError

PLAN = SweepPlan(1, 4, {"m": Share("sha256:1", partition("m", 2, 2, 3, pairs=1))})
NAMES = [f"m-{index:05d}" for index in range(4)]


def content(block):
    ends = [block.lanes - 1, 1, 0]
    return {"ends": np.asarray(ends), "passes": np.asarray([10, 20])}


def worker_of(workdir, compute, owner="a"):
    claims = Claims(workdir / "sweep" / "claims", Owner(owner, owner, owner))
    metrics = Metrics(workdir / "sweep", owner)
    return Worker(workdir, PLAN, compute, claims, metrics, progress=False)


def test_all_blocks_are_computed_once(tmp_path):
    computed = []

    def compute(block, keeper, count):
        computed.append(block.name)
        count(block.lanes, block.lanes - 1)
        return content(block)

    worker = worker_of(tmp_path, compute)
    worker.work()
    assert computed == NAMES
    assert finished(tmp_path) == set(NAMES)
    assert worker.ends == {"hit": 8, "unreached": 4, "nonfinite": 0}
    arrays = read_block(tmp_path / "sweep" / "blocks" / "m-00002.npz")
    assert str(arrays["identity"]) == "sha256:1"
    (events,) = read_metrics(tmp_path / "sweep").values()
    blocks = [event["name"] for event in events if event["event"] == "block"]
    assert blocks == NAMES
    assert list((tmp_path / "sweep" / "claims").iterdir()) == []


def test_a_block_that_fails_is_recorded_and_the_others_are_done(tmp_path):
    def compute(block, keeper, count):
        if block.name == NAMES[1]:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return content(block)

    worker = worker_of(tmp_path, compute)
    worker.work()
    assert worker.failed == {NAMES[1]}
    assert finished(tmp_path) == set(NAMES) - {NAMES[1]}
    record = tmp_path / "sweep" / "failures" / f"{NAMES[1]}.json"
    said = json.loads(record.read_text())
    assert said["message"] == "RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert said["owner"] == "a"
    assert "in compute" in said["traceback"]
    worker_of(tmp_path, lambda block, *_: content(block), "b").work()
    assert finished(tmp_path) == set(NAMES)
    assert not record.exists()


def test_what_the_user_can_mend_ends_the_worker(tmp_path):
    def compute(block, keeper, count):
        raise InputError("no space")

    worker = worker_of(tmp_path, compute)
    with pytest.raises(InputError, match="no space"):
        worker.work()
    assert list((tmp_path / "sweep" / "claims").iterdir()) == []


def test_a_block_that_was_taken_over_is_left(tmp_path):
    """It is no failure, and nothing of it is saved or written here."""
    written = []

    def compute(block, keeper, count):
        if block.name == NAMES[0] and not written:
            written.append(block.name)
            claim = tmp_path / "sweep" / "claims" / f"{block.name}.json"
            claim.unlink()
            assert other.claims.take(block.name)
            worker.claims.beat()
            assert keeper.due()
            keeper.save({"x": np.zeros(1)})
            pytest.fail("went on")
        return content(block)

    worker = worker_of(tmp_path, compute)
    other = worker_of(tmp_path, compute, "b")
    worker.work(patience=0.0)
    assert worker.failed == set()
    assert finished(tmp_path) == set(NAMES[1:])
    assert list((tmp_path / "sweep" / "checkpoints").glob("*")) == []
    other.claims.release(NAMES[0])
    other.work()
    assert finished(tmp_path) == set(NAMES)


def test_patience_ends_while_another_is_at_work(tmp_path):
    other = worker_of(tmp_path, lambda block, *_: content(block), "b")
    assert other.claims.take(NAMES[3])
    worker = worker_of(tmp_path, lambda block, *_: content(block))
    worker.work(patience=0.05, poll=0.01)
    assert finished(tmp_path) == set(NAMES[:3])
