"""What every launcher shares: flags in, one clear line and an exit code out.

Exit codes: 0 done, 1 usage or data error, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from paramctl_jax.types import InputError


def run(main: Callable[[Sequence[str]], Any]) -> None:
    """Runs ``main(argv)`` under absl; user errors end in one line and exit code 1."""
    logging.set_verbosity(logging.WARNING)  # libraries log every file they touch
    try:
        app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)
    except InputError as error:
        sys.exit(_say(error))


def _guarded(main: Callable[[Sequence[str]], Any], argv: Sequence[str]) -> int:
    if len(argv) > 1:
        return _say(f"unexpected arguments {argv[1:]}; everything is given as --flag")
    try:
        main(argv)
    except InputError as error:
        return _say(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses flags; a misspelt config override names the one that was meant."""
    try:
        return list(flags.FLAGS(list(argv), known_only=False))
    except flags.Error as error:
        raise InputError(f"command line: {_one_line(error)}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"config override: {_one_line(error)}") from error
    except FileNotFoundError as error:
        raise InputError(f"--config: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    text = str(error.args[0]) if error.args else str(error)
    return " ".join(text.split())


def _say(message: object) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def required(**flag_values: Any) -> list[Any]:
    """The values of flags that a launcher cannot do without, in the order given.

    Raises:
      InputError: naming the flags that were not given.
    """
    missing = [f"--{name}" for name, value in flag_values.items() if value is None]
    if missing:
        raise InputError(f"command line: expected {', '.join(missing)}; not given")
    return list(flag_values.values())
