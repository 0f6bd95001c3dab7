"""A frozen sparse autoencoder on a readout: its latents are a readout like any other.

At every position (pixel of a map, token of a transformer) with channels x

    a = f((x - b_d) W_e + b_e)

where f keeps some of the positive entries: all of them (ReLU), the k largest (TopK),
or those above a threshold of their latent (JumpReLU; BatchTopK after training). The
mean or maximum over positions is a vector per image, on which encoding models are
fitted with ``basis="none"`` or ``"pca"``. Gradients reach the pixels through active
latents only: where none is active an image cannot be accentuated.

Sources: Gao et al. 2024 (TopK); Bussmann et al. 2024 (BatchTopK); Rajamanoharan et al.
2024 (JumpReLU); Fel et al. 2025 (overcomplete, vision).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from paramctl_jax import artifacts
from paramctl_jax.backbones import sae_tensors
from paramctl_jax.backbones.loading import check_readout
from paramctl_jax.types import Backbone, InputError, unknown

ACTIVATIONS = ("relu", "topk", "jumprelu")
"""What f may be."""

POOLS = ("mean", "max", "none")
"""What is done with the positions."""

SUFFIX = ".sae"
"""The new readout's name is the old one's and this."""


@dataclasses.dataclass(frozen=True)
class WithLatents:
    """A network that also returns the latents of one of its readouts.

    Attributes:
      module: the network, ``module.apply(variables, images) -> {readout: ...}``.
      readout: what the autoencoder was trained on.
      activation: one of `ACTIVATIONS`.
      k: latents that ``"topk"`` keeps at each position; 0 otherwise.
      pool: one of `POOLS`.
    """

    module: Any
    readout: str
    activation: str
    k: int
    pool: str

    def apply(
        self, variables: PyTree, images: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, the latents last.

        Args:
          variables: ``{"backbone": the network's, "sae": kernel, bias, ...}``.
          images: normalised for the network.
        """
        out = self.module.apply(variables["backbone"], images)
        x = out[self.readout]
        flat = x.reshape(-1, x.shape[-1])
        latents = encode(flat, variables["sae"], self.activation, self.k)
        latents = latents.reshape(*x.shape[:-1], -1)
        return {**out, self.readout + SUFFIX: _pooled(latents, self.pool)}


def with_sae(
    backbone: Backbone,
    readout: str,
    weights: str | Path | Mapping[str, Any],
    *,
    pool: str = "mean",
    activation: str | None = None,
    k: int | None = None,
    threshold: float | None = None,
    centre: bool = True,
) -> Backbone:
    """The backbone with the latents of a sparse autoencoder as one more readout.

    ``READOUT.sae`` has shape (1, 1, latent), or (height, width, latent) without
    pooling, which takes all positions of the readout: of a transformer's block the
    class tokens and registers too. Everything downstream stays as it is.

    Args:
      backbone: frozen network.
      readout: what the autoencoder was trained on.
      weights: its tensors, or a file of them; `sae_tensors` lists the names.
      pool: over positions: ``"mean"``, ``"max"`` or ``"none"``.
      activation: ``"relu"``, ``"topk"`` or ``"jumprelu"`` (BatchTopK too); None takes
        what the tensors hold: a k, a threshold, or neither.
      k: of ``"topk"``, where it is not among the tensors.
      threshold: of ``"jumprelu"``, one for all latents, likewise.
      centre: subtracts the decoder's bias from the features, if there is one (SAELens:
        ``apply_b_dec_to_input``).

    Returns:
      A backbone whose weights are those of both; its ``sha256`` covers both, and what
      was chosen here.

    Raises:
      InputError: unknown readout, pool or activation; a k or threshold that is missing;
        a readout whose latents the backbone has already.
      CheckpointError: tensors that are not an autoencoder's of this readout: all names
        that are missing, unknown or misshapen.

    Example:
      >>> import jax, numpy as np
      >>> from paramctl_jax.backbones import random_backbone
      >>> backbone = random_backbone(
      ...     "small_standard", jax.random.key(0), input_size=32, through="layer1"
      ... )
      >>> backbone.readouts["layer1.0"]
      (16, 16, 32)
      >>> tensors = {"W_enc": np.eye(32, 100), "b_enc": np.zeros(100), "k": 5}
      >>> with_sae(backbone, "layer1.0", tensors).readouts["layer1.0.sae"]
      (1, 1, 100)
    """
    check_readout(backbone, readout)
    if pool not in POOLS:
        raise unknown(pool, POOLS, "pool of a sparse autoencoder")
    name = readout + SUFFIX
    if name in backbone.readouts:
        raise InputError(
            f"{name}: the backbone has these latents already; expected a backbone "
            "without them, start from the plain one"
        )
    height, width, channels = backbone.readouts[readout]
    tensors, origin = sae_tensors.read(weights)
    given = {"k": k, "threshold": threshold}
    tensors |= {name: value for name, value in given.items() if value is not None}
    sae = sae_tensors.encoder(tensors, channels, origin["file"], readout, centre)
    chosen = _chosen(activation, sae, origin["file"])
    module = WithLatents(
        backbone.network.module,
        readout,
        chosen,
        (sae.k or 0) if chosen == "topk" else 0,
        pool,
    )
    rows, columns = (height, width) if pool == "none" else (1, 1)
    n_latents = len(sae.variables["bias"])
    return Backbone(
        name=backbone.name,
        network=dataclasses.replace(backbone.network, module=module),
        variables={"backbone": backbone.variables, "sae": sae.variables},
        readouts={**backbone.readouts, name: (rows, columns, n_latents)},
        provenance=_provenance(backbone, origin, module, centre, threshold),
    )


