"""How a sweep is cut, and that its plan says so for good."""

import dataclasses
import json

import numpy as np
import pytest

from paramctl_jax.sweeps.blocks import (
    Share,
    SweepPlan,
    partition,
    read_plan,
    write_plan,
)
from paramctl_jax.types import InputError


@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5, 9, 100])
@pytest.mark.parametrize(("n_sites", "n_seeds"), [(1, 1), (3, 4), (5, 1), (1, 7)])
def test_every_pair_is_in_one_block_in_order(n_sites, n_seeds, pairs):
    blocks = partition("m", n_sites, n_seeds, 11, pairs)
    seen = [
        (site, seed)
        for block in blocks
        for site in range(*block.sites)
        for seed in range(*block.seeds)
    ]
    assert seen == [(site, seed) for site in range(n_sites) for seed in range(n_seeds)]
    assert len({block.name for block in blocks}) == len(blocks)
    for block in blocks:
        area = np.ptp(block.sites) * np.ptp(block.seeds)
        assert block.lanes == 11 * area
        assert 1 <= area <= pairs


def plan(identity="sha256:1", pairs=3):
    blocks = partition("m", 2, 4, 5, pairs)
    return SweepPlan(pairs, 16, {"m": Share(identity, blocks)})


def test_a_plan_is_read_as_it_was_written(tmp_path):
    write_plan(tmp_path, plan())
    assert read_plan(tmp_path) == plan()
    before = (tmp_path / "sweep" / "plan.json").read_bytes()
    write_plan(tmp_path, plan())
    assert (tmp_path / "sweep" / "plan.json").read_bytes() == before
    assert plan().lanes == 2 * 4 * 5


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (plan(pairs=2), "block 3 there, 2 now"),
        (plan("sha256:2"), "encoding model, levels, seed images or settings of m"),
        (dataclasses.replace(plan(), slots=8), "slots 16 there, 8 now"),
    ],
)
def test_another_plan_is_refused(other, said, tmp_path):
    write_plan(tmp_path, plan())
    with pytest.raises(InputError, match=said):
        write_plan(tmp_path, other)
    assert read_plan(tmp_path) == plan()


def test_every_flipped_bit_of_a_plan_is_seen(tmp_path):
    write_plan(tmp_path, plan())
    path = tmp_path / "sweep" / "plan.json"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 5):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"damaged|not a readable"):
            read_plan(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}'])
def test_something_else_is_no_plan(content, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "plan.json").write_text(content)
    with pytest.raises(InputError, match=r"plan\.json"):
        read_plan(tmp_path)


def test_a_plan_without_its_digest_is_damaged(tmp_path):
    write_plan(tmp_path, plan())
    path = tmp_path / "sweep" / "plan.json"
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="damaged"):
        read_plan(tmp_path)
