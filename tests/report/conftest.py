"""One closed loop, built once for all tests of the report."""

import pytest
from closed_loop import build


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    return build(tmp_path_factory.mktemp("closed_loop") / "stimuli")
