"""CORnet-Z, the smallest network with areas named V1, V2, V4 and IT.

Each area is a convolution, a ReLU and a 3x3 max pool with stride 2.

Source: Kubilius et al. 2018, "CORnet: modeling the neural mechanisms of core object
recognition"; names as in github.com/dicarlolab/CORnet.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from paramctl_jax.backbones.layers import Activation, conv, max_pool
from paramctl_jax.backbones.spec import Source, Spec

AREAS = ("V1", "V2", "V4", "IT")


class Area(nn.Module):
    """One area: ``maxpool(relu(conv(x)))``, which halves the map, or quarters it."""

    channels: int
    size: int
    stride: int

    @nn.compact
    def __call__(self, x: Activation) -> Activation:
        """Applies the area."""
        x = conv(self.channels, self.size, self.stride, bias=True, name="conv")(x)
        return max_pool(nn.relu(x), 3, 2, pad=1)


class CORnetZ(nn.Module):
    """Four areas and a linear decoder.

    Attributes:
      through: deepest area that is built; empty for all.
      width: channels of V1; doubled at each further area.
    """

    through: str = ""
    width: int = 64

    @property
    def stages(self) -> tuple[str, ...]:
        """What `through` may be, shallow to deep."""
        return (*AREAS, "decoder.linear")

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width 3"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Maps normalised images to ``{readout: activations}``, first to last."""
        out: dict[str, Array] = {}
        for depth, area in enumerate(AREAS):
            size, stride = (7, 2) if depth == 0 else (3, 1)
            x = Area(self.width * 2**depth, size, stride, name=area)(x)
            out[area] = x
            if area == self.through:
                return out
        out["decoder.avgpool"] = jnp.mean(x, axis=(1, 2))
        out["decoder.linear"] = nn.Dense(1000, name="decoder.linear")(
            out["decoder.avgpool"]
        )
        return out


SPECS: dict[str, Spec] = {
    "cornet_z": Spec(
        CORnetZ,
        readout="IT",
        source=Source(
            url="https://s3.amazonaws.com/cornet-models/cornet_z-5c427c9c.pth",
            sha256="5c427c9c",
        ),
    ),
}
