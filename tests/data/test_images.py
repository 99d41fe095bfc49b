import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anoean_cli.data import images
from anoean_cli.data.images import is_idx, read_idx, read_image
from anoean_cli.errors import DataError


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


# --------------------------------------------------------------------------- IDX


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_is_read_whatever_its_name(tmp_path, pixels, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(idx(pixels)))

    read = read_idx(path)

    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)
    assert is_idx(path)


@pytest.mark.parametrize(
    ("code", "stored"),
    [(0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
def test_idx_types_come_in_native_byte_order(tmp_path, code, stored):
    values = np.array([[-3, 0, 100], [7, -128, 1]], dtype=stored)
    path = tmp_path / "values"
    path.write_bytes(idx(values, code))

    read = read_idx(path)

    assert read.dtype == values.dtype.newbyteorder("=")
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-1], "truncated IDX file, .* 5 x 4 x 3 values in 60 bytes, found 59"),
        (lambda b: b[:9], "truncated IDX file, it ends within its header"),
        (lambda b: b + b"!", "overlong IDX file, .* 60 bytes, found more"),
        (lambda b: b"", "not an IDX file, it begins with nothing"),
        (lambda b: b"PK\3\4" + b[4:], "not an IDX file, it begins with 504b0304"),
        (lambda b: b[:2] + b"\x07" + b[3:], "not an IDX file"),
        (lambda b: b[:3] + b"\0" + b[4:], "not an IDX file"),
        (lambda b: b[:3] + b"\x41" + b[4:], "not an IDX file"),
        (lambda b: b[:4] + bytes(4) + b[8:], "empty IDX file"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_damaged_idx_is_refused_by_name(tmp_path, pixels, damage, message, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(damage(idx(pixels))))

    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_forged_dimensions_take_no_memory(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + b"abc"))

    with pytest.raises(DataError, match="found 3"):
        read_idx(path)


@pytest.mark.parametrize("cut", [lambda b: b[:-9], lambda b: b[:30] + b"\xff" * 9 + b[39:]])
def test_damaged_gzip_is_refused_by_name(tmp_path, cut):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)
    path = tmp_path / "images.gz"
    path.write_bytes(cut(gzip.compress(idx(noise))))

    with pytest.raises(DataError, match=r"images\.gz: its compression is damaged"):
        read_idx(path)


def test_file_that_cannot_be_opened_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="absent: no such file"):
        read_idx(tmp_path / "absent")


def test_other_files_are_not_taken_for_idx(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"\x1f\x8b broken")

    assert not is_idx(table)
    assert not is_idx(broken)
    assert not is_idx(tmp_path)
    assert not is_idx(tmp_path / "absent")


# --------------------------------------------------------------------------- images


def saved(folder: Path, pixels: np.ndarray, name: str = "image.png") -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def test_grey_image_keeps_its_values(tmp_path, pixels):
    read = read_image(saved(tmp_path, pixels[0]), channels=1)

    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels[:1])


def test_colour_image_comes_with_channels_first(tmp_path, pixels):
    colours = pixels.reshape(4, 5, 3)

    read = read_image(saved(tmp_path, colours), channels=3)

    np.testing.assert_array_equal(read, colours.transpose(2, 0, 1))
    assert read.flags.c_contiguous


def test_colour_and_grey_are_converted(tmp_path):
    red = saved(tmp_path, np.full((4, 5, 3), (255, 0, 0), dtype=np.uint8), "red.png")
    grey = saved(tmp_path, np.full((4, 5), 9, dtype=np.uint8), "grey.png")

    np.testing.assert_array_equal(read_image(red, 1), np.full((1, 4, 5), 76))
    np.testing.assert_array_equal(read_image(grey, 3), np.full((3, 4, 5), 9))


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "deep.pgm"])
def test_the_high_byte_of_16_bits_counts(tmp_path, pixels, name):
    deep = saved(tmp_path, pixels[0].astype(np.uint16) * 257, name)

    np.testing.assert_array_equal(read_image(deep, 1), pixels[:1])
    np.testing.assert_array_equal(read_image(deep, 3), np.repeat(pixels[:1], 3, axis=0))


def tiff(values: bytes, bits: int, white_is_zero: bool = False, sign: int = 1) -> bytes:
    """A TIFF of one row of four grey values."""
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 1 - white_is_zero, 273: 8, 277: 1, 278: 1}
    tags |= {279: len(values), 339: sign}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    directory = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(values)) + values + directory


@pytest.mark.parametrize(
    ("content", "grey"),
    [
        (tiff(bytes.fromhex("000fff800400"), 12), [0, 255, 128, 64]),
        (tiff(struct.pack("<4H", 0, 65535, 32768, 16384), 16), [0, 255, 128, 64]),
        (tiff(struct.pack("<4H", 0, 65535, 32768, 16384), 16, True), [255, 0, 127, 191]),
        (tiff(bytes([0, 255, 128, 64]), 8, True), [255, 0, 127, 191]),
    ],
)
def test_tiffs_of_any_depth_are_as_bright_as_they_say(tmp_path, content, grey):
    (tmp_path / "deep.tif").write_bytes(content)
    assert read_image(tmp_path / "deep.tif", 1).ravel().tolist() == grey


