"""Trial noise: what it depends on, and that it is standard normal."""

import jax
import numpy as np
import pytest
from scipy import stats

from paramctl_jax.subject.noise import trial_noise

IDS = tuple(f"image_{i:03d}" for i in range(200))


def test_standard_normal_and_independent(key):
    noise = trial_noise(key, 1, IDS, 5, 6)
    assert noise.shape == (200, 5, 6)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    # Across sites, across repeats and across images: |r| of 1000 or more pairs.
    for axis in range(3):
        a, b = np.split(
            np.take(noise, range(noise.shape[axis] // 2 * 2), axis), 2, axis
        )
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.08


def test_other_stimuli_and_order_do_not_matter(key):
    noise = trial_noise(key, 1, IDS, 3, 4)
    chosen = [150, 3, 77]
    alone = trial_noise(key, 1, [IDS[i] for i in chosen], 3, 4)
    np.testing.assert_array_equal(alone, noise[chosen])


def test_more_repeats_keep_the_first(key):
    few, many = (trial_noise(key, 1, IDS[:4], 3, repeats) for repeats in (2, 7))
    np.testing.assert_array_equal(many[..., :2], few)


@pytest.mark.parametrize(("seed", "session"), [(0, 2), (1, 1), (0, "day 1")])
def test_key_and_session_matter(key, seed, session):
    here = trial_noise(key, 1, IDS, 3, 4)
    there = trial_noise(jax.random.key(seed), session, IDS, 3, 4)
    assert abs(np.corrcoef(here.ravel(), there.ravel())[0, 1]) < 0.08


def test_sessions_are_named_alike(key):
    np.testing.assert_array_equal(
        trial_noise(key, 1, IDS[:3], 2, 2), trial_noise(key, "1", IDS[:3], 2, 2)
    )


def test_ids_do_not_run_into_sessions(key):
    one = trial_noise(key, "1", ["2a"], 4, 4)
    two = trial_noise(key, "12", ["a"], 4, 4)
    assert not np.any(one == two)
