"""Presentation lists: complete blocks, nothing twice in a row, anchors between."""

import csv
import io
import itertools
from collections import Counter

import numpy as np
import pytest

from paramctl_jax.stimuli.exchange import presentation_csv, presentation_list
from paramctl_jax.types import InputError

IDS = [f"s{n}" for n in range(12)]
ANCHORS = ["x1", "x2", "x3", "x4"]


@pytest.mark.parametrize("n_ids", [2, 3, 12])
@pytest.mark.parametrize("n_anchors", [0, 1, 4])
@pytest.mark.parametrize("every", [None, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_complete_and_nothing_follows_itself(n_ids, n_anchors, every, seed):
    ids, anchors = IDS[:n_ids], ANCHORS[:n_anchors]
    trials = presentation_list(ids, 6, seed, anchors=anchors, anchor_every=every)
    for block in range(1, 7):
        own = [t.stimulus_id for t in trials if t.block == block and not t.is_anchor]
        assert sorted(own) == sorted(ids)
    names = [t.stimulus_id for t in trials]
    assert all(a != b for a, b in itertools.pairwise(names))
    counts = Counter(names)
    assert {counts[name] for name in ids} == {6}
    shown = [counts[name] for name in anchors]
    assert not shown or max(shown) - min(shown) <= 1  # complete rounds
    seen = Counter()
    for number, trial in enumerate(trials, 1):
        seen[trial.stimulus_id] += 1
        assert (trial.trial, trial.repeat) == (number, seen[trial.stimulus_id])
        assert trial.is_anchor == (trial.stimulus_id in anchors)


def test_anchors_are_evenly_between():
    ids = [f"s{n}" for n in range(100)]
    trials = presentation_list(ids, 3, anchors=ANCHORS)
    at = np.flatnonzero([t.is_anchor for t in trials])
    assert len(at) == 12
    assert set(np.diff(at)) == {26}  # 25 stimuli between two anchors
    trials = presentation_list(ids, 3, anchors=ANCHORS, anchor_every=7)
    at = np.flatnonzero([t.is_anchor for t in trials])
    assert len(at) == 3 * (100 // 7)
    assert set(np.diff(at)) <= {8, 9}


def test_more_anchors_than_stimuli():
    trials = presentation_list(["a", "b"], 2, anchors=[f"x{n}" for n in range(9)])
    assert Counter(t.is_anchor for t in trials) == {True: 18, False: 4}
    names = [t.stimulus_id for t in trials]
    assert all(a != b for a, b in itertools.pairwise(names))


def test_equal_seeds_give_equal_lists_and_others_do_not():
    first = presentation_list(IDS, 4, 7, anchors=ANCHORS)
    assert presentation_list(IDS, 4, 7, anchors=ANCHORS) == first
    assert presentation_list(IDS, 4, 8, anchors=ANCHORS) != first


def test_every_order_is_equally_likely():
    """Three stimuli, two blocks: 6 orders, then those 4 that begin with another one."""
    n = 3000
    orders = Counter(
        tuple(t.stimulus_id for t in presentation_list(["a", "b", "c"], 2, seed))
        for seed in range(n)
    )
    assert len(orders) == 24
    expected = n / 24
    chi2 = sum((count - expected) ** 2 / expected for count in orders.values())
    assert chi2 < 49.7  # the .999 quantile at 23 degrees of freedom


@pytest.mark.parametrize(
    ("repeats", "sessions", "blocks"),
    [(4, 2, [[1, 2], [3, 4]]), (5, 2, [[1, 2, 3], [4, 5]]), (3, 3, [[1], [2], [3]])],
)
def test_sessions_have_whole_blocks(repeats, sessions, blocks):
    trials = presentation_list(IDS, repeats, sessions=sessions, anchors=ANCHORS)
    for session, own in enumerate(blocks, 1):
        assert sorted({t.block for t in trials if t.session == session}) == own
        anchors = {
            t.stimulus_id for t in trials if t.session == session and t.is_anchor
        }
        assert anchors == set(ANCHORS)


def test_the_csv_has_the_columns_and_the_order():
    trials = presentation_list(IDS, 2, anchors=ANCHORS)
    files = {name: f"{name}.png" for name in (*IDS, *ANCHORS)}
    number = {name: n for n, name in enumerate(files)}
    text = presentation_csv(trials, files, condition=number)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [
        *("trial", "stimulus_id", "filename", "repeat", "block", "session"),
        *("is_anchor", "condition"),
    ]
    for row, trial in zip(rows, trials, strict=True):
        assert row["filename"] == f"{trial.stimulus_id}.png"
        assert row["condition"] == str(number[trial.stimulus_id])
        assert int(row["trial"]) == trial.trial
        assert row["is_anchor"] == str(int(trial.is_anchor))


@pytest.mark.parametrize(
    ("ids", "given", "message"),
    [
        ([], {}, "expected stimuli, found none"),
        (["a", "a"], {}, r"found \['a'\] twice"),
        (["a", "b"], {"anchors": ["b"]}, r"found \['b'\] twice"),
        (["a", "b"], {"repeats": 0}, "repeats: expected at least 1, found 0"),
        (["a"], {"repeats": 2}, "'a', would follow itself"),
        (["a", "b"], {"anchor_every": 0, "anchors": ["x"]}, "anchor_every: expected"),
        (["a", "b"], {"sessions": 2}, "sessions: expected at most one per block"),
    ],
)
def test_what_cannot_be_ordered_is_refused(ids, given, message):
    with pytest.raises(InputError, match=message):
        presentation_list(ids, **({"repeats": 1} | given))
