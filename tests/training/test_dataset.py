"""Labelled photographs from folders, archives and tfds."""

import io
import logging
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from paramctl_jax.images import encode_png, fit_square
from paramctl_jax.training import load_labelled
from paramctl_jax.types import InputError

SPLIT = {
    f"{split}/{label}/{i}.png": (20, 24)
    for split, count in (("train", 3), ("val", 2))
    for label in ("cat", "dog")
    for i in range(count)
}
FLAT = {f"{label}/{i:02d}.png": (20, 20) for label in ("cat", "dog") for i in range(21)}


def pixels_of(name, shape=(20, 24)):
    """One grey value per file, told from its name."""
    value = sum(name.encode()) % 200
    return np.full((*shape, 3), value, np.uint8)


def build(tmp_path, files, kind, prefix=""):
    content = {
        prefix + name: encode_png(pixels_of(name, shape))
        for name, shape in files.items()
    }
    source = tmp_path / ("set" if kind == "folder" else f"set.{kind}")
    if kind == "folder":
        for name, data in content.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
    elif kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(source, "w:gz") as archive:
            for name, data in content.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return str(source)


def assert_holds(part, names, classes):
    """`part` holds exactly the named files under the right labels."""
    assert part.classes == classes
    found = sorted(zip(part.pixels[:, 0, 0, 0], part.labels, strict=True))
    expected = sorted(
        (pixels_of(name)[0, 0, 0], classes.index(name.split("/")[-2])) for name in names
    )
    assert found == expected


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("prefix", ["", "photographs/v1/"])
def test_train_and_val_folders(kind, prefix, tmp_path):
    data = load_labelled(build(tmp_path, SPLIT, kind, prefix), 16)
    assert data.keys() == {"train", "val"}
    assert data["train"].pixels.shape == (6, 16, 16, 3)
    for split, part in data.items():
        names = [name for name in SPLIT if name.startswith(split)]
        assert_holds(part, names, ("cat", "dog"))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_class_folders_hold_out_every_tenth(kind, tmp_path):
    data = load_labelled(build(tmp_path, FLAT, kind), 16)
    held_out = [n for n in FLAT if n.endswith(("09.png", "19.png"))]
    assert_holds(data["val"], held_out, ("cat", "dog"))
    assert_holds(data["train"], sorted(FLAT.keys() - set(held_out)), ("cat", "dog"))


def test_split_names_above_the_source_do_not_count(tmp_path):
    # the folder `train` alone, given as the source, has class folders only
    data = load_labelled(build(tmp_path / "train", FLAT, "folder"), 16)
    assert len(data["val"]) == 4


def test_images_are_fitted_to_the_size(tmp_path):
    source = tmp_path / "set"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for name in ("train/a/0", "train/b/0", "val/a/0"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / f"{name}.png").write_bytes(encode_png(pixels))
    data = load_labelled(str(source), 12)
    np.testing.assert_array_equal(data["val"].pixels[0], fit_square(pixels, 12))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.png": (9, 9)}, r"a\.png lies in no class folder"),
        ({"train/a/1.png": (9, 9), "val/a/1.png": (9, 9)}, "found 1 training classes"),
        (
            {"train/a/1.png": (9, 9), "train/b/1.png": (9, 9), "val/c/1.png": (9, 9)},
            r"classes without training images \['c'\]",
        ),
        ({"a/1.png": (9, 9), "b/1.png": (9, 9)}, "0 images in a split"),
        ({}, "found"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_unusable_layouts(kind, files, said, tmp_path):
    with pytest.raises(InputError, match=said):
        load_labelled(build(tmp_path, files, kind), 16)


def test_broken_photograph_is_named(tmp_path):
    source = build(tmp_path, SPLIT, "zip")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("train/cat/9.png", b"x")
    with pytest.raises(InputError, match=r"set\.zip:train/cat/9\.png: not an image"):
        load_labelled(source, 16)


def test_missing_source(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        load_labelled(str(tmp_path / "nowhere"), 16)


def prepared(tmp_path, n_channels=3, splits=("train", "test")):
    """A tfds dataset in array_record files, written and read without TensorFlow."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record", reason="tfds without TensorFlow needs it")

    class Dots(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Image(shape=(20, 24, n_channels))
            label = tfds.features.ClassLabel(names=["dark", "light"])
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            for i in range(6 if split == "train" else 4):
                data = io.BytesIO(encode_grey(10 + 200 * (i % 2) + i, n_channels))
                yield i, {"image": data, "label": i % 2}

    builder = Dots(data_dir=tmp_path / "tfds", file_format="array_record")
    builder.download_and_prepare()
    return str(builder.data_dir)


def encode_grey(value, n_channels):
    shape = (20, 24) if n_channels == 1 else (20, 24, n_channels)
    stream = io.BytesIO()
    Image.fromarray(np.full(shape, value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def _quiet_tfds():
    logging.getLogger("absl").setLevel(logging.ERROR)


@pytest.mark.usefixtures("_quiet_tfds")
@pytest.mark.parametrize("n_channels", [1, 3])
def test_tfds_folder_without_tensorflow(n_channels, tmp_path):
    data = load_labelled(f"tfds:{prepared(tmp_path, n_channels)}", 16)
    assert "tensorflow" not in sys.modules
    assert data["train"].pixels.shape == (6, 16, 16, 3)
    assert data["val"].classes == ("dark", "light")
    for part, count in ((data["train"], 6), (data["val"], 4)):
        value = part.pixels[:, 0, 0, 0].astype(int)
        assert sorted(value) == sorted(10 + 200 * (i % 2) + i for i in range(count))
        np.testing.assert_array_equal(part.labels, value > 100)


@pytest.mark.usefixtures("_quiet_tfds")
def test_tfds_without_a_held_out_split(tmp_path):
    folder = prepared(tmp_path, splits=("train",))
    with pytest.raises(InputError, match=r"tfds:.*splits train and validation"):
        load_labelled(f"tfds:{folder}", 16)


@pytest.mark.usefixtures("_quiet_tfds")
def test_tfds_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match="expected a prepared dataset"):
        load_labelled(f"tfds:{tmp_path}", 16)
