"""Who is at work on what, through files of a shared folder alone.

A claim is a small file, linked to its name only if there is none of that name. Its
owner touches it every few seconds; nobody asks a clock of another host. A claim is
stale, and may be broken,

1. at once, where its process was on this machine and is gone, or was an earlier start
   of this very Slurm task;
2. where it has not been touched for `lease` seconds of the looker's own clock.

A stale claim is first renamed, and then looked at again: of several workers that break
it one succeeds, and one that breaks a newer claim by mistake puts it back. Another may
take the name in the instant in between; then two do the same work, whose bytes are the
same, and one of them finds the claim `lost`. Rightness never rests on claims.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paramctl_jax.progress import bar
from paramctl_jax.sweeps.claim_file import (
    Content,
    content_of,
    created,
    record_of,
    refused,
)
from paramctl_jax.sweeps.owner import Owner, alive

LEASE, BEAT = 60.0, 10.0


class Claims:
    """The claims in one folder, as one process makes and sees them.

    Args:
      folder: of the claims; made where it is missing.
      owner: this process.
      lease: seconds without a touch after which a claim is stale.
      beat: seconds between two touches.
      clock: of this process, in seconds.
      alive: ``alive(pid, born)``: whether a process of this machine lives.

    Attributes:
      held: names that are this process's.
      lost: names that others have broken meanwhile.
    """

    def __init__(
        self,
        folder: str | Path,
        owner: Owner,
        lease: float = LEASE,
        beat: float = BEAT,
        clock: Callable[[], float] = time.monotonic,
        alive: Callable[[int, str], bool] = alive,
    ):
        self.folder, self.owner = Path(folder), owner
        self._folder = str(folder)  # paths are put together often
        self.lease, self._every, self._clock, self._alive = lease, beat, clock, alive
        self.held: set[str] = set()
        self.lost: set[str] = set()
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._lock = threading.RLock()
        self._depth = 0
        self._end = threading.Event()

    def take(self, name: str) -> bool:
        """Claims a name; True where it is this process's now.

        Raises:
          InputError: the folder cannot be written.
        """
        with self._lock:
            if name in self.held:
                return True
            found = self._read(name)
            free = found[1] is None or (
                self._stale(name, *found) and self._break(name, found)
            )
            won = free and self._link(name)
            if won:
                self.held.add(name)
                self.lost.discard(name)
                self._seen.pop(name, None)
            return won

    def release(self, name: str) -> None:
        """Gives a name back, if it is still this process's.

        Where the file system does not let it, the lease ends, or the next `take` here.
        """
        with self._lock, contextlib.suppress(OSError):
            self.held.discard(name)
            if self._owner_of(name) == self.owner.id:
                self.path(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Of a claim's file."""
        return Path(self._file(name))

    def _file(self, name: str) -> str:
        return f"{self._folder}/{name}.json"

    def beat(self) -> None:
        """Touches all claims held; those that others have broken are `lost`."""
        with self._lock:
            for name in list(self.held):
                try:
                    record, touched = self._read(name)
                    if touched is None or (record and record["owner"] != self.owner.id):
                        self.held.discard(name)
                        self.lost.add(name)
                    else:
                        os.utime(self._file(name))
                except OSError:
                    continue  # a hiccup of the file system; the lease is longer

    def names(self) -> set[str]:
        """What is claimed by anybody; one listing.

        Raises:
          InputError: the folder cannot be listed.
        """
        try:
            listed = os.listdir(self.folder)
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise refused(self.folder, error) from error
        found = {name.removesuffix(".json") for name in listed}
        return {name for name in found if not name.startswith(".")}

    def __enter__(self) -> Claims:
        if self._depth == 0:
            self._end = threading.Event()
            beating = threading.Thread(
                target=self._beating, args=(self._end,), daemon=True
            )
            beating.start()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._end.set()
            for name in list(self.held):
                self.release(name)

    def _beating(self, end: threading.Event) -> None:
        while not end.wait(self._every):
            self.beat()

    @contextlib.contextmanager
    def exclusive(
        self,
        name: str,
        ready: Callable[[], bool],
        *,
        progress: bool = True,
        poll: float = 0.5,
    ) -> Iterator[bool]:
        """One process at a time does a stage; the others wait for its end.

        Args:
          name: of the stage.
          ready: whether the stage is done.
          progress: say that another process is waited for.
          poll: seconds between two looks.

        Yields:
          True where this process is to do it, False where it is done.
        """
        with self:
            mine = self._await(name, ready, progress, poll)
            try:
                yield mine
            finally:
                self.release(name)

    def _await(
        self, name: str, ready: Callable[[], bool], progress: bool, poll: float
    ) -> bool:
        if ready():
            return False
        if not self.take(name):
            label = f"{name}: waiting for another process"
            with bar(total=1, label=label, show=progress):
                while not self.take(name):
                    if ready():
                        return False
                    time.sleep(poll)
        if ready():  # who held it before has done it
            self.release(name)
            return False
        return True

    def _link(self, name: str) -> bool:
        """Makes the claim if there is none of its name."""
        content = record_of(self.owner)
        temporary = self.folder / f".{name}.{self.owner.id}"
        try:
            try:
                temporary.write_text(content)
            except FileNotFoundError:
                self.folder.mkdir(parents=True, exist_ok=True)
                temporary.write_text(content)
            try:
                os.link(temporary, self.path(name))
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                return created(self.path(name), content)
            return True
        except OSError as error:
            raise refused(self.path(name), error) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _break(self, name: str, judged: Content) -> bool:
        """Takes a stale claim away; False where another was quicker."""
        aside = self.folder / f".{name}.{self.owner.id}.old"
        try:
            os.rename(self._file(name), aside)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise refused(self.path(name), error) from error
            return False
        right = content_of(aside) == judged
        if not right:  # another process has broken it first, and this one is new
            self._put_back(aside, name)
        with contextlib.suppress(OSError):
            aside.unlink()
        return right

    def _put_back(self, aside: Path, name: str) -> None:
        try:
            os.link(aside, self.path(name))
        except FileExistsError:
            return  # a third one was quicker still: the owner will find it lost
        except OSError:
            with contextlib.suppress(OSError):
                created(self.path(name), aside.read_text())

    def _stale(self, name: str, record: dict[str, Any], touched: int | None) -> bool:
        """Whether a claim may be broken; what is seen of it is noted."""
        idle = self._idle(name, touched)
        if record.get("owner") == self.owner.id:
            return True  # giving it back failed, or taking it only seemed to
        if record and self.owner.knows_gone(record, self._alive):
            return True
        return idle > self.lease

    def _idle(self, name: str, touched: int | None) -> float:
        """Seconds of this process's clock since it first saw the last touch."""
        before, since = self._seen.get(name, (None, 0.0))
        if before != touched:
            self._seen[name] = (touched, self._clock())
            return 0.0
        return self._clock() - since

    def _read(self, name: str) -> Content:
        return content_of(self._file(name))

    def _owner_of(self, name: str) -> str:
        return self._read(name)[0].get("owner", "")
