"""Features of many images per second, and the Gram matrix of features on disk.

    python -m benchmarks.features            ResNet-50; 10,000 images x 100,352 features
    python -m benchmarks.features --quick    sizes that take seconds
    python -m benchmarks.features --part=gram --folder=DISK    one part, files on DISK

The Gram matrix is accumulated in a process of its own, for its peak of memory, from a
float32 file like those of `extract_features(..., store=...)`; what the process maps of
the file counts in its peak. The file is first taken out of the system's cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import platform
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

FULL, QUICK = (10_000, 100_352), (500, 20_000)
RATES = [  # backbone, side in pixels, images per device, images, readouts
    ("small_standard", 64, 8, 512, 1),
    ("small_standard", 64, 32, 512, 1),
    ("small_standard", 64, 128, 512, 1),
    ("small_standard", 64, 32, 512, 6),
    ("resnet50", 224, 8, 64, 1),
    ("resnet50", 224, 32, 64, 1),
    ("resnet50", 224, 32, 64, 16),
]


def rate(name: str, side: int, batch: int, count: int, n_readouts: int) -> dict:
    """Seconds of a first call, which traces and compiles, and of a second one."""
    import jax

    from paramctl_jax.backbones import random_backbone
    from paramctl_jax.encoding.features import extract_readouts
    from paramctl_jax.types import ImageSet

    backbone = random_backbone(name, jax.random.key(0), input_size=side)
    blocks = [r for r in backbone.readouts if "." in r]
    readouts = blocks if n_readouts > 1 else blocks[-2:-1]
    if n_readouts > 1:
        readouts = list(backbone.readouts)[:n_readouts]
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3))
    images = ImageSet(tuple(map(str, range(count))), pixels.astype(np.uint8))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = extract_readouts(backbone, images, readouts, batch, progress=False)
        seconds.append(time.perf_counter() - start)
    return {
        "backbone": f"{name} at {side}",
        "batch": batch,
        "images": count,
        "readouts": len(found),
        "features": sum(values.shape[1] for values in found.values()),
        "first_s": seconds[0],
        "images_per_s": count / min(seconds[1:]),
    }


def make_features(path: Path, shape: tuple[int, int]) -> None:
    """Low rank plus noise, row by row as an extraction writes it."""
    count, width = shape
    rng = np.random.default_rng(0)
    rank = 100
    scale = (10 * np.arange(1, rank + 1) ** -0.5).astype(np.float32)
    loading = rng.standard_normal((rank, width), dtype=np.float32)
    out = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    for start in range(0, count, 250):
        rows = min(250, count - start)
        latent = rng.standard_normal((rows, rank), dtype=np.float32) * scale
        noise = rng.standard_normal((rows, width), dtype=np.float32)
        out[start : start + rows] = latent @ loading + noise
    out.flush()


def drop_cache(path: Path) -> None:
    """Takes a file out of the system's cache, where the system can be asked to."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def gram_and_modes(path: Path, pipe) -> None:
    """The Gram matrix and its eigenvectors, as `ridge` takes them."""
    import jax
    import jax.numpy as jnp

    from paramctl_jax.encoding import modes
    from paramctl_jax.encoding.blocks import FeatureBlocks
    from paramctl_jax.encoding.gram import gram

    features = FeatureBlocks(np.load(path, mmap_mode="r", allow_pickle=False))
    found: dict[str, float] = {"start_mib": peak_of_memory()}
    drop_cache(path)
    start = time.perf_counter()
    matrix = gram(features)
    found["gram_s"] = time.perf_counter() - start
    found["gram_mib"] = peak_of_memory()
    pipe.send(dict(found))
    found["trace"] = float(np.trace(matrix))
    start = time.perf_counter()
    with modes.float64_on_cpu():
        squares = np.asarray(jax.block_until_ready(modes._full(jnp.asarray(matrix)))[1])
    found["eigh_s"] = time.perf_counter() - start
    found["eigh_mib"] = peak_of_memory()
    kept = squares[np.isfinite(squares)]
    found["trace_error"] = abs(float(kept.sum()) / found["trace"] - 1)
    pipe.send(found)
    pipe.close()


def peak_of_memory() -> float:
    """Of this process so far, in MiB; off Linux its parent's may count, too."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line for line in status.read_text().splitlines() if "VmHWM" in line]
        return int(lines[0].split()[1]) / 2**10
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def apart(function, *arguments) -> dict:
    """What a function says last, from a process of its own."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=function, args=(*arguments, theirs))
    worker.start()
    theirs.close()
    found = {}
    try:
        while True:
            found = ours.recv()
            print(f"  {found}", flush=True)
    except EOFError:
        worker.join()
    if worker.exitcode:
        print(f"  ended with exit code {worker.exitcode}")
    return found


def run_gram(shape: tuple[int, int], folder: Path) -> dict:
    """Makes the file, accumulates and decomposes."""
    needed, free = 4 * shape[0] * shape[1], shutil.disk_usage(folder).free
    if free < needed + 2**30:
        raise SystemExit(
            f"{folder}: expected {(needed + 2**30) // 2**20} MiB free, found "
            f"{free // 2**20}; give another --folder"
        )
    path = folder / "features.npy"
    start = time.perf_counter()
    make_features(path, shape)
    print(f"file of {needed / 2**20:.0f} MiB in {time.perf_counter() - start:.0f} s")
    return apart(gram_and_modes, path)


def show_rates(rows: list[dict]) -> None:
    """The table of part (a)."""
    print("\n| backbone | batch | readouts | features | first s | images per s |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['backbone']} | {row['batch']} | {row['readouts']} | "
            f"{row['features']:,} | {row['first_s']:.1f} | {row['images_per_s']:.1f} |"
        )


def show_gram(found: dict, shape: tuple[int, int]) -> None:
    """The table of part (b); n^2 p operations, since the matrix is symmetric."""
    gflop = shape[0] ** 2 * shape[1] / 1e9
    print(f"\n{shape[0]:,} images x {shape[1]:,} features, float64\n")
    print("| step | s | GFLOP/s | peak MiB |")
    print("|---|---|---|---|")
    seconds = found["gram_s"]
    print(
        f"| Gram matrix | {seconds:.1f} | {gflop / seconds:.1f} | "
        f"{found['gram_mib']:.0f} |"
    )
    if "eigh_s" in found:
        print(
            f"| eigendecomposition | {found['eigh_s']:.1f} | | {found['eigh_mib']:.0f} "
            f"|\n\ntrace kept to {found['trace_error']:.1e}"
        )


def main() -> None:
    """Runs and prints everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small problems")
    parser.add_argument("--part", choices=("rates", "gram", "both"), default="both")
    parser.add_argument("--folder", type=Path, help="where the file of features goes")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    options = parser.parse_args()
    shape = QUICK if options.quick else FULL
    results: dict = {}
    if options.part != "gram":
        cases = RATES[:2] if options.quick else RATES
        results["rates"] = [rate(*case) for case in cases]
        show_rates(results["rates"])
    if options.part != "rates":
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results["gram"] = run_gram(shape, Path(folder))
        show_gram(results["gram"], shape)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
