"""What is known of a backbone: architecture, preprocessing, published weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Tensors = Mapping[str, np.ndarray]
Layout = Callable[[Tensors], dict[str, np.ndarray] | None]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where published weights come from; what could not be confirmed is empty.

    Attributes:
      url: address of the file; its last part is the file's name.
      sha256: of the file, in hex; the beginning of it where only that is published.
      licence: of the weights.
      preprocessing: of the published evaluation, in words.
      top1: published ImageNet accuracy in percent; how, if not supervised, in `note`.
      note: one line on what the weights are.
    """

    url: str = ""
    sha256: str = ""
    licence: str = ""
    preprocessing: str = ""
    top1: float | None = None
    note: str = ""
    filename: str = ""

    @property
    def file(self) -> str:
        """Name of the published file."""
        return self.filename or self.url.split("?")[0].rsplit("/", 1)[-1]


@dataclasses.dataclass(frozen=True)
class Spec:
    """What the registry knows of a backbone.

    Attributes:
      build: ``build(through=...)`` makes the Flax module.
      input_size: default side of the input in pixels.
      mean, std: normalisation of the sRGB image in [0, 1].
      multiple: of which the side of the input must be one.
      smallest: side of the input at which every layer still has an output.
      readout: the one that an experiment takes where it names none.
      layouts: from other publishers' tensor names to this module's.
      source: of the published weights.
    """

    build: Callable[..., Any]
    input_size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    multiple: int = 1
    smallest: int = 1
    readout: str = ""
    layouts: tuple[Layout, ...] = ()
    source: Source = Source()

    @property
    def stages(self) -> tuple[str, ...]:
        """Deepest stages that may be built, shallow to deep; the last is all of it."""
        return self.build().stages
