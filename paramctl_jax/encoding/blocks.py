"""Raw features in blocks of columns, so that no stage needs them all in memory."""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

BLOCK = 4096
"""Features per block: 800 images take 26 MB in float64, whatever the readout's size."""


@dataclasses.dataclass(frozen=True)
class FeatureBlocks:
    """Some images' raw features, read as float64 blocks of columns.

    Attributes:
      array: features of all images, in memory or memory-mapped.
      rows: the images wanted, in this order; None for all of them.
    """

    array: Float[np.ndarray, "image feature"]
    rows: Int[np.ndarray, " row"] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of wanted images and of features."""
        count = len(self.array) if self.rows is None else len(self.rows)
        return count, self.array.shape[1]

    @property
    def row_ids(self) -> Int[np.ndarray, " row"]:
        """Rows of `array` that the wanted images are."""
        return np.arange(len(self.array)) if self.rows is None else self.rows

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(
        self, size: int = BLOCK
    ) -> Iterator[tuple[slice, Float[np.ndarray, "row column"]]]:
        """Columns and their values, first to last; each block is a fresh array.

        Args:
          size: columns per block.

        Example:
          >>> import numpy as np
          >>> features = FeatureBlocks(np.arange(6.0).reshape(2, 3), np.array([1]))
          >>> [block.tolist() for _, block in features.blocks(2)]
          [[[3.0, 4.0]], [[5.0]]]
        """
        for start in range(0, self.array.shape[1], size):
            columns = slice(start, start + size)
            yield columns, self.block(columns)

    def block(self, columns: slice) -> Float[np.ndarray, "row column"]:
        """Some columns of the wanted images, a fresh float64 array."""
        part = self.array[:, columns]
        block = (part if self.rows is None else part[self.rows]).astype(np.float64)
        _release(self.array)
        return block

    def whole(self) -> Float[np.ndarray, "row feature"]:
        """All of it in float64, for a basis that is small."""
        block = self.array if self.rows is None else self.array[self.rows]
        return np.asarray(block, np.float64)


def _release(array: np.ndarray) -> None:
    """Gives a memory map's pages back: they would count as this process's memory."""
    mapped = getattr(array, "_mmap", None)
    shared = getattr(array, "mode", None) in ("r", "r+")  # a private copy would be lost
    if mapped is not None and shared and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
