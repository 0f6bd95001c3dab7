"""Passes through frozen networks: matrix products against XLA's convolution, and torch.

    python -m benchmarks.passes            three networks, float32 and bfloat16
    python -m benchmarks.passes --quick    the bundled network only, seconds
    python -m benchmarks.passes --scan     the bundled network's step inside lax.scan

A pass is the value of a readout's sum of squares and its gradient with respect to the
images; weights are fixed arguments, random. All variants of a network are compiled
first and then run one after the other in every round, so that all meet the same
machine; the ratio is the median over rounds of the time over that of `lax float32` in
the same round. torch runs the same ResNet with the same weights, eager, where it is
installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from paramctl_jax.backbones import checkpoint, convolution, layers, random_backbone
from paramctl_jax.backbones.precision import low_precision

# name, deepest stage, readout, side of the image, images
NETWORKS = (
    ("small_standard", "layer4", "layer4.0", 64, 5),
    ("resnet50_v1", "layer3", "layer3.5", 112, 4),
    ("resnet50_v1", "layer3", "layer3.5", 112, 8),
    ("densenet121", "features", "features", 112, 4),
)
BASE = "lax float32"
SCAN_STEPS = 3


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Traces networks with XLA's own convolution and pooling."""

    def pool(x, size, stride, pad):
        border = ((pad, pad), (pad, pad))
        return nn.max_pool(x, (size, size), (stride, stride), border)

    with (
        mock.patch.object(convolution, "as_products", return_value=False),
        mock.patch.object(layers, "_max_pool", pool),
    ):
        yield


def gradient(module: Any, readout: str, variables: Any, images: jax.Array):
    """The value and the images' gradient of ``sum(features^2) / count``."""

    def value(images: jax.Array) -> jax.Array:
        features = module.apply(variables, images)[readout].astype(jnp.float32)
        return jnp.mean(features**2)

    return jax.value_and_grad(value)(images)


def scanned(module: Any, readout: str, variables: Any, images: jax.Array):
    """Some steps along the gradient, in one program."""

    def step(images, _):
        value, g = gradient(module, readout, variables, images)
        return images + jnp.asarray(0.01, g.dtype) * g, value

    return jax.lax.scan(step, images, length=SCAN_STEPS)


def variants(backbone, readout, images, scan: bool) -> dict[str, Callable[[], Any]]:
    """Compiled passes without arguments, by name."""
    function = scanned if scan else gradient
    passes: dict[str, Callable[[], Any]] = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        low = dtype == jnp.bfloat16
        variables = low_precision(backbone.variables) if low else backbone.variables
        x = jnp.asarray(images, dtype)
        for kind, context in (("lax", plain), ("ours", contextlib.nullcontext)):
            run = jax.jit(partial(function, backbone.network.module, readout))
            with context():
                compiled = run.lower(variables, x).compile()
            passes[f"{kind} {jnp.dtype(dtype)}"] = partial(compiled, variables, x)
    return passes


def torch_variants(backbone, images: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The same network and weights in torch, eager, in both memory layouts."""
    if backbone.name != "resnet50_v1" or not importlib.util.find_spec("torch"):
        return {}
    import torch

    tensors = checkpoint.to_tensors(backbone.variables)
    passes: dict[str, Callable[[], Any]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        for label, layout in (
            ("NCHW", torch.contiguous_format),
            ("NHWC", torch.channels_last),
        ):
            weights = {}
            for name, tensor in {**tensors, "x": images.transpose(0, 3, 1, 2)}.items():
                weight = torch.from_numpy(np.array(tensor)).to(dtype)
                four = weight.ndim == 4
                weights[name] = weight.to(memory_format=layout) if four else weight
            x = weights.pop("x")
            name = f"torch {label} {str(dtype).removeprefix('torch.')}"
            passes[name] = partial(torch_pass, weights, x)
    return passes


def torch_pass(weights, x):
    """Forward and backward to the images, ResNet-50 v1 as far as layer3."""
    import torch.nn.functional as F

    def conv_norm(x, conv, norm, stride=1):
        kernel = weights[f"{conv}.weight"]
        y = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        leaves = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(y, *(weights[f"{norm}.{leaf}"] for leaf in leaves))

    def block(x, name, stride):
        y = F.relu(conv_norm(x, f"{name}.conv1", f"{name}.bn1", stride))
        y = F.relu(conv_norm(y, f"{name}.conv2", f"{name}.bn2"))
        y = conv_norm(y, f"{name}.conv3", f"{name}.bn3")
        if f"{name}.downsample.0.weight" in weights:
            x = conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        return F.relu(x + y)

    x = x.detach().requires_grad_(True)
    y = F.max_pool2d(F.relu(conv_norm(x, "conv1", "bn1", 2)), 3, 2, 1)
    for stage, count in enumerate((3, 4, 6), start=1):
        for index in range(count):
            y = block(y, f"layer{stage}.{index}", 2 if stage > 1 and not index else 1)
    value = y.float().square().mean()
    value.backward()
    return value.detach(), x.grad


def measure(passes: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list]:
    """Seconds of every pass and round, after one that is not counted."""
    for run in passes.values():
        jax.block_until_ready(run())
    seconds: dict[str, list] = {name: [] for name in passes}
    for _ in range(rounds):
        for name, run in passes.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - start)
    return seconds


def show(title: str, seconds: dict[str, list]) -> None:
    """One row per variant."""
    print(f"\n{title}\n\n| pass | ms | least ms | x {BASE} |\n|---|---|---|---|")
    for name, times in seconds.items():
        ratio = statistics.median(
            a / b for a, b in zip(times, seconds[BASE], strict=True)
        )
        print(
            f"| {name} | {1e3 * statistics.median(times):.1f} | "
            f"{1e3 * min(times):.1f} | {ratio:.2f} |",
            flush=True,
        )


def main() -> None:
    """Runs and prints everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the first network only")
    parser.add_argument("--scan", action="store_true", help="steps inside lax.scan")
    parser.add_argument("--only", default="", help="one network's name")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    count = 1 if options.quick or options.scan else len(NETWORKS)
    networks = [n for n in NETWORKS[:count] if options.only in n[0]]
    print(f"jax {jax.__version__} on {jax.default_backend()}")
    for name, through, readout, size, batch in networks:
        backbone = random_backbone(
            name, jax.random.key(0), input_size=size, through=through
        )
        rng = np.random.default_rng(0)
        images = rng.standard_normal((batch, size, size, 3), np.float32)
        passes = variants(backbone, readout, images, options.scan)
        passes |= {} if options.scan else torch_variants(backbone, images)
        title = f"{name} to {readout}, {batch} images of {size} pixels"
        show(title, measure(passes, options.rounds))


if __name__ == "__main__":
    main()
