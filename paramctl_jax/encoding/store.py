"""Encoding models on disk: the axes and their evaluation, tied to the exact weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax.arrays import read_arrays, write_arrays
from paramctl_jax.artifacts import to_json
from paramctl_jax.types import Backbone, EncodingEvaluation, EncodingModel, InputError

FORMAT = "paramctl_jax encoding 2"
_NUMBERS = ("weights", "bias", "penalty")
_TEXTS = ("readout", "units", "backbone", "backbone_sha256", "preparation", "format")
_EVALUATION = tuple(field.name for field in dataclasses.fields(EncodingEvaluation))


def save_encoding(path: str | Path, model: EncodingModel) -> None:
    """Saves an encoding model as ``.npz``, without the backbone's weights.

    Arrays: ``weights`` ``[site, feature]``, ``bias`` and ``penalty`` ``[site]``,
    ``site_ids``, ``notes``, ``settings`` (JSON), ``readout``, ``units``, ``backbone``,
    ``backbone_sha256``, ``preparation`` (JSON: input size, mean and std of the
    network's images), ``format``, and ``evaluation/NAME`` for every field of the
    evaluation.

    Args:
      path: where to; replaced whole or not at all.
      model: what to save.
    """
    arrays = {name: getattr(model, name) for name in _NUMBERS}
    arrays["site_ids"] = _strings(model.site_ids)
    arrays["notes"] = _strings(model.notes)
    arrays["settings"] = np.asarray(to_json(model.settings))
    backbone = model.backbone
    tied = (model.name, _digest(backbone), _preparation(backbone))
    texts = (model.readout, model.units, *tied, FORMAT)
    arrays |= {name: np.asarray(text) for name, text in zip(_TEXTS, texts, strict=True)}
    for name in _EVALUATION:
        value = getattr(model.evaluation, name)
        arrays[f"evaluation/{name}"] = (
            _strings(value) if isinstance(value, tuple) else value
        )
    write_arrays(Path(path), arrays)


def load_encoding(path: str | Path, backbone: Backbone) -> EncodingModel:
    """Loads an encoding model for the backbone that it was fitted on.

    Args:
      path: written by `save_encoding`.
      backbone: with the very weights of the fit.

    Returns:
      The model, equal to the one saved.

    Raises:
      InputError: damaged or foreign file, or a backbone whose weights, readout or
        feature count are not those of the fit.
    """
    path = Path(path)
    arrays = read_arrays(path)
    _check_names(path, arrays)
    _check_backbone(path, arrays, backbone)
    return EncodingModel(
        backbone=backbone,
        readout=str(arrays["readout"]),
        site_ids=tuple(arrays["site_ids"].tolist()),
        weights=arrays["weights"],
        bias=arrays["bias"],
        penalty=arrays["penalty"],
        evaluation=EncodingEvaluation(
            **{name: _field(arrays[f"evaluation/{name}"]) for name in _EVALUATION}
        ),
        units=str(arrays["units"]),
        notes=tuple(arrays["notes"].tolist()),
        settings=json.loads(str(arrays["settings"])),
    )


def _check_names(path: Path, arrays: dict[str, np.ndarray]) -> None:
    if str(arrays.get("format", "")) != FORMAT:
        raise InputError(
            f"{path}: expected an encoding model ({FORMAT!r}), found "
            f"{str(arrays.get('format', 'another kind of file'))!r}"
        )
    evaluation = {f"evaluation/{name}" for name in _EVALUATION}
    expected = {*_NUMBERS, *_TEXTS, "site_ids", "notes", "settings", *evaluation}
    if arrays.keys() != expected:
        raise InputError(
            f"{path}: not a complete encoding model; missing "
            f"{sorted(expected - arrays.keys())}, unknown "
            f"{sorted(arrays.keys() - expected)}"
        )


def _check_backbone(
    path: Path, arrays: dict[str, np.ndarray], backbone: Backbone
) -> None:
    fitted, given = str(arrays["backbone_sha256"]), _digest(backbone)
    if fitted != given:
        raise InputError(
            f"{path}: fitted on backbone {str(arrays['backbone'])!r} with weights "
            f"{fitted or 'unknown'}; found {backbone.name!r} with weights "
            f"{given or 'unknown'}; load the same weights or fit again"
        )
    fitted, given = str(arrays["preparation"]), _preparation(backbone)
    if fitted != given:  # a pooled readout has the same size at any input size
        raise InputError(
            f"{path}: fitted on images prepared with {fitted}; {backbone.name} has "
            f"{given}; load it with the same input size"
        )
    readout = str(arrays["readout"])
    shape = backbone.readouts.get(readout)
    n_features = arrays["weights"].shape[-1]
    if shape is None or int(np.prod(shape)) != n_features:
        raise InputError(
            f"{path}: fitted on {n_features} features of {readout}; {backbone.name} "
            f"gives {shape or 'no such readout'}; check its depth and input size"
        )


def _preparation(backbone: Backbone) -> str:
    network = backbone.network
    mean, std = list(network.mean), list(network.std)
    content = {"input_size": network.input_size, "mean": mean, "std": std}
    return json.dumps(content, sort_keys=True)


def _digest(backbone: Backbone) -> str:
    return backbone.provenance.get("sha256", "")


def _strings(values: tuple[str, ...]) -> np.ndarray:
    return np.asarray(values, dtype=np.str_)


def _field(values: np.ndarray) -> Any:
    """Ids as a tuple of strings, numbers as they are."""
    return tuple(values.tolist()) if values.dtype.kind == "U" else values
