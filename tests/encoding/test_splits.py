"""Splits: partitions that ignore the order, keep groups whole and are stored once."""

import json

import jax
import numpy as np
import pytest

from paramctl_jax.encoding.splits import load_split, save_split, split_ids
from paramctl_jax.types import InputError

IDS = [f"im{i}" for i in range(101)]


def test_split_is_a_partition_that_ignores_the_order(key):
    train, test = split_ids(IDS, 0.2, key)
    assert len(test) == 21  # rounded up
    assert sorted(train + test) == sorted(IDS)
    assert list(train) == [name for name in IDS if name in set(train)]
    again = split_ids(IDS[::-1], 0.2, key)
    assert again == (train[::-1], test[::-1])
    assert set(split_ids(IDS, 0.2, jax.random.key(1))[1]) != set(test)
    assert len(split_ids(IDS[:100], 0.2, key)[1]) == 20
    assert split_ids(IDS, 0.0, key) == (tuple(IDS), ())


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 0.99, np.nan])
def test_a_split_that_leaves_nothing_is_refused(key, fraction):
    with pytest.raises(InputError, match="test_fraction"):
        split_ids(["a", "b", "c"], fraction, key)


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole(seed):
    key = jax.random.key(seed)
    groups = [f"object{i * i // 400}" for i in range(101)]  # of unequal sizes
    train, test = split_ids(IDS, 0.3, key, groups=groups)
    label = dict(zip(IDS, groups, strict=True))
    held_out = {label[name] for name in test}
    assert not held_out & {label[name] for name in train}
    assert sorted(train + test) == sorted(IDS)
    sizes = [groups.count(group) for group in held_out]
    assert len(test) >= 31
    assert len(test) - max(sizes) < 31  # no group more than needed
    order = np.random.default_rng(seed).permutation(101)
    shuffled = split_ids([IDS[i] for i in order], 0.3, key, [groups[i] for i in order])
    assert set(shuffled[1]) == set(test)


def test_a_group_per_image_is_no_grouping(key):
    assert split_ids(IDS, 0.2, key, groups=IDS) == split_ids(IDS, 0.2, key)


@pytest.mark.parametrize(
    ("ids", "groups", "message"),
    [
        (
            ["a", "b"],
            ["x"],
            "groups: expected one label for each of 2 stimuli, found 1",
        ),
        (["a", "b"], ["x", "x"], "leave images to fit.*2 images in 1 groups"),
        (["a", "b", "a"], None, r"unique ids.*1 of them more than once.*\['a'\]"),
    ],
)
def test_groups_that_cannot_be_split_are_refused(key, ids, groups, message):
    with pytest.raises(InputError, match=message):
        split_ids(ids, 0.5, key, groups=groups)


def test_a_stored_split_comes_back_in_the_order_of_the_stimuli(tmp_path, key):
    path = tmp_path / "splits" / "day1.json"
    train, test = split_ids(IDS, 0.2, key)
    save_split(path, train, test, about={"test_fraction": 0.2})
    assert load_split(path, IDS) == (train, test)
    assert load_split(path, IDS[::-1]) == (train[::-1], test[::-1])
    content = json.loads(path.read_text())
    assert (content["n_train"], content["n_test"]) == (80, 21)
    assert content["about"] == {"test_fraction": 0.2}


def test_a_split_is_made_once(tmp_path):
    path = save_split(tmp_path / "split.json", ["a", "b"], ["c"])
    before = path.read_bytes()
    save_split(path, ["b", "a"], ["c"])
    assert path.read_bytes() == before
    with pytest.raises(InputError, match=r"split\.json: holds another split"):
        save_split(path, ["a"], ["b", "c"])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b"], r"1 of 3 stimuli of the split are not among.*\['c'\]"),
        (["a", "b", "c", "d"], r"1 of 4 stimuli are on neither side.*\['d'\]"),
        (["a", "b", "c", "c"], "unique ids"),
    ],
)
def test_a_split_of_other_stimuli_is_refused(tmp_path, ids, message):
    path = save_split(tmp_path / "split.json", ["a", "b"], ["c"])
    with pytest.raises(InputError, match=message):
        load_split(path, ids)


def test_sides_that_share_a_stimulus_are_refused(tmp_path):
    path = tmp_path / "split.json"
    with pytest.raises(InputError, match=r"1 stimuli are on both sides.*\['b'\]"):
        save_split(path, ["a", "b"], ["b"])
    with pytest.raises(InputError, match="unique ids"):
        save_split(path, ["a", "a"], ["b"])
    assert not path.exists()


def moved(content):
    content["test_ids"].append(content["train_ids"].pop())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (moved, "do not match their digest"),
        (lambda content: content.pop("sha256"), "do not match their digest None"),
        (lambda content: content["test_ids"].append("a"), "on both sides"),
        (lambda content: content.pop("train_ids"), "written by save_split"),
        (lambda content: content.update(format="other"), "written by save_split"),
        (lambda content: content.update(test_ids=[1]), "written by save_split"),
    ],
)
def test_a_changed_split_is_refused(tmp_path, spoil, message):
    path = save_split(tmp_path / "split.json", ["a", "b"], ["c"])
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"split\.json.*{message}"):
        load_split(path, ["a", "b", "c"])


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_file_that_is_no_split_is_refused(tmp_path, text):
    path = tmp_path / "split.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"split\.json"):
        load_split(path, ["a"])
