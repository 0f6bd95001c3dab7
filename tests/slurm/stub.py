"""Stands in for the launchers in a job: the same files and exit codes, no computation.

Called as they are, ``-m launch.accentuate --workdir=W --role=work``. A worker has every
n-th block, n being the number of tasks; it takes STUB_STEPS tenths of a second each.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = int(os.environ.get("STUB_STEPS", "1"))
stop = []


def put(path, text):
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def planned(workdir):
    path = workdir / "sweep" / "plan.json"
    if not path.exists():
        put(path, (workdir / "plan-to-be.json").read_text())
    models = json.loads(path.read_text())["models"].values()
    return [block["name"] for model in models for block in model["blocks"]]


def block(workdir, name):
    saved = workdir / "sweep" / "checkpoints" / name
    done = int(saved.read_text()) if saved.exists() else 0
    say(f"{name}: from step {done}")
    for step in range(done, STEPS):
        if stop:
            put(saved, str(step))
            say(f"{name}: saved at step {step}")
            sys.exit(75)
        time.sleep(0.1)
    put(workdir / "sweep" / "blocks" / f"{name}.npz", f"all of {name}")
    saved.unlink(missing_ok=True)


def work(workdir):
    task, count = (int(os.environ[f"SLURM_ARRAY_TASK_{x}"]) for x in ("ID", "COUNT"))
    put(workdir / "pids" / str(task), str(os.getpid()))
    for name in planned(workdir)[task::count]:
        if not (workdir / "sweep" / "blocks" / f"{name}.npz").exists():
            block(workdir, name)


def collect(workdir):
    names = {path.stem for path in (workdir / "sweep" / "blocks").glob("*.npz")}
    if missing := set(planned(workdir)) - names:
        say(f"{len(missing)} blocks are missing")
        sys.exit(1)
    put(workdir / "stimuli" / "SHA256SUMS", "")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    given = dict(word[2:].split("=", 1) for word in sys.argv[3:])
    folder = Path(given["workdir"])
    if sys.argv[2] == "launch.fit_encoding":
        put(folder / "encoding" / "SHA256SUMS", "")
    else:
        {"work": work, "collect": collect}[given["role"]](folder)
