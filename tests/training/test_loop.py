"""A tiny training: it learns, resumes to the same bits, and its export loads."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from paramctl_jax.backbones import REGISTRY, load_backbone, registry
from paramctl_jax.backbones.families import resnet
from paramctl_jax.training import Attack, Recipe, accuracy, export, loop, steps, train
from paramctl_jax.types import InputError, Network

SIDE = 16
BUILD = functools.partial(resnet.small_resnet, layers=(1, 1, 0, 0), width=8, classes=3)
NETWORK = Network(BUILD(), SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
RECIPE = Recipe(
    epochs=4,
    batch_size=16,
    learning_rate=0.1,
    small_crop=12,
    small_fraction=0.0,  # one size, one program
    pad=2,
    attack=Attack("linf", 2 / 255),
)


def run(stripes, workdir, recipe=RECIPE, seed=0):
    return train(NETWORK, stripes, recipe, workdir=workdir, seed=seed, progress=False)


def log(workdir):
    return [json.loads(x) for x in (workdir / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(stripes, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return run(stripes, workdir), workdir


def assert_equal_states(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_it_learns(trained, stripes):
    state, workdir = trained
    lines = log(workdir)
    assert lines[-1]["train_loss"] < 0.8 * lines[0]["train_loss"]
    assert accuracy(NETWORK, state.variables, stripes["val"]) > 0.6  # chance: 1/3


def test_log_has_one_line_per_epoch(trained):
    _, workdir = trained
    lines = log(workdir)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [line["crop"] for line in lines] == [16] * 4
    for line in lines:
        assert 0 <= line["train_accuracy"] <= 1
        assert 0 <= line["val_accuracy"] <= 1
        assert np.isfinite(line["train_loss"])
        assert line["seconds"] >= 0


def test_first_part_sees_small_crops(trained, stripes, tmp_path, monkeypatch):
    seen = []

    def step(network, optimizer, recipe, crop, total, state, *batch):
        seen.append((crop, total))
        return state, np.zeros(2)

    monkeypatch.setattr(loop, "train_step", step)
    monkeypatch.setattr(loop, "initial_state", lambda *_: trained[0])
    monkeypatch.setattr(loop, "accuracy", lambda *_: 0.5)
    run(stripes, tmp_path, dataclasses.replace(RECIPE, epochs=5, small_fraction=0.4))
    assert seen == [(12, 30)] * 12 + [(16, 30)] * 18
    assert [line["crop"] for line in log(tmp_path)] == [12, 12, 16, 16, 16]


def test_interrupted_training_ends_in_the_same_bits(
    trained, stripes, tmp_path, monkeypatch
):
    def interrupt(path, line):
        if line["epoch"] == 2:  # trained, but not yet saved
            raise KeyboardInterrupt
        write(path, line)

    write = loop._log
    monkeypatch.setattr(loop, "_log", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(stripes, tmp_path)
    assert [line["epoch"] for line in log(tmp_path)] == [1]
    monkeypatch.setattr(loop, "_log", write)
    assert_equal_states(run(stripes, tmp_path), trained[0])

    def without_seconds(lines):
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]

    assert without_seconds(log(tmp_path)) == without_seconds(log(trained[1]))


def test_finished_training_is_only_restored(trained, stripes, monkeypatch):
    state, workdir = trained
    monkeypatch.setattr(loop, "_epoch", None)
    assert_equal_states(run(stripes, workdir), state)
    assert int(state.step) == 24


def test_repeated_epoch_replaces_its_log_line(tmp_path):
    path = tmp_path / "log.jsonl"
    for epoch, loss in ((1, 3.0), (2, 2.0), (3, 9.0), (2, 1.5)):
        loop._log(path, {"epoch": epoch, "train_loss": loss})
    assert log(tmp_path) == [
        {"epoch": 1, "train_loss": 3.0},
        {"epoch": 2, "train_loss": 1.5},
    ]


def test_export_loads_and_predicts_the_same(trained, stripes, tmp_path, monkeypatch):
    state, _ = trained
    spec = registry.Spec(BUILD, SIDE, NETWORK.mean, NETWORK.std)
    monkeypatch.setitem(REGISTRY, "tiny", spec)
    path = export(state, tmp_path / "tiny.safetensors")
    assert all(t.dtype == np.float16 for t in load_file(path).values())
    backbone = load_backbone("tiny", path)
    assert backbone.network == NETWORK
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.standard_normal((4, SIDE, SIDE, 3), np.float32))
    expected, found = (
        np.asarray(NETWORK.module.apply(v, images)["fc"])
        for v in (state.variables, backbone.variables)
    )
    np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())
    exact = load_backbone("tiny", export(state, tmp_path / "t.safetensors", np.float32))
    jax.tree.map(np.testing.assert_array_equal, exact.variables, state.variables)


def test_weight_decay_spares_biases_and_norms(trained):
    decayed = steps.kernels(trained[0].params)
    kinds = jax.tree_util.tree_flatten_with_path(decayed)[0]
    assert {str(path[-1].key): flag for path, flag in kinds} == {
        "kernel": True,
        "scale": False,
        "bias": False,
    }


def test_augmentation_without_room_flips_only(key):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    found = np.asarray(steps.augment(jnp.asarray(pixels), 8, 0, key))
    plain = pixels.astype(np.float32) / 255
    flipped = plain[:, :, ::-1]
    same = [bool(np.allclose(f, p)) for f, p in zip(found, plain, strict=True)]
    turned = [bool(np.allclose(f, p)) for f, p in zip(found, flipped, strict=True)]
    assert [a != b for a, b in zip(same, turned, strict=True)] == [True] * 12
    assert 0 < sum(turned) < 12


def test_small_crops_are_windows_of_the_image(key):
    # every pixel value is unique, so that the corner tells the window
    pixels = np.arange(10 * 10, dtype=np.uint8).reshape(1, 10, 10, 1)
    pixels = np.broadcast_to(pixels, (16, 10, 10, 3))
    found = np.round(
        np.asarray(steps.augment(jnp.asarray(pixels), 4, 3, key)) * 255
    ).astype(int)
    corners = set()
    for image in found[..., 0]:
        window = image if image[0, 1] > image[0, 0] else image[:, ::-1]
        row, column = divmod(int(window[0, 0]), 10)
        np.testing.assert_array_equal(
            window, pixels[0, row : row + 4, column : column + 4, 0]
        )
        corners.add((row, column))
    assert len(corners) > 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 97}, "batch_size=97, expected 1 to 96"),
        ({"small_crop": 18}, "small_crop=18"),
        ({"small_crop": 13}, "small_crop=13, expected an even number"),
        ({"epochs": 0}, "epochs=0"),
        ({"pad": 16}, "pad=16"),
    ],
)
def test_recipe_that_does_not_fit(change, said, stripes, tmp_path):
    with pytest.raises(InputError, match=said):
        run(stripes, tmp_path, dataclasses.replace(RECIPE, **change))
    assert not list(tmp_path.iterdir())


def test_network_of_other_classes(stripes, tmp_path):
    network = dataclasses.replace(NETWORK, module=BUILD(classes=4))
    with pytest.raises(InputError, match="3 classes, expected 4"):
        train(network, stripes, RECIPE, workdir=tmp_path, seed=0, progress=False)
