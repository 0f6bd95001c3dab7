"""What every launcher shares: flags in, one clear line and an exit code out.

Exit codes: 0 done, 1 usage or data error, 2 finished with failed lanes, 75 saved and to
be continued by the same command, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from paramctl_jax import history, stopping
from paramctl_jax.compilation import use_compilation_cache
from paramctl_jax.types import FailedError, InputError

DONE, WRONG, FAILED, CONTINUE, INTERRUPTED = 0, 1, 2, 75, 130


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs ``main(argv)`` under absl; user errors end in one line and exit code 1.

    Args:
      main: returns an exit code, or None for 0.
    """
    logging.set_verbosity(logging.WARNING)  # libraries log every file they touch
    warnings.showwarning = _one_line_warning
    use_compilation_cache()
    stopping.listen()
    try:
        app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)
    except InputError as error:
        sys.exit(_say(error))


def _guarded(main: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    if len(argv) > 1:
        return _say(f"unexpected arguments {argv[1:]}; everything is given as --flag")
    code, reason = INTERRUPTED, "crashed"
    try:
        code, reason = _coded(main, argv)
    finally:
        history.end_all(code, reason)
    return code


def _coded(
    main: Callable[[Sequence[str]], int | None], argv: Sequence[str]
) -> tuple[int, str]:
    """The exit code of ``main``, and why."""
    try:
        return main(argv) or DONE, ""
    except InputError as error:
        code = FAILED if isinstance(error, FailedError) else WRONG
        return _say(error, code), str(error)
    except stopping.Stopped as stopped:
        print(f"{stopped}; the same command goes on from here", file=sys.stderr)
        return CONTINUE, str(stopped)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED, "interrupted"


def _one_line_warning(message: Any, category: Any, *_: Any, **__: Any) -> None:
    """What a user should know, without the line of code that said it."""
    kind = "" if category is UserWarning else f"{category.__name__}: "
    print(f"note: {kind}{_one_line(Warning(str(message)))}", file=sys.stderr)


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses flags; a misspelt config override names the one that was meant."""
    try:
        return list(flags.FLAGS(list(argv), known_only=False))
    except flags.Error as error:
        raise InputError(f"command line: {_one_line(error)}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"unknown or unfit setting: {_one_line(error)}") from error
    except (SyntaxError, ImportError, NameError, OSError) as error:
        kind = type(error).__name__
        raise InputError(f"--config: {kind}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    """The message without line breaks, quotes and tracebacks of other libraries."""
    text = str(error.args[0] if len(error.args) == 1 else error).strip()
    if "Traceback" in text:
        text = text.splitlines()[-1]
    return " ".join(text.replace("\\n", " ").replace("\\'", "'").split()).strip("'\"")


def _say(message: object, code: int = WRONG) -> int:
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def settings(holder: Any) -> dict[str, Any] | None:
    """The config of a flag as a plain mapping; None where it was not given.

    Raises:
      InputError: the file cannot be loaded.
    """
    try:
        return None if holder.value is None else holder.value.to_dict()
    except OSError as error:  # said by ml_collections when the value is first used
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"--config: cannot be loaded ({reason})") from error


def required(**flag_values: Any) -> list[Any]:
    """The values of flags that a launcher cannot do without, in the order given.

    Raises:
      InputError: naming the flags that were not given.
    """
    missing = [f"--{name}" for name, value in flag_values.items() if value is None]
    if missing:
        raise InputError(f"command line: expected {', '.join(missing)}; not given")
    return list(flag_values.values())
