"""NSD's HDF5 file, written by h5py: rows by number, order, damage."""

import h5py
import numpy as np
import pytest

from paramctl_jax.images import fit_square, load_images
from paramctl_jax.images.nsd import nsd_images
from paramctl_jax.types import InputError

BRICK = np.random.default_rng(0).integers(0, 256, (7, 9, 9, 3), dtype=np.uint8)


def write(path, brick=BRICK, name="imgBrick", **settings):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=brick, **settings)
    return path


@pytest.fixture
def nsd(tmp_path):
    return write(tmp_path / "nsd_stimuli.hdf5")


def test_all_images_by_number_from_one(nsd):
    loaded = load_images(nsd)
    assert loaded.stimulus_ids == tuple(f"nsd0000{n}" for n in range(1, 8))
    np.testing.assert_array_equal(loaded.pixels, BRICK)
    assert loaded.left_out == {}


def test_ids_choose_and_order_and_are_kept(nsd):
    ids = ("nsd00005", "shared0002_nsd00002", "nsd00001", "nsd00002")
    loaded = load_images(str(nsd), ids=ids)
    assert loaded.stimulus_ids == ids
    np.testing.assert_array_equal(loaded.pixels, BRICK[[4, 1, 0, 1]])


def test_rows_are_read_in_the_order_of_the_file(nsd):
    ids = ("nsd00007", "nsd00003", "shared0001_nsd00003", "nsd00004")
    with nsd_images(nsd, ids) as images:
        order = [image.stimulus_id for image in images]
    assert order == ["nsd00003", "shared0001_nsd00003", "nsd00004", "nsd00007"]


def test_size_cuts_and_resizes(nsd):
    loaded = load_images(nsd, 4, ids=["nsd00006"])
    np.testing.assert_array_equal(loaded.pixels[0], fit_square(BRICK[5], 4))


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["nsd00000"], "1 of 1 ids are not there, first ['nsd00000']"),
        (["nsd00001", "nsd00008"], "1 of 2 ids are not there, first ['nsd00008']"),
        (["cat", "nsd1", "43157", "nsd00009"], "4 of 4 ids are not there"),
        (["shared1_nsd00001"], "first ['shared1_nsd00001']"),
        (["nsd00001 "], "expected nsd00001 to nsd00007"),
    ],
)
def test_ids_that_the_file_does_not_have(ids, said, nsd):
    with pytest.raises(InputError) as error:
        load_images(nsd, ids=ids)
    assert str(error.value).startswith(f"{nsd}: ")
    assert said in str(error.value)


@pytest.fixture
def whole_nsd(tmp_path):
    """As large as the real file, and empty: no chunk of it was ever written."""
    path = tmp_path / "nsd_stimuli.hdf5"
    shape = (73000, 425, 425, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", shape, np.uint8, chunks=(1, *shape[1:]))
    assert path.stat().st_size < 1_000_000
    return path


@pytest.mark.parametrize(("size", "said"), [(None, "39.6 GB"), (224, "11.0 GB")])
def test_the_whole_of_nsd_is_refused(size, said, whole_nsd):
    with pytest.raises(InputError, match=f"{said} of memory; give `ids`"):
        load_images(whole_nsd, size)


def test_some_of_the_whole_of_nsd(whole_nsd):
    with h5py.File(whole_nsd, "r+") as file:
        file["imgBrick"][43156] = 9
    ids = ["nsd73000", "shared0575_nsd43157"]
    loaded = load_images(whole_nsd, ids=ids)
    assert loaded.pixels.shape == (2, 425, 425, 3)
    assert loaded.pixels.max(axis=(1, 2, 3)).tolist() == [0, 9]


@pytest.mark.parametrize(
    ("brick", "name", "said"),
    [
        (BRICK.astype(np.float32), "imgBrick", "found float32 (7, 9, 9, 3)"),
        (BRICK.astype(np.int8), "imgBrick", "expected uint8"),
        (BRICK[0], "imgBrick", "found uint8 (9, 9, 3)"),
        (BRICK[..., :1], "imgBrick", "found uint8 (7, 9, 9, 1)"),
        (BRICK.T, "imgBrick", "found uint8 (3, 9, 9, 7); transpose it first"),
        (BRICK, "pictures/day1", "'imgBrick' [image, height, width, 3]; the datasets "
         "there are ['pictures/day1']"),
        (BRICK, "imgBrick/inside", "the datasets there are ['imgBrick/inside']"),
    ],
)  # fmt: skip
def test_other_contents(brick, name, said, tmp_path):
    path = write(tmp_path / "x.h5", brick, name)
    with pytest.raises(InputError) as error:
        load_images(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda data: data[: len(data) // 2], "truncated or damaged HDF5 file"),
        (lambda data: data[:100], "truncated or damaged HDF5 file"),
        (lambda data: b"", "HDF5 file"),
        (lambda data: b"<!doctype html>" * 100, "found something else"),
    ],
)
@pytest.mark.parametrize("unreadable", ["error", "skip"])
def test_truncated_file(content, said, unreadable, nsd):
    nsd.write_bytes(content(nsd.read_bytes()))
    with pytest.raises(InputError) as error:
        load_images(nsd, unreadable=unreadable)
    assert str(error.value).startswith(f"{nsd}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="expected an HDF5 file, found nothing"):
        load_images(tmp_path / "nowhere.hdf5")


def test_one_damaged_image(tmp_path):
    settings = {"chunks": (1, 9, 9, 3), "fletcher32": True}
    path = write(tmp_path / "nsd.hdf5", **settings)
    with h5py.File(path) as file:
        place = file["imgBrick"].id.get_chunk_info(2).byte_offset
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"nsd\.hdf5: truncated or damaged HDF5 file"):
        load_images(path)
    loaded = load_images(path, unreadable="skip")
    np.testing.assert_array_equal(loaded.pixels, np.delete(BRICK, 2, axis=0))
    assert list(loaded.left_out) == ["nsd00003"]
    assert "damaged" in loaded.left_out["nsd00003"]
