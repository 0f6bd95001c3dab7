"""Tensors of sparse autoencoders under their publishers' names, to one encoder.

    encoder     encoder.weight [latent, feature] or W_enc [feature, latent]
    its bias    encoder.bias, b_enc, latent_bias
    centre      decoder.bias, b_dec, pre_bias, bias    subtracted from the features
    threshold   threshold, theta    one for all latents or one each; below 0: not set
                log_threshold, thresholds    its logarithm
    k           k

Only the encoder is required. ``encoder.0.`` and ``encoder.final_block.0.`` stand for
``encoder.``, followed by a batch norm (``.1.``) that is folded into it. The decoder
(``decoder.weight``, ``W_dec``, ``dictionary.*``) is not needed and is left out.

Names are those of overcomplete (TopKSAE, BatchTopKSAE, JumpSAE with linear encoders),
SAELens (standard, topk, batchtopk, jumprelu), dictionary_learning, and OpenAI's
sparse_autoencoder. Features are taken as they are: if the autoencoder was trained on
normalised ones, fold the factor into its encoder before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax.backbones import tensors as files
from paramctl_jax.backbones.checkpoint import listed
from paramctl_jax.types import CheckpointError

# {what it is: names of it}; 'kernel' is [feature, latent], 'weight' its transpose
_NAMES = {
    "weight": ("encoder.weight",),
    "kernel": ("W_enc",),
    "bias": ("encoder.bias", "b_enc", "latent_bias"),
    "centre": ("decoder.bias", "b_dec", "pre_bias", "bias"),
    "threshold": ("threshold", "theta"),
    "log_threshold": ("log_threshold", "thresholds"),
    "k": ("k",),
    "scale": ("norm.weight",),
    "shift": ("norm.bias",),
    "mean": ("norm.running_mean",),
    "var": ("norm.running_var",),
}
_PREFIXES = {
    "_orig_mod.": "",  # of torch.compile
    "encoder.final_block.0.": "encoder.",
    "encoder.final_block.1.": "norm.",
    "encoder.0.": "encoder.",
    "encoder.1.": "norm.",
}
_UNUSED = ("decoder.weight", "W_dec", "dictionary.", "norm.num_batches_tracked")
_NORM = ("scale", "shift", "mean", "var")
_EPSILON = 1e-5  # of torch's batch norm


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A sparse autoencoder's encoder.

    Attributes:
      variables: ``kernel [feature, latent]``, ``bias [latent]``, ``centre [feature]``
        and, if there is one, ``threshold [latent]``, in float32.
      k: number of latents that stay, if the tensors say so.
    """

    variables: dict[str, np.ndarray]
    k: int | None


