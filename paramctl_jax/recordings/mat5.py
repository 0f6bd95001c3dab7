"""MATLAB files of version 5 (``save -v6`` and ``-v7``), every length checked.

scipy's reader is compiled and believes the type codes in the file: a single flipped
byte can end the whole process. This one reads what recordings need, only names the
rest, and tells damage as an error.

Source: MathWorks, MAT-File Format, version 5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np

from paramctl_jax.recordings.mat_values import (
    Value,
    foreign_object,
    foreign_sparse,
    text_rows,
)
from paramctl_jax.types import InputError

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_COMPLEX = 0x0800
_DEEPEST = 16
_MOST_NAMES = 4096  # bytes of a compressed variable that are enough for its name
_TYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"},
    **{12: "i8", 13: "u8", 16: "u1", 17: "u2", 18: "u4"},
}
_CLASSES = {
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"},
    **{14: "i8", 15: "u8"},
}


class _DamageError(ValueError):
    """A length or a code that the format does not allow."""


class _Reader:
    """Elements of a stretch of bytes, in the file's byte order."""

    def __init__(self, data: memoryview, order: str):
        self.data, self.order, self.at = data, order, 0

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> memoryview:
        if size < 0 or size > self.left():
            raise _DamageError(f"{size} bytes expected, {self.left()} left")
        self.at += size
        return self.data[self.at - size : self.at]

    def element(self) -> tuple[int, memoryview]:
        """Type code and bytes of the next element; small ones share their tag."""
        first, size = np.frombuffer(self.take(8), self.order + "u4").tolist()
        if first >> 16:
            self.at -= 4
            small = self.take(4)
            if first >> 16 > 4:
                raise _DamageError(f"a small element of {first >> 16} bytes")
            return first & 0xFFFF, small[: first >> 16]
        content = self.take(size)
        if first != _COMPRESSED:
            self.take(min(-size % 8, self.left()))
        return first, content

    def numbers(self) -> np.ndarray:
        """The next element as one axis of numbers."""
        code, content = self.element()
        kind = np.dtype(self.order + _TYPES.get(code, "V"))
        if kind.kind == "V" or len(content) % kind.itemsize:
            raise _DamageError(f"no numbers in an element of type {code}")
        return np.frombuffer(content, kind)

    def text(self) -> str:
        return bytes(self.element()[1]).decode("utf-8", "replace").rstrip("\0")

    def inside(self, content: memoryview) -> _Reader:
        return _Reader(content, self.order)


def read_mat5(path: Path, wanted: Collection[str] | None) -> dict[str, Value]:
    """Variables of a version 5 file by name; all of them if `wanted` is None.

    Args:
      path: of the file.
      wanted: names of the variables to read; the others are passed over.

    Returns:
      Their values; names that are not in the file are left out.

    Raises:
      InputError: naming the file: not of version 5, truncated or damaged.

    Example:
      >>> import scipy.io, tempfile
      >>> path = Path(tempfile.mkdtemp()) / "x.mat"
      >>> scipy.io.savemat(path, {"rates": np.ones((2, 3), np.int16), "note": "ü"})
      >>> {name: value.tolist() for name, value in read_mat5(path, None).items()}
      {'rates': [[1, 1, 1], [1, 1, 1]], 'note': ['ü']}
    """
    data = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]), "")
    version = np.frombuffer(data[124:126], order + "u2").tolist() if order else None
    if version != [0x0100]:
        raise InputError(
            f"{path}: not a MATLAB file of version 5 or 7.3, or truncated; copy it "
            "again, or save it in MATLAB with -v7 or -v7.3"
        )
    found = {}
    try:
        for name, value in _variables(_Reader(data[_HEADER:], order)):
            if name and (wanted is None or name in wanted):
                found[name] = value()
    except (_DamageError, zlib.error, UnicodeError, MemoryError) as error:
        raise InputError(
            f"{path}: truncated or damaged MATLAB file ({error}); copy it again"
        ) from error
    return found


def _variables(file: _Reader) -> Iterator[tuple[str, Callable[[], Value]]]:
    """Every variable's name, and what reads its value."""
    while file.left() >= 8:
        code, content = file.element()
        if code == _COMPRESSED:
            head = file.inside(_inflate(content, most=_MOST_NAMES))
            head.take(8)
            yield _name(head), lambda content=content: _inflated(file, content)
        elif code == _MATRIX:
            yield (
                _name(file.inside(content)),
                lambda content=content: _matrix(file.inside(content), 0),
            )
        else:
            raise _DamageError(f"a variable of type {code}")
    if any(file.take(file.left())):
        raise _DamageError("the last variable is cut short")


def _inflate(content: memoryview, most: int = 0) -> memoryview:
    """Decompressed bytes, at most so many; all of them must match their checksum."""
    inflater = zlib.decompressobj()
    data = inflater.decompress(content, most)
    if not most and not inflater.eof:
        raise _DamageError("a compressed variable is cut short")
    return memoryview(data)


