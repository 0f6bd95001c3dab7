"""tfds datasets without TensorFlow: ours, and such as tfds itself writes."""

import io
import logging
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from paramctl_jax.images import encode_png, load_images, make_tfds_folder
from paramctl_jax.types import InputError

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record", reason="tfds without TensorFlow needs it")

PIXELS = np.random.default_rng(2).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
IDS = tuple(f"cat.{n}" for n in range(5))  # a dot, that is no suffix


@pytest.fixture(autouse=True)
def _quiet_tfds():
    logging.getLogger("absl").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def _no_litter(tmp_path, monkeypatch):
    """tfds leaves empty folders behind where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with all that the decoder has to settle: JPEG, grey, a palette."""
    folder = tmp_path_factory.mktemp("pictures")
    for stimulus_id, pixels in zip(IDS[:3], PIXELS, strict=False):
        (folder / f"{stimulus_id}.png").write_bytes(encode_png(pixels))
    Image.fromarray(PIXELS[3]).save(folder / f"{IDS[3]}.jpg")
    Image.fromarray(PIXELS[4, ..., 0]).convert("P").save(folder / f"{IDS[4]}.png")
    return folder


@pytest.fixture(scope="module")
def dataset(pictures, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        return make_tfds_folder(pictures, tmp_path_factory.mktemp("datasets"))


def test_pixels_are_those_of_the_folder(pictures, dataset):
    expected, found = load_images(pictures), load_images(f"tfds:{dataset}")
    assert found.stimulus_ids == expected.stimulus_ids == IDS
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert "tensorflow" not in sys.modules


def test_tfds_own_decoder_gives_the_same_pixels(pictures, dataset):
    records = tfds.builder_from_directory(dataset).as_data_source("train")
    expected = load_images(pictures)
    for record in records:
        one = expected.select([record["stimulus_id"].decode()]).pixels[0]
        np.testing.assert_array_equal(record["image"], one)


def test_nothing_but_the_dataset_is_left_there(dataset):
    data_dir = dataset.parents[1]
    assert [path.name for path in data_dir.iterdir()] == ["local_stimuli"]
    assert [path.name for path in dataset.parent.iterdir()] == ["1.0.0"]


@pytest.mark.parametrize("name", ["local_stimuli", "local_stimuli:train"])
def test_by_name(name, pictures, dataset, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(dataset.parents[1]))
    ids = [IDS[4], IDS[0]]
    found = load_images(f"tfds:{name}", 4, ids=ids)
    assert found.stimulus_ids == tuple(ids)
    np.testing.assert_array_equal(
        found.pixels, load_images(pictures, 4, ids=ids).pixels
    )


def test_a_folder_of_the_same_name_is_not_in_the_way(dataset, tmp_path, monkeypatch):
    (tmp_path / "local_stimuli").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(dataset.parents[1]))
    assert load_images("tfds:local_stimuli").stimulus_ids == IDS


def test_relative_folder(dataset, monkeypatch):
    monkeypatch.chdir(dataset.parent)
    assert load_images(f"tfds:{dataset.name}").stimulus_ids == IDS
    assert load_images(f"tfds:./{dataset.name}:train").stimulus_ids == IDS


def test_part_of_a_split(dataset):
    assert len(load_images(f"tfds:{dataset}:train[:3]")) == 3


def test_another_name_and_some_of_the_images(pictures, tmp_path):
    folder = make_tfds_folder(pictures, tmp_path / "d", "day_1", ids=IDS[:2])
    assert folder == tmp_path / "d" / "day_1" / "1.0.0"
    assert load_images(f"tfds:{folder}").stimulus_ids == IDS[:2]


def test_an_existing_dataset_is_not_taken_for_the_new_one(dataset, tmp_path):
    # tfds itself would silently go on with the old images
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS[0]))
    with pytest.raises(InputError, match=r"local_stimuli.* exists already"):
        make_tfds_folder(tmp_path, dataset.parents[1])


def test_an_unreadable_image_leaves_no_dataset(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.png: not an image") as error:
        make_tfds_folder(tmp_path, tmp_path / "d")
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "d").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["Day1", "1st", "", "a/b", "a b"])
def test_unusable_name(name, pictures, tmp_path):
    with pytest.raises(InputError, match="name: expected lower case"):
        make_tfds_folder(pictures, tmp_path, name)


def test_data_dir_that_is_a_file(pictures, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file: cannot be written"):
        make_tfds_folder(pictures, tmp_path / "file")


def prepare(data_dir, features, examples, splits=("train",)):
    """A dataset as somebody else would write it, with tfds alone."""

    class Others(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("2.0.0")

        def _info(self):
            described = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=described)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples() for split in splits}

        def _generate_examples(self):
            yield from enumerate(examples)

    builder = Others(data_dir=str(data_dir), file_format="array_record")
    builder.download_and_prepare()
    return builder.data_dir


