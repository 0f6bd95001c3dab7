"""Real neurons: layers and bases on two macaque V4 sessions, and a few stimuli.

    PARAMCTL_DATA=FOLDER python -m launch.v4 --config=configs/v4.py --workdir=runs/v4

Leaves ``results.json``, ``features/``, the encoding model of the second session and,
with ``configs/v4.py:sweep``, ``stimuli/``. The same command prints a finished run's
table again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from launch import _main, _v4
from paramctl_jax import (
    artifacts,
    backbones,
    encoding,
    history,
    recordings,
    stimuli,
    synthesis,
)
from paramctl_jax.progress import bar
from paramctl_jax.types import (
    Backbone,
    EncodingModel,
    ImageSet,
    Recordings,
    indices_of,
)

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory.")

DRAWS = ("halves", "split", "shuffle", "seeds", "sweep")  # independent, by position


def main(argv: Sequence[str]) -> None:
    """Both sessions, then the sweep; prints the table."""
    del argv
    config, workdir = _main.required(
        config=_main.settings(_CONFIG), workdir=_WORKDIR.value
    )
    data = _v4.data_folder(config)
    workdir = artifacts.claim_directory(workdir, config)
    history.begin(workdir)
    path = workdir / "results.json"
    results = artifacts.read_json(path) if path.exists() else {}
    for kind, run in (("repeated", repeated_session), ("averaged", averaged_session)):
        session = config[kind]["session"]
        if session not in results:
            results[session] = run(config, data, workdir)
            artifacts.write_json(path, results)
        print(_v4.table({session: results[session]}), flush=True)
    print(path)


def load_backbone(config: Mapping[str, Any], data: Path) -> Backbone:
    """The frozen network of both sessions."""
    weights = data / config["weights"]
    return backbones.load_backbone(weights=weights, **config["backbone"])


def draw(config: Mapping[str, Any], purpose: str) -> jax.Array:
    """The key of one purpose in `DRAWS`."""
    return jax.random.fold_in(jax.random.key(config["seed"]), DRAWS.index(purpose))


def fit_all(
    config: Mapping[str, Any],
    bases: Sequence[str],
    data: Path,
    workdir: Path,
    images: ImageSet,
    recorded: Recordings,
) -> dict[tuple[str, str], EncodingModel]:
    """One encoding model per readout and basis, and ``"shuffled"`` for the control."""
    backbone = load_backbone(config, data)
    control = (config["accentuated"]["readout"], bases[0])
    names = tuple(dict.fromkeys((*config["readouts"], control[0])))
    features = encoding.extract_readouts(
        backbone, images, names, store=workdir / "features"
    )
    wrong = _v4.shuffled(recorded, draw(config, "shuffle"))
    fits = [((name, b), name, b, recorded) for b in bases for name in names]
    fits.append((("shuffled", control[1]), *control, wrong))
    return {
        label: encoding.fit_encoding(
            backbone,
            images,
            responses,
            readout,
            key=draw(config, "split"),
            features=features,
            basis=basis,
            **config["bases"][basis],
            **config["encoding"],
        )
        for label, readout, basis, responses in bar(fits, label="fits", show=True)
    }


def repeated_session(
    config: Mapping[str, Any], data: Path, workdir: Path
) -> dict[str, Any]:
    """Reliability, encoding against the noise ceiling, and the most reliable sites.

    Reliability is that of all images; the best sites are chosen by the training images.
    """
    session = config["repeated"]
    images, recorded = _v4.read_session(data, session, config["backbone"]["input_size"])
    quality = recordings.summarise_sites(
        recorded, draw(config, "halves"), config["n_splits"]
    )
    models = fit_all(config, session["bases"], data, workdir, images, recorded)
    train = next(iter(models.values())).evaluation.train_ids
    best = recordings.choose_sites(
        recorded.select_stimuli(train),
        draw(config, "halves"),
        count=config["best"],
        n_splits=config["n_splits"],
    ).site_ids
    return {
        "reliability": _v4.median(quality.reliability),
        "ncsnr": _v4.median(quality.ncsnr),
        "ncsnr_above_0.8": int(np.sum(quality.ncsnr > 0.8)),
        **_v4.encoding_summary(models, best),
    }


def averaged_session(
    config: Mapping[str, Any], data: Path, workdir: Path
) -> dict[str, Any]:
    """Encoding, and a sweep of the best sites by cross-validated r, if asked for."""
    session = config["averaged"]
    images, recorded = _v4.read_session(data, session, config["backbone"]["input_size"])
    models = fit_all(config, session["bases"], data, workdir, images, recorded)
    model = models[config["accentuated"]["readout"], session["bases"][0]]
    top = recordings.top_sites(model.evaluation.cv_r, config["best"])
    best = [model.site_ids[index] for index in top]
    encoding.save_encoding(workdir / "encoding.npz", model)
    summary = _v4.encoding_summary(models, best)
    if not config["sweep"]:
        return summary
    swept = sweep(config, model, images, recorded, best, workdir)
    return {**summary, "accentuation": swept}


def sweep(
    config: Mapping[str, Any],
    model: EncodingModel,
    images: ImageSet,
    recorded: Recordings,
    best: Sequence[str],
    workdir: Path,
) -> dict[str, Any]:
    """Accentuates held-out photographs along the best sites' axes; judges the PNGs."""
    wanted = config["accentuated"]
    sites, held_out = best[: wanted["sites"]], model.evaluation.test_ids
    chosen = jax.random.permutation(draw(config, "seeds"), len(held_out))
    seeds = images.select([held_out[int(i)] for i in chosen[: wanted["seeds"]]])
    fitted = recorded.select_stimuli(model.evaluation.train_ids)
    grid = encoding.target_levels(fitted, **config["levels"])
    natural = encoding.predict(model, images.select(held_out))
    relative = encoding.relative_levels(grid, natural).predicted_sd
    rows = indices_of(sites, model.site_ids, "best sites")
    folder = workdir / "stimuli"
    if not (folder / "stimulus_set.csv").exists():  # else of this run, interrupted
        swept = synthesis.accentuate(
            model,
            seeds,
            grid[rows],
            key=draw(config, "sweep"),
            sites=sites,
            **config["synthesis"],
        )
        stimuli.save_stimuli(folder, [swept])
    return {
        "readout": model.readout,
        "levels": dict(zip(sites, grid[rows].tolist(), strict=True)),
        "levels_predicted_sd": dict(zip(sites, relative[rows].tolist(), strict=True)),
        "median_levels_predicted_sd": np.median(relative, axis=0),
        **_v4.lanes_summary(stimuli.load_stimuli(folder)),
    }


if __name__ == "__main__":
    _main.run(main)
