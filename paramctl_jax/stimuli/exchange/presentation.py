"""In which order to show: complete shuffled blocks, with anchors evenly between."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from paramctl_jax.types import InputError

LIST = "presentation_list.csv"


@dataclasses.dataclass(frozen=True)
class Presentation:
    """One trial of a presentation list.

    Attributes:
      trial: 1, 2, ... over the whole list.
      stimulus_id: what is shown.
      repeat: 1 where it is shown for the first time, then 2, ...
      block: 1, 2, ...; every block shows every stimulus once.
      session: 1, 2, ...; blocks are never divided between sessions.
      is_anchor: whether it is one of the anchors.
    """

    trial: int
    stimulus_id: str
    repeat: int
    block: int
    session: int
    is_anchor: bool


def presentation_list(
    ids: Sequence[str],
    repeats: int,
    random_seed: int = 0,
    *,
    anchors: Sequence[str] = (),
    anchor_every: int | None = None,
    sessions: int = 1,
) -> tuple[Presentation, ...]:
    """Every stimulus once per block, in a new random order, anchors evenly between.

    With N stimuli and A anchors per block, after j stimuli of a block

        floor(j A / N + 1/2)

    of its anchors have been shown. Anchors come in complete shuffled rounds of their
    own. Neither a stimulus nor an anchor ever follows itself, at the borders of blocks
    either: an order that would begin with what was shown last is drawn again.

    Args:
      ids: of the stimuli.
      repeats: presentations of each, which is the number of blocks.
      random_seed: equal seeds give equal lists.
      anchors: ids of natural images.
      anchor_every: one anchor per so many stimuli; None shows all anchors once in every
        block.
      sessions: into which the blocks are divided, as equally as they can be.

    Returns:
      The trials in their order.

    Raises:
      InputError: nothing to show, an id twice, numbers below 1, more sessions than
        blocks, or a single stimulus that would have to follow itself.

    Example:
      >>> trials = presentation_list(["a", "b", "c"], 2, anchors=["x"])
      >>> [one.stimulus_id for one in trials]
      ['c', 'a', 'x', 'b', 'c', 'b', 'x', 'a']
    """
    _check(ids, repeats, anchors, anchor_every, sessions)
    rng = np.random.default_rng(random_seed)
    rounds = _rounds(ids, rng)
    between = itertools.chain.from_iterable(_rounds(anchors, rng)) if anchors else None
    per_block = _anchors_per_block(len(ids), len(anchors), anchor_every)
    shown = Counter[str]()
    trials: list[Presentation] = []
    for block in range(repeats):
        session = block * sessions // repeats + 1
        for name, is_anchor in _one_block(next(rounds), between, per_block):
            shown[name] += 1
            where = (shown[name], block + 1, session)
            trials.append(Presentation(len(trials) + 1, name, *where, is_anchor))
    return tuple(trials)


def _rounds(ids: Sequence[str], rng: np.random.Generator) -> Iterator[list[str]]:
    """Random orders without end, none of which begins as the one before it ended."""
    last = None
    while True:
        order = [ids[int(index)] for index in rng.permutation(len(ids))]
        if len(ids) > 1 and order[0] == last:
            continue
        last = order[-1]
        yield order


def _anchors_per_block(n_ids: int, n_anchors: int, every: int | None) -> int:
    if not n_anchors or every is None:
        return n_anchors
    return max(1, n_ids // every)


def _one_block(
    order: Sequence[str], between: Iterator[str] | None, n_anchors: int
) -> Iterator[tuple[str, bool]]:
    """Stimuli and anchors of a block, and which is which."""
    n, shown = len(order), 0
    for j, name in enumerate(order, 1):
        yield name, False
        while between is not None and shown < (2 * j * n_anchors + n) // (2 * n):
            shown += 1
            yield next(between), True


def _check(
    ids: Sequence[str],
    repeats: int,
    anchors: Sequence[str],
    anchor_every: int | None,
    sessions: int,
) -> None:
    where = "presentation list"
    if not ids:
        raise InputError(f"{where}: expected stimuli, found none")
    twice = [name for name, n in Counter((*ids, *anchors)).items() if n > 1]
    if twice:
        raise InputError(f"{where}: expected every id once, found {twice[:3]} twice")
    numbers = {"repeats": repeats, "sessions": sessions}
    if anchor_every is not None:
        numbers["anchor_every"] = anchor_every
    for name, number in numbers.items():
        if number < 1:
            raise InputError(f"{name}: expected at least 1, found {number}")
    if sessions > repeats:
        raise InputError(
            f"sessions: expected at most one per block, that is {repeats}, found "
            f"{sessions}; give more repeats"
        )
    if len(ids) == 1 and repeats > 1 and not anchors:
        raise InputError(
            f"{where}: a single stimulus, {ids[0]!r}, would follow itself; give a "
            "second one or anchors"
        )


def presentation_csv(
    trials: Sequence[Presentation],
    filenames: Mapping[str, str],
    **further: Mapping[str, object],
) -> str:
    """The list as text, one row per trial.

    Args:
      trials: in their order.
      filenames: by stimulus id.
      **further: more columns, each by stimulus id.

    Returns:
      CSV: trial, stimulus_id, filename, repeat, block, session, is_anchor (1 or 0).
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ("trial", "stimulus_id", "filename", "repeat", "block", "session")
    writer.writerow([*columns, "is_anchor", *further])
    for one in trials:
        name = one.stimulus_id
        place = (one.repeat, one.block, one.session, int(one.is_anchor))
        more = [cells[name] for cells in further.values()]
        writer.writerow([one.trial, name, filenames[name], *place, *more])
    return stream.getvalue()