def encode(
    x: Float[Array, "position channel"],
    variables: PyTree,
    activation: str,
    k: int = 0,
) -> Float[Array, "position latent"]:
    """Latents of every position, ``f((x - b_d) W_e + b_e)``.

    Entries equal to the k-th largest all stay. Gradients flow through what stays.

    Args:
      x: activations of the network.
      variables: ``centre [channel]``, ``kernel [channel, latent]``, ``bias [latent]``
        and, for ``"jumprelu"``, ``threshold [latent]``.
      activation: one of `ACTIVATIONS`.
      k: of ``"topk"``.

    Returns:
      Activations of the latents, not negative.

    Example:
      >>> import jax.numpy as jnp
      >>> tensors = {
      ...     "centre": jnp.zeros(3), "kernel": jnp.eye(3), "bias": jnp.zeros(3)
      ... }
      >>> x = jnp.array([[3.0, -2.0, 1.0]])
      >>> encode(x, tensors, "relu").tolist(), encode(x, tensors, "topk", 1).tolist()
      ([[3.0, 0.0, 1.0]], [[3.0, 0.0, 0.0]])
    """
    centred = x - variables["centre"][None]
    latents = centred @ variables["kernel"] + variables["bias"][None]
    return jnp.where(_active(latents, variables, activation, k), latents, 0.0)


def _active(
    latents: Float[Array, "position latent"],
    variables: PyTree,
    activation: str,
    k: int,
) -> Bool[Array, "position latent"]:
    if activation == "topk":
        smallest = jax.lax.top_k(latents, k)[0][:, -1:]
        return (latents > 0) & (latents >= smallest)
    if activation == "jumprelu":
        return (latents > 0) & (latents > variables["threshold"][None])
    return latents > 0


def _pooled(
    latents: Float[Array, "batch ... latent"], pool: str
) -> Float[Array, "batch ..."]:
    positions = tuple(range(1, latents.ndim - 1))
    if pool == "none" or not positions:
        return latents
    return latents.mean(positions) if pool == "mean" else latents.max(positions)


def _chosen(activation: str | None, sae: sae_tensors.Encoder, source: str) -> str:
    """The activation asked for, or what the tensors hold."""
    holds = {"topk": sae.k is not None, "jumprelu": "threshold" in sae.variables}
    if activation is None:
        found = [name for name, held in holds.items() if held]
        if len(found) > 1:
            raise InputError(
                f"{source}: holds both k and threshold; say which one counts with "
                "activation='topk' or 'jumprelu'"
            )
        return found[0] if found else "relu"
    if activation not in ACTIVATIONS:
        raise unknown(activation, ACTIVATIONS, "activation of a sparse autoencoder")
    if not holds.get(activation, True):
        needed = {"topk": "k", "jumprelu": "threshold"}[activation]
        raise InputError(
            f"{source}: activation={activation!r} needs {needed}, which is not among "
            f"the tensors; give {needed}="
        )
    return activation


def _provenance(
    backbone: Backbone,
    origin: Mapping[str, str],
    module: WithLatents,
    centre: bool,
    threshold: float | None,
) -> dict[str, str]:
    """Both files, and one digest over all that the latents depend on."""
    own = backbone.provenance
    content = {
        "backbone": own.get("sha256", ""),
        "sae": origin["sha256"],
        "readout": module.readout,
        "activation": module.activation,
        "k": module.k,
        "pool": module.pool,
        "centre": centre,
        "threshold": threshold,
    }
    return {
        **own,
        "sha256": artifacts.sha256_bytes(json.dumps(content, sort_keys=True).encode()),
        "backbone_sha256": own.get("sha256", ""),
        "sae_file": origin["file"],
        "sae_sha256": origin["sha256"],
    }
