"""Ridge of many sites side by side with scikit-learn and himalaya, on the same data.

    python -m benchmarks.ridge            800 images x 100,352 features, 100 sites
    python -m benchmarks.ridge --quick    a size that takes seconds

Every fit runs in a process of its own, for its peak of memory; processes wait while
another one fits, and rounds are interleaved, so that all meet the same machine. A fit
ends with weights per feature: himalaya's dual coefficients are taken there too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing as mp
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

PENALTIES = 10.0 ** np.arange(-4, 10)
FULL, QUICK = (800, 100_352, 100), (200, 5_000, 20)
N_FOLDS = 5
FITS = {
    "ours loo": "ours loo",
    "sklearn RidgeCV loo": "ours loo",
    "ours kfold": "ours kfold",
    "himalaya numpy float64": "ours kfold",
    "himalaya torch float64": "ours kfold",
    "himalaya torch float32": "ours kfold",
}
"""What is run, and what it is compared with."""


def make_data(folder: Path, size: tuple[int, int, int]) -> None:
    """Rectified features of a decaying spectrum; sites differ in noise and tuning."""
    n_images, n_features, n_sites = size
    rng = np.random.default_rng(0)
    rank = min(300, n_images // 2)
    scale = 30 * np.arange(1, rank + 1) ** -0.7
    latent = rng.standard_normal((n_images, rank)) * scale
    loading = rng.standard_normal((rank, n_features), dtype=np.float32)
    features = latent.astype(np.float32) @ loading
    features += 3 * rng.standard_normal(features.shape, dtype=np.float32)
    features = np.maximum(features, 0)
    tuning = rng.standard_normal((rank, n_sites)) * scale[:, None] ** -np.linspace(
        0, 1, n_sites
    )
    drive = latent @ tuning
    drive /= drive.std(axis=0)
    noise = rng.standard_normal(drive.shape) * np.geomspace(0.5, 5, n_sites)
    np.save(folder / "features.npy", features)
    np.save(folder / "responses.npy", drive + noise)


def ours(features, responses, selection):
    """Fit of this package."""
    import jax

    from paramctl_jax.encoding.blocks import FeatureBlocks
    from paramctl_jax.encoding.ridge import ridge

    fit = ridge(
        FeatureBlocks(features),
        responses,
        PENALTIES,
        selection=selection,
        n_folds=N_FOLDS,
        key=jax.random.key(0),
    )
    return fit.weights, fit.penalty


def sklearn_loo(features, responses):
    """Fit of scikit-learn, exact leave-one-out."""
    from sklearn.linear_model import RidgeCV

    fit = RidgeCV(PENALTIES, alpha_per_target=True).fit(features, responses)
    return np.transpose(fit.coef_), fit.alpha_


def himalaya_kfold(features, responses, backend, fold):
    """Fit of himalaya with the given folds, and its weights over features."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import PredefinedSplit

    engine = set_backend(backend)
    x, y = engine.asarray(features), engine.asarray(responses.astype(features.dtype))
    fit = KernelRidgeCV(
        alphas=PENALTIES,
        cv=PredefinedSplit(fold),  # pyright: ignore[reportArgumentType]
        fit_intercept=True,
        warn=False,
    ).fit(x, y)
    dual = fit.dual_coef_ - fit.dual_coef_.mean(0)  # centres the features
    weights = engine.to_numpy(x.T @ dual)
    return weights, engine.to_numpy(fit.best_alphas_)


def serve(name: str, folder: Path, pipe) -> None:
    """Fits whenever asked; answers with the seconds, and first writes what it found."""
    precision = np.float32 if name.endswith("float32") else np.float64
    features = np.load(folder / "features.npy").astype(precision)
    responses = np.load(folder / "responses.npy")
    fold = np.load(folder / "fold.npy")
    before = peak_of_memory()
    saved = folder / f"{name}.npz"
    while pipe.recv():
        start, used = time.perf_counter(), time.process_time()
        if name.startswith("ours"):
            weights, penalty = ours(features, responses, name.split()[1])
        elif name.startswith("sklearn"):
            weights, penalty = sklearn_loo(features, responses)
        else:
            weights, penalty = himalaya_kfold(
                features, responses, name.split()[1], fold
            )
        seconds = time.perf_counter() - start
        cpu = time.process_time() - used
        if not saved.exists():
            np.savez(saved, weights=weights, penalty=penalty)
        pipe.send((seconds, cpu, before, peak_of_memory()))


