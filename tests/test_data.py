"""The bundled photographs: what they are, their licence, their size."""

import re
import zipfile

import numpy as np
import pytest

from paramctl_jax.artifacts import sha256_file
from paramctl_jax.data import load_photographs, photographs_path
from paramctl_jax.data.make_photographs import (
    EXCLUDED_CATEGORIES,
    is_allowed,
    is_usable,
    pack,
)


@pytest.fixture(scope="module")
def photographs():
    return load_photographs()


def test_four_hundred_squares(photographs):
    assert photographs.pixels.shape == (400, 112, 112, 3)
    assert photographs.pixels.dtype == np.uint8
    assert len(set(photographs.stimulus_ids)) == 400
    assert all(re.fullmatch(r"[A-Za-z_]+_\d{4}", n) for n in photographs.stimulus_ids)


def test_no_excluded_category(photographs):
    categories = {name.rsplit("_", 1)[0] for name in photographs.stimulus_ids}
    forbidden = "BACKGROUND_Google Faces Faces_easy garfield snoopy dollar_bill"
    assert set(forbidden.split()) <= EXCLUDED_CATEGORIES
    assert not categories & EXCLUDED_CATEGORIES
    assert len(categories) == 85


def test_folder_is_small_and_carries_its_licence():
    folder = photographs_path().parent
    assert sum(path.stat().st_size for path in folder.glob("*.*")) <= 3_000_000
    licence = (folder / "LICENSE").read_text()
    readme = (folder / "README.md").read_text()
    for text in (licence, readme):
        assert "https://creativecommons.org/licenses/by/4.0/" in text
        assert "10.22002/D1.20086" in text
        assert all(name in text for name in ("Andreeto", "Ranzato", "Perona"))
    assert (
        sha256_file(photographs_path())
        == "sha256:" + re.findall(r"`([0-9a-f]{64})`", readme).pop()
    )


def test_entries_are_stored_sorted_and_undated():
    with zipfile.ZipFile(photographs_path()) as archive:
        entries = archive.infolist()
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert [e.filename for e in entries] == sorted(e.filename for e in entries)


def test_photographs_leave_room_to_be_changed(photographs):
    saturated = np.mean((photographs.pixels <= 2) | (photographs.pixels >= 253))
    assert saturated < 0.05
    # JPEG moves values by a few units, so the rule holds for nearly all, not all.
    assert np.mean([is_usable(image) for image in photographs.pixels]) > 0.97


def test_resized_on_request():
    assert load_photographs(size=64).pixels.shape[1:] == (64, 64, 3)


def _noise() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(30, 226, (112, 112, 3), dtype=np.uint8)


def _letter_boxed() -> np.ndarray:
    image = _noise()
    image[:16] = 0
    return image


def _cornered() -> np.ndarray:
    image = _noise()
    image[:8, -8:] = 0
    return image


def _grey() -> np.ndarray:
    return np.repeat(_noise()[..., :1], 3, axis=-1)


def _faint() -> np.ndarray:
    return (100 + _noise() // 32).astype(np.uint8)


def test_rule_keeps_a_full_frame():
    assert is_usable(_noise())


@pytest.mark.parametrize("make", [_letter_boxed, _cornered, _grey, _faint])
def test_rule_drops(make):
    assert not is_usable(make())


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("caltech101/ant/image_0001.jpg", True),
        ("caltech101/Faces/image_0001.jpg", False),
        ("caltech101/crab/image_0019.jpg", False),
        ("caltech101/ant/image_0001.txt", False),
    ],
)
def test_lists_of_exclusions(name, allowed, tmp_path):
    assert is_allowed(tmp_path / name) == allowed


def test_packing_depends_on_the_pixels_only():
    image = _noise()
    assert pack({"b": image, "a": image}) == pack({"a": image, "b": image})
