import pytest

from tests.sweeps.runs import Launcher, tree


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    return Launcher(tmp_path_factory.mktemp("launcher"))


@pytest.fixture(scope="session")
def reference(launcher, tmp_path_factory):
    """A run directory from one process, never disturbed."""
    workdir = launcher.fresh(tmp_path_factory.mktemp("reference") / "run")
    launcher.finish("accentuate", workdir)
    return workdir


@pytest.fixture(scope="session")
def expected(reference):
    return tree(reference)
