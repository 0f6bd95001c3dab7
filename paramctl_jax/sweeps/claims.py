"""Who is at work on what, through files of a shared folder alone.

A claim is a small file, linked to its name only if there is none of that name. Its
owner touches it every few seconds; nobody asks a clock of another host. A claim is
stale, and may be broken,

1. at once, where its process was on this machine and is gone, or was an earlier start
   of this very Slurm task;
2. where it has not been touched for `lease` seconds of the looker's own clock.

Two workers that take one claim in the same instant after it was broken is possible and
harmless: what they do has the same bytes. Rightness never rests on claims.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paramctl_jax.progress import bar
from paramctl_jax.types import InputError

LEASE, BEAT = 60.0, 10.0


@dataclasses.dataclass(frozen=True)
class Owner:
    """One process, told apart from every other one.

    Attributes:
      id: unique, fit for a file name.
      host: short name.
      machine: this start of this kernel and this space of process numbers; empty where
        it cannot be known.
      pid: process number.
      born: when the process began, against numbers given twice.
      slurm: of the job or array task, "" outside of Slurm.
      restart: how often Slurm has started it again.
    """

    id: str
    host: str
    machine: str = ""
    pid: int = 0
    born: str = ""
    slurm: str = ""
    restart: int = 0

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        get, pid = os.environ.get, os.getpid()
        host = socket.gethostname().split(".")[0]
        job = get("SLURM_ARRAY_JOB_ID") or get("SLURM_JOB_ID") or ""
        parts = (job, get("SLURM_ARRAY_TASK_ID", ""), get("SLURM_PROCID", ""))
        return cls(
            id=f"{host}-{pid}-{secrets.token_hex(4)}",
            host=host,
            machine=_machine(),
            pid=pid,
            born=_born(pid),
            slurm="_".join(parts) if job else "",
            restart=int(get("SLURM_RESTART_COUNT") or 0),
        )


def _machine() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _born(pid: int) -> str:
    """Start time of a process in the kernel's ticks; "" where there is none."""
    try:
        after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after[0] == "Z" else after[19]  # a zombie has ended


class Claims:
    """The claims in one folder, as one process makes and sees them.

    Args:
      folder: of the claims; made where it is missing.
      owner: this process.
      lease: seconds without a touch after which a claim is stale.
      beat: seconds between two touches.
      clock: of this process, in seconds.
    """

    def __init__(
        self,
        folder: str | Path,
        owner: Owner,
        lease: float = LEASE,
        beat: float = BEAT,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.folder, self.owner = Path(folder), owner
        self._folder = str(folder)  # paths are put together often
        self.lease, self._every, self._clock = lease, beat, clock
        self.held: set[str] = set()
        self.lost: set[str] = set()
        self._seen: dict[str, tuple[int, float]] = {}
        self._judged: dict[str, tuple[dict[str, Any], int]] = {}
        self._lock = threading.RLock()
        self._depth = 0
        self._end = threading.Event()

    def take(self, name: str, doubt: bool = True) -> bool:
        """Claims a name; True where it is this process's now.

        Args:
          name: of a block or a stage.
          doubt: whether to ask if another's claim is stale, which costs a reading.

        Raises:
          InputError: the folder cannot be written.
        """
        with self._lock:
            if name in self.held:
                return True
            won = not os.path.exists(self._file(name)) and self._link(name)
            if not won and doubt and self.stale(name) and self._break(name):
                won = self._link(name)
            if won:
                self.held.add(name)
                self._seen.pop(name, None)
            return won

    def release(self, name: str) -> None:
        """Gives a name back, if it is still this process's."""
        with self._lock:
            if name in self.held and self._owner_of(name) == self.owner.id:
                self.path(name).unlink(missing_ok=True)
            self.held.discard(name)

    def path(self, name: str) -> Path:
        """Of a claim's file."""
        return Path(self._file(name))

    def _file(self, name: str) -> str:
        return f"{self._folder}/{name}.json"

    def stale(self, name: str) -> bool:
        """Whether a claim may be broken; it may become so from look to look."""
        record, touched = self._read(name)
        if touched is None:
            return False  # released meanwhile
        self._judged[name] = record, touched
        if record and (self._gone(record) or self._earlier(record)):
            return True
        before, since = self._seen.get(name, (None, 0.0))
        if before != touched:
            self._seen[name] = (touched, self._clock())
            return False
        return self._clock() - since > self.lease

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
                        os.utime(self.path(name))
                except OSError:
                    continue  # a hiccup of the file system; the lease is longer

    def names(self) -> set[str]:
        """What is claimed by anybody; one listing."""
        try:
            with os.scandir(self.folder) as entries:
                found = (e.name for e in entries if not e.name.startswith("."))
                return {name.removesuffix(".json") for name in found}
        except FileNotFoundError:
            return set()

    def others(self) -> dict[str, dict[str, Any]]:
        """The claims of other processes by name, for whoever looks."""
        names = [path.stem for path in self.folder.glob("[!.]*.json")]
        found = {name: self._read(name)[0] for name in names if name not in self.held}
        return {name: record for name, record in found.items() if record}

    def __enter__(self) -> Claims:
        if self._depth == 0:
            self._end.clear()
            threading.Thread(target=self._beating, daemon=True).start()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._end.set()
            for name in list(self.held):
                with contextlib.suppress(OSError):
                    self.release(name)

    def _beating(self) -> None:
        while not self._end.wait(self._every):
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
        content = {**dataclasses.asdict(self.owner), "owner": self.owner.id}
        temporary = self.folder / f".{name}.{self.owner.id}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(content))
            try:
                os.link(temporary, self.path(name))
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                return _created(self.path(name), json.dumps(content))
            return True
        except OSError as error:
            raise InputError(
                f"{self.path(name)}: cannot be written ({error.strerror or error}); "
                "what is done is kept; make room, or give the right to write, and run "
                "the same command again"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _break(self, name: str) -> bool:
        """Takes a stale claim away; False where another was quicker."""
        aside = self.folder / f".{name}.{self.owner.id}.old"
        try:
            os.rename(self.path(name), aside)
        except OSError:
            return False
        if _content(aside) == self._judged[name]:
            aside.unlink(missing_ok=True)
            return True
        # another process has broken it first, and this one is new: it goes back
        with contextlib.suppress(OSError):
            os.link(aside, self.path(name))
        aside.unlink(missing_ok=True)
        return False

    def _read(self, name: str) -> tuple[dict[str, Any], int | None]:
        return _content(self.path(name))

    def _owner_of(self, name: str) -> str:
        return self._read(name)[0].get("owner", "")

    def _gone(self, record: dict[str, Any]) -> bool:
        """Whether the owner was here and has ended."""
        here = record.get("machine") == self.owner.machine != ""
        if not here or not record.get("born"):
            return False
        return _born(int(record["pid"])) != record["born"]

    def _earlier(self, record: dict[str, Any]) -> bool:
        """Whether the owner was an earlier start of this task of Slurm."""
        same = record.get("slurm") == self.owner.slurm != ""
        return same and int(record.get("restart", 0)) < self.owner.restart


def _content(path: Path) -> tuple[dict[str, Any], int | None]:
    """Record and last touch; no record where it cannot be read, no touch if absent."""
    try:
        touched = path.stat().st_mtime_ns
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError):
        return {}, 0
    sound = isinstance(record, dict) and isinstance(record.get("owner"), str)
    return (record if sound else {}), touched


def _created(path: Path, text: str) -> bool:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    return True
