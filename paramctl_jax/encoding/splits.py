"""Which images are held out: drawn once, stored, and the same for every model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from paramctl_jax.artifacts import read_json, sha256_bytes, to_json, write_json
from paramctl_jax.types import InputError

FORMAT = "paramctl_jax split 1"


def split_ids(
    stimulus_ids: Sequence[str],
    test_fraction: float,
    key: PRNGKeyArray,
    groups: Sequence[str] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Random split into training and held-out stimuli.

    The permutation is of the sorted ids (of the sorted labels, with `groups`): the
    order of the images, which often follows their objects, changes nothing.

    Args:
      stimulus_ids: unique ids.
      test_fraction: share held out, in [0, 1), rounded up; 0 holds out nothing.
      key: of the permutation.
      groups: a label per stimulus, e.g. its object. Whole groups are held out, in
        random order, until there are at least as many stimuli as `test_fraction` asks
        for: images of one object are never on both sides.

    Returns:
      Training ids and held-out ids, each in the given order.

    Raises:
      InputError: a fraction outside [0, 1), or one that leaves nothing to fit; an id
        twice; not one label per stimulus.

    Example:
      >>> import jax
      >>> train, test = split_ids(list("abcde"), 0.4, jax.random.key(0))
      >>> len(train), len(test), sorted(train + test)
      (3, 2, ['a', 'b', 'c', 'd', 'e'])
      >>> split_ids(list("abcd"), 0.25, jax.random.key(1), groups=list("xxyy"))
      (('c', 'd'), ('a', 'b'))
    """
    labels = stimulus_ids if groups is None else groups
    _check_ids("stimulus_ids", stimulus_ids)
    if len(labels) != len(stimulus_ids):
        raise InputError(
            f"groups: expected one label for each of {len(stimulus_ids)} stimuli, "
            f"found {len(labels)}"
        )
    usable = 0 <= test_fraction < 1
    count = math.ceil(round(test_fraction * len(stimulus_ids), 9)) if usable else 0
    held_out = _held_out_labels(labels, count, key)
    test = tuple(n for n, g in zip(stimulus_ids, labels, strict=True) if g in held_out)
    if not usable or len(test) >= len(stimulus_ids):
        raise InputError(
            "test_fraction: expected in [0, 1) and to leave images to fit, found "
            f"{test_fraction} of {len(stimulus_ids)} images"
            + ("" if groups is None else f" in {len(set(groups))} groups")
        )
    chosen = set(test)
    return tuple(name for name in stimulus_ids if name not in chosen), test


def save_split(
    path: str | Path,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    *,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Stores a split for all models, labs and years to come.

    The file is JSON: the ids of both sides, their counts, and a digest of the ids that
    does not depend on their order. An existing split is never replaced by another one.

    Args:
      path: of the file.
      train_ids: images to fit.
      test_ids: images held out.
      about: how the split was made, e.g. the fraction and the seed; kept as it is.

    Returns:
      The path.

    Raises:
      InputError: an id twice or on both sides; a file that holds another split.

    Example:
      >>> import tempfile, os
      >>> path = os.path.join(tempfile.mkdtemp(), "split.json")
      >>> _ = save_split(path, ["a", "c"], ["b"], about={"random_seed": 0})
      >>> load_split(path, ["a", "b", "c"])
      (('a', 'c'), ('b',))
    """
    path = Path(path)
    _check_sides(str(path), train_ids, test_ids)
    digest = split_digest(train_ids, test_ids)
    if path.exists():
        there = _read(path)
        if there["sha256"] == digest:
            return path
        raise InputError(
            f"{path}: holds another split ({len(there['train_ids'])} training, "
            f"{len(there['test_ids'])} held-out images); a split is made once: load "
            "it, or give another file"
        )
    content = {
        "format": FORMAT,
        "n_train": len(train_ids),
        "n_test": len(test_ids),
        "sha256": digest,
        "about": dict(about or {}),
        "train_ids": list(train_ids),
        "test_ids": list(test_ids),
    }
    return write_json(path, content)


def load_split(
    path: str | Path, stimulus_ids: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reads a stored split and makes sure that it is a split of these very stimuli.

    Args:
      path: of the file, from `save_split`.
      stimulus_ids: the stimuli there are, in any order.

    Returns:
      Training ids and held-out ids, each in the order of `stimulus_ids`.

    Raises:
      InputError: a file that is no split or was changed; an id of the split that is not
        among the stimuli; a stimulus that is on neither side.
    """
    content = _read(Path(path))
    _check_ids("stimulus_ids", stimulus_ids)
    sides = dict.fromkeys(content["train_ids"], "train")
    sides |= dict.fromkeys(content["test_ids"], "test")
    there = set(stimulus_ids)
    missing = [name for name in sides if name not in there]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {len(sides)} stimuli of the split are not "
            f"among the {len(there)} there are, first {missing[:3]}"
        )
    unknown = [name for name in stimulus_ids if name not in sides]
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of {len(there)} stimuli are on neither side of "
            f"the split, first {unknown[:3]}; leave them out or make a new split"
        )
    train = tuple(name for name in stimulus_ids if sides[name] == "train")
    return train, tuple(name for name in stimulus_ids if sides[name] == "test")


def split_digest(train_ids: Sequence[str], test_ids: Sequence[str]) -> str:
    """Digest of which ids are on which side, whatever their order.

    Example:
      >>> split_digest(["a", "b"], ["c"]) == split_digest(["b", "a"], ["c"])
      True
      >>> split_digest(["a", "b"], ["c"]) == split_digest(["a"], ["b", "c"])
      False
    """
    return sha256_bytes(to_json([sorted(train_ids), sorted(test_ids)]).encode())


def _held_out_labels(
    labels: Sequence[str], count: int, key: PRNGKeyArray
) -> frozenset[str]:
    """Labels in random order until they hold `count` stimuli."""
    sizes = Counter(labels)
    ordered = sorted(sizes)
    held_out: set[str] = set()
    taken = 0
    for index in np.asarray(jax.random.permutation(key, len(ordered))):
        if taken >= count:
            break
        held_out.add(ordered[index])
        taken += sizes[ordered[index]]
    return frozenset(held_out)


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    sides = ("train_ids", "test_ids")
    if (
        not isinstance(content, dict)
        or content.get("format") != FORMAT
        or not all(_is_text_list(content.get(side)) for side in sides)
    ):
        raise InputError(
            f"{path}: expected a split written by save_split (format {FORMAT!r} with "
            "train_ids and test_ids), found something else"
        )
    train_ids, test_ids = (content[side] for side in sides)
    _check_sides(str(path), train_ids, test_ids)
    if content.get("sha256") != split_digest(train_ids, test_ids):
        raise InputError(
            f"{path}: the ids do not match their digest {content.get('sha256')}; the "
            "file was changed after it was written: get the original again"
        )
    return content


def _is_text_list(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(name, str) for name in values)


def _check_sides(what: str, train_ids: Sequence[str], test_ids: Sequence[str]) -> None:
    both = sorted(set(train_ids) & set(test_ids))
    if both:
        raise InputError(
            f"{what}: {len(both)} stimuli are on both sides of the split, first "
            f"{both[:3]}"
        )
    _check_ids(what, [*train_ids, *test_ids])


def _check_ids(what: str, ids: Sequence[str]) -> None:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(
            f"{what}: expected unique ids, found {len(twice)} of them more than once, "
            f"first {twice[:3]}"
        )
