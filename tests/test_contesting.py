"""The controversial stage: a real small contest, gone on with, judged, reported."""

import json
import shutil

import numpy as np
import pytest

from paramctl_jax import contesting, experiment, judging, pipeline
from paramctl_jax.artifacts import sha256_file
from paramctl_jax.recordings import load_recordings, save_recordings
from paramctl_jax.stimuli import load_controversial
from paramctl_jax.types import InputError, Recordings
from paramctl_jax.verification import verify
from tests.nets import NETS, registered
from tests.test_pipeline import small_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def nets(tmp_path_factory):
    with registered(tmp_path_factory.mktemp("weights")) as folder:
        yield folder


def contest_config(**changes):
    """The subject is read from the first rival's own layer: it should be followed."""
    config = small_config(
        rivals=NETS[:2], controversial={"levels": (1.0,)}, selection={"slack": 0.1}
    )
    config["subject"] |= {"backbone": NETS[0], "ncsnr": (4.0, 4.0)}
    return config | changes


def opened(workdir, **changes):
    return experiment.open_run(contest_config(**changes), workdir, progress=False)


@pytest.fixture(scope="module")
def finished(nets, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "contest"
    run = opened(workdir)
    pipeline.run_stages(run)
    return workdir


def digests(folder):
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def test_the_subject_follows_the_network_that_it_is_read_from(finished):
    verdicts = json.loads((finished / "verdicts.json").read_text())
    choice = verdicts["choice"]
    assert (choice["a"], choice["b"]) == NETS[:2]
    low, high = choice["kappa_ci"]
    assert 0 < low <= choice["kappa"] <= high
    assert choice["n_pairs"] == sum(len(s["seeds"]) for s in choice["sites"].values())
    html = (finished / "report.html").read_text()
    assert f"{choice['kappa']:.2f}" in html


def test_kappa_is_taken_from_the_recordings(finished):
    """By hand: mean difference of the pairs over twice the SD of natural responses."""
    stimuli = load_controversial(finished / "controversial")
    recorded = load_recordings(finished / "recordings" / "controversial.npz")
    day1 = load_recordings(finished / "recordings" / "day1.npz")
    seeds = set(contest_config()["seeds"])
    natural = [name for name in day1.stimulus_ids if name not in seeds]
    sd = dict(
        zip(day1.site_ids, day1.select_stimuli(natural).mean().std(axis=0), strict=True)
    )
    row = {name: i for i, name in enumerate(recorded.stimulus_ids)}
    column = {name: i for i, name in enumerate(recorded.site_ids)}
    high = {}
    for one in stimuli.stimuli:
        if one.selected and one.high:
            y = recorded.mean()[row[one.stimulus_id], column[one.site]]
            high.setdefault(one.site, {}).setdefault(one.high, []).append(y)
    expected = [
        (np.mean(y[NETS[0]]) - np.mean(y[NETS[1]])) / (2 * sd[site])
        for site, y in high.items()
    ]
    found = json.loads((finished / "verdicts.json").read_text())["choice"]
    np.testing.assert_allclose(found["kappa"], np.mean(expected), rtol=1e-9)


def test_peers_review_each_other(finished):
    review = json.loads((finished / "verdicts.json").read_text())["peer_review"]
    scores = json.loads((finished / "scores.json").read_text())["subjects"][""][
        "models"
    ]
    assert review["makers"] == review["reviewers"] == list(NETS[:2])
    for index, name in enumerate(NETS[:2]):
        own = review["control"][index][index]
        assert own == pytest.approx(scores[name]["control_mean"])


def test_a_damaged_png_is_named_and_the_set_made_anew_equal(finished):
    folder = finished / "controversial"
    before = digests(folder)
    png = sorted(folder.glob("*.png"))[0]
    png.write_bytes(png.read_bytes()[:-1])
    assert f"controversial/{png.name}" in verify(finished).faults
    summary, _ = contesting.contest(opened(finished))
    assert "accepted" in summary
    assert digests(folder) == before
    assert not verify(finished).faults


def test_what_the_set_rests_on_may_not_change(finished):
    with pytest.raises(InputError, match="controversial"):
        opened(finished, controversial={"levels": (0.9,)})


def test_settings_that_do_not_fit_are_refused_before_anything(tmp_path, nets):
    with pytest.raises(InputError, match="did you mean 'levels'"):
        opened(tmp_path / "a", controversial={"level": (1.0,)})
    with pytest.raises(InputError, match="did you mean 'count'"):
        opened(tmp_path / "a", selection={"counts": 3})
    run = opened(tmp_path / "b", controversial=None)
    with pytest.raises(InputError, match=r"config\.controversial: expected"):
        contesting.contest(run)
    with pytest.raises(InputError, match=r"config\.rivals"):
        opened(tmp_path / "c", rivals=("nobody", NETS[0]))
    with pytest.raises(InputError, match="did you mean 'softmin'"):
        opened(tmp_path / "c", controversial={"contest": "softmax"})


def test_recorded_by_a_real_rig_with_all_others_or_not_yet(finished, tmp_path, nets):
    """One file of day 2 may hold both kinds of stimuli, or no controversial ones."""
    parts = [
        load_recordings(finished / "recordings" / f"{day}.npz")
        for day in ("day2", "controversial")
    ]
    both = Recordings(
        np.concatenate([part.responses for part in parts]),
        parts[0].stimulus_ids + parts[1].stimulus_ids,
        parts[0].site_ids,
    )
    save_recordings(tmp_path / "both.npz", both)
    save_recordings(tmp_path / "day2.npz", parts[0])
    found = {}
    for name in ("both", "day2"):
        files = {"day1": str(finished / "recordings" / "day1.npz")}
        files |= {"day2": str(tmp_path / f"{name}.npz"), "reader": {}, "trials": None}
        config = contest_config(subject=None, recordings=files)
        run = experiment.Run(config, shutil.copytree(finished, tmp_path / name), False)
        pipeline.score_and_report(run)
        found[name] = json.loads((run.workdir / judging.VERDICTS).read_text())
    old = json.loads((finished / "verdicts.json").read_text())
    assert found["both"]["choice"] == old["choice"]
    assert found["day2"]["choice"] is None
    assert any("none of the controversial" in note for note in found["day2"]["notes"])
