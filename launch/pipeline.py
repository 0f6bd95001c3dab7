"""The whole loop on one command.

    python -m launch.pipeline --config=configs/quickstart.py --workdir=runs/quickstart

Ends by printing the encoding and control table and the path of ``report.html``. The
same command again continues an interrupted run. Settings with ``variants`` are several
runs, in ``WORKDIR/variants/NAME``, and a table and report of them all.
"""

from launch import _stage
from paramctl_jax import dry_run, pipeline, study

if __name__ == "__main__":
    _stage.run(
        pipeline.run_stages,
        dry_run.dry_run,
        before=pipeline.fit,
        study=study.run_study,
    )
