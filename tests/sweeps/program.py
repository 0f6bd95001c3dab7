"""A launcher in a process of its own that knows the networks of the tests.

python -m tests.sweeps.program WEIGHTS accentuate --config=... --workdir=...
"""

import os
import runpy
import sys
import time
from pathlib import Path

import numpy as np

from paramctl_jax.synthesis import plan, work
from tests.nets import registered


def poison():
    """As the environment asks: steps that take longer, a lane that turns undefined."""
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
        expand = plan.Plan.expand

        def with_nan(self, lane):
            """The read-out of one lane's rows is undefined, once it is in its slot."""
            rows = expand(self, lane)
            if "start" in lane:  # a path, whose seed was predicted before
                sites, seeds = self.grid.site_ids, self.grid.seed_ids
                pairs = zip(lane["site"], lane["seed"], strict=True)
                at = [f"{sites[i]},{seeds[j]}" == broken for i, j in pairs]
                nan = np.full_like(rows["weights"], np.nan)
                rows["weights"] = np.where(np.c_[at], nan, rows["weights"])
            return rows

        plan.Plan.expand = with_nan


if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [f"launch.{name}", *sys.argv[3:]]
    poison()
    with registered(folder):
        runpy.run_module(f"launch.{name}", run_name="__main__")
