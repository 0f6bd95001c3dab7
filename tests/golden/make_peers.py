"""Runs faccent 1.0.3 and Horama 0.3.0 on a tiny problem and keeps draws and images.

    python tests/golden/make_peers.py    # torch, torchvision, faccent, horama installed

Both tools run through their own entry points, ``render_vis`` and ``accentuation``, with
a module in place of ``torch`` that writes down what they draw at random. The network is
one convolution, a ReLU and a linear read-out. Images are stored at the start and after
1, 2, 5 and 10 steps, ``[step, height, width, channel]``.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np

STEPS = (0, 1, 2, 5, 10)
CROPS, CANVAS, SIZE = 3, 24, 12
FACCENT = {"box": (0.05, 0.99), "noise": 0.02, "rate": 0.05}
HORAMA = {
    "horama": {"box": (0.20, 0.25), "noise": 0.05, "rate": 1.0, "decay": 1.5},
    "horama_large": {"box": (0.80, 0.95), "noise": 0.1, "rate": 3.0, "decay": 1.0},
}
FILE = pathlib.Path(__file__).with_name("peers.npz")


def problem(seed: int = 0) -> dict[str, np.ndarray]:
    """A smooth seed with black and white, a dull one, a convolution and a read-out."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:CANVAS, :CANVAS] / CANVAS
    phase = rng.uniform(0, 6, (3, 1, 1))
    wave = np.sin(7 * rows + 5 * columns**2 + phase) + rng.normal(
        0, 0.15, (3, CANVAS, CANVAS)
    )
    image = np.clip(0.5 + 0.35 * wave, 0.02, 0.98)
    image[:, 0, :3], image[:, 1, :3] = 0, 1
    image = np.round(image * 255) / 255
    return {
        "seed": image.transpose(1, 2, 0).astype(np.float32),
        "dull": (0.2 + 0.5 * image.transpose(1, 2, 0)).astype(np.float32),
        "kernel": rng.normal(0, 0.4, (5, 3, 3, 3)).astype(np.float32),
        "readout": rng.normal(0, 0.05, (5, SIZE - 2, SIZE - 2)).astype(np.float32),
    }


