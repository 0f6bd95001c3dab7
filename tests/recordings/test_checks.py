"""Matching stimuli, unusable sites and the table of sites."""

import numpy as np
import pytest

from paramctl_jax.recordings.ceiling import noise_ceiling
from paramctl_jax.recordings.checks import check_match, summarise_sites, valid_sites
from paramctl_jax.recordings.reliability import split_half_correlations
from paramctl_jax.types import ImageSet, InputError, Recordings


def images(ids):
    return ImageSet(tuple(ids), np.zeros((len(ids), 2, 2, 3), np.uint8))


def recorded(ids, n_sites=1, n_repeats=2):
    rng = np.random.default_rng(0)
    responses = rng.standard_normal((len(ids), n_sites, n_repeats))
    return Recordings(responses, tuple(ids), tuple(f"s{i}" for i in range(n_sites)))


def test_the_same_stimuli_in_any_order_match():
    check_match(images("abcd"), recorded("dbca"))


@pytest.mark.parametrize(
    ("shown", "answered", "parts"),
    [
        ("abcd", "abc", ["3 recorded stimuli", "4 images", "['d']"]),
        ("ab", "abz", ["3 recorded stimuli", "2 images", "['z']"]),
        ("abc", "abx", ["['c']", "['x']"]),
    ],
)
def test_differing_stimuli_are_counted_and_named(shown, answered, parts):
    with pytest.raises(InputError) as caught:
        check_match(images(shown), recorded(answered))
    assert all(part in str(caught.value) for part in parts)


def test_an_image_without_responses_does_not_make_sites_invalid():
    recordings = recorded("abcdefghij", n_sites=3)
    recordings.responses[4] = np.nan
    assert valid_sites(recordings) == (("s0", "s1", "s2"), {})


def test_unusable_sites_are_excluded_with_their_reason():
    recordings = recorded("abcdefghij", n_sites=7)
    responses = recordings.responses
    responses[:, 0] = np.nan
    responses[3, 1] = np.nan
    responses[4, 2, 0] = np.inf
    responses[5, 3] = [np.inf, -np.inf]
    responses[:, 4] = 0.1
    responses[2, 5, 1] = np.nan  # one of two repeats missing: still usable
    kept, excluded = valid_sites(recordings)
    assert kept == ("s5", "s6")
    assert excluded["s0"] == "no valid response to 10 of 10 images, first 'a'"
    assert excluded["s1"] == "no valid response to 1 of 10 images, first 'd'"
    assert excluded["s2"] == "an infinite response to 1 of 10 images, first 'e'"
    assert excluded["s3"] == "an infinite response to 1 of 10 images, first 'f'"
    assert "zero variance" in excluded["s4"]


def test_summary_tells_quality_and_exclusion(key):
    recordings = recorded("abcdefghij", n_sites=3, n_repeats=4)
    recordings.responses[:] += np.arange(10.0)[:, None, None]
    recordings.responses[0, 1] = np.nan
    summary = summarise_sites(recordings, key, n_splits=5)
    assert list(summary.excluded) == ["s1"]
    for values in (summary.reliability, summary.ncsnr, summary.ceiling, summary.half_r):
        np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    np.testing.assert_array_equal(
        summary.ceiling[[0, 2]], noise_ceiling(recordings.responses)[[0, 2]]
    )
    halves = split_half_correlations(recordings.responses, key, 5)[:, [0, 2]]
    np.testing.assert_array_equal(summary.half_r[[0, 2]], halves.mean(axis=0))
    assert (summary.half_r[[0, 2]] < summary.reliability[[0, 2]]).all()
    lines = str(summary).splitlines()
    assert len(lines) == 4
    assert "excluded: no valid response" in lines[2]
