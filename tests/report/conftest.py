"""One closed loop for all tests of the report; figures at low resolution."""

import pytest
from closed_loop import build

from paramctl_jax.report import style


@pytest.fixture(scope="module", autouse=True)  # undone before other folders' tests
def coarse_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 72)
        yield


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    return build(tmp_path_factory.mktemp("closed_loop") / "stimuli")