class Recorder:
    """Stands in for the module ``torch`` and writes down what is drawn at random."""

    def __init__(self, torch: Any):
        self._torch, self.drawn = torch, []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._torch, name)
        if name not in ("rand", "randn", "normal", "rand_like", "randn_like"):
            return value

        def recorded(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            self.drawn.append(result.detach().numpy().copy())
            return result

        return recorded


def network(torch: Any, given: dict[str, np.ndarray]) -> Any:
    """Prediction of every image of a batch, ``(batch, 1)``."""
    convolution = torch.nn.Conv2d(3, 5, 3, bias=False)
    linear = torch.nn.Linear(given["readout"].size, 1, bias=False)
    convolution.weight.data = torch.from_numpy(given["kernel"])
    linear.weight.data = torch.from_numpy(given["readout"]).reshape(1, -1)
    layers = {
        "convolution": convolution,
        "relu": torch.nn.ReLU(),
        "flatten": torch.nn.Flatten(),
        "prediction": linear,
    }
    module = torch.nn.Sequential()
    for name, layer in layers.items():
        module.add_module(name, layer)
    return module.eval()


@contextlib.contextmanager
def recording(module: Any, torch: Any, seed: int) -> Any:
    """Seeds torch and records what `module` draws."""
    recorder = Recorder(torch)
    torch.manual_seed(seed)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        module.torch = recorder
        try:
            yield recorder
        finally:
            module.torch = torch


def faccent(name: str, given: dict[str, np.ndarray], seed: int = 0) -> SimpleNamespace:
    """Images and draws of ``render_vis`` with ``fourier_phase`` or ``fourier``.

    Returns:
      `images` ``[step, height, width, channel]``, `drawn`: lists of side, top, left
      (uniform numbers), normal and uniform noise, five arrays per crop and step.
    """
    import torch
    from faccent import param, render, transform

    maker = {"phase": param.fourier_phase, "fourier": param.fourier}[name]
    image = torch.from_numpy(given["seed"]).permute(2, 0, 1)
    with recording(transform, torch, seed) as recorder:
        parameterizer = maker(
            init_img=image, img_size=(CANVAS, CANVAS), device=torch.device("cpu")
        )
        images, *_ = render.render_vis(
            network(torch, given),
            lambda hook: -hook("prediction").mean(),
            parameterizer=parameterizer,
            out_thresholds=STEPS,
            inline_thresholds=(),
            nb_transforms=CROPS,
            progress=False,
            model_input_size=(SIZE, SIZE),
            model_input_range=(0, 1),
            img_size=(CANVAS, CANVAS),
        )
    stacked = np.stack([one[0].permute(1, 2, 0).numpy() for one in images])
    return SimpleNamespace(images=stacked, drawn=recorder.drawn)


def horama(name: str, given: dict[str, np.ndarray], seed: int = 0) -> SimpleNamespace:
    """Images and draws of ``accentuation``, run once per number of steps.

    It starts from the dull seed, which it stretches.

    Returns:
      `images` ``[step, height, width, channel]``, `drawn`: lists of centre x, centre y,
      side (a uniform number), normal and uniform noise, five arrays per step.
    """
    import torch
    from horama import accentuation, common

    settings = HORAMA[name]
    predict = network(torch, given)
    images = []
    for steps in STEPS:
        with recording(common, torch, seed) as recorder:
            image, _ = accentuation(
                lambda crops: predict(crops).mean(),
                torch.from_numpy(given["dull"]).permute(2, 0, 1),
                decay_power=settings["decay"],
                total_steps=steps,
                learning_rate=settings["rate"],
                image_size=CANVAS,
                model_input_size=SIZE,
                noise=settings["noise"],
                values_range=(0.0, 1.0),
                crops_per_iteration=CROPS,
                box_size=settings["box"],
                penalty=0.0,
                device="cpu",
            )
        images.append(image.detach().permute(1, 2, 0).numpy())
    return SimpleNamespace(images=np.stack(images), drawn=recorder.drawn)


def packed(name: str, result: SimpleNamespace) -> dict[str, np.ndarray]:
    """Images, and draws as `side`, `corner` (top, left) and `noise`, [step, crop, ...].

    Noise of faccent is at its place on the canvas, that of Horama on the resized crop.
    """
    unpack = _horama_draws if name in HORAMA else _faccent_draws
    side, corner, noise = unpack(name, result.drawn)
    draws = {"side": side, "corner": corner, "noise": noise.astype(np.float32)}
    return {"images": result.images, **draws}


def _faccent_draws(name: str, drawn: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    low, high = FACCENT["box"]
    count = STEPS[-1] * CROPS
    side = np.zeros(count, np.float32)
    corner = np.zeros((count, 2), np.float32)
    noise = np.zeros((count, CANVAS, CANVAS, 3), np.float32)
    for index in range(count):
        size, top, left, normal, uniform = drawn[5 * index : 5 * index + 5]
        # in float32 and in this order, for the crop is cut at whole pixels
        side[index] = (size * np.float32(high - low) + np.float32(low))[0]
        corner[index] = np.r_[top, left] * (1 - side[index])
        first = (corner[index] * np.float32(CANVAS)).astype(int)
        added = normal + (uniform - 0.5) * np.float32(FACCENT["noise"])
        height, width = added.shape[1:]
        rows, columns = first[0] + np.arange(height), first[1] + np.arange(width)
        noise[index][np.ix_(rows, columns)] = added.transpose(1, 2, 0)
    return tuple(
        values.reshape(STEPS[-1], CROPS, *values.shape[1:])
        for values in (side, corner, noise)
    )


def _horama_draws(name: str, drawn: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    low, high = HORAMA[name]["box"]
    x, y, size, normal, uniform = (
        np.stack(drawn[index::5][: STEPS[-1]]) for index in range(5)
    )
    side = size * np.float32(high - low) + np.float32(high)
    centre = np.float32(0.5) + np.stack([y, x], axis=-1) * np.float32(0.15)
    noise = (normal + uniform - np.float32(0.5)) * np.float32(HORAMA[name]["noise"])
    return side, centre - side[..., None] / 2, noise.transpose(0, 1, 3, 4, 2)


def trajectories(seed: int = 0) -> dict[str, np.ndarray]:
    """The problem, and every tool's images and draws as ``name/images`` and so on."""
    given = problem(seed)
    arrays = dict(given)
    for name in ("phase", "fourier", *HORAMA):
        run = horama if name in HORAMA else faccent
        for part, values in packed(name, run(name, given, seed)).items():
            arrays[f"{name}/{part}"] = values
    return arrays


def main() -> None:
    """Writes the fixture, images in units of 1 / 65535."""
    arrays = trajectories()
    for part in ("side", "corner", "noise"):  # equal draws are stored once
        np.testing.assert_array_equal(
            arrays.pop(f"fourier/{part}"), arrays[f"phase/{part}"]
        )
    for name in [name for name in arrays if name.endswith("/images")]:
        arrays[name] = np.round(arrays[name] * 65535).astype(np.uint16)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
