"""Which block a worker takes next: one that is neither done nor in another's hands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from paramctl_jax.sweeps.claims import Claims


class Queue:
    """The blocks of a sweep as one worker goes through them.

    Workers begin at places of their own in the cyclic order of blocks, and go on from
    one listing of the finished ones: a block costs a claim and a look, not a listing.
    When the candidates of one listing are used up, there is another one.

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
        self._names = [*names[first:], *names[:first]]
        self._done, self._claims = done, claims
        self._is_done = is_done or (lambda name: name in done())
        self._candidates: deque[str] = deque()
        self._last: str | None = None

    def next(self) -> str | None:
        """A block that is claimed for this worker now; None where none is free."""
        found = self._from_candidates()
        if found is None:
            self._look()
            found = self._from_candidates()
        return found

    def pending(self) -> set[str]:
        """The blocks that are not finished, whoever has them."""
        return set(self._names) - self._done()

    def finish(self, name: str) -> None:
        """Gives a block back, done or not."""
        self._claims.release(name)

    def _look(self) -> None:
        pending = self.pending()
        self._candidates = deque(name for name in self._names if name in pending)

    def _from_candidates(self) -> str | None:
        while self._candidates:
            name = self._candidates.popleft()
            # asked before the claim, which is dearer, and after it: its last owner may
            # have finished in between
            if self._is_done(name) or not self._claims.take(name):
                continue
            if not self._is_done(name):
                return name
            self._claims.release(name)
        return None
