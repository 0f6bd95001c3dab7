"""A pickle machine that can only build containers; it imports and calls nothing.

Python's unpicklers run what a file names: classes are imported, constructors, reducers
and ``__setstate__`` are called. This one has no such path. `pickletools.genops` splits
the stream into opcodes, a handler per opcode moves plain values on a stack, and every
name in the file becomes an `Inert` that remembers what would have been done to it.
Names with a meaning of their own (torch's tensor rebuild) are given by the caller as
Python functions.

What a hostile stream could still do is bounded: work by a budget in which every opcode
and every element that a call looks at counts one, memory by that budget and the size of
the stream (the memo is a dict: a huge index costs nothing), depth by the absence of
recursion, and the time of dictionary insertions by the kinds and the number of those
keys whose hash a file can choose.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from paramctl_jax.backbones.torch_inert import Inert, refuse

SIZE_LIMIT = 64 * 2**20  # bytes of one pickle
WORK_LIMIT = 2_000_000  # 1000 tensors with their optimiser need 80 000
KEY_LIMIT = 10_000  # keys that are not text: a text's hash is salted, theirs is not
NAME_LIMIT = 1000  # characters of a dotted name
_KEY_BITS = 64
_MEBIBYTES = f"{SIZE_LIMIT >> 20} MiB"
_INTEGER_BITS = 4096

Call = Callable[["Machine", tuple], Any]
_Handler = Callable[["Machine", Any], Any]


class Machine:
    """The stack, the marks and the memo of one run over one pickle.

    Attributes:
      calls: what to do when the stream calls one of these dotted names.
      persistent: gives the object of a persistent id; None refuses all ids.
      foreign: names in the stream that are not in `calls`.
    """

    def __init__(
        self, calls: Mapping[str, Call], persistent: Callable[[Any], Any] | None = None
    ) -> None:
        self.calls = calls
        self.persistent = persistent
        self.foreign: set[str] = set()
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self._work = 0
        self._free_keys = 0

    def run(self, file: io.BytesIO) -> Any:
        """The object pickled at the file's position, which moves past it.

        Sets come as lists, frozen sets as tuples.

        Raises:
          Refusal: a call that would execute something, an opcode that torch does not
            write, or more than any checkpoint needs.
          ValueError, LookupError, TypeError: the stream is damaged.
        """
        start = file.tell()
        for opcode, argument, position in pickletools.genops(file):
            self._work += 1
            if self._work > WORK_LIMIT or (position or 0) - start > SIZE_LIMIT:
                refuse(f"a pickle of more than {WORK_LIMIT} operations or {_MEBIBYTES}")
            if opcode.name == "STOP":
                break
            handler = _HANDLERS.get(opcode.name)
            if handler is None:
                refuse(f"pickle opcode {opcode.name}, which torch does not write")
            handler(self, argument)
        return self.stack.pop()

    def spend(self, work: int) -> None:
        """Counts elements looked at, so that no stream makes this slow."""
        self._work += work
        if self._work > WORK_LIMIT:
            refuse(f"a pickle of more than {WORK_LIMIT} operations or {_MEBIBYTES}")

    def insert(self, target: dict, key: Any, value: Any) -> None:
        """``target[key] = value`` in bounded time, whatever the key is."""
        if not isinstance(key, str):
            self._free_keys += 1
            if self._free_keys > KEY_LIMIT:
                refuse(f"more than {KEY_LIMIT} keys that are not text")
            if not _is_quick_key(key):
                key = Inert(f"key of type {type(key).__name__}", (key,))
        target[key] = value

    def named(self, module: str, name: str) -> Inert:
        """What stands for ``module.name``; nothing is looked up."""
        if len(module) + len(name) > NAME_LIMIT:
            refuse(f"a name of more than {NAME_LIMIT} characters")
        module = "builtins" if module == "__builtin__" else module
        inert = Inert(f"{module}.{name}")
        if inert.name not in self.calls:
            self.foreign.add(inert.name)
        return inert

    def call(self, function: Any, args: Any) -> Any:
        """What stands for ``function(*args)``: a tensor, a container, or an `Inert`."""
        if not isinstance(function, Inert) or not isinstance(args, tuple):
            refuse(f"a pickle that calls a {type(function).__name__}")
        if function.args is None and function.name in self.calls:
            sizes = (len(a) for a in args if isinstance(a, list | dict | tuple))
            self.spend(len(args) + sum(sizes))
            return self.calls[function.name](self, args)
        return function.called(args)

    def push(self, value: Any) -> None:
        """Puts a value on the stack as it is once the value has been made."""
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        """Takes everything since the last mark from the stack."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def last(self, count: int) -> tuple:
        """Takes the last `count` values from the stack."""
        if len(self.stack) < count:
            raise IndexError("the pickle takes more values than there are")
        taken = tuple(self.stack[-count:])
        del self.stack[-count:]
        return taken


