"""Images, keyed by stimulus id."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from paramctl_jax.types.errors import indices_of


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images of one size, keyed by stimulus id.

    Attributes:
      stimulus_ids: one unique id per image.
      pixels: 8-bit sRGB, axes ``[image, height, width, channel]``.
      left_out: images of the source that could not be used: ``{id: reason}``.
      notes: what was done to them on the way here, in plain words.
    """

    stimulus_ids: tuple[str, ...]
    pixels: UInt8[np.ndarray, "image height width 3"]
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stimulus_ids)

    def select(self, stimulus_ids: Sequence[str]) -> ImageSet:
        """The named images, in the order of the names."""
        chosen = indices_of(stimulus_ids, self.stimulus_ids, "images")
        return ImageSet(
            tuple(stimulus_ids), self.pixels[chosen], self.left_out, self.notes
        )

    def drop(self, others: ImageSet | Sequence[str]) -> ImageSet:
        """All images but the named ones, e.g. the fit's images without the seeds."""
        ids = others.stimulus_ids if isinstance(others, ImageSet) else others
        indices_of(ids, self.stimulus_ids, "images to drop")
        left_out = set(ids)
        return self.select([i for i in self.stimulus_ids if i not in left_out])
