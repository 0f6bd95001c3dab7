"""The models of an experiment as its settings name them: a backbone, what differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paramctl_jax.backbones.loading import load_backbone, spec_of_weights
from paramctl_jax.backbones.spec import Spec
from paramctl_jax.backbones.store import check_name
from paramctl_jax.types import Backbone, InputError, unknown


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """One model of ``config.models``: a name alone, or a mapping with more.

    Attributes:
      name: of the model in every table and figure.
      backbone: registered name, or of converted weights; empty takes `name`.
      weights: a file or folder; empty looks the backbone's name up.
      readout: empty takes ``config.encoding.readout``, or the network's own default.
      input_size: side of the network's input in pixels; 0 takes its default.
    """

    name: str
    backbone: str = ""
    weights: str = ""
    readout: str = ""
    input_size: int = 0

    @property
    def network(self) -> str:
        """The name by which the backbone is known."""
        return self.backbone or self.name

    @property
    def source(self) -> tuple[str, str, int]:
        """Models that agree in this share their network."""
        return self.network, self.weights, self.input_size

    @property
    def spec(self) -> Spec:
        """What is known of the backbone."""
        return spec_of_weights(self.network, self.weights or None)

    def load(self) -> Backbone:
        """The backbone, under its own name."""
        return load_backbone(
            self.network, self.weights or None, input_size=self.input_size or None
        )


def model_entry(given: Any) -> ModelEntry:
    """An entry of ``config.models`` from what the settings say.

    Example:
      >>> model_entry("resnet50").network
      'resnet50'
      >>> model_entry({"name": "early", "backbone": "resnet50", "readout": "layer2.3"})
      ... # doctest: +ELLIPSIS
      ModelEntry(name='early', backbone='resnet50', weights='', readout='layer2.3', ...)
    """
    if isinstance(given, str):
        return ModelEntry(given)
    if not isinstance(given, Mapping):
        raise InputError(f"config.models: expected a name or mapping, found {given!r}")
    kinds: dict[str, type] = {f.name: str for f in dataclasses.fields(ModelEntry)}
    kinds["input_size"] = int
    for name, value in given.items():
        if name not in kinds:
            raise unknown(str(name), kinds, "setting of a model in config.models")
        if type(value) is not kinds[name]:
            raise InputError(
                f"config.models: expected {name} to be of type {kinds[name].__name__}, "
                f"found {value!r}"
            )
    if not given.get("name"):
        raise InputError(f"config.models: expected a name in {dict(given)}")
    check_name(given["name"])  # files are named after it
    return ModelEntry(**given)
