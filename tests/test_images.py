"""Decoding, resizing, quantising: against Pillow, by hand, and with bad files."""

import io
import tarfile
import zipfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from paramctl_jax import images
from paramctl_jax.types import InputError, Network


def photograph(height, width, seed=0):
    """Smooth colour with noise: what antialiasing has to deal with."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 5 + y / 11), np.cos(y / 3), np.sin((x + y) / 17)]
    noisy = 128 + 60 * np.stack(waves, -1) + rng.normal(0, 20, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encode(image, kind="PNG", **settings):
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def png(pixels):
    return encode(Image.fromarray(pixels))


RGB = photograph(6, 8)
GREY = RGB[..., 0]


def with_alpha(pixels, alpha):
    plane = np.full((*pixels.shape[:2], 1), alpha, np.uint8)
    return Image.fromarray(np.concatenate([np.atleast_3d(pixels), plane], -1))


def palette(**settings):
    image = Image.fromarray(GREY % 4).convert("L")
    image = image.point(lambda v: v).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    return encode(image, **settings)


COLOURS = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]])
GREY_RGB = np.stack([GREY] * 3, -1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png(RGB), RGB, id="rgb"),
        pytest.param(png(GREY), GREY_RGB, id="grey"),
        pytest.param(encode(with_alpha(GREY, 255)), GREY_RGB, id="opaque LA"),
        pytest.param(encode(with_alpha(RGB, 255)), RGB, id="opaque RGBA"),
        pytest.param(palette(), COLOURS[GREY % 4], id="palette"),
        pytest.param(encode(Image.fromarray(RGB), "BMP"), RGB, id="bmp"),
        pytest.param(encode(Image.fromarray(RGB), "TIFF"), RGB, id="tiff"),
    ],
)
def test_decoded_pixels(data, expected):
    decoded = images.decode_image(data, "x")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (6, lambda p: np.rot90(p, -1)),  # the camera was turned: shown clockwise
        (8, lambda p: np.rot90(p)),
    ],
)
def test_exif_orientation_is_applied(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(images.decode_image(data, "x"), turn(RGB))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(encode(with_alpha(RGB, 254)), "alpha down to 254", id="RGBA"),
        pytest.param(encode(with_alpha(GREY, 0)), "alpha down to 0", id="LA"),
        pytest.param(palette(transparency=2), "alpha down to 0", id="palette"),
        pytest.param(
            encode(Image.fromarray(GREY), transparency=int(GREY[0, 0])),
            "transparent",
            id="grey key",
        ),
        pytest.param(
            encode(Image.fromarray(RGB), transparency=tuple(map(int, RGB[0, 0]))),
            "transparent",
            id="rgb key",
        ),
        pytest.param(
            encode(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "mode CMYK", id="CMYK"
        ),
        pytest.param(
            encode(Image.fromarray(GREY.astype(np.uint16) * 257)), "mode I;16", id="I16"
        ),
        pytest.param(encode(Image.fromarray(GREY > 99)), "mode 1", id="bits"),
        pytest.param(png(photograph(64, 64))[:-900], "truncated", id="truncated"),
        pytest.param(png(RGB)[:20], "truncated or damaged", id="header only"),
        pytest.param(b"", "not an image", id="zero bytes"),
        pytest.param(b"<!doctype html><p>Login", "not an image", id="html"),
    ],
)
def test_refused_files_name_the_file(data, said):
    with pytest.raises(InputError) as error:
        images.decode_image(data, "folder/cat.png")
    assert str(error.value).startswith("folder/cat.png: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_jpeg_is_refused():
    data = encode(Image.fromarray(photograph(64, 64)), "JPEG")
    with pytest.raises(InputError, match="truncated"):
        images.decode_image(data[: len(data) // 2], "x.jpg")


def claiming(side):
    """A small PNG whose header claims a large square."""
    data = bytearray(png(GREY))
    data[16:24] = side.to_bytes(4) * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    return bytes(data)


@pytest.mark.parametrize("side", [8_000, 12_000, 20_000])  # ours, Pillow's two
def test_bomb_is_refused_before_it_is_decoded(side, monkeypatch):
    def load(self):
        raise AssertionError("decoded")

    data = claiming(side)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(InputError, match=r"x: .*pixels"):
        images.decode_image(data, "x")


def test_read_image(tmp_path):
    (tmp_path / "cat.png").write_bytes(png(RGB))
    np.testing.assert_array_equal(images.read_image(tmp_path / "cat.png"), RGB)
    with pytest.raises(InputError, match=r"dog\.png: cannot be read \(No such file"):
        images.read_image(tmp_path / "dog.png")


def test_png_round_trip_is_exact_and_deterministic():
    pixels = photograph(33, 47)
    data = images.encode_png(pixels)
    assert data == images.encode_png(pixels.copy())
    assert data == images.encode_png(np.asfortranarray(pixels))
    np.testing.assert_array_equal(images.decode_image(data, "x"), pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info == {}  # no dates, no software, no colour profile


@pytest.mark.parametrize("shape", [(6, 8), (8, 6), (7, 10), (5, 5)])
def test_fit_square_cuts_the_centre(shape):
    pixels = photograph(*shape)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = images.fit_square(pixels, side)
    np.testing.assert_array_equal(square, pixels[top : top + side, left : left + side])


def test_fit_square_resizes_as_pillow():
    pixels = photograph(60, 90)
    box = (15, 0, 75, 60)
    expected = Image.fromarray(pixels).crop(box).resize((25, 25), Image.BILINEAR)
    np.testing.assert_array_equal(images.fit_square(pixels, 25), np.asarray(expected))


FILES = {"b.png": photograph(8, 8, 1), "sub/deep/a.png": photograph(8, 8, 2)}


def make_source(tmp_path, kind, files=FILES, junk=True):
    """A folder or an archive of `files`, with files that are not images between."""
    content = {name: png(pixels) for name, pixels in files.items()}
    if junk:
        content |= {"notes.txt": b"x", "._b.png": b"x", "sub/Thumbs.db": b"x"}
    source = tmp_path / ("source" + ("" if kind == "folder" else f".{kind}"))
    if kind == "folder":
        for name, data in content.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
    elif kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(source, "w:gz" if kind != "tar" else "w") as archive:
            for name, data in content.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return source


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz", "tgz"])
def test_load_images_is_keyed_by_stem(kind, tmp_path):
    loaded = images.load_images(make_source(tmp_path, kind))
    assert sorted(loaded.stimulus_ids) == ["a", "b"]
    for name, pixels in FILES.items():
        stem = name.rsplit("/", 1)[-1].removesuffix(".png")
        np.testing.assert_array_equal(loaded.select([stem]).pixels[0], pixels)


def test_every_source_gives_the_same_order(tmp_path):
    kinds = ("folder", "zip", "tar.gz")
    loaded = [images.load_images(make_source(tmp_path, kind)) for kind in kinds]
    assert len({one.stimulus_ids for one in loaded}) == 1


def test_load_images_cuts_to_size(tmp_path):
    files = {"wide.png": photograph(20, 30), "tall.png": photograph(24, 16)}
    source = make_source(tmp_path, "zip", files)
    loaded = images.load_images(source, size=12)
    expected = [images.fit_square(files[n], 12) for n in ("tall.png", "wide.png")]
    np.testing.assert_array_equal(loaded.pixels, expected)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.png": (8, 8), "s/a.png": (8, 8)}, "stimulus id 'a' twice"),
        ({"a.png": (8, 8), "b.png": (9, 9)}, "b is 9 x 9, a is 8 x 8"),
        ({"a.png": (8, 9)}, "expected squares"),
        ({}, "no images"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_unusable_sets(kind, files, said, tmp_path):
    pixels = {name: photograph(*shape) for name, shape in files.items()}
    source = make_source(tmp_path, kind, pixels)
    with pytest.raises(InputError, match=said) as error:
        images.load_images(source)
    assert str(error.value).startswith(str(source))


def test_broken_member_is_named(tmp_path):
    source = make_source(tmp_path, "zip")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("zz.png", b"not a png")
    with pytest.raises(InputError, match=r"source\.zip:zz\.png: not an image"):
        images.load_images(source)
    folder = make_source(tmp_path, "folder")
    (folder / "zz.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"zz\.png: not an image"):
        images.load_images(folder)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_truncated_archive(kind, part, tmp_path):
    files = {f"{i}.png": photograph(40, 40, i) for i in range(4)}
    source = make_source(tmp_path, kind, files, junk=False)
    # a tar is padded with zeros to 20 blocks of 512: cut what comes before them
    data = source.read_bytes().rstrip(b"\0")
    source.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match="truncated") as error:
        images.load_images(source)
    assert str(error.value).startswith(str(source))


def test_tar_cut_between_two_members(tmp_path):
    # nothing but the missing end tells it from a smaller archive
    source = make_source(tmp_path, "tar", junk=False)
    with tarfile.open(source) as archive:
        second = archive.getmembers()[1].offset
    source.write_bytes(source.read_bytes()[:second])
    with pytest.raises(InputError, match="its end is missing"):
        images.load_images(source)


def test_missing_source_and_wrong_kind(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        images.load_images(tmp_path / "nowhere")
    (tmp_path / "one.png").write_bytes(png(RGB))
    with pytest.raises(InputError, match="found a file"):
        images.load_images(tmp_path / "one.png")


@pytest.mark.parametrize(("side", "to"), [(425, 224), (112, 64), (64, 96)])
def test_resize_is_pillows_to_one_level(side, to):
    pixels = photograph(side, side)
    found = images.resize(jnp.asarray(images.to_float(pixels)), to)
    expected = Image.fromarray(pixels).resize((to, to), Image.BILINEAR)
    difference = np.abs(np.asarray(found) * 255 - np.asarray(expected, np.float64))
    assert difference.max() < 1.001
    assert difference.mean() < 0.4  # Pillow rounds, twice


def test_resize_to_the_same_side_changes_nothing():
    pixels = jnp.asarray(images.to_float(photograph(16, 16)))
    assert images.resize(pixels, 16) is pixels


NETWORK = Network(None, 16, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_prepare_is_normalise_after_resize():
    pixels = jnp.asarray(images.to_float(photograph(24, 24)))[None]
    small = images.resize(pixels, 16)
    found = images.prepare(pixels, NETWORK)
    np.testing.assert_array_equal(found, images.normalise(small, NETWORK))
    by_hand = (np.asarray(small, np.float64) - NETWORK.mean) / NETWORK.std
    np.testing.assert_allclose(found, by_hand, rtol=1e-5, atol=1e-5)


def test_prepare_does_not_see_leading_axes():
    pixels = jnp.asarray(images.to_float(photograph(24, 24)))
    alone = images.prepare(pixels, NETWORK)
    batched = images.prepare(jnp.broadcast_to(pixels, (2, 1, 24, 24, 3)), NETWORK)
    np.testing.assert_allclose(batched[1, 0], alone, atol=1e-6)


def test_prepare_has_a_gradient_everywhere():
    pixels = jnp.full((24, 24, 3), 0.5)
    gradient = jax.grad(lambda x: images.prepare(x, NETWORK).sum())(pixels)
    # every input pixel counts: the sum over outputs spreads 16 * 16 over 24 * 24
    expected = 16**2 / 24**2 / np.asarray(NETWORK.std)
    np.testing.assert_allclose(gradient.mean((0, 1)), expected, rtol=1e-4)
    assert gradient.min() > 0


def test_every_level_survives_float_and_quantise():
    levels = np.arange(256, dtype=np.uint8)
    floats = images.to_float(levels)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(images.quantise(jnp.asarray(floats)), floats)
    np.testing.assert_array_equal(np.round(floats * 255).astype(np.uint8), levels)


@pytest.mark.parametrize(
    ("value", "level"),
    [(-0.3, 0), (1.7, 255), (0.5, 128), (0.501, 128), (1.49 / 255, 1), (1.51 / 255, 2)],
)
def test_quantise_rounds_and_clips(value, level):
    found = images.quantise(jnp.float32(value))
    assert float(found) == np.float32(level) / np.float32(255)


@pytest.mark.parametrize("level", [0, 2, 62, 127, 200, 254])
def test_quantise_rounds_halves_to_even(level):
    half = np.float32(level + 0.5)
    near = half / np.float32(255)
    near = (near + np.spacing(near) * np.arange(-2, 3)).astype(np.float32)
    exact = near[near * np.float32(255) == half]
    assert exact.size  # some float32 is exactly between two levels
    found = np.asarray(images.quantise(jnp.asarray(exact))) * 255
    np.testing.assert_array_equal(np.round(found), level + level % 2)


def test_a_damaged_orientation_is_refused():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(RGB), "WEBP", exif=exif.tobytes())
    header = data.index(b"MM\0*")  # of the TIFF structure that EXIF is
    damaged = data[: header + 3] + b"\0" + data[header + 4 :]
    with pytest.raises(InputError, match=r"x\.webp: truncated or damaged image"):
        images.decode_image(damaged, "x.webp")