def read(
    weights: str | Path | Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors as they are named, from a mapping or a file; no pickle is ever run.

    Args:
      weights: ``{name: tensor or number}``, or a file of plain tensors.

    Returns:
      The tensors; ``file`` and ``sha256`` of names and values.

    Raises:
      CheckpointError: no file of named tensors.
    """
    named = isinstance(weights, Mapping)
    found = weights if named else files.read_tree(weights)
    source = "sparse autoencoder" if named else str(weights)
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(
            f"{source}: expected named tensors (.safetensors, .npz), found "
            f"{type(found).__name__}"
        )
    tensors = {str(name): np.asarray(tensor) for name, tensor in found.items()}
    odd = [name for name, tensor in tensors.items() if tensor.dtype.kind in "OUSMm"]
    if odd:
        raise CheckpointError(
            f"{source}: expected names and tensors only, but {odd[0]} is none; give "
            "the state dict alone"
        )
    name = "" if named else Path(weights).name
    return tensors, {"file": name or source, "sha256": files.digest(tensors)}


def encoder(
    tensors: Mapping[str, Any],
    channels: int,
    source: str,
    readout: str,
    centre: bool = True,
) -> Encoder:
    """The encoder that the tensors are, checked against the readout's width.

    Args:
      tensors: under any of the names above.
      channels: of the readout.
      source: named in messages.
      readout: named in messages.
      centre: whether the features are centred.

    Returns:
      The encoder, its batch norm folded in.

    Raises:
      CheckpointError: listing everything that is missing, unknown, given twice or
        misshapen, and values that are not finite.
    """
    parts, problems = _named(tensors)
    if not problems["missing"]:
        problems["misshapen"], problems["non-finite"] = _unfit(parts, channels)
    if any(problems.values()):
        raise CheckpointError(
            f"{source}: no sparse autoencoder of {readout} with {channels} channels: "
            f"{listed(problems)}"
        )
    return _assembled(parts, channels, centre)


def _named(
    tensors: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Tensors by what they are, in float64, and what is wrong with their names."""
    meaning = {name: part for part, names in _NAMES.items() for name in names}
    parts: dict[str, np.ndarray] = {}
    problems: dict[str, list[str]] = {"missing": [], "unknown": [], "given twice": []}
    for name, tensor in tensors.items():
        plain = _plain(name)
        if plain.startswith(_UNUSED):
            continue
        part = meaning.get(plain)
        if part is None:
            problems["unknown"].append(name)
        elif part in parts:
            problems["given twice"].append(name)
        else:
            parts[part] = np.asarray(tensor, np.float64)
    if "kernel" not in parts and "weight" not in parts:
        problems["missing"].append("encoder.weight or W_enc")
    if {"kernel", "weight"} <= parts.keys():
        problems["given twice"].append("W_enc beside encoder.weight")
    if {"threshold", "log_threshold"} <= parts.keys():
        problems["given twice"].append("threshold beside its logarithm")
    norm = [part for part in _NORM if part in parts]
    if norm and len(norm) < len(_NORM):  # a layer norm has no running statistics
        absent = [_NAMES[part][0] for part in _NORM if part not in parts]
        problems["missing"] += [f"{name} of a batch norm" for name in absent]
    return parts, problems


def _plain(name: str) -> str:
    for prefix, plain in _PREFIXES.items():
        if name.startswith(prefix):
            name = plain + name.removeprefix(prefix)
    return name


def _unfit(
    parts: Mapping[str, np.ndarray], channels: int
) -> tuple[list[str], list[str]]:
    """Parts of the wrong shape, with the right one, and parts that are not finite."""
    matrix = parts["weight"].T if "weight" in parts else parts["kernel"]
    n_latents = matrix.shape[-1] if matrix.ndim == 2 else 0
    one, each = [(), (1,)], [(n_latents,)]
    expected = {
        "weight": [(n_latents, channels)],
        "kernel": [(channels, n_latents)],
        "centre": [(channels,), ()],
        "threshold": one + each,
        "log_threshold": one + each,
        "k": one,
    }
    misshapen = [
        f"{_NAMES[part][0]} {tensor.shape} instead of {expected.get(part, each)[0]}"
        for part, tensor in parts.items()
        if tensor.shape not in expected.get(part, each)
    ]
    k = parts.get("k", np.ones(1))
    if k.size == 1 and not (float(k.item()).is_integer() and 1 <= k <= n_latents):
        misshapen.append(f"k {k.item():g} instead of 1 to {n_latents}")
    finite = {name: np.isfinite(tensor).all() for name, tensor in parts.items()}
    return misshapen, [_NAMES[name][0] for name, good in finite.items() if not good]


def _assembled(parts: dict[str, np.ndarray], channels: int, centred: bool) -> Encoder:
    kernel = parts["weight"].T if "weight" in parts else parts["kernel"]
    n_latents = kernel.shape[1]
    bias = parts.get("bias", np.zeros(n_latents))
    if "var" in parts:
        factor = parts["scale"] / np.sqrt(parts["var"] + _EPSILON)
        kernel, bias = kernel * factor, (bias - parts["mean"]) * factor + parts["shift"]
    centre = parts.get("centre", np.zeros(())) if centred else np.zeros(())
    variables = {
        "kernel": kernel,
        "bias": bias,
        "centre": np.broadcast_to(centre, (channels,)),
    }
    threshold = parts.get("threshold")
    if "log_threshold" in parts:
        threshold = np.exp(parts["log_threshold"])
    if threshold is not None and np.any(threshold >= 0):
        variables["threshold"] = np.broadcast_to(threshold, (n_latents,))
    k = int(parts["k"].item()) if "k" in parts else None
    return Encoder(
        {name: np.ascontiguousarray(a, np.float32) for name, a in variables.items()}, k
    )
