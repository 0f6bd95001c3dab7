"""Every tool's PNGs judged by one network in float32, and looked at by another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax import encoding, images
from paramctl_jax.backbones import load_backbone
from paramctl_jax.types import EncodingModel, ImageSet, indices_of

FINE = 1 / 8  # cycles per pixel; above it a change counts as of high frequency
SLACK = 1e-3  # of the tolerance: float32 sums differ between the tools' networks


class Judge:
    """Of one problem."""

    def __init__(self, folder: Path, about: dict[str, Any]):
        arrays = np.load(folder / "problem.npz")
        self.levels, self.seeds = arrays["levels"], arrays["seeds"]
        self.tolerance = about["tolerance"] * np.ptp(self.levels, axis=1)
        self.models = {
            name: encoding.load_encoding(
                folder / f"{file}.npz", load_backbone(**about[name])
            )
            for name, file in (("backbone", "encoding"), ("second", "second"))
        }
        sites = arrays["site_ids"].tolist()
        self.columns = {
            name: indices_of(sites, model.site_ids, "sites")
            for name, model in self.models.items()
        }

    def judge(self, path: str) -> dict[str, Any]:
        """Who is accepted, and how the accepted images look."""
        found = np.load(path)
        lanes, saved = found["lanes"], through_png(found["images"])
        ours, other = (self._predict(name, saved, lanes) for name in self.models)
        site, seed, level = lanes.T
        error = np.abs(ours - self.levels[site, level])
        accepted = error <= self.tolerance[site] * (1 + SLACK)
        change = (saved.astype(float) - self.seeds[seed]) / 255
        rms = np.sqrt(np.mean(change**2, axis=(1, 2, 3)))
        moved = accepted & (rms > 0)
        said = np.abs(ours - found["reached"]) / self.tolerance[site]
        return {
            "accepted": int(accepted.sum()),
            "lanes": len(lanes),
            "rms": _median(rms[moved]),
            "fine": _median(fine_share(change[moved])),
            "slope": _median(slopes(ours, other, lanes, accepted)),
            "error": _median(error / self.tolerance[site]),
            "said": float(np.nanmax(said)),
            "steps": found["steps"].tolist(),
            "predicted": ours.tolist(),
            "second": other.tolist(),
        }

    def _predict(self, name: str, saved: np.ndarray, lanes: np.ndarray) -> np.ndarray:
        """Of every lane's image, at the lane's site."""
        ids = tuple(f"lane{index}" for index in range(len(saved)))
        model: EncodingModel = self.models[name]
        predicted = encoding.predict(model, ImageSet(ids, saved))
        return predicted[np.arange(len(saved)), self.columns[name][lanes[:, 0]]]


def through_png(pixels: np.ndarray) -> np.ndarray:
    """What is read back from the saved files."""
    saved = [images.encode_png(image) for image in pixels]
    return np.stack([images.decode_image(data, "png") for data in saved])


def fine_share(change: np.ndarray) -> np.ndarray:
    """Share of each change's power above `FINE`, all colours together."""
    if not len(change):
        return np.empty(0)
    size = change.shape[1]
    power = (np.abs(np.fft.fft2(change, axes=(1, 2))) ** 2).sum(-1)
    frequency = np.fft.fftfreq(size)
    high = np.hypot(frequency[:, None], frequency[None, :]) > FINE
    return power[:, high].sum(1) / power.sum((1, 2))


def slopes(
    ours: np.ndarray, other: np.ndarray, lanes: np.ndarray, accepted: np.ndarray
) -> np.ndarray:
    """Of the second network's predictions on ours, per site and seed of 3 levels."""
    found = []
    for site, seed in sorted({(int(a), int(b)) for a, b, _ in lanes}):
        kept = accepted & (lanes[:, 0] == site) & (lanes[:, 1] == seed)
        if kept.sum() >= 3 and np.ptp(ours[kept]) > 0:
            found.append(np.polyfit(ours[kept], other[kept], 1)[0])
    return np.asarray(found)


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
