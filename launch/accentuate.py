"""Accentuate the seed images along every encoding axis; write the stimulus set.

    python -m launch.accentuate --config=configs/quickstart.py --workdir=runs/m1

Reads ``encoding/``; writes ``levels.json`` and ``stimuli/``. With ``--dry_run`` it
prints what the sweep will cost and touches nothing.
"""

from launch import _stage
from paramctl_jax import dry_run, pipeline

if __name__ == "__main__":
    _stage.run(pipeline.accentuate, dry_run.dry_run)