def _is_quick_key(key: Any) -> bool:
    if isinstance(key, int):
        return key.bit_length() <= _KEY_BITS
    return key is None or isinstance(key, float | bytes | Inert)


def _update(machine: Machine, items: Any) -> None:
    target = machine.stack[-1]
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            machine.insert(target, key, value)
    elif not isinstance(target, Inert):
        refuse(f"a pickle that sets items of a {type(target).__name__}")


def _extend(machine: Machine, items: Any) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Inert):
        refuse(f"a pickle that appends to a {type(target).__name__}")


def _dict(machine: Machine, _: Any) -> None:
    items = machine.since_mark()
    machine.push({})
    _update(machine, items)


def _build(machine: Machine, _: Any) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    if isinstance(target, Inert):
        target.state = state
    elif isinstance(target, str | bytes | int | float | None):
        refuse(f"a pickle that sets the state of a {type(target).__name__}")


def _integer(machine: Machine, value: int) -> None:
    if value.bit_length() > _INTEGER_BITS:
        refuse(f"an integer of {value.bit_length()} bits")
    machine.push(value)


def _mark(machine: Machine, _: Any) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _global(machine: Machine, names: str) -> None:
    machine.push(machine.named(*names.split(" ", 1)))


def _stack_global(machine: Machine, _: Any) -> None:
    module, name = machine.last(2)
    if not isinstance(module, str) or not isinstance(name, str):
        refuse("a pickle that names a function by something else than text")
    machine.push(machine.named(module, name))


def _call_with_keywords(machine: Machine, _: Any) -> None:
    function, args, keywords = machine.last(3)
    if not isinstance(args, tuple):
        refuse("a pickle that calls with something else than a tuple")
    machine.spend(len(args))
    machine.push(machine.call(function, (*args, keywords) if keywords else args))


def _instance(machine: Machine, names: str) -> None:
    args = tuple(machine.since_mark())
    machine.push(machine.call(machine.named(*names.split(" ", 1)), args))


def _object(machine: Machine, _: Any) -> None:
    function, *args = machine.since_mark()
    machine.push(machine.call(function, tuple(args)))


def _storage(machine: Machine, _: Any) -> None:
    if machine.persistent is None:
        refuse("a storage where none belongs")
    machine.push(machine.persistent(machine.stack.pop()))


# fmt: off
_PUSHED = (
    "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
)
# fmt: on
# Absent on purpose: EXT1/2/4 (the process's own extension registry), PERSID (a storage
# id in text), STRING (protocol 0 of Python 2) and out-of-band buffers.
_HANDLERS: dict[str, _Handler] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: None),  # genops needs neither
    **dict.fromkeys(_PUSHED, lambda m, value: m.stack.append(value)),
    **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4"), _integer),
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda m, _: m.stack.append([])),
    "TUPLE1": lambda m, _: m.stack.append(m.last(1)),
    "TUPLE2": lambda m, _: m.stack.append(m.last(2)),
    "TUPLE3": lambda m, _: m.stack.append(m.last(3)),
    **dict.fromkeys(("TUPLE", "FROZENSET"), lambda m, _: m.push(tuple(m.since_mark()))),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "DICT": _dict,
    "MARK": _mark,
    "POP": lambda m, _: m.stack.pop() if m.stack else m.since_mark(),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "APPEND": lambda m, _: _extend(m, m.last(1)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda m, _: _extend(m, m.since_mark())),
    "SETITEM": lambda m, _: _update(m, m.last(2)),
    "SETITEMS": lambda m, _: _update(m, m.since_mark()),
    **dict.fromkeys(
        ("PUT", "BINPUT", "LONG_BINPUT"),
        lambda m, index: m.memo.__setitem__(index, m.stack[-1]),
    ),
    "MEMOIZE": lambda m, _: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"), lambda m, index: m.stack.append(m.memo[index])
    ),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda m, _: m.push(m.call(*m.last(2)))),
    "NEWOBJ_EX": _call_with_keywords,
    "INST": _instance,
    "OBJ": _object,
    "BUILD": _build,
    "BINPERSID": _storage,
}
