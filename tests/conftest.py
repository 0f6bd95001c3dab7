"""Strict JAX for every test: what would silently broadcast or promote, raises."""

import os

# Compiled without optimisation: most of the tests' time is compilation.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0",
)
os.environ.setdefault("PARAMCTL_COMPILATION_CACHE", "off")  # for launched programs
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

from functools import partial

import jax
import pytest

from paramctl_jax.backbones import random_backbone, registry
from paramctl_jax.backbones.families import resnet
from paramctl_jax.data import load_photographs
from tests.sweeps.runs import Launcher, tree

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

TINY = "tiny"


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture(scope="session")
def tiny_backbone():
    """A small ResNet of width 8 on 32 pixels, with random weights."""
    build = partial(resnet.small_resnet, width=8, classes=10, residual_scale=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.REGISTRY, TINY, registry.Spec(build, input_size=32))
        return random_backbone(TINY, jax.random.key(0), through="layer3")


@pytest.fixture(scope="session")
def photographs():
    """The bundled photographs at 32 pixels."""
    return load_photographs(32)


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    """Launchers in processes of their own, on a tiny sweep."""
    return Launcher(tmp_path_factory.mktemp("launcher"))


@pytest.fixture(scope="session")
def reference(launcher, tmp_path_factory):
    """The tiny sweep's run directory, from one process and never disturbed."""
    workdir = launcher.fresh(tmp_path_factory.mktemp("reference") / "run")
    launcher.finish("accentuate", workdir)
    return workdir


@pytest.fixture(scope="session")
def expected(reference):
    """Digests of the reference's results."""
    return tree(reference)
