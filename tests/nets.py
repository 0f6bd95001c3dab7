"""Three networks of one small architecture with random weights, for whole runs."""

import contextlib
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from paramctl_jax.backbones import checkpoint, random_backbone, registry
from paramctl_jax.backbones.families import resnet

NETS = ("net_a", "net_b", "net_subject")


@contextlib.contextmanager
def registered(folder: Path):
    """Within, `load_backbone` knows them; their weights are written to `folder`."""
    build = partial(resnet.small_resnet, width=8, classes=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARAMCTL_WEIGHTS", str(folder))
        for number, name in enumerate(NETS):
            patch.setitem(registry.REGISTRY, name, registry.Spec(build, input_size=32))
            path = folder / f"{name}.safetensors"
            if not path.exists():
                path.write_bytes(_weights(name, number))
        yield folder


def _weights(name, number):
    random = random_backbone(name, jax.random.key(number))
    tensors = checkpoint.to_tensors(random.variables)
    data = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    return safetensors.numpy.save(data)
