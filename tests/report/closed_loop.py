"""A small closed loop with known numbers: random PNGs, scores taken by scipy."""

import itertools

import numpy as np
from PIL import Image
from scipy import stats

from paramctl_jax.report import ReportInputs
from paramctl_jax.types import (
    Comparison,
    ControlScore,
    ModelScore,
    SiteScore,
    Stimulus,
    StimulusSet,
    Traces,
)
from tests.evaluations import evaluation_of

MODELS = {"robust": 0.9, "standard": 0.35}  # name: gain of recorded on predicted
UNITS = "z"


def write_png(path, rng, side=24):
    pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_stimuli(directory, models, sites, seeds, targets, rng):
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for model in models:
        for site in sites:
            for seed in seeds:
                for level in (None, *range(len(targets))):
                    name = f"s{len(made):04d}"
                    write_png(directory / f"{name}.png", rng)
                    target = 0.2 if level is None else float(targets[level])
                    # The top level of the first seed misses its target.
                    miss = level == len(targets) - 1 and seed == seeds[0]
                    predicted = target - (0.8 if miss else 0.0)
                    lane = (model, site, seed, level, target, predicted, not miss)
                    why = "unreached" if miss else "hit"
                    error = abs(predicted - target) / np.ptp(targets)
                    far = abs(target - 0.2)
                    loop = (0.2, predicted, 10, why, error, 0.05 * far, 0.2, 0.0)
                    fine = 0.1 if far else np.nan
                    loop = (*loop, 1 - 0.1 * far, fine, 0.3 * far)
                    made.append(Stimulus(name, f"{name}.png", *lane, "sha256:0", *loop))
    return StimulusSet(directory, tuple(made))


def make_traces(stimuli, model, route="path", maps=True):
    """Straight lines from the start to the last level, ten steps to each level."""
    own = [s for s in stimuli.stimuli if s.model == model]
    sites, seeds = (
        list(dict.fromkeys(getattr(s, name) for s in own)) for name in ("site", "seed")
    )
    rows, lines = [], []
    for site, seed in itertools.product(sites, seeds):
        lanes = [s for s in own if (s.site, s.seed) == (site, seed)]
        for s in lanes if route == "lanes" else (lanes[1], lanes[-1]):
            if s.level is not None:
                level = s.level if route == "lanes" else -1
                way = 1 if s.target > s.start else -1
                rows.append((sites.index(site), seeds.index(seed), level, way))
                lines.append(np.linspace(s.start, s.predicted, 11, dtype=np.float32))
    size = (len(rows), 24, 24)
    drawn = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    keys = np.asarray(rows).reshape(-1, 4).T
    return Traces(*keys, np.asarray(lines), drawn if maps else None)


def score_model(stimuli, recorded, model):
    """Scores with scipy, independently of the package's scoring."""
    rows = [s for s in stimuli.stimuli if s.model == model and s.level is not None]
    sites = {}
    for site in dict.fromkeys(s.site for s in rows):
        seeds = tuple(dict.fromkeys(s.seed for s in rows if s.site == site))
        r, slopes = [], []
        for seed in seeds:
            own = [s for s in rows if (s.site, s.seed) == (site, seed)]
            pairs = [(s.predicted, recorded.get(s.stimulus_id, np.nan)) for s in own]
            x, y = np.asarray([p for p in pairs if np.isfinite(p[1])]).reshape(-1, 2).T
            defined = len(x) > 2 and np.ptp(y) > 0
            r.append(stats.pearsonr(x, y).statistic if defined else np.nan)
            slopes.append(stats.linregress(x, y).slope if defined else np.nan)
        r = np.asarray(r)
        finite = r[np.isfinite(r)]
        control = float(finite.mean()) if finite.size else np.nan
        slope = (
            float(np.mean(np.asarray(slopes)[np.isfinite(r)]))
            if finite.size
            else np.nan
        )
        sites[site] = SiteScore(seeds, r, control, slope, control, int(finite.size))
    controls = np.asarray([s.control for s in sites.values()])
    controls = controls[np.isfinite(controls)]
    mean, sd = (
        (float(controls.mean()), float(controls.std()))
        if controls.size
        else (np.nan,) * 2
    )
    return ModelScore(sites, mean, sd, sd, (mean - 0.1, mean + 0.05), len(rows), 0)


def make_evaluation(sites, rng):
    count = len(sites)
    r = rng.uniform(0.55, 0.8, count)
    ceiling = rng.uniform(0.85, 0.95, count)
    return evaluation_of(
        sites, (f"a{i}" for i in range(80)), tuple(f"b{i}" for i in range(20)),
        r=r, r2=r**2, ceiling=ceiling, r_normalised=r / ceiling, cv_r=r,
        r2_normalised=(r / ceiling) ** 2, r_ci=np.stack([r - 0.1, r + 0.06], axis=-1),
    )  # fmt: skip


def build(
    directory,
    models=MODELS,
    sites=("v4_07", "v4_31"),
    seeds=("owl", "cup", "fern"),
    levels=5,
    change=None,
    **fields,
):
    """Report inputs; `change(stimulus, response)` may alter any recorded response."""
    rng = np.random.default_rng(0)
    stimuli = make_stimuli(
        directory, list(models), sites, seeds, np.linspace(-1.4, 3.2, levels), rng
    )
    recorded = {}
    for s in stimuli.stimuli:
        value = models[s.model] * s.predicted + rng.normal(0, 0.5)
        recorded[s.stimulus_id] = float(change(s, value) if change else value)
    scores = {model: score_model(stimuli, recorded, model) for model in models}
    names = list(models)
    difference = scores[names[0]].control_mean - scores[names[-1]].control_mean
    comparisons = (
        Comparison(
            "", names[0], names[-1], difference, (0.1, 0.4), 0.25, 0.5, 0.25, 0.5
        ),
    )
    values = {
        "title": "Closed loop",
        "evaluations": {model: make_evaluation(sites, rng) for model in models},
        "stimuli": stimuli,
        "recorded": recorded,
        "score": ControlScore({"": scores}, comparisons),
        "n_repeats": dict.fromkeys(recorded, 10),
        "ground_truth": "in-silico subject: linear read-out of subject_net layer3.0",
        "provenance": {"config_hash": "sha256:ab", "versions": {"jax": "0.10.2"}},
        "notes": ("penalty of site v4_07 at the grid's edge",),
    }
    return ReportInputs(**values | fields)
