"""Files of other processes, read without trusting them to be whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

_LARGEST = 1e15  # that is still a count or a time


def read(path: Path) -> Any:
    """JSON; None where it is missing, or damaged, or being written."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def mapping(content: Any) -> Mapping[str, Any]:
    """The content where it is a mapping, else an empty one."""
    return content if isinstance(content, Mapping) else {}


def text(content: Mapping[str, Any], *names: str) -> str:
    """The first of the values that is a text, else an empty one.

    Example:
      >>> text({"owner": 3, "id": "node1-42"}, "owner", "id")
      'node1-42'
    """
    values = (content.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), "")


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number to reckon with.

    Example:
      >>> is_number(3), is_number(True), is_number(float("nan")), is_number(10**400)
      (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_LARGEST < value < _LARGEST


def names(folder: Path, suffix: str) -> set[str]:
    """Names of the files that are in place, without the suffix."""
    return {path.name.removesuffix(suffix) for path in folder.glob(f"[!.]*{suffix}")}
