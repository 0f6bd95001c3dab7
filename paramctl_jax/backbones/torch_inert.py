"""Stand-ins for what a pickle names, and which of the names would execute something.

Nothing here is ever imported or called: an `Inert` only remembers. The list of
executing names decides no safety; it turns an attempt into an error instead of a
curious object.
"""

from __future__ import annotations

from typing import Any, NoReturn

_NAME_LIMIT = 200
# Called, these run code, reach the network or touch files; legitimate checkpoints may
# mention them (dill writes the modules that a closure uses) but call none.
# fmt: off
_EXECUTING_MODULES = frozenset((
    "os", "posix", "nt", "subprocess", "commands", "popen2", "pty", "sys", "shutil",
    "runpy", "importlib", "ctypes", "_ctypes", "pickle", "_pickle", "marshal", "pdb",
    "timeit", "socket", "asyncio", "urllib", "ftplib", "smtplib", "webbrowser",
))
_EXECUTING_BUILTINS = frozenset((
    "eval", "exec", "execfile", "compile", "__import__", "reload", "apply", "open",
    "file", "input", "raw_input", "breakpoint", "exit", "quit",
))
# fmt: on
_EXECUTING = frozenset(("io.open", "_io.open", "io.FileIO", "_io.FileIO", "torch.load"))
_IMPORTERS = frozenset(("dill._dill._import_module", "dill.dill._import_module"))
_GETTERS = frozenset(
    ("builtins.getattr", "dill._dill._get_attr", "dill.dill._get_attr")
)


class Refusal(ValueError):
    """The first reason why a stream is not read; names no file."""


class Inert:
    """Stands for an object of the file that is neither a tensor nor a container.

    Attributes:
      name: dotted name of the function or class, with ``()`` for what a call returned.
      args: what it would have been called with; None if it was only named.
      state: what its ``__setstate__`` or ``__dict__`` would have been given.
    """

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: tuple | None = None) -> None:
        self.name = name[-_NAME_LIMIT:]
        self.args = args
        self.state: Any = None

    def __repr__(self) -> str:
        return f"<inert {printable(self.name)}>"

    def called(self, args: tuple) -> Inert:
        """What stands for the result of calling this.

        Raises:
          Refusal: the call would execute something.
        """
        if executes(self.name):
            refuse(f"tries to call {self.name}; nothing was run")
        return Inert(_result_name(self.name, args), args)


def printable(text: str) -> str:
    """One line of ASCII, whatever the text holds."""
    return text.encode("unicode_escape").decode()


def refuse(reason: str) -> NoReturn:
    """Stops with a reason, made one line of printable characters."""
    raise Refusal(printable(reason))


def executes(name: str) -> bool:
    """Whether a dotted name is one whose call would run code or touch the system.

    Example:
      >>> executes("logging.os.system"), executes("torch.Size")
      (True, False)
    """
    parts = name.split(".")
    return (
        name in _EXECUTING
        or not _EXECUTING_MODULES.isdisjoint(parts)
        or (
            parts[-1] in _EXECUTING_BUILTINS
            and not {"builtins", "__builtins__"}.isdisjoint(parts)
        )
    )


def _result_name(name: str, args: tuple) -> str:
    """Follows imports and attributes by name, so that what they lead to is known."""
    if name in _IMPORTERS and args and isinstance(args[0], str):
        return args[0][:_NAME_LIMIT]
    if name in _GETTERS and len(args) >= 2 and isinstance(args[1], str):
        owner = args[0].name if isinstance(args[0], Inert) else type(args[0]).__name__
        return f"{owner}.{args[1][:_NAME_LIMIT]}"
    return f"{name.removesuffix('()')}()"
