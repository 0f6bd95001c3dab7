"""Several runs in one directory: what differs, what is checked, what stands above."""

import json

import numpy as np
import pytest

from configs import quickstart
from paramctl_jax.configuration import check_settings, stored_variants
from paramctl_jax.report.study_numbers import WIDEST_SLOPE
from paramctl_jax.study import open_variants, run_study, variants
from paramctl_jax.types import InputError
from paramctl_jax.verification import verify
from tests.nets import NETS, registered

CONFIG = {
    "title": "T",
    "seed": 0,
    "models": ("a", "b"),
    "subject": {"backbone": "n", "ncsnr": (0.3, 1.2)},
}


def small():
    """Two truths, two models, one site, two seed images, three levels."""
    config = quickstart.get_config().to_dict()
    config["models"] = NETS[:2]
    config["images"]["size"] = 32
    config["seeds"] = ("elephant_0006", "lotus_0005")
    config["subject"] |= {"backbone": NETS[2], "readout": "layer2.0", "n_sites": 2}
    config["subject"] |= {"components": 10, "ncsnr": (1.0, 2.0)}
    config["sites"]["count"] = 1
    config["encoding"] |= {"readout": "layer2.0", "components": 30}
    config["levels"]["count"] = 3
    config["synthesis"] |= {"slots": 4, "max_steps": 20, "crops": 1}
    config["scoring"]["n_bootstrap"] = 50
    config["variants"] = {
        "linear": {},
        "null": {"subject": {"predictable": False}, "seed": 1},
    }
    return config


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    with registered(tmp_path_factory.mktemp("weights")) as folder:
        yield folder


@pytest.fixture(scope="module")
def studied(nets, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "study"
    runs = open_variants(small(), workdir, progress=False)
    return workdir, runs, *run_study(runs, workdir, "Two truths")


def test_a_variant_merges_mappings_and_replaces_the_rest():
    found = variants(
        {**CONFIG, "variants": {"x": {"subject": {"rho": 1}, "models": ("c",)}}}
    )
    assert found["x"] == {
        "title": "T: x",
        "seed": 0,
        "models": ("c",),
        "subject": {"backbone": "n", "ncsnr": (0.3, 1.2), "rho": 1},
    }
    assert CONFIG["subject"] == {"backbone": "n", "ncsnr": (0.3, 1.2)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": 5}, "config.variants.x: expected settings, found 5"),
        ({"x": {"subjekt": {}}}, "did you mean 'subject'"),
        ({"a/b": {}}, "expected a name of letters"),
        ({"..": {}}, "expected a name of letters"),
        ({"a b#1?": {}}, "expected a name of letters"),
        (("a", "b"), "expected settings by name, found"),
        ("ab", "expected settings by name, found 'ab'"),
    ],
)
def test_bad_variants(given, message):
    with pytest.raises(InputError, match=message) as error:
        variants({**CONFIG, "variants": given})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ncsmr": (1.0, 2.0)}, "did you mean 'ncsnr'"),
        ({"ncsnr": 1.0}, "ncsnr: expected"),
        ({"n_sites": 0}, "n_sites: expected a whole number of at least 1, found 0"),
        ({"n_sites": 2.0}, "n_sites: expected a whole number"),
        ({"rho": 0.5}, "rho: expected a second network beside it"),
        ({"backbone": None}, "backbone: expected a name, found None"),
        ({"noise": "poison"}, "did you mean 'poisson'"),
    ],
)
def test_a_bad_subject_names_its_variant_before_anything_is_written(
    nets, tmp_path, wrong, message
):
    config = small()
    config["variants"]["null"]["subject"] |= wrong
    with pytest.raises(InputError, match=rf"variants\.null: .*{message}") as error:
        open_variants(config, tmp_path / "study", progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "study").exists()


def test_what_a_subject_needs_is_named():
    config = small()
    del config["subject"]["ncsnr"]
    with pytest.raises(InputError, match=r"config\.subject: expected ncsnr, found"):
        check_settings(config)
    with pytest.raises(
        InputError, match=r"config\.subject: expected settings, found 5"
    ):
        check_settings({**small(), "subject": 5})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"anchor": 50}, "did you mean 'anchors'"),
        ({"anchors": -1}, "anchors: expected a whole number of at least 0, found -1"),
        ({"anchors": 2.5}, "anchors: expected a whole number"),
        ({"day2_repeats": 0}, "day2_repeats: expected a whole number of at least 1"),
    ],
)
def test_bad_presentations(given, message):
    config = small()
    config["presentation"] |= given
    with pytest.raises(InputError, match=message):
        check_settings(config)


