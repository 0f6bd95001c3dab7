"""This package's sweeps, in an interpreter of their own, by its public call."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from paramctl_jax.backbones import load_backbone
from paramctl_jax.encoding import load_encoding
from paramctl_jax.synthesis import accentuate
from paramctl_jax.types import ImageSet


class Ours:
    """One route and precision.

    Args:
      folder: of the problem.
      settings: of `accentuate`, the slots and the tolerance included.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        about = json.loads((folder / "problem.json").read_text())
        backbone = load_backbone(**about["backbone"])
        arrays = np.load(folder / "problem.npz")
        self.model = load_encoding(folder / "encoding.npz", backbone)
        self.sites = tuple(arrays["site_ids"].tolist())
        ids = tuple(arrays["seed_ids"].tolist())
        self.seeds = ImageSet(ids, arrays["seeds"])
        self.levels = arrays["levels"]
        self.settings = {"tolerance": about["tolerance"], **settings}

    def sweep(self, seed: int) -> dict[str, Any]:
        """All lanes; the counts are the sweep's own where it keeps them."""
        swept = accentuate(
            self.model,
            self.seeds,
            self.levels,
            sites=self.sites,
            key=jax.random.key(seed),
            progress=False,
            **self.settings,
        )
        shape = swept.step.shape
        return {
            "lanes": np.argwhere(np.ones(shape, bool)),
            "images": swept.images.reshape(-1, *swept.images.shape[3:]),
            "reached": swept.reached.ravel(),
            "steps": swept.step.ravel(),
            "capped": 0,
            **self._passes(swept),
        }

    def _passes(self, swept: Any) -> dict[str, int]:
        found = getattr(swept, "passes", None)
        if found:
            return {"search": int(found["search"]), "clean": int(found["clean"])}
        made = int(np.sum(swept.step))  # a lower bound: steps of the image kept
        return {
            "search": made * self.settings["crops"],
            "clean": made + swept.step.size,
        }

    def lane_step_seconds(self, slots: int, steps: int) -> float:
        """Seconds per step of one lane, all slots at work on what cannot be reached.

        The difference of two lengths, so that what a sweep costs beside its steps
        does not count.
        """
        seconds = {}
        for length in (steps, 5 * steps):
            begun = time.perf_counter()
            self._unreachable(slots, length)
            seconds[length] = time.perf_counter() - begun
        return (seconds[5 * steps] - seconds[steps]) / (4 * steps) / slots

    def _unreachable(self, slots: int, steps: int) -> None:
        extent = np.ptp(self.levels[0])
        far = self.levels[0].max() + extent * (1e4 + np.arange(slots))
        settings = {**self.settings, "max_steps": steps, "slots": slots}
        accentuate(
            self.model,
            self.seeds.select(self.seeds.stimulus_ids[:1]),
            far[None],
            sites=self.sites[:1],
            key=jax.random.key(0),
            progress=False,
            **{**settings, "route": "lanes", "tolerance": 1e-9},
        )


def devices() -> dict[str, Any]:
    """What jax ran on."""
    return {
        "jax": jax.__version__,
        "devices": [str(device) for device in jax.devices()],
    }


def known(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that this version of the package has; others must be its defaults."""
    from paramctl_jax.synthesis import Settings

    names = {field.name for field in dataclasses.fields(Settings)}
    defaults = {"route": "lanes", "precision": "float32"}
    lost = {k: v for k, v in settings.items() if k in defaults and k not in names}
    if any(defaults[name] != value for name, value in lost.items()):
        raise SystemExit(f"this version has no {lost}")
    return {name: v for name, v in settings.items() if name not in lost}