def as_file(pixels):
    stream = io.BytesIO()  # given an array, tfds would encode it with TensorFlow
    Image.fromarray(pixels).save(stream, "PNG")
    stream.seek(0)
    return stream


PNG = tfds.features.Image(shape=(6, 6, 3))
ARRAY = tfds.features.Tensor(shape=(6, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("feature", "kind", "names", "expected"),
    [
        ("file_name", tfds.features.Text(), ["x/b.png", "a.jpg"], ("a", "b")),
        ("id", tfds.features.Scalar(dtype=np.int64), [42, 7], ("42", "7")),
    ],
)
@pytest.mark.parametrize("image", [PNG, ARRAY], ids=["png", "array"])
def test_datasets_of_others(image, feature, kind, names, expected, tmp_path):
    as_given = as_file if image is PNG else np.asarray
    examples = [{feature: n, "image": as_given(PIXELS[i])} for i, n in enumerate(names)]
    folder = prepare(tmp_path, {feature: kind, "image": image}, examples)
    found = load_images(f"tfds:{folder}")
    assert found.stimulus_ids == expected
    rows = [1, 0] if expected == ("a", "b") else [0, 1]
    np.testing.assert_array_equal(found.pixels, PIXELS[rows])


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"image": PNG, "label": tfds.features.Text()}, "found image, label"),
        ({"stimulus_id": tfds.features.Text()}, "found stimulus_id"),
    ],
)
def test_no_image_or_no_id(features, said, tmp_path):
    values = {"image": as_file(PIXELS[0]), "label": "x", "stimulus_id": "x"}
    folder = prepare(tmp_path, features, [{name: values[name] for name in features}])
    with pytest.raises(InputError, match=f"expected the features image and .*{said}"):
        load_images(f"tfds:{folder}")


def test_wrong_type_of_pixels(tmp_path):
    image = tfds.features.Tensor(shape=(6, 6, 3), dtype=np.float32)
    features = {"stimulus_id": tfds.features.Text(), "image": image}
    example = {"stimulus_id": "a", "image": PIXELS[0].astype(np.float32)}
    folder = prepare(tmp_path, features, [example])
    with pytest.raises(InputError, match=r":a: expected uint8 .*found float32"):
        load_images(f"tfds:{folder}")


def test_one_id_twice_and_one_split_of_two(tmp_path):
    features = {"stimulus_id": tfds.features.Text(), "image": PNG}
    examples = [{"stimulus_id": "a", "image": as_file(PIXELS[i])} for i in range(2)]
    folder = prepare(tmp_path, features, examples, ("train", "test"))
    with pytest.raises(InputError, match=r"expected a split; .*one of test, train"):
        load_images(f"tfds:{folder}")
    with pytest.raises(InputError, match="split 'val' is not there"):
        load_images(f"tfds:{folder}:val")
    with pytest.raises(InputError, match="stimulus id 'a' twice"):
        load_images(f"tfds:{folder}:test")


def copy_of(dataset, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in dataset.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (shard,) = folder.glob("*array_record*")
    return folder, shard


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_truncated_dataset(part, dataset, tmp_path):
    # array_record opens a file that is cut in half and gives records of None
    folder, shard = copy_of(dataset, tmp_path)
    data = shard.read_bytes()
    shard.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match="record 0 is truncated or damaged") as error:
        load_images(f"tfds:{folder}")
    assert "\n" not in str(error.value)


def test_dataset_without_its_shard(dataset, tmp_path):
    folder, shard = copy_of(dataset, tmp_path)
    shard.unlink()
    with pytest.raises(InputError, match=f"tfds:{folder}: "):
        load_images(f"tfds:{folder}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_dataset:train", "no such dataset.*Dataset no_such_dataset not found"),
        ("coco", "this dataset needs tensorflow; pip install tensorflow"),
        ("imagenet_v2:test", 'builder."imagenet_v2", file_format="array_record"'),
        ("imagenet_v2/nothing", "BuilderConfig nothing not found"),
        ("/no/such/folder", "expected the folder of a prepared dataset, found nothing"),
        ("", "no such dataset"),
    ],
)
def test_datasets_that_are_not_there(name, said, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match=said) as error:
        load_images(f"tfds:{name}")
    assert str(error.value).startswith(f"tfds:{name}: ")
    assert "\n" not in str(error.value)
    assert "tensorflow" not in sys.modules