def test_anchors_are_said_once():
    config = small()
    config["presentation"]["anchors"] = 5
    config["recordings"]["trials"] = {"anchors": ("a",)}
    with pytest.raises(InputError, match=r"trials\.anchors: expected none beside"):
        check_settings(config)


def test_a_variant_may_have_a_title_of_its_own():
    found = variants({**CONFIG, "variants": {"x": {"title": "mine"}}})
    assert found["x"]["title"] == "mine"


@pytest.mark.slow
def test_every_variant_is_a_run_with_a_report(studied):
    workdir, runs, _, page = studied
    assert list(runs) == ["linear", "null"]
    for name in runs:
        assert (workdir / "variants" / name / "report.html").exists()
        assert f"variants/{name}/report.html" in page.read_text()
    assert (workdir / "figures" / "study.png").stat().st_size > 20_000


@pytest.mark.slow
def test_the_table_names_the_truth_beside_the_numbers(studied):
    _, _, table, page = studied
    for text in (table, page.read_text()):
        said = " ".join(text.split())
        assert f"random linear read-outs of layer2.0 of {NETS[2]}" in said
        assert "follow from no feature of an image (null)" in said
        assert f"{NETS[0]} − {NETS[1]}: encoding r" in said


@pytest.mark.slow
def test_the_numbers_are_those_of_the_runs(studied):
    workdir, *_ = studied
    study = json.loads((workdir / "study.json").read_text())
    for name, numbers in study.items():
        own = json.loads((workdir / "variants" / name / "scores.json").read_text())
        models = own["subjects"][""]["models"]
        for one in numbers["models"]:
            score = models[one["model"]]
            assert one["control"] == score["control_mean"]
            low, high = score["slope_ci"]
            if high - low > WIDEST_SLOPE:  # the null subject's read-outs say nothing
                assert one["slope"] is None
                assert one["slope_ci"] == [None, None]
            else:
                assert one["slope"] == score["slope"]
                assert one["slope_ci"] == [low, high]
        (pair,) = numbers["differences"]
        a, b = (models[pair[side]] for side in "ab")
        if pair["slope"] is not None:
            assert pair["slope"] == pytest.approx(a["slope"] - b["slope"], abs=1e-12)
    (linear,) = study["linear"]["differences"]
    assert linear["slope"] is not None
    assert None in [one["slope"] for one in study["null"]["models"]]


@pytest.mark.slow
def test_the_null_subject_is_reliable_but_not_predictable(studied):
    _, runs, *_ = studied
    subject = runs["null"].subject
    truth = subject.truth(runs["null"].images)
    np.testing.assert_array_equal(truth, subject.truth(runs["null"].images))
    sites = json.loads(
        (runs["null"].workdir / "encoding" / "sites.json").read_text()
    ).values()
    assert max(site["reliability"] for site in sites) > 0.8
    for model in runs["null"].models():
        assert abs(model.evaluation.r[0]) < 0.35


@pytest.mark.slow
def test_runs_share_images_and_networks(studied):
    _, runs, *_ = studied
    linear, null = runs.values()
    assert linear.images is null.images
    for name in linear.backbones:
        assert linear.backbones[name].variables is null.backbones[name].variables


@pytest.mark.slow
def test_the_same_study_again_changes_nothing(studied):
    workdir, _, table, page = studied
    before = page.read_bytes()
    runs = open_variants(small(), workdir, progress=False)
    assert run_study(runs, workdir, "Two truths")[0] == table
    assert page.read_bytes() == before


@pytest.mark.slow
def test_damage_in_a_variant_is_seen_from_above(studied):
    workdir, *_ = studied
    assert stored_variants(workdir) == ("linear", "null")
    whole = verify(workdir)
    assert not whole.faults
    assert whole.checked > verify(workdir / "variants" / "null").checked
    path = workdir / "variants" / "null" / "scores.json"
    kept = path.read_bytes()
    path.write_bytes(kept + b" ")
    assert list(verify(workdir, inputs=False).faults) == ["variants/null/scores.json"]
    path.write_bytes(kept)


@pytest.mark.slow
def test_a_variant_may_be_added(studied):
    workdir, *_ = studied
    config = small()
    config["variants"]["third"] = {"seed": 2}
    runs = open_variants(config, workdir, progress=False)
    assert list(runs) == ["linear", "null", "third"]
    open_variants(small(), workdir, progress=False)
