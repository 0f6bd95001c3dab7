"""A launcher in a process of its own that knows the networks of the tests.

python -m tests.sweeps.program WEIGHTS accentuate --config=... --workdir=...
"""

import os
import runpy
import sys
import time
from pathlib import Path

import numpy as np

from paramctl_jax.synthesis import work
from tests.nets import registered


def poison():
    """As the environment asks: a step that takes longer, a lane that is not finite."""
    pause = float(os.environ.get("TEST_PAUSE", "0"))
    over = work.Work.over

    def slow(self, step, *args, **options):
        def paused(*state):
            time.sleep(pause)
            return step(*state)

        return over(self, paused, *args, **options)

    if pause:
        work.Work.over = slow
    if broken := os.environ.get("TEST_NAN"):
        levels = work.Work._start

        def start(self):
            found = levels(self)
            for site, seed in [broken.split(",")]:
                if site in self.plan.grid.site_ids and seed in self.plan.grid.seed_ids:
                    at = self.plan.grid.site_ids.index(site)
                    found[at, self.plan.grid.seed_ids.index(seed)] = np.nan
            return found

        work.Work._start = start


if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [f"launch.{name}", *sys.argv[3:]]
    poison()
    with registered(folder):
        runpy.run_module(f"launch.{name}", run_name="__main__")
