"""Images from files: IDX, as MNIST is distributed, and whatever Pillow reads."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.content import CHUNK, open_content
from anoean_cli.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 26
MAX_DIMENSIONS = 32  # IDX can declare 255, NumPy holds 64
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MODES = {1: "L", 3: "RGB"}


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


def read_image(path: Path, channels: int) -> NDArray[np.uint8]:
    """Read an image file as grey (1 channel) or RGB (3 channels).

    Of values of 16 bits the high byte counts, as Pillow has it for colours.

    Returns:
        (channels, height, width) uint8.

    Raises:
        DataError: the file is no image, is damaged, has more than ``MAX_PIXELS`` pixels, or
            values of 32 bits.
        ValueError: another number of channels.
    """
    from PIL import Image

    if channels not in MODES:
        raise ValueError(f"images have 1 or 3 channels, not {channels}")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            pixels = np.asarray(_in_bytes(image).convert(MODES[channels]))
    except Exception as error:  # Pillow's decoders raise of every kind on damaged files
        raise DataError(f"{path}: cannot be read as an image ({error})") from error
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1))


def _in_bytes(image: Image.Image) -> Image.Image:
    """Return the image with a byte for each value; Pillow alone would clip larger ones to white.

    Raises:
        ValueError: what its values mean in bytes cannot be told.
    """
    from PIL import Image

    # PNG and PGM hold at most 16 bits, also where Pillow makes integers of 32 bits of them.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image.load()
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its mode is {image.mode}, values of 32 bits whose black and white are not known; "
            "save it with 8 or 16 bits a value"
        )
    return image


def _is_magic(magic: bytes) -> bool:
    if len(magic) < 4 or magic[:2] != b"\0\0":
        return False
    return magic[2] in IDX_TYPES and 0 < magic[3] <= MAX_DIMENSIONS


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
