"""The parent's end of a worker: a process that answers lines of JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any


class Worker:
    """A process that answers lines of JSON; a dead one is remembered as failed.

    Args:
      tool, setting: what it runs.
      python: its interpreter.
      folder: of the problem; it logs there.
      options: limits and batch sizes.
    """

    def __init__(
        self, tool: str, setting: str, python: str, folder: Path, options: Any
    ):
        self.record: dict[str, Any] = {"tool": tool, "setting": setting, "rounds": []}
        self.record |= {"lane_steps": [], "failed": "", "python": python}
        self._log = folder / f"{tool}_{setting.replace('/', '_')}.log"
        arguments = [tool, setting, str(folder), json.dumps(options)]
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks._peers.worker", *arguments],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
        )
        self.record["start"] = self._hear()

    def ask(self, **told: Any) -> dict[str, Any] | None:
        """What it answers; None if it has failed, now or before."""
        if self.record["failed"] or self._process.stdin is None:
            return None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(told), file=self._process.stdin, flush=True)
        return self._hear()

    def _hear(self) -> dict[str, Any] | None:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if line:
            return json.loads(line)
        self._process.wait(60)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        self.record["failed"] = lines[-1] if lines else "it ended"
        self._say(f"failed: {self.record['failed']} (see {self._log})")
        return None

    def _say(self, text: str) -> None:
        print(f"  {self.record['tool']} {self.record['setting']}: {text}", flush=True)

    def first(self) -> None:
        """Compiles, or takes a step."""
        found = self.ask(do="first")
        if found:
            self.record["first"] = found
            self._say(f"first call {found['seconds']:.1f} s")

    def sweep(self, number: int, judge: Any) -> None:
        """One round, judged."""
        found = self.ask(do="sweep", seed=number)
        if found:
            found |= judge.judge(found["file"])
            self.record["rounds"].append(found)
            self._say(
                f"{found['seconds']:.1f} s, CPU {found['cpu_seconds']:.1f} s, "
                f"{found['accepted']} of {found['lanes']} accepted"
            )

    def time_steps(self, count: int, slots: int) -> None:
        """One round of the comparison step by step."""
        found = self.ask(do="steps", count=count, slots=slots)
        if found:
            self.record["lane_steps"].append(found["lane_step_s"])
            self._say(f"{1000 * found['lane_step_s']:.1f} ms per lane-step")

    def close(self) -> None:
        """No more questions."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(60)
