"""Compare every file of a run directory with its digest; name what is damaged.

    python -m launch.verify --workdir=runs/m1

Exit code 1 where something is damaged or missing. Nothing is changed: the command that
made the directory, given again, makes anew just what is named here.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from launch import _main
from paramctl_jax.verification import verify

_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory.")
_INPUTS = flags.DEFINE_bool("inputs", True, "Digest weights, images, recordings too.")


def main(argv: Sequence[str]) -> int:
    """Prints the verdict."""
    del argv
    (workdir,) = _main.required(workdir=_WORKDIR.value)
    found = verify(workdir, _INPUTS.value)
    print(found)
    return _main.WRONG if found.faults else _main.DONE


if __name__ == "__main__":
    _main.run(main)
