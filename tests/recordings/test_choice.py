"""The choice of sites: order, thresholds, and a reason for each site left out."""

import numpy as np
import pytest

from paramctl_jax.recordings.ceiling import ncsnr
from paramctl_jax.recordings.choice import choose_sites
from paramctl_jax.recordings.reliability import split_half_reliability, top_sites
from paramctl_jax.types import InputError, Recordings

SNR = (0.5, 3.0, 1.0, 0.0, 2.0, 1.5)


def simulate(n_images=60, n_repeats=6, snr=SNR):
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n_images, len(snr), 1)) * np.asarray(snr)[:, None]
    responses = signal + rng.standard_normal((n_images, len(snr), n_repeats))
    images = tuple(f"im{i}" for i in range(n_images))
    return Recordings(responses, images, tuple(f"s{i}" for i in range(len(snr))))


@pytest.fixture
def recordings():
    return simulate()


def test_the_most_reliable_sites_come_first(recordings, key):
    choice = choose_sites(recordings, key, count=3, n_splits=20)
    reliability = split_half_reliability(recordings.responses, key, 20)
    best = [recordings.site_ids[i] for i in top_sites(reliability, 3)]
    assert choice.site_ids == tuple(best) == ("s1", "s4", "s5")
    assert [choice.status[site] for site in best] == ["chosen"] * 3
    assert tuple(choice.status) == recordings.site_ids
    assert choice.status["s2"] == (
        f"reliability {reliability[2]:.3f}, less than the 3 chosen (at least "
        f"{reliability[5]:.3f})"
    )


def test_a_minimum_alone_takes_all_that_reach_it(recordings, key):
    values = ncsnr(recordings.responses)
    choice = choose_sites(recordings, key, measure="ncsnr", minimum=0.8, n_splits=2)
    passing = np.flatnonzero(values >= 0.8)
    assert 1 < len(passing) < 6
    expected = sorted(passing, key=lambda site: -values[site])
    assert choice.site_ids == tuple(f"s{site}" for site in expected)
    assert choice.status["s0"] == f"ncsnr {values[0]:.3f}, below 0.8"


def test_every_site_that_is_not_chosen_has_its_reason(recordings, key):
    responses = recordings.responses
    responses[4, 1, 2] = np.inf
    responses[:, 4, 1:] = np.nan
    responses[2:, 5, 1:] = np.nan
    choice = choose_sites(recordings, key, count=1, minimum=0.3, n_splits=5)
    assert choice.site_ids == ("s2",)
    assert choice.status["s1"].startswith("an infinite response to 1 of 60 images")
    assert (
        choice.status["s4"] == "reliability undefined: no image has two valid repeats"
    )
    assert choice.status["s5"] == (
        "reliability undefined: 2 images have two valid repeats, at least 3 are needed"
    )
    by_snr = choose_sites(recordings, key, count=1, measure="ncsnr", n_splits=2)
    assert by_snr.status["s5"].endswith("at least 8 are needed")


def test_mirrored_repeats_are_undefined_not_last(recordings, key):
    responses = recordings.responses[..., :2].copy()
    responses[:, 1, 1] = 0.1 * responses[:, 0, 0] - responses[:, 1, 0]
    mirrored = Recordings(responses, recordings.stimulus_ids, recordings.site_ids)
    choice = choose_sites(mirrored, key, n_splits=5)
    assert "s1" not in choice.site_ids
    assert "correlated below -0.5" in choice.status["s1"]


def test_the_choice_does_not_depend_on_the_order_of_sites(recordings, key):
    recordings.responses[:, 2] = recordings.responses[:, 4]  # a tie
    turned = recordings.select_sites(recordings.site_ids[::-1])
    first = choose_sites(recordings, key, count=2, n_splits=5)
    second = choose_sites(turned, key, count=2, n_splits=5)
    assert first.site_ids == second.site_ids == ("s1", "s2")
    assert first.status == second.status
    assert "no more than the 2 chosen" in first.status["s4"]


def test_noiseless_sites_rank_first(recordings, key):
    recordings.responses[:, 3] = recordings.responses[:, 1, :1]
    choice = choose_sites(recordings, key, count=2, measure="ncsnr", n_splits=2)
    assert choice.site_ids == ("s3", "s1")


def test_no_measure_keeps_the_order_of_the_recordings(key):
    recordings = simulate(n_repeats=1)
    recordings.responses[5, 0] = np.nan
    choice = choose_sites(recordings, key, count=2, measure="none")
    assert choice.site_ids == ("s1", "s2")
    assert choice.status["s0"].startswith("no valid response to 1 of 60 images")
    assert choice.status["s5"] == "after the first 2 usable sites of the recordings"
    last = str(choice).splitlines()[-1]
    assert last.startswith("2 of 6 sites chosen in the order of the recordings")


def test_only_named_sites_are_chosen(recordings, key):
    choice = choose_sites(recordings, key, measure="none", among=["s4", "s2"])
    assert choice.site_ids == ("s2", "s4")
    assert choice.status["s1"] == "not among the sites to choose from"
    best = choose_sites(recordings, key, count=1, n_splits=5, among=["s4", "s2"])
    assert best.site_ids == ("s4",)
    with pytest.raises(InputError, match=r"choose among: 1 of 2 ids .*'s9'"):
        choose_sites(recordings, key, among=["s4", "s9"], n_splits=5)


@pytest.mark.parametrize("measure", ["reliability", "ncsnr"])
def test_without_repeats_the_error_says_what_to_do(key, measure):
    with pytest.raises(InputError, match=r"found 0 of 6.*measure='none'") as caught:
        choose_sites(simulate(n_repeats=1), key, measure=measure)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"measure": "reliabilty"}, "did you mean 'reliability'"),
        ({"count": 0}, "count: expected at least 1"),
        ({"count": 7}, "expected 7 sites that pass, found 6 of 6"),
        ({"count": 5, "minimum": 0.9}, "expected 5 .*lower the minimum"),
        ({"minimum": np.nan}, "minimum: expected None or a number"),
        ({"minimum": 0.5, "measure": "none"}, "minimum: expected None"),
        ({"n_splits": 0}, "n_splits: expected at least 1"),
    ],
)
def test_choices_that_cannot_be_made(recordings, key, arguments, message):
    with pytest.raises(InputError, match=message):
        choose_sites(recordings, key, **{"n_splits": 5, **arguments})


def test_the_table_shows_the_chosen_first_and_no_nan(recordings, key):
    recordings.responses[:, 0] = 1.0
    choice = choose_sites(recordings, key, count=2, n_splits=5)
    lines = str(choice).splitlines()
    assert [line.split()[0] for line in lines] == [
        "site",
        "s1",
        "s4",
        "s0",
        "s2",
        "s3",
        "s5",
        "2",
    ]
    assert "nan" not in str(choice)
    assert lines[1].endswith("chosen")
