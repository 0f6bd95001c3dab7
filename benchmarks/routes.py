"""Quality of stimulus sets side by side: success, locality, content, other networks.

    python -m benchmarks.routes --workdirs=runs/path,runs/lanes

Each run directory is read as it is; nothing is optimised again. All numbers are of the
saved PNGs and all lanes are in every denominator.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paramctl_jax import artifacts
from paramctl_jax.backbones import load_backbone
from paramctl_jax.encoding import load_encoding, predict
from paramctl_jax.stimuli import load_stimuli, load_traces, stimulus_images
from paramctl_jax.types import EncodingModel, Stimulus

Sweeps = dict[tuple[str, str], list[Stimulus]]


def main() -> None:
    """Prints one row per run directory and model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdirs", required=True, type=lambda s: s.split(","))
    rows = [
        row for folder in parser.parse_args().workdirs for row in _rows(Path(folder))
    ]
    titles = list(rows[0])
    widths = [max(len(t), *(len(row[t]) for row in rows)) for t in titles]
    for row in (dict(zip(titles, titles, strict=True)), *rows):
        print("  ".join(f"{row[t]:>{w}}" for t, w in zip(titles, widths, strict=True)))


def _rows(folder: Path) -> list[dict[str, str]]:
    models = {
        path.stem: load_encoding(path, load_backbone(path.stem))
        for path in sorted((folder / "encoding").glob("*.npz"))
    }
    stimuli = load_stimuli(folder / "stimuli")
    predicted = _predictions(folder, models)
    traces = load_traces(folder / "stimuli")
    route = artifacts.read_json(folder / "run.json")["config"]["synthesis"]["route"]
    found = []
    for name in models:
        lanes = [s for s in stimuli.stimuli if s.model == name and s.level is not None]
        steps = int(np.isfinite(traces[name].prediction).sum()) - len(traces[name].site)
        found.append(
            {
                "run": str(folder),
                "route": route,
                "model": name,
                "steps / stimulus": f"{steps / len(lanes):.2f}",
                **_success(lanes),
                **_content(lanes),
                "RMS grows": f"{_growing(_sweeps(lanes)):.3f}",
                **_slopes(name, lanes, predicted),
            }
        )
    return found


def _predictions(
    folder: Path, models: dict[str, EncodingModel]
) -> dict[str, dict[tuple[str, str], float]]:
    """What every model says of every PNG at every site."""
    shown = stimulus_images(load_stimuli(folder / "stimuli"))
    return {
        name: {
            (stimulus, site): float(value)
            for stimulus, row in zip(
                shown.stimulus_ids, predict(model, shown), strict=True
            )
            for site, value in zip(model.site_ids, row, strict=True)
        }
        for name, model in models.items()
    }


def _success(lanes: Sequence[Stimulus]) -> dict[str, str]:
    errors = np.asarray([lane.relative_error for lane in lanes])
    gap = np.abs([lane.reached - lane.predicted for lane in lanes])
    return {
        "lanes": str(len(lanes)),
        "<= 5 %": f"{np.mean(errors <= 0.05):.4f}",
        "<= 2 %": f"{np.mean(errors <= 0.02):.4f}",
        "worst": f"{errors.max():.4f}",
        "PNG - loop": f"{gap.max():.1e}",
        "step max": str(max(lane.step for lane in lanes)),
    }


def _content(lanes: Sequence[Stimulus]) -> dict[str, str]:
    columns = {
        "RMS": "rms",
        "SSIM": "ssim",
        "HF share": "high_frequency",
        "off axis": "off_axis",
    }
    return {
        title: f"{np.nanmedian([getattr(lane, name) for lane in lanes]):.3f}"
        for title, name in columns.items()
    }


def _sweeps(lanes: Sequence[Stimulus]) -> Sweeps:
    found: Sweeps = {}
    for lane in lanes:
        found.setdefault((lane.site, lane.seed), []).append(lane)
    return found


def _growing(sweeps: Sweeps) -> float:
    """Share of sweeps whose RMS change grows with the distance, both ways."""

    def grows(lanes: list[Stimulus], sign: int) -> bool:
        ours = [x for x in lanes if sign * (x.target - x.start) > 0]
        ours.sort(key=lambda x: abs(x.target - x.start))
        return bool(np.all(np.diff([x.rms for x in ours]) > 0))

    return float(np.mean([grows(x, 1) and grows(x, -1) for x in sweeps.values()]))


def _slopes(
    name: str,
    lanes: Sequence[Stimulus],
    predicted: dict[str, dict[tuple[str, str], float]],
) -> dict[str, str]:
    """Mean slope of another network's prediction on the model's own, per sweep."""
    others = [other for other in predicted if other != name]
    found = {}
    for number, other in enumerate(others, 1):
        slopes = [
            np.polyfit(
                [x.predicted for x in sweep],
                [predicted[other][x.stimulus_id, x.site] for x in sweep],
                1,
            )[0]
            for sweep in _sweeps(lanes).values()
        ]
        found[f"slope of other {number}"] = f"{np.mean(slopes):.3f}"
    return found


if __name__ == "__main__":
    main()
