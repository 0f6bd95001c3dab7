"""One file per launch; none disturbs another."""

import json

import numpy as np
import pytest

from paramctl_jax import history
from paramctl_jax.types import InputError


def test_a_launch_says_what_it_runs_on_and_how_it_ended(tmp_path):
    launch = history.begin(tmp_path, ["config.seed=3"])
    (path,) = (tmp_path / "history").iterdir()
    content = json.loads(path.read_text())
    assert content["versions"]["numpy"] == np.__version__
    assert content["backend"] == "cpu"
    assert content["overrides"] == ["config.seed=3"]
    assert "end" not in content
    launch.end(75, "stopped by SIGTERM")
    content = json.loads(path.read_text())
    assert (content["exit_code"], content["reason"]) == (75, "stopped by SIGTERM")
    assert content["start"] < content["end"]


def test_launches_in_order_without_damaged_ones(tmp_path):
    for name in "abc":
        history.begin(tmp_path, [name])
    (tmp_path / "history" / "20200101T0-x-1.json").write_text("{")
    found = [launch["overrides"] for launch in history.launches(tmp_path)]
    assert found == [["a"], ["b"], ["c"]]


def test_all_that_was_begun_is_ended(tmp_path):
    history.begin(tmp_path)
    history.begin(tmp_path)
    history.end_all(0)
    assert [x["exit_code"] for x in history.launches(tmp_path)] == [0, 0]
    history.end_all(1)
    assert [x["exit_code"] for x in history.launches(tmp_path)] == [0, 0]


def test_another_backend_is_said(tmp_path):
    launch = history.begin(tmp_path)
    assert history.other_machine(tmp_path, launch) == ""
    old = {**launch.content, "backend": "gpu"}
    path = tmp_path / "history" / "20200101T0-x-1.json"
    path.write_text(json.dumps({**old, "computes": False}))
    assert history.other_machine(tmp_path, launch) == ""
    path.write_text(json.dumps(old))
    said = history.other_machine(tmp_path, launch)
    assert "begun on gpu and jax" in said
    assert "going on with cpu" in said


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "history").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        history.begin(tmp_path)
