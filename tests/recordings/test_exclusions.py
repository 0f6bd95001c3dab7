"""Which sites and images cannot be used, and what is left without them."""

import numpy as np
import pytest

from paramctl_jax.recordings.exclusions import (
    Exclusions,
    find_exclusions,
    listed,
    without,
)
from paramctl_jax.types import InputError, Recordings


def recorded(n_images=10, n_sites=4, n_repeats=2):
    rng = np.random.default_rng(0)
    responses = rng.standard_normal((n_images, n_sites, n_repeats))
    images = tuple(f"im{i}" for i in range(n_images))
    return Recordings(responses, images, tuple(f"s{i}" for i in range(n_sites)))


def test_nothing_is_excluded_from_complete_recordings():
    recordings = recorded()
    recordings.responses[2, 1, 0] = np.nan  # one of two repeats missing
    exclusions = find_exclusions(recordings)
    assert (exclusions.sites, exclusions.stimuli) == ({}, {})
    assert str(exclusions) == "nothing left out"
    rest = without(recordings, exclusions)
    np.testing.assert_array_equal(rest.responses, recordings.responses)
    assert rest.notes == ()


def test_an_image_without_any_response_is_given_up_not_the_sites():
    recordings = recorded()
    recordings.responses[[3, 7]] = np.nan
    exclusions = find_exclusions(recordings)
    assert exclusions.sites == {}
    assert list(exclusions.stimuli) == ["im3", "im7"]
    rest = without(recordings, exclusions)
    assert rest.responses.shape == (8, 4, 2)
    assert rest.notes == (
        "2 of 10 images left out: im3 (no valid response at any site), "
        "im7 (no valid response at any site)",
    )
    assert find_exclusions(rest) == Exclusions({}, {})


def test_sites_are_excluded_for_what_no_choice_of_images_mends():
    recordings = recorded(n_sites=6)
    recordings.responses[:, 0] = np.nan
    recordings.responses[4, 1, 0] = np.inf
    recordings.responses[5, 2] = [np.inf, -np.inf]
    recordings.responses[:, 3] = 0.1
    recordings.responses[1:, 4] = np.nan
    exclusions = find_exclusions(recordings)
    assert exclusions.sites == {
        "s0": "no valid response to 10 of 10 images, first 'im0'",
        "s1": "an infinite response to 1 of 10 images, first 'im4'",
        "s2": "an infinite response to 1 of 10 images, first 'im5'",
        "s3": "the same response to every image (zero variance)",
        "s4": "no valid response to 9 of 10 images, first 'im1'",
    }
    assert exclusions.stimuli == {}


def test_a_site_missing_at_some_images_goes_and_the_images_stay():
    recordings = recorded()
    recordings.responses[6] = np.nan
    recordings.responses[[2, 5], 1] = np.nan
    exclusions = find_exclusions(recordings)
    assert exclusions.sites == {"s1": "no valid response to 2 of 9 images, first 'im2'"}
    assert list(exclusions.stimuli) == ["im6"]
    lines = str(exclusions).splitlines()
    assert [lines[0], lines[2]] == ["1 site left out", "1 image left out"]


def test_a_dead_channel_does_not_speak_for_an_image():
    # A constant 0 (or one infinite value) where all working sites have no response.
    recordings = recorded()
    recordings.responses[3] = np.nan
    recordings.responses[:, 0] = 0.0
    recordings.responses[3, 1] = np.inf
    exclusions = find_exclusions(recordings)
    assert set(exclusions.sites) == {"s0", "s1"}
    assert list(exclusions.stimuli) == ["im3"]


def test_a_single_site_gives_up_the_images_it_misses():
    recordings = recorded(n_sites=1)
    recordings.responses[:2] = np.nan
    assert list(find_exclusions(recordings).stimuli) == ["im0", "im1"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.0])
def test_with_nothing_usable_every_site_has_its_reason(value):
    recordings = recorded()
    recordings.responses[:] = value
    exclusions = find_exclusions(recordings)
    assert list(exclusions.sites) == ["s0", "s1", "s2", "s3"]
    assert exclusions.stimuli == {}
    with pytest.raises(InputError, match="no sites remain; 4 of 4 sites left out: s0"):
        without(recordings, exclusions)


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_a_single_image_has_no_variance(value):
    recordings = recorded(n_images=1, n_sites=1)
    recordings.responses[:] = value
    assert list(find_exclusions(recordings).sites) == ["s0"]


def test_a_reason_does_not_depend_on_the_order_of_sites():
    recordings = recorded()
    recordings.responses[6] = np.nan
    recordings.responses[2, 1] = np.nan
    recordings.responses[:, 3] = 2.0
    turned = recordings.select_sites(recordings.site_ids[::-1])
    first, second = map(find_exclusions, (recordings, turned))
    assert first == second
    assert list(second.sites) == ["s3", "s1"]


def test_exclusions_of_one_day_serve_another():
    day2 = recorded(n_images=3)
    day1 = Exclusions({"s1": "noisy", "s9": "gone"}, {"other": "no valid response"})
    rest = without(day2, day1)
    assert rest.site_ids == ("s0", "s2", "s3")
    assert rest.notes == ("1 of 4 sites left out: s1 (noisy)",)


def test_long_lists_are_cut():
    reasons = {f"s{i}": "dead" for i in range(7)}
    assert listed(reasons).endswith("s4 (dead) and 2 more")


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_site_that_varies_varies_at_any_scale(scale):
    responses = scale * np.arange(6.0).reshape(3, 2, 1)
    responses[:, 1] = scale / 3
    found = find_exclusions(Recordings(responses, ("a", "b", "c"), ("s0", "s1")))
    assert list(found.sites) == ["s1"]
