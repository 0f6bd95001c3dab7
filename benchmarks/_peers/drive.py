"""Drives a tool that knows no target: by the clean error's sign, to the first hit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch


class Session(Protocol):
    """One image under way in a tool."""

    def begin(self) -> torch.Tensor:
        """The image now, ``[3, size, size]``; the first half of the tool's step."""
        ...

    def step(self, sign: float) -> None:
        """The second half: raises the prediction if `sign` is 1, lowers it if -1."""
        ...


@dataclasses.dataclass
class Count:
    """What a sweep cost, in passes of one image or crop through the network."""

    search: int = 0
    clean: int = 0
    made: int = 0
    capped: int = 0


def to_bytes(image: torch.Tensor) -> torch.Tensor:
    """The 8-bit pixels that will be saved."""
    return (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)


def sweep(
    problem: Any,
    start: Callable[[int, int], Session],
    *,
    crops: int,
    max_steps: int,
    lane_seconds: float,
    lanes: list[tuple[int, int, int]] | None = None,
) -> dict[str, Any]:
    """Every lane from its seed image, one after the other.

    Args:
      problem: see `nets.Problem`.
      start: a fresh session of a site and seed.
      crops: passes forward and backward that a step takes.
      max_steps: after which a lane is given up.
      lane_seconds: likewise.
      lanes: None takes all.

    Returns:
      ``images`` uint8, ``reached``, ``steps``, ``seconds`` per lane, and the counts.
    """
    lanes = problem.lanes() if lanes is None else lanes
    count, kept = Count(), []
    for lane in lanes:
        begun = time.perf_counter()
        session = start(*lane[:2])
        found = _lane(problem, session, lane, count, max_steps, begun + lane_seconds)
        kept.append((*found, time.perf_counter() - begun))
        count.search = count.made * crops
    images, reached, steps, seconds = zip(*kept, strict=True)
    return {
        "lanes": np.asarray(lanes),
        "images": np.stack(images),
        "reached": np.asarray(reached),
        "steps": np.asarray(steps),
        "seconds": np.asarray(seconds),
        **dataclasses.asdict(count),
    }


def _lane(
    problem: Any,
    session: Session,
    lane: tuple[int, int, int],
    count: Count,
    max_steps: int,
    until: float,
) -> tuple[np.ndarray, float, int]:
    """The image nearest the target, what it reached, and the steps that were made."""
    site, _, level = lane
    target = float(problem.levels[site, level])
    best, nearest, reached = None, np.inf, np.nan
    for step in range(max_steps + 1):
        pixels = to_bytes(session.begin())
        with torch.no_grad():
            value = float(problem.predict(pixels[None] / 255, site)[0])
        count.clean += 1
        error = value - target
        if best is None or abs(error) < nearest:
            best, nearest, reached = pixels, abs(error), value
        if abs(error) <= problem.tolerance[site]:
            break
        late = time.perf_counter() > until
        if step == max_steps or late or not np.isfinite(value):
            count.capped += late
            break
        session.step(-float(np.sign(error)))
        count.made += 1
    return best.permute(1, 2, 0).numpy(), reached, step
