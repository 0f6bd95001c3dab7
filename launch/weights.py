"""The weights of every backbone: where they come from, fetched, and verified.

    python -m launch.weights --list
    python -m launch.weights --show=resnet50,dinov2_vitb14_reg
    python -m launch.weights --fetch=resnet50,resnet50_robust
    python -m launch.weights --verify=resnet50,resnet50_robust     # or --verify=all

What could not be confirmed is empty in the table. A fetched file is checked by its
published digest, converted to ``weights/NAME`` and removed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags

from launch import _main
from paramctl_jax.backbones import catalogue, fetch
from paramctl_jax.types import InputError

_LIST = flags.DEFINE_bool("list", False, "Print the table of all backbones.")
_SHOW = flags.DEFINE_list("show", [], "Names of which to print all that is known.")
_FETCH = flags.DEFINE_list("fetch", [], "Names to fetch and convert.")
_VERIFY = flags.DEFINE_list("verify", [], "Names to check, or 'all' that are here.")
_FOLDER = flags.DEFINE_string(
    "folder", None, "Where they are looked for and put; default weights/."
)
_PROGRESS = flags.DEFINE_bool("progress", True, "Show progress bars.")


def main(argv: Sequence[str]) -> None:
    """Does what the flags ask for, in the order list, show, fetch, verify."""
    del argv
    if not (_LIST.value or _SHOW.value or _FETCH.value or _VERIFY.value):
        raise InputError(
            "command line: expected --list, --show=NAMES, --fetch=NAMES or "
            "--verify=NAMES"
        )
    if _FOLDER.value:
        os.environ["PARAMCTL_WEIGHTS"] = _FOLDER.value
    if _LIST.value:
        print(catalogue.table())
    for name in _SHOW.value:
        print(catalogue.describe(name))
    for name in _FETCH.value:
        print(fetch.fetch_weights(name, progress=_PROGRESS.value), flush=True)
    names = catalogue.present() if _VERIFY.value == ["all"] else _VERIFY.value
    for name in names:
        print(catalogue.verify(name), flush=True)


if __name__ == "__main__":
    _main.run(main)
