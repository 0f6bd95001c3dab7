"""The stages in one directory: a small real run, its continuation, and bad input."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paramctl_jax import calibration, experiment, pipeline
from paramctl_jax.artifacts import sha256_file
from paramctl_jax.backbones import (
    convert_weights,
    registry,
)
from paramctl_jax.data import photographs_path
from paramctl_jax.encoding import save_split
from paramctl_jax.recordings import load_recordings, save_recordings
from paramctl_jax.scoring import read_table, score_table, scores_to_json
from paramctl_jax.stimuli import load_stimuli
from paramctl_jax.types import InputError, Recordings
from tests.nets import NETS, registered


def quickstart():
    """The quickstart's settings as a plain mapping."""
    path = Path(__file__).parents[1] / "configs" / "quickstart.py"
    spec = importlib.util.spec_from_file_location("quickstart", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config().to_dict()


@pytest.fixture(scope="module", autouse=True)
def nets(tmp_path_factory):
    with registered(tmp_path_factory.mktemp("weights")) as folder:
        yield folder


def small_config(**changes):
    config = quickstart()
    config["models"] = NETS[:2]
    del config["variants"]
    config["images"]["size"] = 32
    config["seeds"] = ("elephant_0006", "lotus_0005")
    config["subject"] |= {"backbone": NETS[2], "readout": "layer2.0", "n_sites": 3}
    config["subject"] |= {"components": 10}
    config["sites"]["count"] = 2
    config["encoding"] |= {"readout": "layer2.0", "components": 50}
    config["levels"]["count"] = 3
    config["synthesis"] |= {"slots": 6, "max_steps": 60, "crops": 2}
    config["scoring"]["n_bootstrap"] = 200
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            config[section][key] = value
        else:
            config[section] = value
    return config


@pytest.fixture(scope="module")
def finished(nets, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "small"
    run = experiment.open_run(small_config(), workdir, progress=False)
    return workdir, *pipeline.run_stages(run)


def tree(folder: Path) -> dict[str, str]:
    """Digests of all results; history and metrics alone name the time and place."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in files
        if path.parent.name not in ("history", "workers")
    }


def test_every_stage_leaves_its_files(finished):
    workdir, table, report = finished
    assert report == workdir / "report.html"
    assert {p.name for p in workdir.iterdir()} == {
        "run.json",
        "history",
        "sweep",
        "SHA256SUMS",
        "recordings",
        "encoding",
        "levels.json",
        "stimuli",
        "control_table.csv",
        "scores.json",
        "verdicts.json",
        "figures",
        "report.html",
    }
    assert len(load_stimuli(workdir / "stimuli")) == 2 * 2 * 2 * (3 + 1)
    for name in NETS[:2]:
        assert name in table
    sites = json.loads((workdir / "encoding" / "sites.json").read_text())
    assert sorted(s["status"] for s in sites.values())[:2] == ["chosen", "chosen"]


def test_the_control_table_gives_the_same_scores(finished):
    workdir, *_ = finished
    again = score_table(read_table(workdir / "control_table.csv"), n_bootstrap=200)
    stored = json.loads((workdir / "scores.json").read_text())
    assert scores_to_json(again)["subjects"] == stored["subjects"]


def test_lost_results_are_made_again_equal_and_the_rest_is_left(finished):
    """Interrupted after any stage, a run continues to the same bytes."""
    workdir, *_ = finished
    before = tree(workdir)
    (workdir / "stimuli" / "stimulus_set.csv").unlink()
    (workdir / "recordings" / "day2.npz").unlink()
    (workdir / "report.html").unlink()
    blocks = {path: path.stat().st_mtime_ns for path in workdir.glob("sweep/blocks/*")}
    assert blocks
    pipeline.run_stages(experiment.open_run(small_config(), workdir, progress=False))
    assert tree(workdir) == before
    assert {path: path.stat().st_mtime_ns for path in blocks} == blocks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("net_a", "resnet5")}, "did you mean 'resnet50'"),
        ({"models": ("resnet50",)}, r"launch\.weights --fetch=resnet50"),
        ({"models": ({"backbone": "net_a"},)}, "expected a name"),
        ({"models": ({"name": "a/b"},)}, "name 'a/b'"),
        ({"models": 5}, "config.models: expected a sequence"),
        ({"models": (5,)}, "expected a name or mapping, found 5"),
        ({"models": ({"name": 5},)}, "expected name to be of type str, found 5"),
        ({"models": ({5: "net_a"},)}, "unknown setting of a model"),
        (
            {"models": ({"name": "a", "input_size": "64"},)},
            "expected input_size to be of type int, found '64'",
        ),
        ({"models": ({"name": "a", "backbon": "net_a"},)}, "did you mean 'backbone'"),
        ({"models": ("net_a", {"name": "net_a"})}, "each once"),
        (
            {"models": ({"name": "a", "backbone": "net_a", "readout": "layer9"},)},
            "unknown readout of a 'layer9'",
        ),
        ({"encoding__readout": "layer9.0"}, "unknown readout of net_a 'layer9.0'"),
        ({"subject__readout": "layer3"}, "did you mean 'layer3.0'"),
        ({"seeds": ("unicorn_0001",)}, "unicorn_0001"),
        ({"images__source": "nowhere"}, "nowhere: expected a folder"),
        ({"sites__count": 9}, "sites: expected 9 sites that pass, found 3 of 3; ask"),
        ({"synthesis": {"crop": 4}}, "did you mean 'crops'"),
        ({"synthesis__noise": -1.0}, "noise=-1.0"),
        ({"encoding__basis": "PCA"}, "unknown encoding basis 'PCA'"),
        ({"encoding__test_ids": ("lotus_0001",)}, "unknown setting in config.encoding"),
        ({"seeds": ()}, "config.seeds: expected at least one"),
    ],
)
def test_bad_settings_end_in_one_line(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        pipeline.fit(
            experiment.open_run(small_config(**changes), tmp_path / "run", False)
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "encoding").exists()


def test_a_model_may_have_its_own_network_readout_and_size(nets, tmp_path):
    early = {
        "name": "early",
        "backbone": NETS[0],
        "readout": "layer1.0",
        "input_size": 16,
        "weights": str(nets / f"{NETS[1]}.safetensors"),
    }
    config = small_config(models=(NETS[0], early), encoding__readout="")
    with pytest.MonkeyPatch.context() as patch:
        spec = dataclasses.replace(registry.REGISTRY[NETS[0]], readout="layer2.0")
        patch.setitem(registry.REGISTRY, NETS[0], spec)
        run = experiment.open_run(config, tmp_path / "run", progress=False)
        assert run.readouts == {NETS[0]: ("layer2.0",), "early": ("layer1.0",)}
        pipeline.fit(run)
    default, own = run.models()
    assert (default.name, default.readout) == (NETS[0], "layer2.0")
    assert (own.name, own.readout) == ("early", "layer1.0")
    assert own.backbone.network.input_size == 16
    weights = [model.backbone.provenance["file"] for model in (default, own)]
    assert weights == [f"{name}.safetensors" for name in NETS[:2]]
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["config"]["readouts"] == {k: list(v) for k, v in run.readouts.items()}


def test_models_of_one_network_share_it(tmp_path):
    early = {"name": "early", "backbone": NETS[0], "readout": "layer1.0"}
    config = small_config(models=(NETS[0], early))
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    first, second = run.backbones.values()
    assert (first.name, second.name) == (NETS[0], "early")
    assert first.variables is second.variables


def test_a_model_may_be_named_after_nothing_registered(tmp_path, nets):
    path = convert_weights(
        nets / f"{NETS[0]}.safetensors", "lab", backbone=NETS[0], folder=tmp_path
    )
    entry = {"name": "mine", "weights": str(path)}
    run = experiment.open_run(
        small_config(models=(entry,)), tmp_path / "run", progress=False
    )
    assert run.readouts == {"mine": ("layer2.0",)}


def test_a_section_may_change_until_results_rest_on_it(tmp_path):
    run = experiment.open_run(small_config(), tmp_path / "run", progress=False)
    pipeline.fit(run)
    again = small_config(synthesis__crops=3, levels__count=5)
    experiment.open_run(again, tmp_path / "run", progress=False)
    with pytest.raises(InputError, match=r"encoding\.components \(50 there, 40 now\)"):
        experiment.open_run(
            small_config(encoding__components=40), tmp_path / "run", progress=False
        )


def test_another_runs_directory_is_refused_before_anything(finished):
    workdir, *_ = finished
    before = tree(workdir)
    with pytest.raises(InputError, match=r"holds another run.*levels\.count"):
        experiment.open_run(small_config(levels__count=5), workdir, progress=False)
    assert tree(workdir) == before


@pytest.fixture
def photographs_folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"image_{number:02d}.png")
    return folder


def real(folder, day1, **changes):
    """Settings of a lab with its own images and recordings."""
    return small_config(
        subject=None,
        images__source=str(folder),
        seeds=("image_03",),
        recordings__day1=str(day1),
        **changes,
    )


def recordings_of(names, n_sites=4):
    responses = np.random.default_rng(1).normal(size=(len(names), n_sites, 3))
    responses += np.linspace(-2, 2, len(names))[:, None, None]
    sites = tuple(f"v4_{site}" for site in range(n_sites))
    return Recordings(responses, tuple(names), sites)


def test_unusable_sites_are_left_out_with_a_reason(photographs_folder, tmp_path):
    names = [f"image_{number:02d}" for number in range(30)]
    day1 = recordings_of(names)
    day1.responses[5, 1] = np.nan
    day1.responses[:, 2] = 1.0
    save_recordings(tmp_path / "day1.npz", day1)
    config = real(photographs_folder, tmp_path / "day1.npz")
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    pipeline.fit(run)
    sites = json.loads((tmp_path / "run" / "encoding" / "sites.json").read_text())
    assert sites["v4_0"]["status"] == sites["v4_3"]["status"] == "chosen"
    assert "image_05" in sites["v4_1"]["status"]
    assert "zero variance" in sites["v4_2"]["status"]
    assert [m.site_ids for m in run.models()] == [run.models()[0].site_ids] * 2


def test_recordings_of_other_images_are_refused(photographs_folder, tmp_path):
    day1 = recordings_of([f"image_{number:02d}" for number in range(29)])
    save_recordings(tmp_path / "day1.npz", day1)
    config = real(photographs_folder, tmp_path / "day1.npz")
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    expected = r"day1.npz: recordings do not match.*1 images without a.*image_29"
    with pytest.raises(InputError, match=expected):
        pipeline.fit(run)


def test_what_is_left_out_is_said_in_the_files_and_the_report(
    photographs_folder, tmp_path
):
    day1 = recordings_of([f"image_{number:02d}" for number in range(30)])
    day1.responses[5] = np.nan  # an image without any response
    day1.responses[:, 2] = 1.0
    save_recordings(tmp_path / "day1.npz", day1)
    (photographs_folder / "image_99.png").write_bytes(b"no image")
    config = real(photographs_folder, tmp_path / "day1.npz")
    config["images"]["unreadable"] = "skip"
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    pipeline.fit(run)
    folder = tmp_path / "run" / "encoding"
    excluded = json.loads((folder / "exclusions.json").read_text())
    assert set(excluded["sites"]) == {"v4_2"}
    assert set(excluded["images"]) == {"image_05", "image_99"}
    split = json.loads((folder / "split.json").read_text())
    model = run.models()[0]
    used = {*model.evaluation.train_ids, *model.evaluation.test_ids}
    assert used == {*split["train_ids"], *split["test_ids"]} - {"image_05"}
    notes = " ".join(calibration.calibrate(run).notes)
    for name in ("image_05", "image_99", "v4_2"):
        assert name in notes
    assert json.loads((folder / "comparisons.json").read_text())[0]["verdict"]


def test_trials_become_z_scores_on_the_training_images(photographs_folder, tmp_path):
    rng = np.random.default_rng(0)
    ids = np.repeat([f"image_{number:02d}" for number in range(30)], 4)
    rates = (
        20 + 3 * rng.standard_normal((120, 4)) + np.repeat(np.arange(30), 4)[:, None]
    )
    rates[60:] = 2 * rates[60:] + 5  # another day, another gain
    order = rng.permutation(120)
    np.savez(
        tmp_path / "day1.npz",
        responses=rates[order],
        stimulus_ids=ids[order],
        session_ids=np.where(order < 60, "monday", "tuesday"),
        site_ids=np.asarray([f"s{n}" for n in range(4)]),
        units="spikes/s",
    )
    config = real(photographs_folder, tmp_path / "day1.npz")
    config["recordings"]["trials"] = {"outlier": 15.0}
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    found = calibration.calibrate(run)
    assert found.recordings.units == "z"
    assert (found.recordings.site_meta["floor"] < -3).all()
    train = [name for name in found.images.stimulus_ids if name not in found.test_ids]
    anchors = found.recordings.select_stimuli(train).responses
    for day in (range(15), range(15, 30)):
        names = [name for name in train if int(name[-2:]) in day]
        values = found.recordings.select_stimuli(names).responses
        np.testing.assert_allclose(values.mean(axis=(0, 2)), 0, atol=1e-9)
        np.testing.assert_allclose(values.std(axis=(0, 2)), 1, atol=1e-9)
    assert np.isfinite(anchors).all()
    assert "0 of 23 anchors were shown in every session" in " ".join(found.notes)
    config["recordings"]["trials"] = {"anchors": train[:6]}  # as a lab may name them
    named = calibration.calibrate(dataclasses.replace(run, config=config))
    values = named.recordings.select_stimuli(train[:6]).responses
    np.testing.assert_allclose(values.mean(axis=(0, 2)), 0, atol=1e-9)


def test_a_stored_split_and_several_readouts(photographs_folder, tmp_path):
    names = [f"image_{number:02d}" for number in range(30)]
    save_recordings(tmp_path / "day1.npz", recordings_of(names))
    natural = [name for name in names if name != "image_03"]
    save_split(tmp_path / "split.json", natural[6:], natural[:6])
    config = real(photographs_folder, tmp_path / "day1.npz")
    config["encoding"] |= {
        "split": str(tmp_path / "split.json"),
        "readout": ("layer1.0", "layer2.0"),
    }
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    table, _ = pipeline.fit_table(run)
    assert "29 training" not in table
    assert "23 training, 6 held-out images" in table
    for model in run.models():
        assert model.evaluation.test_ids == tuple(natural[:6])
        assert "chosen by cross-validation" in model.notes[0]
        tried = tmp_path / "run" / "encoding" / f"{model.name}_readouts.json"
        assert set(json.loads(tried.read_text())) == {"layer1.0", "layer2.0"}


def test_sites_are_chosen_without_the_held_out_images(photographs_folder, tmp_path):
    day1 = recordings_of([f"image_{number:02d}" for number in range(30)])
    save_recordings(tmp_path / "day1.npz", day1)
    config = real(photographs_folder, tmp_path / "day1.npz")
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    calibrated = calibration.calibrate(run)
    chosen = calibration.best_sites(run, calibrated).site_ids
    sites = (tmp_path / "run" / "encoding" / "sites.json").read_bytes()
    held_out = np.isin(calibrated.recordings.stimulus_ids, calibrated.test_ids)
    responses = calibrated.recordings.responses.copy()
    shape = responses[held_out].shape
    responses[held_out] = 100 * np.random.default_rng(5).standard_normal(shape)
    other = dataclasses.replace(
        calibrated,
        recordings=dataclasses.replace(calibrated.recordings, responses=responses),
    )
    assert calibration.best_sites(run, other).site_ids == chosen
    assert (tmp_path / "run" / "encoding" / "sites.json").read_bytes() == sites


def test_a_comparison_that_was_not_reached_is_made_later(photographs_folder, tmp_path):
    day1 = recordings_of([f"image_{number:02d}" for number in range(30)])
    save_recordings(tmp_path / "day1.npz", day1)
    config = real(photographs_folder, tmp_path / "day1.npz")
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    comparisons = pipeline.fit(run) / "comparisons.json"
    before = comparisons.read_bytes()
    comparisons.unlink()  # as if killed after the last model
    pipeline.fit(run)
    assert comparisons.read_bytes() == before


def test_missing_recordings_and_truncated_images_name_the_file(
    photographs_folder, tmp_path
):
    config = real(photographs_folder, tmp_path / "day1.npz")
    with pytest.raises(InputError, match=r"day1\.npz"):
        experiment.open_run(config, tmp_path / "run", progress=False)
    broken = photographs_folder / "image_07.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(InputError, match=r"image_07\.png: truncated"):
        experiment.open_run(config, tmp_path / "other", progress=False)
    assert not (tmp_path / "other").exists()


def test_a_subject_stands_in_for_day_2_of_real_recordings(finished, tmp_path):
    """Averages taken as trials, so that they are z-scored over the training images."""
    workdir, *_ = finished
    recorded = load_recordings(workdir / "recordings" / "day1.npz")
    day1 = tmp_path / "day1.csv"
    rates = 20 + 5 * recorded.mean()
    rows = [
        f"{name},1,{','.join(map(repr, row))}"
        for name, row in zip(recorded.stimulus_ids, rates.tolist(), strict=True)
    ]
    head = ",".join(("stimulus_id", "session_id", *recorded.site_ids))
    day1.write_text("\n".join([head, *rows]))
    config = small_config(
        recordings__day1=str(day1),
        recordings__reader={"sites": ",".join(recorded.site_ids)},
        recordings__trials={"outlier": None},
        sites={"among": recorded.site_ids[1:], "measure": "none"},
    )
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    table, _ = pipeline.run_stages(run)
    assert not (tmp_path / "run/recordings/day1.npz").exists()
    used = calibration.calibrate(run)
    train = [n for n in used.images.stimulus_ids if n not in set(used.test_ids)]
    z = used.recordings.select_stimuli(train).mean()
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-9)
    assert used.recordings.units == "z"
    assert run.models()[0].site_ids == recorded.site_ids[1:]
    day2 = load_recordings(tmp_path / "run/recordings/day2.npz")
    assert {one.stimulus_id for one in run.stimuli().stimuli} == set(day2.stimulus_ids)
    assert NETS[0] in table


def test_a_stand_in_without_the_chosen_sites_is_refused(photographs_folder, tmp_path):
    names = [f"image_{number:02d}" for number in range(30)]
    save_recordings(tmp_path / "day1.npz", recordings_of(names))
    config = real(photographs_folder, tmp_path / "day1.npz")
    config["subject"] = small_config()["subject"]
    run = experiment.open_run(config, tmp_path / "run", progress=False)
    with pytest.raises(InputError, match=r"config.subject: chosen sites: 2 of 2 ids"):
        pipeline.fit(run)


def test_a_file_of_day_2_and_a_subject_exclude_each_other(tmp_path):
    config = small_config(recordings__day2="day2.npz")
    with pytest.raises(InputError, match=r"day2=day2.npz: expected no file"):
        experiment.open_run(config, tmp_path / "run", progress=False)


def test_a_subjects_trials_need_anchors_or_a_real_day_1(tmp_path):
    config = small_config(recordings__trials={})
    with pytest.raises(InputError, match="expected both or none"):
        experiment.open_run(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_subject_is_shown_all_photographs(finished):
    workdir, *_ = finished
    day1 = load_recordings(workdir / "recordings" / "day1.npz")
    assert len(day1.stimulus_ids) == 400
    assert photographs_path().exists()
