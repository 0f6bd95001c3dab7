"""Names that presentation software, pandas and file systems can live with."""

import hashlib
import itertools
import re

import pytest

from paramctl_jax.stimuli.table import stimulus_id


def test_plain_names_are_readable():
    assert stimulus_id("small", "site_03", "ant_0001", 10) == (
        "small-site_03-ant_0001-L10"
    )
    assert stimulus_id("small", "s", "ant", None) == "small-s-ant-seed"


def test_replaced_characters_are_made_up_for():
    digest = hashlib.sha256(b"net\0V4 left\0ant").hexdigest()[:8]
    assert stimulus_id("net", "V4 left", "ant", 3) == f"net-V4_left-ant-x{digest}-L03"


AWKWARD = [
    "a",
    "a_",
    "_a",
    "a-b",
    "a b",
    "a/b",
    "1e5",
    "007",
    "é",
    "",
    "../x",
    "n" * 80,
]


@pytest.mark.parametrize("level", [None, 0, 7, 123])
def test_every_name_is_fit_and_unique(level):
    names = [stimulus_id(*o, level) for o in itertools.product(AWKWARD, repeat=3)]
    assert len({name.lower() for name in names}) == len(AWKWARD) ** 3
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{,58}", name) for name in names)