def peak_of_memory() -> float:
    """Of this process so far, in MiB."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def available(name: str) -> bool:
    """Whether what the fit needs is installed."""
    needs = [part for part in ("himalaya", "torch") if part in name]
    return all(importlib.util.find_spec(part) for part in needs)


def measure(names: list[str], folder: Path, rounds: int) -> dict[str, list]:
    """Seconds and peaks of every fit and round; the first round compiles, too."""
    context = mp.get_context("spawn")
    results: dict[str, list] = {name: [] for name in names}
    workers = {}
    for name in names:
        ours_end, theirs = context.Pipe()
        worker = context.Process(target=serve, args=(name, folder, theirs), daemon=True)
        worker.start()
        theirs.close()
        workers[name] = ours_end
    for _ in range(rounds):
        for name in names:
            workers[name].send(True)
            results[name].append(workers[name].recv())
            print(
                "  {}: {:.2f} s, CPU {:.2f} s".format(name, *results[name][-1]),
                flush=True,
            )
    for pipe in workers.values():
        pipe.send(False)
    return results


def matmul_peak(side: int) -> float:
    """Best float64 GFLOP/s of a square product, 2 n^3 operations."""
    a = np.random.default_rng(0).standard_normal((side, side))
    best = np.inf
    for _ in range(4):
        start = time.perf_counter()
        np.matmul(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def operations(size: tuple[int, int, int]) -> float:
    """GFLOP that the fit needs: half a Gram matrix and the product back to features.

    The eigendecomposition (about 9 n^3) and the search are small beside them.
    """
    n_images, n_features, n_sites = size
    return (n_images**2 + 2 * n_images * n_sites) * n_features / 1e9


def report(results: dict[str, list], folder: Path, size, peak: float) -> list[dict]:
    """One row per fit, compared with ours of the same cross-validation."""
    rows = []
    for name, rounds in results.items():
        seconds = [entry[0] for entry in rounds]
        warm = statistics.median(seconds[1:] or seconds)
        found, reference = (
            np.load(folder / f"{which}.npz") for which in (name, FITS[name])
        )
        difference = found["weights"] - reference["weights"]
        scale = np.linalg.norm(reference["weights"], axis=0)
        same = np.isclose(found["penalty"], reference["penalty"], rtol=1e-3)
        relative = np.linalg.norm(difference, axis=0) / scale
        base = [entry[0] for entry in results[FITS[name]]]
        rows.append(
            {
                "fit": name,
                "first_s": seconds[0],
                "warm_s": warm,
                "all_s": seconds,
                "times_ours": warm / statistics.median(base[1:] or base),
                "cpu_s": statistics.median([e[1] for e in rounds[1:] or rounds]),
                "peak_mib": rounds[-1][3],
                "beyond_data_mib": rounds[-1][3] - rounds[-1][2],
                "largest_difference": float(relative[same].max(initial=0)),
                "same_penalty": int(same.sum()),
                "penalties_in_use": len(np.unique(reference["penalty"])),
                "share_of_peak": operations(size) / warm / peak,
            }
        )
    return rows


def show(rows: list[dict], size: tuple[int, int, int], peak: float) -> None:
    """The table; differences are of sites with the same penalty, ours the reference."""
    n_images, n_features, n_sites = size
    print(
        f"\n{n_images} images x {n_features} features, {n_sites} sites, "
        f"{len(PENALTIES)} penalties; float64 matmul peak {peak:.1f} GFLOP/s; "
        f"the fit's {operations(size):.1f} GFLOP (Gram n^2 p, weights 2 n p sites)\n"
    )
    print(
        "| fit | first s | warm s | CPU s | x ours | peak MiB | beyond data MiB | "
        "same penalty | largest relative difference | share of peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['fit']} | {row['first_s']:.2f} | {row['warm_s']:.2f} | "
            f"{row['cpu_s']:.2f} | "
            f"{row['times_ours']:.2f} | {row['peak_mib']:.0f} | "
            f"{row['beyond_data_mib']:.0f} | {row['same_penalty']}/{n_sites} "
            f"({row['penalties_in_use']} in use) | {row['largest_difference']:.1e} | "
            f"{row['share_of_peak']:.0%} |"
        )


def main() -> None:
    """Runs and prints everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small problem")
    parser.add_argument("--rounds", type=int, default=4, help="the first is not warm")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder, size)
        np.save(folder / "fold.npy", _folds(size[0]))
        before = matmul_peak(1000 if options.quick else 4000)
        results = measure([n for n in FITS if available(n)], folder, options.rounds)
        peak = max(before, matmul_peak(1000 if options.quick else 4000))
        rows = report(results, folder, size, peak)
    show(rows, size, peak)
    if options.json:
        options.json.write_text(json.dumps({"peak_gflops": peak, "fits": rows}))


def _folds(n_images: int) -> np.ndarray:
    import jax

    from paramctl_jax.encoding.linear import fold_of_images

    return fold_of_images(n_images, N_FOLDS, jax.random.key(0))


if __name__ == "__main__":
    main()
