"""Variables of MATLAB files of version 5 and 7.3 (HDF5) in one neutral form.

Nothing in a file is ever executed: function handles and objects are only named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]

from paramctl_jax.recordings.hdf5 import open_hdf5
from paramctl_jax.recordings.mat5 import read_mat5
from paramctl_jax.recordings.mat_values import (
    Foreign,
    Value,
    foreign_object,
    foreign_sparse,
    text_rows,
)
from paramctl_jax.types import InputError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USERBLOCK = 512


def read_values(path: Path, names: Sequence[str]) -> dict[str, Value]:
    """The named variables of a MATLAB file, those that are there.

    The content, not the suffix, says which version it is.

    Args:
      path: of the file, of any version from 5 (``-v6``, ``-v7``) to ``-v7.3``.
      names: of variables; a dot reaches into a struct, ``"data.rates"``.

    Returns:
      Values by name; names that are not in the file are left out.

    Raises:
      InputError: naming the file: missing, truncated or not of MATLAB.

    Example:
      >>> import scipy.io, tempfile
      >>> path = Path(tempfile.mkdtemp()) / "x.mat"
      >>> scipy.io.savemat(path, {"data": {"ids": np.array(["a", "b"], object)}})
      >>> read_values(path, ["data.ids", "absent"])
      {'data.ids': [array(['a'], dtype='<U1'), array(['b'], dtype='<U1')]}
    """
    if _is_hdf5(path):
        with open_hdf5(path) as file:
            nodes = {name: _walk(file, name) for name in names}
            return {
                name: _from_hdf5(node)
                for name, node in nodes.items()
                if node is not None
            }
    variables = read_mat5(path, {name.split(".")[0] for name in names})
    values = {name: _walk(variables, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def list_names(path: Path) -> list[str]:
    """Names of all variables, and of the fields of those that are structs."""
    if _is_hdf5(path):
        with open_hdf5(path) as file:
            return _with_fields(file)
    return _with_fields(read_mat5(path, None))


def _with_fields(variables: Any) -> list[str]:
    return [
        full
        for name in map(_label, variables)
        if not name.startswith("#")
        for full in [name, *(f"{name}.{f}" for f in _fields(variables.get(name)))]
    ]


def _fields(value: Any) -> list[str]:
    return [*map(_label, value)] if isinstance(value, dict | h5py.Group) else []


def _label(name: str | bytes) -> str:
    """h5py gives a name that is not UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(_USERBLOCK + len(_HDF5_SIGNATURE))
    except OSError as error:
        found = "a folder" if path.is_dir() else error.strerror
        raise InputError(f"{path}: expected a MATLAB file, found {found}") from error
    behind = head[_USERBLOCK:] == _HDF5_SIGNATURE
    return behind or head.startswith((_HDF5_SIGNATURE, b"MATLAB 7.3 MAT-file"))


def _walk(variables: Any, name: str) -> Any | None:
    """The variable or the field of a struct, in a dict or in HDF5 groups."""
    node = variables
    for part in name.split("."):
        if not isinstance(node, dict | h5py.Group) or part not in node:
            return None
        node = node[part]
    return node


def _from_hdf5(node: Any, above: frozenset[int] = frozenset()) -> Value:
    """The value of a dataset or a group; `above` holds the cells that it lies in."""
    if node is None:
        return Foreign("an empty reference", "save the file anew")
    address = h5o.get_info(node.id).addr
    if address in above:
        return Foreign("a cell array that contains itself", "save the file anew")
    above |= {address}
    kind = node.attrs.get("MATLAB_class", b"")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    if "MATLAB_sparse" in node.attrs:
        return foreign_sparse()
    if "MATLAB_object_decode" in node.attrs or kind == "function_handle":
        return foreign_object(kind)
    if isinstance(node, h5py.Group):
        return {_label(n): _from_hdf5(inner, above) for n, inner in node.items()}
    if not isinstance(node, h5py.Dataset):
        return Foreign("a named HDF5 type", "save the file anew")
    if "MATLAB_empty" in node.attrs:  # the dataset holds the axes' lengths
        empty = {"char": np.asarray([""]), "cell": []}
        return empty.get(kind, np.zeros((0, 0)))
    if h5py.check_ref_dtype(node.dtype) is not None:
        # HDF5 reverses MATLAB's axes, so that C order here is column-major there.
        references = np.ravel(node[()])
        nodes = [node.file[entry] if entry else None for entry in references]
        return [_from_hdf5(inner, above) for inner in nodes]
    if not kind:
        return Foreign(
            "an array without MATLAB_class, of unknown order of axes",
            "save it in MATLAB, or name the file .h5 and follow that layout",
        )
    if kind == "char":
        units = np.atleast_2d(np.asarray(node[()]).T)
        if units.dtype.kind not in "iu":
            return Foreign(f"text stored as {units.dtype}", "save the file anew")
        return text_rows(units.reshape(len(units), -1))
    return np.asarray(node[()]).T
