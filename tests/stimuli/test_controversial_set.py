"""Controversial sets: judged from PNGs, accepted in all directions, selected, read."""

import csv
import dataclasses
import math

import numpy as np
import pytest
from hand_made import SEEDS, SITES, make_model

from paramctl_jax.images import encode_png
from paramctl_jax.stimuli import (
    CONTROVERSIAL_TABLE,
    load_controversial,
    save_controversial,
    stimulus_images,
    summarise_controversial,
)
from paramctl_jax.types import ControversialSweep, ImageSet, InputError

# Mean grey values of the images [high, seed]: what the hand-made models look at.
MEANS = np.asarray([[160, 200, 168], [96, 60, 110]])


def predict_by_hand(model, images):
    """One model likes bright images, the other dark ones, at every site."""
    means = images.pixels.reshape(len(images), -1).mean(axis=1) / 255
    sign = 1.0 if model.name == "bright" else -1.0
    return np.repeat(sign * means[:, None], len(model.site_ids), axis=1)


def textured(mean, rng):
    """Exactly that mean, unlike any other image, and not grey."""
    texture = rng.permuted(np.tile(np.arange(-16, 17), 6)[:192])
    image = mean + texture - np.rint(texture.mean())
    return image.reshape(8, 8, 3).astype(np.uint8)


@pytest.fixture
def contest(monkeypatch):
    """Natural mean .5, SD .1: a commitment of 1 SD is a mean .1 above or below."""
    monkeypatch.setattr("paramctl_jax.stimuli.controversial.predict", predict_by_hand)
    rng = np.random.default_rng(0)
    seeds = ImageSet(SEEDS, np.stack([textured(128, rng) for _ in SEEDS]))
    made = [[[textured(mean, rng)] for mean in means] for means in MEANS]
    images = np.stack([np.asarray(made)] * 2)
    images[1] = images[1][..., ::-1, :, :]  # another site, other pixels
    shape = images.shape[:4]
    return ControversialSweep(
        models=(make_model("bright"), make_model("dark")),
        contest="softmin",
        site_ids=SITES,
        seeds=seeds,
        levels=np.asarray([1.0]),
        center=np.asarray([[0.5, 0.5], [-0.5, -0.5]]),
        scale=np.full((2, 2), 0.1),
        start=np.zeros(shape[:3]),
        images=images,
        reached=np.ones(shape),
        step=np.arange(math.prod(shape)).reshape(shape),
        stop_reason=np.full(shape, "hit", dtype=object),
        passes={"search": 1, "clean": 1},
    )


def save(directory, contest, **settings):
    return save_controversial(directory, contest, progress=False, **settings)


def by_origin(stimuli):
    return {(one.site, one.seed, one.high): one for one in stimuli.stimuli}


def test_every_png_is_judged_by_every_model(tmp_path, contest):
    found = save(tmp_path, contest)
    assert found.models == ("bright", "dark")
    assert len(found) == 2 * 3 * (1 + 2)
    rows = by_origin(found)
    pngs = stimulus_images(found)
    for one, pixels in zip(found.stimuli, pngs.pixels, strict=True):
        mean = pixels.mean() / 255
        assert one.predicted["bright"] == pytest.approx(mean, abs=1e-9)
        assert one.z["bright"] == pytest.approx((mean - 0.5) / 0.1, abs=1e-6)
        assert one.z["dark"] == pytest.approx(-one.z["bright"], abs=1e-6)
    for index, seed in enumerate(SEEDS):
        bright, dark = rows["site_a", seed, "bright"], rows["site_a", seed, "dark"]
        assert bright.controversiality == pytest.approx(bright.z["bright"])
        assert dark.controversiality == pytest.approx(dark.z["dark"])
        assert bright.step == contest.step[0, 0, index, 0]
        assert math.isnan(rows["site_a", seed, ""].controversiality)
        assert rows["site_a", seed, ""].rms == 0 < bright.rms


