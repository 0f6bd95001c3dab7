"""Images and networks that runs of one process share: each is loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paramctl_jax.backbones.entries import ModelEntry
from paramctl_jax.data import photographs_path
from paramctl_jax.images import load_images
from paramctl_jax.types import Backbone, ImageSet

BUNDLED = "bundled"


class Loaded:
    """What was loaded so far, by the settings that ask for it."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._images: list[tuple[dict[str, Any], ImageSet]] = []
        self._backbones: dict[tuple[str, str, int], Backbone] = {}

    def images(self, settings: Mapping[str, Any]) -> ImageSet:
        """The images of ``config.images``, those that come with the package included.

        Args:
          settings: ``source``, and arguments of `load_images`.
        """
        asked = dict(settings)
        for given, images in self._images:
            if given == asked:
                return images
        named = {k: v for k, v in asked.items() if k != "source"}
        source = asked["source"]
        images = load_images(
            photographs_path() if source == BUNDLED else source, **named
        )
        self._images.append((asked, images))
        return images

    def backbone(self, entry: ModelEntry) -> Backbone:
        """A model's network; entries that agree in `ModelEntry.source` share it."""
        if entry.source not in self._backbones:
            self._backbones[entry.source] = entry.load()
        return self._backbones[entry.source]
