"""Cost per accepted stimulus, side by side with faccent, horama and ours in PyTorch.

    python -m benchmarks.peers --peers-python=PATH                  the bundled network
    python -m benchmarks.peers --problem=resnet50 --peers-python=PATH

One problem, made once: axes fitted to recordings, seed images of the network's own
input size, target levels. Every tool and setting is a process of its own, with its own
interpreter; a process waits while another one works, and rounds are interleaved. All
PNGs are judged here, by one network in float32: a stimulus is accepted if its
prediction is within the tolerance of its target.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks._peers import table
from benchmarks._peers.process import Worker

ROUTES = ("lanes", "path")
SETTINGS = {
    "faccent": ("own", "equal", "tuned"),
    "horama": ("own", "authors", "equal", "tuned"),
    "batched": ("compile", "eager"),
}
WORKERS = ("ours", "ours-bfloat16", *SETTINGS)
CROPS = 4


def wanted(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Tool, setting and interpreter of every process."""
    found = []
    for tool in options.workers:
        if tool.startswith("ours"):
            precision = "bfloat16" if "-" in tool else "float32"
            python = options.ours_python if "-" in tool else sys.executable
            found += [("ours", f"{route}/{precision}", python) for route in ROUTES]
        else:
            settings = [
                s for s in SETTINGS[tool] if tool == "batched" or s in options.settings
            ]
            found += [(tool, setting, options.peers_python) for setting in settings]
    kept = [(*names, python) for *names, python in found if python]
    for tool, setting, python in found:
        if not python:
            print(f"  {tool} {setting}: left out, no interpreter was given")
    return kept


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Makes the problem, runs the rounds, judges."""
    from benchmarks._peers import problem
    from benchmarks._peers.judge import Judge

    folder = options.folder / options.problem
    about = problem.make(
        options.problem,
        folder,
        sites=options.sites,
        seeds=options.seeds,
        levels=options.levels,
        tolerance=options.tolerance,
    )
    judge, limits = Judge(folder, about), {k: getattr(options, k) for k in _LIMITS}
    machine = {"load": os.getloadavg(), **_machine()}
    workers = [Worker(*which, folder, limits) for which in wanted(options)]
    for worker in workers:
        worker.first()
    for number in range(1, max(options.rounds, options.peer_rounds) + 1):
        print(f"round {number}", flush=True)
        for worker in workers:
            slow = worker.record["tool"] in ("faccent", "horama")
            if number <= (options.peer_rounds if slow else options.rounds):
                worker.sweep(number, judge)
    by_step(workers, options)
    for worker in workers:
        worker.close()
    about["options"] = {name: str(value) for name, value in vars(options).items()}
    records = [worker.record for worker in workers]
    return {**about, "machine": machine, "workers": records}


def by_step(workers: list[Worker], options: argparse.Namespace) -> None:
    """Rounds of a few steps of ours and of its twin in torch, at one batch."""
    timed = [
        worker
        for worker in workers
        if worker.record["tool"] == "batched" or "lanes" in worker.record["setting"]
    ]
    for number in range(options.step_rounds + 1):
        for worker in timed:
            worker.time_steps(options.step_count, options.batch)
            if number == 0:
                worker.record["lane_steps"].clear()  # it compiled


_LIMITS = ("slots", "max_steps", "lane_seconds", "cores", "rate")


def _machine() -> dict[str, Any]:
    """Processor, cores, versions of the judge."""
    import jax

    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        cpu = names[0] if names else cpu
    return {"cpu": cpu, "cores": os.cpu_count(), "jax": jax.__version__}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--problem", choices=("small", "resnet50"), default="small")
    add("--peers-python", help="interpreter with torch, faccent and horama")
    add("--ours-python", default=sys.executable, help="that of bfloat16 (jax >= 0.12)")
    add("--workers", default=",".join(WORKERS), help="of " + ", ".join(WORKERS))
    add("--settings", default="own,authors,equal,tuned", help="of the peers")
    add("--sites", type=int, default=2)
    add("--seeds", type=int, default=2)
    add("--levels", type=int, default=5)
    add("--tolerance", type=float, default=0.02, help="fraction of the level range")
    add("--rounds", type=int, default=3, help="of ours and batched, after the first")
    add("--peer-rounds", type=int, default=1, help="of faccent and horama")
    add("--max-steps", type=int, default=300)
    add("--rate", type=float, default=0.2, help="learning rate of ours and batched")
    add("--lane-seconds", type=float, default=180, help="cap of one lane of a peer")
    add("--slots", type=int, default=2, help="of ours and of the batch in torch")
    add("--batch", type=int, default=8, help="lanes of the comparison by steps")
    add("--step-count", type=int, default=10, help="its steps in a row")
    add("--step-rounds", type=int, default=5, help="its rounds; -1 leaves it out")
    add("--cores", type=int, default=0, help="of every process (Linux); 0 for all")
    add("--folder", type=Path, default=Path("runs/peers"), help="fits are kept there")
    add("--out", type=Path, help="where to write all numbers (JSON)")
    options = parser.parse_args()
    for name, valid in (("workers", WORKERS), ("settings", SETTINGS["horama"])):
        given = getattr(options, name).split(",")
        if not set(given) <= set(valid):
            parser.error(f"--{name}: {given}, expected some of {', '.join(valid)}")
        setattr(options, name, given)
    options.folder = options.folder.resolve()
    return options


def main() -> None:
    """Runs and prints everything."""
    options = parse()
    results = run(options)
    workers = results["workers"]
    machine = results["machine"]
    load = ", ".join(f"{value:.2f}" for value in machine["load"])
    print(
        f"\n{options.problem}: {options.sites} sites x {options.seeds} seeds x "
        f"{options.levels} levels, tolerance {options.tolerance:g} of the level range; "
        f"{machine['cpu']}, {machine['cores']} cores, load {load}\n"
    )
    print(table.show(workers), end="\n\n")
    if options.step_rounds > 0:
        print(table.show_steps(workers, CROPS))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
