"""One tool in a process and interpreter of its own; answers lines of JSON.

    python -m benchmarks._peers.worker TOOL SETTING FOLDER OPTIONS

Told ``{"do": "first" | "sweep" | "steps", ...}``, it does that alone, and tells the
seconds; a sweep's images go to a file. Workers of PyTorch import nothing of this
package but the files beside this one.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Answer = dict[str, Any]


def peak_mib() -> float:
    """Of this process so far."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


class OursWorker:
    """`ours.Ours`; the first call is a whole sweep, compilation included."""

    def __init__(self, folder: Path, setting: str, options: Answer):
        from benchmarks._peers import ours

        route, precision = setting.split("/")
        wanted = {
            "route": route,
            "precision": precision,
            "slots": options["slots"],
            "crops": 4,
            "crop_size": (0.9, 0.95),
            "noise": 0.05,
            "learning_rate": options["rate"],
            "max_steps": options["max_steps"],
        }
        self.ours = ours.Ours(folder, ours.known(wanted))
        self.about = ours.devices()

    def first(self) -> None:
        """Compiles by a sweep."""
        self.ours.sweep(0)

    def sweep(self, seed: int) -> Answer:
        """All lanes."""
        return self.ours.sweep(seed)

    def steps(self, count: int, slots: int) -> float:
        """Seconds per lane-step."""
        return self.ours.lane_step_seconds(slots, count)


class PeerWorker:
    """faccent or horama; the first call is the first step of one lane."""

    def __init__(self, tool: str, folder: Path, setting: str, options: Answer):
        import torch

        from benchmarks._peers import nets, tools

        self.problem, self.options = nets.Problem(folder), options
        self.start = tools.TOOLS[tool]
        self.setting = tools.SETTINGS[tool][setting]
        self.about = {"threads": torch.get_num_threads(), **versions(tool)}

    def _run(self, **options: Any) -> Answer:
        from benchmarks._peers import drive

        return drive.sweep(
            self.problem,
            lambda site, seed: self.start(self.problem, site, seed, self.setting),
            crops=self.setting["crops"],
            **options,
        )

    def first(self) -> None:
        """One step."""
        last = self.problem.levels.shape[1] - 1
        self._run(max_steps=1, lane_seconds=1e9, lanes=[(0, 0, last)])

    def sweep(self, seed: int) -> Answer:
        """All lanes, one after the other."""
        _seed_all(seed)
        limits = ("max_steps", "lane_seconds")
        return self._run(**{name: self.options[name] for name in limits})


class BatchedWorker:
    """`batched.Batched`; the first call compiles."""

    def __init__(self, folder: Path, setting: str, options: Answer):
        import torch

        from benchmarks._peers import batched, nets

        self.module, self.options = batched, options
        self.made: dict[int, Any] = {}
        self.problem_of = lambda: nets.Problem(folder)
        self.compiled = setting == "compile"
        self.about = {"threads": torch.get_num_threads(), **versions("torch")}

    def _batched(self, slots: int) -> Any:
        if slots not in self.made:
            self.made[slots] = self.module.Batched(
                self.problem_of(),
                crops=4,
                slots=slots,
                rate=self.options["rate"],
                compiled=self.compiled,
            )
            self.about["network"] = self.made[slots].compiled
        return self.made[slots]

    def first(self) -> None:
        """Compiles, and takes a step."""
        self.module.lane_step_seconds(self._batched(self.options["slots"]), 1)

    def sweep(self, seed: int) -> Answer:
        """All lanes through the slots."""
        _seed_all(seed)
        return self.module.sweep(
            self._batched(self.options["slots"]), max_steps=self.options["max_steps"]
        )

    def steps(self, count: int, slots: int) -> float:
        """Seconds per lane-step."""
        return self.module.lane_step_seconds(self._batched(slots), count)


def versions(tool: str) -> dict[str, str]:
    """Of the packages that count, and what had to be replaced."""
    from importlib.metadata import version

    names = {"torch", "torchvision", "numpy"} | ({tool} - {"torch"})
    return {name: version(name) for name in sorted(names)}


def _seed_all(seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the peers draw from it)


def made(tool: str, setting: str, folder: Path, options: Answer) -> Any:
    """The worker of a tool."""
    if tool == "ours":
        return OursWorker(folder, setting, options)
    if tool == "batched":
        return BatchedWorker(folder, setting, options)
    return PeerWorker(tool, folder, setting, options)


def answer(worker: Any, told: Answer, path: Path) -> Answer:
    """Does what it is told, and times that."""
    begun, used = time.perf_counter(), time.process_time()
    found: Answer = {}
    if told["do"] == "first":
        worker.first()
    elif told["do"] == "sweep":
        result = worker.sweep(told["seed"])
        np.savez(path, **result)
        found = {k: int(v) for k, v in result.items() if np.ndim(v) == 0}
        found["file"] = str(path)
    else:
        found["lane_step_s"] = worker.steps(told["count"], told["slots"])
    found["seconds"] = time.perf_counter() - begun
    found["cpu_seconds"] = time.process_time() - used
    return {**found, "peak_mib": peak_mib(), "about": worker.about}


def main(argv: list[str]) -> None:
    """Reads lines until there are no more."""
    tool, setting, folder, told = argv
    options = json.loads(told)
    if options["cores"]:  # before any library counts them
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options["cores"]])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the tools print is not an answer
    say: Callable[[Answer], None] = lambda what: print(  # noqa: E731
        json.dumps(what), file=replies, flush=True
    )
    begun = time.perf_counter()
    worker = made(tool, setting, Path(folder), options)
    say({"ready": True, "seconds": time.perf_counter() - begun})
    name = f"{tool}_{setting}".replace("/", "_")
    for line in sys.stdin:
        told = json.loads(line)
        path = Path(folder) / f"{name}_{told.get('seed', 0)}.npz"
        say(answer(worker, told, path))


if __name__ == "__main__":
    main(sys.argv[1:])
