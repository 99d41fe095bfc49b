"""Images from files: IDX, as MNIST is distributed, and whatever Pillow reads."""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.content import digest_of
from anoean_cli.data.streams import CHUNK, open_content
from anoean_cli.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 26
MAX_DIMENSIONS = 32  # IDX can declare 255, NumPy holds 64
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MODES = {1: "L", 3: "RGB"}
IMAGE_ENDINGS = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm")
)
PARTS = ("train", "test")  # of a folder, as MVTec AD has it
WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
EXIF_ORIENTATION = 274
QUARTER_TURNS = (5, 6, 7, 8)  # orientations that swap width and height
TIFF_BITS, TIFF_WHITE, TIFF_SIGN = 258, 262, 339
WHITE_IS_ZERO, UNSIGNED = 0, 1


def read_idx(path: Path) -> NDArray[Any]:
    """Read an IDX file, plain or gzip, into an array of the shape that it declares.

    Never more memory is taken than the file has content, whatever its header declares.

    Raises:
        DataError: the file is no IDX file, damaged, truncated, or goes on after its last value.
    """
    with open_content(path) as stream:
        magic = stream.read(4)
        if not _is_magic(magic):
            raise DataError(f"{path}: not an IDX file, it begins with {magic.hex() or 'nothing'}")
        dtype, dimensions = np.dtype(IDX_TYPES[magic[2]]), magic[3]
        sizes = stream.read(4 * dimensions)
        if len(sizes) < 4 * dimensions:
            raise DataError(f"{path}: truncated IDX file, it ends within its header")
        shape = struct.unpack(f">{dimensions}I", sizes)
        if 0 in shape:
            raise DataError(f"{path}: empty IDX file, its header declares {_times(shape)} values")
        expected = math.prod(shape) * dtype.itemsize
        content = bytearray()
        # By chunks, since read(expected) would allocate what a forged header asks for.
        while len(content) <= expected and (chunk := stream.read(CHUNK)):
            content += chunk
    if len(content) != expected:
        kind, found = "truncated", f"{len(content):,}"
        if len(content) > expected:
            kind, found = "overlong", "more"
        what = f"its header declares {_times(shape)} values in {expected:,} bytes"
        raise DataError(f"{path}: {kind} IDX file, {what}, found {found}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def is_idx(path: Path) -> bool:
    """Whether a file, plain or gzip, begins as an IDX file does; False for unreadable ones."""
    try:
        with open_content(path) as stream:
            return _is_magic(stream.read(4))
    except DataError:
        return False


def image_files(folder: Path) -> list[Path]:
    """All image files in a folder and the folders in it, by their endings, sorted.

    Hidden ones are left out: some systems leave files like ``._one.png`` that are no images.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_ENDINGS
        ]
    return sorted(found)


def class_of(path: Path, folder: Path) -> str:
    """Return the first folder on the way to an image, "" if it lies outside of any."""
    inside = path.relative_to(folder).parts
    return inside[0] if len(inside) > 1 else ""


def digest_of_images(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Return what stands for a folder in a provenance: a SHA-256 of names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{digest_of(path)}\n".encode())
    return {f"{folder.resolve().name}/": digest.hexdigest()}


def read_image(path: Path, channels: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read an image file as grey (1 channel) or RGB (3 channels), upright as EXIF says.

    Transparent parts become white. Of animations and files of several pages the first one is
    read. Of values of 16 bits the high byte counts, as Pillow has it for colours; of TIFF files of
    12 bits the 8 highest ones.

    Args:
        size: height and width to resize to, whatever the proportions; None keeps the size.

    Returns:
        (channels, height, width) uint8.

    Raises:
        DataError: the file is no image, is damaged, has more than ``MAX_PIXELS`` pixels, or
            values of 32 bits or with a sign.
        ValueError: another number of channels.
    """
    from PIL import Image, ImageOps

    if channels not in MODES:
        raise ValueError(f"images have 1 or 3 channels, not {channels}")
    with _opened(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        opaque = _on_white(_in_bytes(image)).convert(MODES[channels])
        if size is not None and size != (opaque.height, opaque.width):
            opaque = opaque.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(opaque)
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1))


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, upright, from its header alone.

    Raises:
        DataError: as `read_image`.
    """
    with _opened(path) as image:
        turned = image.getexif().get(EXIF_ORIENTATION) in QUARTER_TURNS
        width, height = image.size  # of TIFFs upright already
        is_upright = not turned or image.format == "TIFF"
    return (height, width) if is_upright else (width, height)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    from PIL import Image, UnidentifiedImageError

    try:
        # By a path Pillow maps the file into memory, and then garbles TIFFs that lie on their side.
        with path.open("rb") as file, Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            yield image
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: cannot be read as an image (of no known format)") from error
    except Exception as error:  # Pillow's decoders raise of every kind on damaged files
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _on_white(image: Image.Image) -> Image.Image:
    """Without its transparency; what lies under transparent pixels nobody was meant to see."""
    from PIL import Image

    if image.mode not in WITH_ALPHA and "transparency" not in image.info:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _in_bytes(image: Image.Image) -> Image.Image:
    """Return the image with a byte for each value; Pillow alone would clip larger ones to white.

    Raises:
        ValueError: what its values mean in bytes cannot be told.
    """
    from PIL import Image

    # PNG and PGM hold at most 16 bits, also where Pillow makes integers of 32 bits of them.
    is_deep = image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM"))
    if is_deep or _is_signed(image):
        raise ValueError(
            f"its mode is {image.mode}, of values whose black and white are not known; "
            "save it with 8 or 16 bits a value, without a sign"
        )
    if image.mode.startswith("I"):
        bits, is_negative = _bits(image), _tag(image, TIFF_WHITE) == WHITE_IS_ZERO
        image.load()
        values = (np.asarray(image) >> (bits - 8)).clip(0, 255).astype(np.uint8)
        return Image.fromarray(255 - values if is_negative else values)
    return image


def _bits(image: Image.Image) -> int:
    """How many bits a value has that Pillow holds in 16: fewer in some TIFF files."""
    told = _tag(image, TIFF_BITS)
    return 16 if told is None else max(8, min(16, told))


def _is_signed(image: Image.Image) -> bool:
    return _tag(image, TIFF_SIGN) not in (None, UNSIGNED)


def _tag(image: Image.Image, number: int) -> int | None:
    """A whole number that a TIFF file tells of its first channel; None where it does not."""
    told = getattr(image, "tag_v2", {}).get(number)
    first = told[0] if isinstance(told, tuple) and told else told
    return first if isinstance(first, int) else None


def _is_magic(magic: bytes) -> bool:
    if len(magic) < 4 or magic[:2] != b"\0\0":
        return False
    return magic[2] in IDX_TYPES and 0 < magic[3] <= MAX_DIMENSIONS


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
