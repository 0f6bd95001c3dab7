"""CORnet-Z against torch, stored and live; the page that walks through it."""

import functools
from pathlib import Path

import numpy as np
import pytest

from paramctl_jax.backbones import checkpoint, families, spec_of
from tests.golden import make_cornet as golden
from tests.quick import jit

TOLERANCE = 1e-4  # max |difference| / max |value|, float32
PAGE = Path(__file__).parents[2] / "docs" / "adding_a_backbone.md"


@functools.cache
def outputs(through=""):
    """Every readout in torch's axis order."""
    spec = spec_of("cornet_z")
    module = spec.build(through=through)
    weights, images = golden.draw()
    variables = checkpoint.load_variables(
        module, spec.build(), golden.SIZE, weights, "drawn"
    )
    out = jit(module.apply)(variables, images)
    return {name: np.moveaxis(np.asarray(v), -1, 1) for name, v in out.items()}


def test_names_and_shapes_are_the_originals():
    wanted = checkpoint.shapes(spec_of("cornet_z").build(), 64)
    assert checkpoint.torch_shapes(wanted) == golden.SHAPES


def test_every_readout_equals_stored_torch():
    with np.load(golden.FIXTURE) as stored:
        assert set(stored) == outputs().keys()
        for name, value in outputs().items():
            found = golden.summarise(name, value)
            worst = np.abs(found - stored[name]).max() / stored[name][0]
            assert worst <= TOLERANCE, name


def test_every_readout_equals_live_torch():
    pytest.importorskip("torch", reason="the live comparison needs torch")
    for name, expected in golden.torch_outputs().items():
        value = outputs()[name]
        assert value.shape == expected.shape
        assert np.abs(value - expected).max() / np.abs(expected).max() <= TOLERANCE


def test_through_ends_the_network():
    upto = outputs("V4")
    assert list(upto) == ["V1", "V2", "V4"]
    for name, value in upto.items():
        np.testing.assert_array_equal(value, outputs()[name])


def test_the_page_shows_the_file():
    code = PAGE.read_text().split("```python\n")[1].split("```")[0]
    assert code == (Path(families.__path__[0]) / "cornet.py").read_text()
