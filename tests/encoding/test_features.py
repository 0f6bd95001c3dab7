"""Extracted features and predictions from pixels against numpy."""

import logging

import jax
import numpy as np
import pytest

from paramctl_jax.encoding import (
    extract_features,
    extract_readouts,
    fit_encoding,
    predict,
    predict_features,
)
from paramctl_jax.types import ImageSet, InputError
from tests.encoding.conftest import features_by_hand, random_images, tiny_backbone


def test_features_equal_numpy_in_channel_height_width_order(backbone, images):
    features = extract_features(backbone, images, "early", 16, progress=False)
    assert features.dtype == np.float32
    expected = features_by_hand(backbone, images)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)


def test_padding_and_company_change_nothing(backbone, images):
    full = extract_features(backbone, images, "early", 16, progress=False)
    few = images.select(images.stimulus_ids[5:12])
    np.testing.assert_array_equal(
        extract_features(backbone, few, "early", 16, progress=False), full[5:12]
    )


def test_several_readouts_in_one_pass(backbone, images):
    both = extract_readouts(backbone, images, ("early", "late"), 32, progress=False)
    assert {name: f.shape for name, f in both.items()} == {
        "early": (60, 180),
        "late": (60, 5),
    }
    alone = extract_features(backbone, images, "late", 32, progress=False)
    np.testing.assert_allclose(both["late"], alone, rtol=1e-6)


def test_one_program_serves_all_blocks_and_all_weights(caplog):
    images = random_images(23, size=9)
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        for seed in (0, 1, 2):
            extract_features(tiny_backbone(seed), images, "late", 5, progress=False)
    compiled = [r for r in caplog.messages if "Compiling" in r and "_read_block" in r]
    assert len(compiled) == 1


def test_unusable_input_is_refused(backbone, images):
    with pytest.raises(InputError, match=r"early, late"):
        extract_features(backbone, images, "earyl", progress=False)
    empty = ImageSet((), np.zeros((0, 6, 6, 3), np.uint8))
    with pytest.raises(InputError, match="0 images"):
        extract_features(backbone, empty, "early", progress=False)
    with pytest.raises(InputError, match="batch size 0"):
        extract_features(backbone, images, "early", 0, progress=False)
    backbone.variables["kernel"][0, 0] = np.nan
    with pytest.raises(InputError, match="not finite for 60 of 60 images"):
        extract_features(backbone, images, "early", progress=False)


@pytest.mark.parametrize("readout", ["early", "late"])
def test_prediction_from_pixels_equals_that_from_features(
    backbone, images, recordings, key, readout
):
    model = fit_encoding(backbone, images, recordings, readout, key=key, progress=False)
    others = random_images(11, seed=7)
    features = extract_features(backbone, others, readout, progress=False)
    expected = predict_features(features, model.weights, model.bias)
    found = predict(model, others, batch_size=4)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found[2:5], predict(model, others, 4)[2:5])


def test_predict_features_adds_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    features, weights = rng.standard_normal((4, 50)), rng.standard_normal((2, 50))
    monkeypatch.setattr("paramctl_jax.encoding.prediction.BLOCK", 7)
    np.testing.assert_allclose(
        predict_features(features, weights, np.array([1.0, 2.0])),
        features @ weights.T + [1.0, 2.0],
    )
