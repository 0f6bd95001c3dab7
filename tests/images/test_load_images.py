"""What `load_images` promises of every source: ids, order, and unreadable images."""

import io
import sys
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image

from paramctl_jax.images import duplicate_images, load_images, members
from paramctl_jax.types import ImageSet, InputError

PIXELS = np.random.default_rng(1).integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)
NAMES = ("nsd00001", "nsd00002", "nsd00003", "nsd00004")
KINDS = ("folder", "zip", "tar", "tar.gz")


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def contents():
    return {f"{n}.png": png(p) for n, p in zip(NAMES, PIXELS, strict=True)}


def make(tmp_path, kind, content):
    source = tmp_path / f"source.{kind}"
    if kind == "folder":
        for name, data in content.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
    elif kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    elif kind == "h5":
        with h5py.File(source, "w") as file:
            file["imgBrick"] = PIXELS
    else:
        with tarfile.open(source, "w:gz" if kind == "tar.gz" else "w") as archive:
            for name, data in content.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return source


@pytest.mark.parametrize("kind", [*KINDS, "h5"])
def test_ids_choose_and_order(kind, tmp_path):
    source = make(tmp_path, kind, contents())
    ids = ["nsd00003", "nsd00001"]
    loaded = load_images(source, ids=ids)
    assert loaded.stimulus_ids == tuple(ids)
    np.testing.assert_array_equal(loaded.pixels, PIXELS[[2, 0]])
    assert load_images(source).stimulus_ids == NAMES


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_that_of_the_ids(kind, tmp_path):
    content = {"2/a.png": png(PIXELS[0]), "1/b.png": png(PIXELS[1])}
    loaded = load_images(make(tmp_path, kind, content))
    assert loaded.stimulus_ids == ("a", "b")
    np.testing.assert_array_equal(loaded.pixels, PIXELS[:2])


@pytest.mark.parametrize("kind", [*KINDS, "h5"])
def test_missing_ids_are_counted(kind, tmp_path):
    source = make(tmp_path, kind, contents())
    with pytest.raises(InputError) as error:
        load_images(source, ids=["nsd00002", "d1", "d2", "d3", "d4"])
    assert str(error.value).startswith(f"{source}: 4 of 5 ids are not there, first")
    assert "['d1', 'd2', 'd3']" in str(error.value)
    assert "nsd0000" in str(error.value)  # what ids there are like
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_nobody_asked_for_are_not_decoded(kind, tmp_path):
    source = make(tmp_path, kind, contents() | {"broken.png": b"x"})
    assert load_images(source, ids=["nsd00004"]).stimulus_ids == ("nsd00004",)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ("nsd00001", "expected a list of stimulus ids, found 'nsd00001'"),
        ([], "expected a list"),
        (["a", "b", "a"], r"1 of them twice, first \['a'\]"),
    ],
)
def test_unusable_ids(ids, said, tmp_path):
    with pytest.raises(InputError, match=f"ids: {said}"):
        load_images(make(tmp_path, "folder", contents()), ids=ids)


def test_unknown_policy(tmp_path):
    with pytest.raises(InputError, match="did you mean 'skip'"):
        load_images(tmp_path, unreadable="skipp")


