"""Collects finished lanes into the arrays of a `Sweep`."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from paramctl_jax.synthesis.state import LaneState
from paramctl_jax.types import EncodingModel, ImageSet, Sweep, Traces

HIT, UNREACHED, NONFINITE = "hit", "unreached", "nonfinite"
MAP_SIDE = 128
_KEPT = ("images", "reached", "step", "finite")


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
        self.known = np.zeros(self.shape, bool)

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
        self.known[lane] = True

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `restore` takes: the lanes that are known."""
        kept = {name: getattr(self, name)[self.known] for name in _KEPT}
        return {"known": self.known.copy(), **kept}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from the arrays of an earlier sweep over the same lanes."""
        self.known = np.asarray(arrays["known"]).copy()
        for name in _KEPT:
            getattr(self, name)[self.known] = arrays[name]

    def verdict(
        self, levels: Float[np.ndarray, "site level"], tolerance: np.ndarray
    ) -> tuple[Bool[np.ndarray, "site seed level"], np.ndarray]:
        """Whether each lane reached its level, and why it ended."""
        error = np.abs(self.reached - levels[:, None, :])
        # the loop compared in float32; half a float32 step of the level is its doubt
        hit = error <= tolerance[:, None, None] + 1e-6 * np.abs(levels[:, None, :])
        reason = np.where(hit, HIT, np.where(self.finite, UNREACHED, NONFINITE))
        return hit, reason

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
        hit, reason = self.verdict(levels, tolerance)
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


def shrunk(
    values: Float[np.ndarray, "size size"], side: int
) -> Float[np.ndarray, "side side"]:
    """Means over the boxes that a square is divided into.

    Example:
      >>> shrunk(np.array([[1.0, 3.0], [5.0, 7.0]], np.float32), 1).tolist()
      [[4.0]]
    """
    if len(values) == side:
        return values
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX))


class Recorder:
    """Predictions over the steps and transparency maps of every row of the table.

    Args:
      table: of lanes or paths, one row each.
      canvas: side of the maps that are recorded; 0 for none. They are kept at no more
        than `MAP_SIDE` pixels a side.
    """

    def __init__(self, table: dict[str, np.ndarray], canvas: int):
        self._table = table
        n_rows, side = len(table["site"]), min(canvas, MAP_SIDE)
        self._predictions = [array("f", [x]) for x in table["start"]]
        self._maps = np.zeros((n_rows, side, side), np.uint8) if canvas else None
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
        seen = np.nan_to_num(np.asarray(state.transparency[slot], np.float32))
        seen = shrunk(seen, self._maps.shape[1])
        self._maps[row] = np.round(255 * seen / (seen.max() or 1.0)).astype(np.uint8)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `restore` takes."""
        lengths = np.asarray([len(seen) for seen in self._predictions], np.int64)
        arrays = {"lengths": lengths, "predictions": self._padded()}
        arrays["steps"] = np.asarray(self.steps, np.int64)
        return arrays if self._maps is None else {**arrays, "maps": self._maps.copy()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from the arrays of an earlier recorder of the same table."""
        rows = zip(arrays["predictions"], arrays["lengths"], strict=True)
        self._predictions = [array("f", row[:length].tolist()) for row, length in rows]
        self.steps = int(arrays["steps"])
        if self._maps is not None:
            self._maps = np.asarray(arrays["maps"]).copy()

    def _padded(self) -> Float[np.ndarray, "row step"]:
        longest = max((len(seen) for seen in self._predictions), default=0)
        prediction = np.full((len(self._predictions), longest), np.nan, np.float32)
        for row, seen in enumerate(self._predictions):
            prediction[row, : len(seen)] = seen
        return prediction

    def traces(self) -> Traces:
        """All rows, in the order of site, seed, level."""
        columns = ("site", "seed", "level", "direction")
        keys = [self._table[name].astype(np.int64) for name in columns]
        order = np.lexsort(keys[::-1])
        return Traces(
            *(key[order] for key in keys),
            prediction=self._padded()[order],
            transparency=None if self._maps is None else self._maps[order],
        )
