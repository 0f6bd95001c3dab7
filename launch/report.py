"""Score the recorded responses to the stimuli and write the report.

    python -m launch.report --config=configs/quickstart.py --workdir=runs/m1

Reads ``encoding/``, ``stimuli/`` and the second day's recordings; writes
``control_table.csv``, ``scores.json``, ``figures/`` and ``report.html``.
"""

from launch import _stage
from paramctl_jax import pipeline

if __name__ == "__main__":
    _stage.run(pipeline.score_and_report)