BAD = {
    "truncated": png(PIXELS[0])[:60],
    "empty": b"",
    "html": b"<!doctype html>",
    "16 bit": png(PIXELS[0, ..., 0].astype(np.uint16)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_unreadable_image_of_three(kind, bad, tmp_path):
    content = {"a.png": png(PIXELS[0]), "b.png": bad, "c.png": png(PIXELS[2])}
    source = make(tmp_path, kind, content)
    with pytest.raises(InputError, match=rf"source\.{kind}.b\.png: ") as error:
        load_images(source)
    loaded = load_images(source, unreadable="skip")
    assert loaded.stimulus_ids == ("a", "c")
    np.testing.assert_array_equal(loaded.pixels, PIXELS[[0, 2]])
    assert loaded.left_out == {"b": str(error.value)}
    assert loaded.select(["c"]).left_out == loaded.left_out


def test_skipping_keeps_the_order_asked_for(tmp_path):
    content = {"a.png": png(PIXELS[0]), "b.png": b"", "c.png": png(PIXELS[2])}
    source = make(tmp_path, "zip", content)
    loaded = load_images(source, ids=["c", "b", "a"], unreadable="skip")
    assert loaded.stimulus_ids == ("c", "a")
    np.testing.assert_array_equal(loaded.pixels, PIXELS[[2, 0]])


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_that_can_be_read(kind, tmp_path):
    source = make(tmp_path, kind, {"a.png": b"", "b.png": b""})
    with pytest.raises(InputError, match=r"none of 2 images can be read, first: .*a\."):
        load_images(source, unreadable="skip")


@pytest.mark.parametrize("unreadable", ["error", "skip"])
def test_empty_folder(unreadable, tmp_path):
    with pytest.raises(InputError, match="no images; expected files"):
        load_images(tmp_path, unreadable=unreadable)


def flipped_zip(tmp_path):
    """A zip of three stored images, one bit of the second one's pixels flipped."""
    source = make(tmp_path, "zip", {f"{n}.png": png(PIXELS[0]) for n in "abc"})
    data = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        data[archive.infolist()[1].header_offset + 100] ^= 1
    source.write_bytes(data)
    return source


def test_one_member_fails_its_checksum(tmp_path):
    source = flipped_zip(tmp_path)
    with pytest.raises(InputError, match=r"damaged archive \(Bad CRC-32 .*b\.png"):
        load_images(source)
    loaded = load_images(source, unreadable="skip")
    assert loaded.stimulus_ids == ("a", "c")
    assert "Bad CRC-32" in loaded.left_out["b"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_truncated_archive_is_never_skipped(kind, tmp_path):
    # what it lost is not known, so that leaving it out would be silent
    source = make(tmp_path, kind, contents())
    data = source.read_bytes().rstrip(b"\0")
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="truncated"):
        load_images(source, unreadable="skip")


def test_members_still_gives_names_and_bytes(tmp_path):
    source = make(tmp_path, "zip", contents())
    assert {name: read() for name, read in members(source)} == contents()
    wanted = dict(members(source, lambda name: name == "nsd00002.png"))
    assert list(wanted) == ["nsd00002.png"]


def test_progress_is_shown_when_asked_for(tmp_path, capsys, monkeypatch):
    source = make(tmp_path, "folder", contents())
    load_images(source)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    load_images(source, progress=True)
    assert "4/4" in capsys.readouterr().err


def test_duplicate_images():
    stack = PIXELS[[0, 1, 0, 2, 1, 0]]
    found = duplicate_images(ImageSet(tuple("abcdef"), stack))
    assert found == (("a", "c", "f"), ("b", "e"))
    assert duplicate_images(ImageSet(tuple("abcd"), PIXELS)) == ()
    other = PIXELS[[0, 0]]
    other[1, -1, -1, -1] ^= 1  # a single level
    assert duplicate_images(ImageSet(("a", "b"), other)) == ()


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_pixel_is_refused(tmp_path, size):
    source = make(tmp_path, "folder", contents())
    with pytest.raises(InputError, match=f"size: expected at least 1 pixel.*{size}"):
        load_images(source, size)


def test_a_link_to_nothing_is_told_not_passed_over(tmp_path):
    source = make(tmp_path, "folder", contents())
    (source / "annexed.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"annexed.png: cannot be read"):
        load_images(source)
    images = load_images(source, unreadable="skip")
    assert images.stimulus_ids == NAMES
    assert "annexed.png" in images.left_out["annexed"]


def test_images_that_are_enlarged_are_said_once(tmp_path):
    content = contents()
    content["nsd00003.png"] = png(np.zeros((9, 12, 3), np.uint8))
    source = make(tmp_path, "folder", content)
    loaded = load_images(source, 8)
    assert loaded.notes == (
        "3 of 4 images are smaller than 8 pixels and were enlarged, first nsd00001",
    )
    assert loaded.select(NAMES[:2]).drop(NAMES[:1]).notes == loaded.notes
    assert load_images(source, 6).notes == ()
