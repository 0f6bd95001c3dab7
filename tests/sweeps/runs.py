"""Launchers in processes of their own on the tiny sweep, and digests of results."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from paramctl_jax.artifacts import sha256_file

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "sweeps" / "tiny_config.py"
RESULTS = ("stimuli", "encoding", "recordings", "sweep/blocks", "sweep/plan.json")
BLOCKS = 8  # 2 models x 2 sites x (3 seeds in 2)


def environment(cache, devices=1, **more):
    """Of a child: its own devices, programs compiled once for all children."""
    level = "--xla_backend_optimization_level=0"
    count = f"--xla_force_host_platform_device_count={devices}"
    slurm = [name for name in os.environ if name.startswith("SLURM")]
    base = {k: v for k, v in os.environ.items() if k not in slurm}
    return {
        **base,
        "XLA_FLAGS": f"{level} {count}",
        "PARAMCTL_COMPILATION_CACHE": str(cache),
        "PYTHONPATH": str(ROOT),
        **{name: str(value) for name, value in more.items()},
    }


class Launcher:
    """Starts launchers on run directories that are fitted already."""

    def __init__(self, folder: Path):
        self.weights, self.cache = folder / "weights", folder / "cache"
        self.fitted, self._folder = folder / "fitted", folder
        self.weights.mkdir()
        self.finish("fit_encoding", self.fitted)

    def command(self, name, workdir, *flags):
        program = [sys.executable, "-m", "tests.sweeps.program", str(self.weights)]
        given = [f"--config={CONFIG}", f"--workdir={workdir}"]
        return [*program, name, *given, *map(str, flags)]

    def start(self, name, workdir, *flags, devices=1, **more):
        return subprocess.Popen(
            self.command(name, workdir, *flags),
            cwd=ROOT,
            env=environment(self.cache, devices, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, name, workdir, *flags, code=0, **more):
        """Runs to the end; returns what was printed."""
        return ended(self.start(name, workdir, *flags, **more), code)

    def fresh(self, workdir):
        """A copy of the fitted run directory."""
        shutil.copytree(self.fitted, workdir)
        return workdir


def ended(process, code=0, timeout=300):
    """Waits for the end; returns what was printed."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == code, f"{process.returncode}: {out}{err}"
    return out + err


def tree(workdir, folders=RESULTS):
    """Digests of all results."""
    return {
        path.relative_to(workdir).as_posix(): sha256_file(path)
        for folder in folders
        for path in sorted([workdir / folder, *(workdir / folder).rglob("*")])
        if path.is_file()
    }


def until(condition, timeout=120):
    """Waits for something to come true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.02)


def at_work(workdir):
    """Whether somebody holds a block."""
    return any((workdir / "sweep" / "claims").glob("net_*.json"))


def flip(path, bit):
    """Flips one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