@pytest.mark.parametrize("bits", [8, 16])
def test_values_with_a_sign_are_refused_with_what_to_do(tmp_path, bits):
    (tmp_path / "signed.tif").write_bytes(tiff(bytes(4 * bits // 8), bits, sign=2))
    with pytest.raises(DataError, match=r"signed\.tif: .*save it with 8 or 16 bits a value, with"):
        read_image(tmp_path / "signed.tif", 1)


@pytest.mark.parametrize(("dtype", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_values_of_32_bits_are_refused_with_what_to_do(tmp_path, pixels, dtype, mode):
    path = saved(tmp_path, pixels[0].astype(dtype), "deep.tif")

    with pytest.raises(DataError, match=rf"deep\.tif: .*mode is {mode}, .*save it with 8 or 16"):
        read_image(path, 1)


def test_image_of_too_many_pixels_is_refused(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr(images, "MAX_PIXELS", 11)

    with pytest.raises(DataError, match=r"image\.png: .*\(3 x 4 pixels are too many"):
        read_image(saved(tmp_path, pixels[0]), 1)


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)

    with pytest.raises(DataError, match=r"bomb\.png"):
        read_image(path, 1)


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b"", lambda b: b"text\n"])
def test_damaged_image_is_refused_by_name(tmp_path, pixels, damage):
    path = saved(tmp_path, pixels[0])
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DataError, match=r"image\.png: cannot be read as an image"):
        read_image(path, 1)


def test_other_numbers_of_channels_are_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        read_image(tmp_path / "any.png", 2)


# --------------------------------------------------------------------------- as cameras write them

CORNERS = np.array([[10, 80, 150], [200, 40, 120]], np.uint8)  # no two turns of it are alike
UPRIGHT = {  # by EXIF orientation: how the stored image lies
    1: lambda up: up,
    2: lambda up: up[:, ::-1],
    3: lambda up: up[::-1, ::-1],
    4: lambda up: up[::-1],
    5: lambda up: up.T,
    6: lambda up: up.T[::-1],
    7: lambda up: up.T[::-1, ::-1],
    8: lambda up: up.T[:, ::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("ending", "compression"), [("png", None), ("tif", None), ("tif", "tiff_lzw")]
)
def test_an_image_is_read_upright(tmp_path, orientation, ending, compression):
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = orientation
    stored = np.ascontiguousarray(UPRIGHT[orientation](CORNERS))
    path = tmp_path / f"turned.{ending}"
    Image.fromarray(stored).save(path, exif=exif, compression=compression)

    np.testing.assert_array_equal(read_image(path, 1)[0], CORNERS)
    assert images.image_size(path) == CORNERS.shape


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("RGBA", 1), ("LA", 1), ("PA", 3)])
def test_what_is_transparent_becomes_white(tmp_path, mode, channels):
    layer = Image.new("RGBA", (3, 2), (90, 90, 90, 255))
    layer.putpixel((0, 0), (0, 0, 0, 0))
    layer.putpixel((1, 0), (0, 0, 0, 51))  # a fifth of black
    if mode == "PA":
        layer = layer.quantize(8)
    layer.convert(mode if mode != "PA" else "P").save(tmp_path / "layer.png")

    read = read_image(tmp_path / "layer.png", channels)

    assert read.shape == (channels, 2, 3)
    assert (read[:, 0, 0] == 255).all()
    np.testing.assert_allclose(read[:, 0, 1], 204, atol=2)
    np.testing.assert_allclose(read[:, 1, 2], 90, atol=2)


def test_a_palette_gives_its_colours(tmp_path):
    colours = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    Image.fromarray(colours).quantize(4).save(tmp_path / "palette.png")
    transparent = Image.fromarray(colours).quantize(4)
    transparent.save(tmp_path / "seen-through.gif", transparency=transparent.getpixel((0, 0)))

    np.testing.assert_array_equal(read_image(tmp_path / "palette.png", 3)[:, 0].T, colours[0])
    seen = read_image(tmp_path / "seen-through.gif", 3)[:, 0].T
    assert seen.tolist() == [[255, 255, 255], [0, 0, 255]]


def test_two_colours_are_black_and_white(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert read_image(tmp_path / "bits.png", 1).tolist() == [[[255, 0]]]


def test_the_first_image_of_an_animation_counts(tmp_path, pixels):
    first, *others = (Image.fromarray(image) for image in pixels[:3])
    first.save(tmp_path / "moving.gif", save_all=True, append_images=others)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=others)

    for name in ("moving.gif", "pages.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name, 1), pixels[:1])


def test_an_image_of_another_size_is_resized_whatever_its_proportions(tmp_path):
    path = saved(tmp_path, np.repeat([[0, 200]], 40, axis=0).repeat(10, axis=1).astype(np.uint8))
    read = read_image(path, 3, size=(8, 8))
    assert read.shape == (3, 8, 8)
    assert read[0, 0, 0] < 10
    assert read[0, 0, 7] > 190
