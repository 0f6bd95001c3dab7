"""Collects finished lanes into the arrays of a `Sweep`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

from paramctl_jax.synthesis.engine import LaneState
from paramctl_jax.types import EncodingModel, ImageSet, Sweep, Traces

HIT, UNREACHED, NONFINITE = "hit", "unreached", "nonfinite"


class Results:
    """Images and predictions of all lanes; a lane that was never worked on is its seed.

    Args:
      seeds: seed images.
      start: predictions of the seed images, ``[site, seed]``.
      n_levels: levels per site.
    """

    def __init__(
        self, seeds: ImageSet, start: Float[np.ndarray, "site seed"], n_levels: int
    ):
        self.shape = (*start.shape, n_levels)
        self.start = start.astype(np.float64)
        pixels = seeds.pixels[None, :, None]
        self.images = np.broadcast_to(pixels, (*self.shape, *pixels.shape[3:])).copy()
        self.reached = np.repeat(self.start[..., None], n_levels, axis=-1)
        self.step = np.zeros(self.shape, np.int64)
        self.finite = np.isfinite(self.reached)

    def put(
        self,
        lane: tuple[int, ...],
        pixels: UInt8[np.ndarray, "size size 3"],
        prediction: float,
        step: int,
    ) -> None:
        """Stores the image of one (site, seed, level)."""
        self.images[lane] = pixels
        self.reached[lane] = prediction
        self.step[lane] = step

    def sweep(
        self,
        model: EncodingModel,
        site_ids: tuple[str, ...],
        seeds: ImageSet,
        levels: Float[np.ndarray, "site level"],
        tolerance: Float[np.ndarray, " site"],
        traces: Traces,
        passes: dict[str, int],
    ) -> Sweep:
        """The finished sweep."""
        error = np.abs(self.reached - levels[:, None, :])
        # the loop compared in float32; half a float32 step of the level is its doubt
        hit = error <= tolerance[:, None, None] + 1e-6 * np.abs(levels[:, None, :])
        reason = np.where(hit, HIT, np.where(self.finite, UNREACHED, NONFINITE))
        return Sweep(
            model=model,
            site_ids=site_ids,
            seeds=seeds,
            targets=levels,
            start=self.start,
            images=self.images,
            reached=self.reached,
            step=self.step,
            hit=hit,
            stop_reason=reason,
            tolerance=tolerance,
            traces=traces,
            passes=passes,
        )


class Recorder:
    """Predictions over the steps and transparency maps of every row of the table.

    Args:
      table: of lanes or paths, one row each.
      maps: whether maps are kept, and their side.
    """

    def __init__(self, table: dict[str, np.ndarray], maps: int):
        self._table = table
        n_rows = len(table["site"])
        self._predictions: list[list[float]] = [[float(x)] for x in table["start"]]
        self._maps = np.zeros((n_rows, maps, maps), np.uint8) if maps else None
        self.steps = 0

    def watch(self, state: LaneState, occupant: Int[np.ndarray, " slot"]) -> None:
        """After every step: the prediction of each lane that moved."""
        prediction, step = np.asarray(state.prediction), np.asarray(state.step)
        for slot in np.flatnonzero(occupant >= 0):
            seen = self._predictions[occupant[slot]]
            if step[slot] == len(seen):  # else it is finished and rests
                seen.append(float(prediction[slot]))

    def end(self, row: int, state: LaneState, slot: int) -> None:
        """When a row ends: its map."""
        self.steps += int(state.step[slot])
        if self._maps is None:
            return
        seen = np.asarray(state.transparency[slot])
        highest = float(seen.max()) if np.isfinite(seen).all() else 0.0
        self._maps[row] = np.round(255 * seen / (highest or 1.0)).astype(np.uint8)

    def traces(self) -> Traces:
        """All rows, in the order of site, seed, level."""
        longest = max((len(seen) for seen in self._predictions), default=0)
        prediction = np.full((len(self._predictions), longest), np.nan, np.float32)
        for row, seen in enumerate(self._predictions):
            prediction[row, : len(seen)] = seen
        columns = ("site", "seed", "level", "direction")
        keys = [self._table[name].astype(np.int64) for name in columns]
        order = np.lexsort(keys[::-1])
        return Traces(
            *(key[order] for key in keys),
            prediction=prediction[order],
            transparency=None if self._maps is None else self._maps[order],
        )