def test_accepted_where_both_directions_pass(tmp_path, contest):
    """Of means 160/96, 200/60 and 168/110 the last one's dark image falls short."""
    found = save(tmp_path, contest)
    accepted = {one.seed for one in found.stimuli if one.accepted}
    assert accepted == set(SEEDS[:2])
    third = by_origin(found)["site_a", SEEDS[2], "bright"]
    assert third.controversiality > 1
    assert not third.accepted
    assert "8 of 12 accepted" in summarise_controversial(found)


def test_a_joint_contest_refuses_what_is_beyond_the_level_as_well(tmp_path, contest):
    joint = dataclasses.replace(contest, contest="joint")
    assert not any(one.accepted for one in save(tmp_path / "a", joint).stimuli)
    found = save(tmp_path / "b", joint, slack=0.3)
    assert {one.seed for one in found.stimuli if one.accepted} == {SEEDS[0]}


def test_the_farthest_are_selected_with_their_seed_images(tmp_path, contest):
    found = save(tmp_path, contest, count=1)
    selected = [one for one in found.stimuli if one.selected]
    assert {one.seed for one in selected} == {SEEDS[1]}
    assert {one.high for one in selected} == {"", "bright", "dark"}
    assert len(selected) == 2 * 3


def test_images_that_are_alike_are_selected_once(tmp_path, contest):
    images = contest.images.copy()
    images[0, :, 0] = images[0, :, 1]  # at the first site two seeds end as one image
    found = save(tmp_path, dataclasses.replace(contest, images=images))
    selected = {(one.site, one.seed) for one in found.stimuli if one.selected}
    assert len([pair for pair in selected if pair[0] == "site_a"]) == 1
    assert len([pair for pair in selected if pair[0] == "site_b"]) == 2


def test_read_back_as_written(tmp_path, contest):
    found = save(tmp_path, contest)
    again = load_controversial(tmp_path)
    assert again.models == found.models
    for a, b in zip(again.stimuli, found.stimuli, strict=True):
        for field in dataclasses.fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            same = x == y or (isinstance(x, float) and math.isnan(x) and math.isnan(y))
            assert same, field.name
    with (tmp_path / CONTROVERSIAL_TABLE).open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["stimulus_id"] for row in rows] == [
        one.stimulus_id for one in found.stimuli
    ]
    assert {"predicted:bright", "z:dark"} <= set(rows[0])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("predicted:dark", "said:dark", "two or more models"),
        (",True,", ",yes,", "'selected' cannot hold 'yes'"),
        (",bright,", ",brigt,", "driven up for 'brigt'"),
        ("up_bright", "../up_bright", "file in the same folder"),
        ("controversiality", "distance", "controversiality"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, contest, old, new, words):
    save(tmp_path, contest)
    path = tmp_path / CONTROVERSIAL_TABLE
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=words) as error:
        load_controversial(tmp_path, verify=False)
    assert str(path) in str(error.value)


def test_damaged_and_missing_files_are_named(tmp_path, contest):
    first = save(tmp_path, contest).stimuli[0]
    path = tmp_path / first.filename
    path.write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(InputError, match=f"{first.filename}.*changed or damaged"):
        load_controversial(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=f"{first.filename}.*no file"):
        load_controversial(tmp_path, verify=False)
    with pytest.raises(InputError, match=CONTROVERSIAL_TABLE):
        load_controversial(tmp_path / "elsewhere")


def test_a_folder_of_another_set_is_refused(tmp_path, contest):
    save(tmp_path / "a", contest)
    with pytest.raises(InputError, match="give another directory"):
        save(tmp_path / "a", contest)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"other\.png"):
        save(tmp_path / "b", contest)
    for settings in ({"slack": 1.0}, {"count": 0}):
        with pytest.raises(InputError, match="slack"):
            save(tmp_path / "c", contest, **settings)
