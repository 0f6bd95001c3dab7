"""What a checkpoint costs: Orbax with digests of our own, to write and to read.

    python -m benchmarks.checkpoints --megabytes 5 200

Medians of five, on the file system of ``--folder``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from paramctl_jax.sweeps.checkpoints import load_checkpoint, save_checkpoint


def median(function: Callable[[], object]) -> float:
    """Seconds of a call, without the first one."""
    times = []
    for _ in range(6):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def main() -> None:
    """Prints a line per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[5, 200])
    parser.add_argument("--arrays", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    for size in given.megabytes:
        rng = np.random.default_rng(0)
        numbers = 1_000_000 * size // 4 // given.arrays
        tree = {
            f"{index:03d}": rng.random(numbers, np.float32)
            for index in range(given.arrays)
        }
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            path = Path(folder) / "m-00000"
            saved = median(partial(save_checkpoint, path, tree))
            loaded = median(partial(load_checkpoint, path))
        print(
            f"{size} MB in {given.arrays} arrays: {saved:.3f} s to write, "
            f"{loaded:.3f} s to read"
        )


if __name__ == "__main__":
    main()
