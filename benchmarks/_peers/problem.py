"""The problem that all tools are given: one network, axes, seed images, levels.

A folder holds what takes long to make (the fits) from one run to the next, and

    problem.npz    axes, biases, seed images and our predictions of them, target levels
    problem.json   the network in words, tolerance, where the fits are
    network.npz    the network's tensors under torch's names, up to the readout
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks._peers import nets_spec
from paramctl_jax import encoding, images, recordings
from paramctl_jax.backbones import checkpoint, load_backbone
from paramctl_jax.data import photographs_path
from paramctl_jax.lanes import named_key
from paramctl_jax.subject import linear_subject
from paramctl_jax.types import EncodingModel, ImageSet, Recordings

EXTEND = (0.25, 0.5)
KEY = jax.random.key(42)
SMALL_SEEDS = ("elephant_0006", "kangaroo_0003", "lotus_0005", "rooster_0003")
V4_SITES = ("site77", "site84", "site18")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a problem comes from.

    Attributes:
      backbone, second: of the axes and of the judge that no tool saw: keyword
        arguments of `load_backbone`.
      readout, second_readout: the layers read.
      components: of the basis of both fits.
    """

    backbone: Mapping[str, Any]
    second: Mapping[str, Any]
    readout: str
    second_readout: str
    components: int


def source(name: str) -> Source:
    """The networks of a problem; `resnet50` needs the files of ``configs/v4.py``."""
    if name == "small":
        small = {"input_size": 64}
        return Source(
            {"name": "small_robust", **small},
            {"name": "small_standard", **small},
            "layer4.0",
            "layer4.0",
            200,
        )
    weights = _data() / "weights"
    at = {"input_size": 112}
    resnet = {"name": "resnet50_v1", "through": "layer3", **at}
    resnet["weights"] = str(weights / "resnet50_v1_through_layer3.npz")
    dense = {"name": "densenet121", **at}
    dense["weights"] = str(weights / "densenet121_imagenet_keras.npz")
    return Source(resnet, dense, "layer3.5", "features.denseblock3", 500)


def _data() -> Path:
    if not os.environ.get("PARAMCTL_DATA"):
        raise SystemExit("set PARAMCTL_DATA to the folder of configs/v4.py")
    return Path(os.environ["PARAMCTL_DATA"])


def _small() -> tuple[ImageSet, Recordings, tuple[str, ...], tuple[str, ...]]:
    """The in-silico subject of ``configs/quickstart.py``, at the networks' own size."""
    shown = images.load_images(photographs_path(), 64)
    subject = linear_subject(
        load_backbone("small_subject_robust"),
        shown,
        "layer3.0",
        n_sites=12,
        components=30,
        ncsnr=(0.3, 1.2),
        key=named_key(KEY, "subject"),
        progress=False,
    )
    recorded = subject.record(shown, 8, named_key(KEY, "day1"), "day1", progress=False)
    natural = shown.drop(SMALL_SEEDS)
    fitted = recorded.select_stimuli(natural.stimulus_ids)
    sites = recordings.choose_sites(fitted, named_key(KEY, "sites"), count=4).site_ids
    return shown, recorded.select_sites(sites), sites, SMALL_SEEDS


def _v4() -> tuple[ImageSet, Recordings, tuple[str, ...], tuple[str, ...]]:
    """Averages of session 201025, as ``launch/v4.py`` reads them."""
    from launch import _v4 as session

    data = _data() / "v4"
    files = {
        "responses": str(data / "responses_averaged_201025.npy"),
        "images": str(data / "images_201025.zip"),
    }
    shown, recorded = session.read_session(Path(), files, 112)
    order = jax.random.permutation(named_key(KEY, "seeds"), len(shown))
    seeds = tuple(shown.stimulus_ids[int(i)] for i in order[:8])
    return shown, recorded, V4_SITES, seeds


def fit(which: Mapping[str, Any], path: Path, readout: str, components: int, given):
    """The fit of one network, made once; the seed images are not among its images."""
    backbone = load_backbone(**which)
    if path.exists():
        return encoding.load_encoding(path, backbone)
    shown, recorded, _, seeds = given
    natural = shown.drop(seeds)
    model = encoding.fit_encoding(
        backbone,
        natural,
        recorded.select_stimuli(natural.stimulus_ids),
        readout,
        key=named_key(KEY, "split"),
        basis="pca",
        components=components,
        progress=False,
    )
    encoding.save_encoding(path, model)
    return model


def make(
    name: str, folder: Path, *, sites: int, seeds: int, levels: int, tolerance: float
) -> dict[str, Any]:
    """Writes the problem into `folder`; returns the content of ``problem.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    origin = source(name)
    given = _small() if name == "small" else _v4()
    model = fit(
        origin.backbone,
        folder / "encoding.npz",
        origin.readout,
        origin.components,
        given,
    )
    fit(
        origin.second,
        folder / "second.npz",
        origin.second_readout,
        origin.components,
        given,
    )
    arrays = _arrays(model, given, sites, seeds, levels)
    tensors = checkpoint.to_tensors(model.backbone.variables)
    about = {
        "problem": name,
        "backbone": dict(origin.backbone),
        "second": dict(origin.second),
        "tolerance": tolerance,
        "network": nets_spec.describe(model.backbone, model.readout),
    }
    np.savez(folder / "network.npz", **nets_spec.used(tensors, about["network"]))
    np.savez(folder / "problem.npz", **arrays)
    (folder / "problem.json").write_text(json.dumps(about, indent=1))
    return about


def _arrays(
    model: EncodingModel, given, sites: int, seeds: int, levels: int
) -> dict[str, np.ndarray]:
    shown, recorded, site_ids, seed_ids = given
    chosen, first = list(site_ids[:sites]), list(seed_ids[:seeds])
    if len(chosen) < sites or len(first) < seeds:
        raise SystemExit(f"at most {len(site_ids)} sites and {len(seed_ids)} seeds")
    rows = [model.site_ids.index(site) for site in chosen]
    fitted = recorded.select_stimuli(model.evaluation.train_ids).select_sites(chosen)
    start = shown.select(first)
    return {
        "site_ids": np.asarray(chosen),
        "seed_ids": np.asarray(first),
        "weights": model.weights[rows].astype(np.float32),
        "bias": model.bias[rows].astype(np.float32),
        "seeds": start.pixels,
        "levels": encoding.target_levels(fitted, count=levels, extend=EXTEND),
        "start": encoding.predict(model, start)[:, rows].T,
    }