def _inflated(file: _Reader, content: memoryview) -> Value:
    code, matrix = file.inside(_inflate(content)).element()
    if code != _MATRIX:
        raise _DamageError(f"a compressed variable of type {code}")
    return _matrix(file.inside(matrix), 0)


def _head(matrix: _Reader) -> tuple[int, bool, tuple[int, ...], str]:
    """Class, whether complex, lengths of the axes, name."""
    flags = matrix.numbers()
    if flags.size != 2 or flags.dtype.kind != "u":
        raise _DamageError("an array without flags")
    kind, is_complex = int(flags[0]) & 0xFF, bool(int(flags[0]) & _COMPLEX)
    if kind == _OPAQUE:
        return kind, False, (1, 1), matrix.text()
    lengths = tuple(int(length) for length in matrix.numbers())
    if len(lengths) < 2 or min(lengths) < 0 or len(lengths) > 32:
        raise _DamageError(f"axes of lengths {lengths[:8]}")
    return kind, is_complex, lengths, matrix.text()


def _name(matrix: _Reader) -> str:
    return _head(matrix)[3] if matrix.left() else ""


def _matrix(matrix: _Reader, depth: int) -> Value:
    if not matrix.left():  # MATLAB's short form of []
        return np.zeros((0, 0))
    if depth > _DEEPEST:
        raise _DamageError("cells or structs nested too deeply")
    kind, is_complex, lengths, _ = _head(matrix)
    if kind in _CLASSES:
        values = _array(matrix, lengths, _CLASSES[kind])
        imaginary = _array(matrix, lengths, _CLASSES[kind]) if is_complex else None
        return values if imaginary is None else values + 1j * imaginary
    if kind == _CHAR:
        return _char(matrix, lengths)
    if kind == _CELL:
        return [_next(matrix, depth) for _ in range(_count(matrix, lengths))]
    if kind == _STRUCT:
        return _struct(matrix, lengths, depth)
    if kind == _SPARSE:
        return foreign_sparse()
    if kind == _FUNCTION:
        return foreign_object("function_handle")
    if kind == _OPAQUE:
        matrix.text()
    if kind in (_OBJECT, _OPAQUE):
        return foreign_object(matrix.text())
    raise _DamageError(f"an array of class {kind}")


def _array(matrix: _Reader, lengths: tuple[int, ...], kind: str) -> np.ndarray:
    """Numbers, which MATLAB may have stored in a smaller type than their class."""
    stored = matrix.numbers()
    if stored.size != math.prod(lengths):
        raise _DamageError(f"{stored.size} numbers for axes of lengths {lengths}")
    return stored.astype(kind).reshape(lengths, order="F")


def _char(matrix: _Reader, lengths: tuple[int, ...]) -> np.ndarray:
    code, content = matrix.element()
    if not lengths[0] or not math.prod(lengths):
        return np.asarray([""])
    kind = np.dtype(matrix.order + _TYPES.get(code, "V"))
    if kind.kind == "V" or len(content) % kind.itemsize:
        raise _DamageError(f"no text in an element of type {code}")
    if code == 16:
        encoded = bytes(content).decode("utf-8").encode("utf-16-le")
        units = np.frombuffer(encoded, "<u2")
    else:
        units = np.frombuffer(content, kind).astype(np.uint16)
    if lengths[0] == 1:  # a character beyond the BMP is two units, but may count once
        return text_rows(units[None])
    if units.size != math.prod(lengths):
        raise _DamageError(f"{units.size} characters for axes of lengths {lengths}")
    return text_rows(units.reshape(lengths[0], -1, order="F"))


def _count(matrix: _Reader, lengths: tuple[int, ...]) -> int:
    """Number of entries, each of which takes at least its tag of 8 bytes."""
    if math.prod(lengths) * 8 > matrix.left():
        raise _DamageError(f"too few bytes for axes of lengths {lengths}")
    return math.prod(lengths)


def _next(matrix: _Reader, depth: int) -> Value:
    code, content = matrix.element()
    if code != _MATRIX:
        raise _DamageError(f"an entry of type {code}")
    return _matrix(matrix.inside(content), depth + 1)


def _struct(matrix: _Reader, lengths: tuple[int, ...], depth: int) -> Value:
    width = matrix.numbers()
    code, names = matrix.element()
    step = int(width[0]) if width.size == 1 else 0
    if code not in (1, 2) or step < 1 or len(names) % step:
        raise _DamageError("a struct without names of its fields")
    fields = [
        bytes(names[at : at + step]).split(b"\0")[0].decode("utf-8")
        for at in range(0, len(names), step)
    ]
    entries = _count(matrix, (*lengths, len(fields))) // max(len(fields), 1)
    values = [[_next(matrix, depth) for _ in fields] for _ in range(entries)]
    columns = zip(*values, strict=True) if values else [[] for _ in fields]
    return {
        field: column[0] if entries == 1 else list(column)
        for field, column in zip(fields, columns, strict=True)
    }
