"""What the user is told when something cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: the file or flag, what was expected, what was found and,
    where there is one, the next step. Launchers print it and exit with code 1.
    """


class CheckpointError(InputError):
    """A weights file that cannot be used, or that cannot be trusted.

    The message names the file and the first reason; nothing in the file was executed.
    """


class FailedError(InputError):
    """The work is finished, and a part of it has failed; exit code 2."""


def unknown(value: str, valid: Iterable[str], what: str) -> InputError:
    """An error that lists the valid names and the one most likely meant.

    Example:
      >>> print(unknown("lop", ("loo", "gcv"), "selection"))
      unknown selection 'lop'; did you mean 'loo'? valid: loo, gcv
    """
    names = list(valid)
    close = difflib.get_close_matches(value, names, n=1)
    meant = f" did you mean {close[0]!r}?" if close else ""
    return InputError(f"unknown {what} {value!r};{meant} valid: {', '.join(names)}")


def indices_of(
    wanted: Sequence[str], available: Sequence[str], what: str
) -> Int[np.ndarray, " wanted"]:
    """Positions of `wanted` ids within `available`, in the order of `wanted`.

    Raises:
      InputError: naming the first ids that are not available.
    """
    position = {name: index for index, name in enumerate(available)}
    missing = [name for name in wanted if name not in position]
    if missing:
        raise InputError(
            f"{what}: {len(missing)} of {len(wanted)} ids are not there, first "
            f"{missing[:3]}; the {len(available)} available start with "
            f"{list(available[:3])}"
        )
    return np.asarray([position[name] for name in wanted], dtype=np.int64)
