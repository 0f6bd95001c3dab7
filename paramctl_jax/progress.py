"""One progress bar for every long stage: live on a terminal, rare lines in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

_LOG_INTERVAL = 30.0  # seconds between lines where nobody watches


def bar(items: Any = None, *, total: int | None = None, label: str, show: bool) -> tqdm:
    """A progress bar over `items`, or over `total` hand-counted ones.

    Args:
      items: an iterable, or None to call ``update`` by hand.
      total: number of items, where it cannot be taken from `items`.
      label: what is being done, e.g. ``"small_robust: lanes"``.
      show: False keeps quiet.
    """
    live = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=label,
        disable=not show,
        mininterval=0.1 if live else _LOG_INTERVAL,
        maxinterval=10.0 if live else 2 * _LOG_INTERVAL,
        dynamic_ncols=live,
    )
