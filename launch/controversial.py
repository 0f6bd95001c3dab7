"""Drive the seed images apart for two models: up for one, down for the other.

    python -m launch.controversial --config=configs/controversial.py --workdir=runs/m1

Reads ``encoding/``; writes ``controversial/``, PNGs that every model judged and their
table. Record them with the other stimuli; `launch.report` then says which of the models
the responses follow.
"""

from launch import _stage
from paramctl_jax import contesting

if __name__ == "__main__":
    _stage.run(contesting.contest)
