"""Which block a worker takes next: one that is neither done nor in another's hands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from paramctl_jax.sweeps.claims import Claims

_DOUBTED = 32  # claims of others that one look asks whether they are stale
_MISSES = 8  # candidates that others took first, after which a listing is too old


class Queue:
    """The blocks of a sweep as one worker goes through them.

    Workers begin at places of their own in the cyclic order of blocks, and go on from
    one listing of the finished and of the claimed ones: a block costs a claim and two
    looks, not a listing. When the candidates are used up, or others were quicker at
    many of them, there is another listing. Blocks that nobody has come first; then some
    of the claims of others are asked whether they are stale, in turn.

    Args:
      names: of all blocks.
      done: names of those that are finished, by a listing.
      claims: this worker's.
      start: place of the first block, counted around.
      is_done: whether one block is finished; by its file alone, where that is cheaper.
    """

    def __init__(
        self,
        names: Sequence[str],
        done: Callable[[], set[str]],
        claims: Claims,
        start: int = 0,
        is_done: Callable[[str], bool] | None = None,
    ):
        first = start % max(len(names), 1)
        ordered = [*names[first:], *names[:first]]
        self._place = {name: place for place, name in enumerate(ordered)}
        self._done, self._claims = done, claims
        self._is_done = is_done or (lambda name: name in done())
        self._candidates: deque[str] = deque()
        self._pending = set(names)
        self._turn = 0

    def next(self) -> str | None:
        """A block that is claimed for this worker now; None where none is free.

        None tells nothing of what others have in hand: ask `pending`, and again later.
        """
        found = self._from_candidates(_MISSES)
        if found is None:
            self._look()
            found = self._from_candidates(len(self._candidates))
        return found

    def pending(self) -> set[str]:
        """The blocks that were not finished at the last listing, whoever has them."""
        return self._pending

    def finish(self, name: str) -> None:
        """Gives a block back, done or not."""
        self._claims.release(name)

    def _look(self) -> None:
        self._pending = self._place.keys() - self._done()
        claimed = self._claims.names()
        others = claimed - self._claims.held
        left = sorted(self._pending, key=self._place.__getitem__)
        taken = [name for name in left if name in others]
        at = self._turn % max(len(taken), 1)
        self._turn += _DOUBTED
        doubted = [*taken[at:], *taken[:at]][:_DOUBTED]
        free = [name for name in left if name not in claimed]
        self._candidates = deque([*free, *doubted])

    def _from_candidates(self, misses: int) -> str | None:
        """The first that can be had, before so many were others'."""
        while self._candidates and misses > 0:
            name = self._candidates.popleft()
            # asked before the claim, which is dearer, and after it: its last owner may
            # have finished in between
            if not self._is_done(name) and self._claims.take(name):
                if not self._is_done(name):
                    return name
                self._claims.release(name)
            misses -= 1
        return None
