"""Imports go one way, heavy frameworks stay out, and every docstring's example runs."""

import ast
import doctest
import functools
import graphlib
import importlib
from pathlib import Path

import pytest

import paramctl_jax
from paramctl_jax.backbones import weight_folders

PACKAGE = Path(paramctl_jax.__file__).parent
ROOMS = (
    "types",
    "progress",
    "compilation",
    "stopping",
    "artifacts",
    "history",
    "hosts",
    "sums",
    "arrays",
    "images",
    "lanes",
    "data",
    "backbones",
    "recordings",
    "encoding",
    "synthesis",
    "stimuli",
    "sweeps",
    "scoring",
    "subject",
    "training",
    "analysis",
    "report",
    "configuration",
    "loaded",
    "experiment",
    "calibration",
    "dry_run",
    "sweeping",
    "contesting",
    "presenting",
    "judging",
    "verification",
    "pipeline",
    "study",
    "animals",
    "rehearsing",
)
NEVER = {"absl", "ml_collections", "tensorflow", "torch", "torchvision"}
# module -> rooms that may import it at module level
ONLY_IN = {
    "matplotlib": {"report"},
    "tensorflow_datasets": set(),
    "flax.linen": {"backbones", "training"},
}


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def imports(name):
    """``(imported module, at module level?)`` of every import statement of a module."""
    tree = ast.parse(MODULES[name].read_text())
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        top = node not in inside
        if isinstance(node, ast.Import):
            found += [(alias.name, top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                known = whole in MODULES or whole in ONLY_IN
                found.append((whole if known else node.module, top))
    return tuple(found)


def room_of(name):
    return name.split(".")[1] if "." in name else ""


def is_or_is_in(name, package):
    return name == package or name.startswith(f"{package}.")


def inner(name):
    """The package's own modules that a module imports, anywhere in it."""
    return {m for m, _ in imports(name) if is_or_is_in(m, "paramctl_jax")}


def test_every_room_has_its_place():
    assert {room_of(name) for name in MODULES} - {""} <= set(ROOMS)


@pytest.mark.parametrize("name", [name for name in MODULES if room_of(name)])
def test_imports_only_from_rooms_above(name):
    room = room_of(name)
    above = ROOMS[: ROOMS.index(room) + 1]
    for module in inner(name):
        assert module in MODULES, f"{name} imports {module}, which is no module"
        assert room_of(module) in above, f"{name} imports {module}"


def test_no_import_cycle():
    order = graphlib.TopologicalSorter({name: inner(name) for name in MODULES})
    order.prepare()  # raises CycleError, naming the cycle


def test_a_cycle_would_be_seen():
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


@pytest.mark.parametrize("name", MODULES)
def test_frameworks_stay_in_their_rooms(name):
    for module, top in imports(name):
        assert module.split(".")[0] not in NEVER, f"{name} imports {module}"
        for heavy, rooms in ONLY_IN.items():
            if top and is_or_is_in(module, heavy):
                assert room_of(name) in rooms, f"{name} imports {module}"


@pytest.mark.parametrize(
    "name", [n for n, p in MODULES.items() if p.stem == "__init__"]
)
def test_package_files_only_re_export(name):
    allowed = (ast.ImportFrom, ast.Import, ast.Assign, ast.Expr)
    body = ast.parse(MODULES[name].read_text()).body
    assert all(isinstance(node, allowed) for node in body)
    for node in body:
        if isinstance(node, ast.Assign):
            assert [target.id for target in node.targets] in (
                ["__all__"],
                ["__version__"],
            )


def has_examples(name):
    return ">>>" in MODULES[name].read_text()


@functools.cache
def bundled():
    """Names of the bundled weights that are there."""
    return {path.stem for f in weight_folders() for path in f.glob("*.safetensors")}


LONG = "paramctl_jax"  # the whole loop: half a minute
EXAMPLES = [
    pytest.param(name, marks=pytest.mark.slow if name == LONG else ())
    for name in MODULES
    if has_examples(name)
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name):
    module = importlib.import_module(name)
    ran = 0
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        source = "".join(step.source for step in example.examples)
        if "load_backbone(" in source and "small_standard" not in bundled():
            continue
        result = doctest.DocTestRunner().run(example)
        assert result.failed == 0, f"{example.name}: see the captured output"
        ran += result.attempted
    if not ran:
        pytest.skip("every example is marked +SKIP or needs bundled weights")
