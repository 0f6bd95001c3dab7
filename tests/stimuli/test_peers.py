"""Reviewers predict the saved files of others, each at the stimulus's own site."""

import dataclasses

import pytest
from hand_made import hand_predict

from paramctl_jax.stimuli import peer_predictions, save_stimuli, stimulus_images


@pytest.fixture
def stimuli(tmp_path, sweep, other_sweep, monkeypatch):
    monkeypatch.setattr(
        "paramctl_jax.stimuli.peers.predict",
        lambda model, images, progress: hand_predict(model, images),
    )
    return save_stimuli(tmp_path, [sweep, other_sweep], progress=False)


def test_own_predictions_are_those_of_the_set(stimuli, sweep):
    found = peer_predictions([sweep.model], stimuli, progress=False)[sweep.model.name]
    assert len(found) == len(stimuli)
    for one in stimuli.stimuli:
        assert found[one.stimulus_id] == one.predicted


def test_every_reviewer_is_asked_at_the_stimulus_site(stimuli, sweep):
    """A reviewer of other gains, and one that lacks a site."""
    gains = {"site_a": -2.0}
    pixels = stimulus_images(stimuli).pixels
    lacking = dataclasses.replace(
        sweep.model,
        backbone=dataclasses.replace(sweep.model.backbone, name="lacking"),
        site_ids=("site_x", "site_a"),
    )
    found = peer_predictions([lacking], stimuli, progress=False)["lacking"]
    asked = [one for one in stimuli.stimuli if one.site == "site_a"]
    assert set(found) == {one.stimulus_id for one in asked}
    for row, one in enumerate(stimuli.stimuli):
        if one.site == "site_a":
            mean = pixels[row].mean() / 255
            assert found[one.stimulus_id] == pytest.approx(gains["site_a"] * mean)
