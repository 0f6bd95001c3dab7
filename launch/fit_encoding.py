"""Choose the most reliable sites and fit one encoding model per backbone.

    python -m launch.fit_encoding --config=configs/quickstart.py --workdir=runs/m1

Reads the recordings that the config names, or the in-silico subject's; writes
``encoding/``.
"""

from launch import _stage
from paramctl_jax import pipeline

if __name__ == "__main__":
    _stage.run(pipeline.fit_table)
