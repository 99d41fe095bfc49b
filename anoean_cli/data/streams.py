"""Byte streams: opening files, undoing compression, turning other encodings into UTF-8."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from anoean_cli.errors import DataError, UsageError
from anoean_cli.storage.remote import is_remote, not_there, open_remote

Read: TypeAlias = Callable[[int], bytes]
"""Takes a size, returns about as many bytes; ``b""`` at the end and only there."""

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PACKED = (_GZIP, _ZSTD)
_IMAGES = (
    "images are read by the names of files (.png, .jpg and others) or of their folder; only tables "
    "are read from a pipe, such as ones of pixel values"
)
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_BZIP2 = tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))
# What the first bytes tell of content that is no text, and what to do.
_FOREIGN: dict[tuple[bytes, ...], str] = {
    (b"PK\x03\x04",): "is a zip archive or a spreadsheet; unpack it, or export it as CSV",
    (b"\xd0\xcf\x11\xe0",): "is an old spreadsheet or document; export it as CSV",
    (b"\x89HDF",): "is an HDF5 file, not a table of text",
    (PARQUET,): "is Parquet, which is packed itself; unpack it, and give it as a file",
    (*_BZIP2, b"\xfd7zX"): "is packed with bzip2 or xz; unpack it, or pack it with gzip or zstd",
    _PICTURES: f"is an image; {_IMAGES}",
    tuple(bytes([0, 0, kind]) for kind in b"\x08\x09\x0b\x0c\x0d\x0e"): f"is IDX; {_IMAGES}",
}
_FOR_SPREADSHEETS = re.compile(rb'"?sep=.?"?[ ;,\t]*\r?\n', re.IGNORECASE)
_HEAD = 10  # bytes, the longest of these
_UTF8_BOM = codecs.BOM_UTF8
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD_BYTES = 1 << 16
CHUNK = 1 << 20


def open_content(path: Path | str) -> BinaryIO:
    """Open a file for reading, decompressed if it is gzip or zstd by its first bytes.

    Raises:
        DataError: there is no such file or it may not be read; while reading, that its
            compression is damaged or cut short.
    """
    head, stream = peeked(open_raw(path), owned=True)
    return _unpacked(head, stream, str(path))


def open_bytes(path: Path | str) -> BinaryIO:
    """Open a text for reading as :func:`open_content` does.

    Raises:
        DataError: as there; the content is of a known kind that is not text.
    """
    head, stream = peeked(open_raw(path), owned=True)
    return decompressed(head, stream, str(path))


def open_raw(path: Path | str) -> BinaryIO:
    """Open a file, or an object in a store, for reading as it is.

    Raises:
        DataError: it does not exist, is a folder or may not be read.
    """
    if is_remote(path):
        return cast(BinaryIO, open_remote(str(path)))
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError(not_there(path)) from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name a file in it") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read (permission denied)") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise DataError(f"{path}: cannot be opened: {_cause(error)}") from error


def open_part(path: Path | str, start: int, name: str) -> BinaryIO:
    """Open a file, or an object in a store, for reading as it is from some byte on.

    Raises:
        DataError: as :func:`open_raw`; while reading, that it cannot be read.
    """
    stream = open_remote(str(path), seekable=True) if is_remote(path) else open_raw(path)
    stream.seek(start)
    return io.BufferedReader(_Guarded(stream, stream, name))


def is_plain_text(head: bytes, encoding: str) -> bool:
    """Whether a text's own bytes are those of :func:`utf8`, but for a byte order mark.

    Raises:
        UsageError: the encoding is unknown.
    """
    return not head.startswith(_PACKED) and _is_utf8(_codec(encoding))


def sha256_of(path: Path | str) -> str:
    """The checksum of a file or an object in a store, as it is.

    Raises:
        DataError: as :func:`open_raw`.
    """
    digest = hashlib.sha256()
    with open_raw(path) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def peeked(stream: BinaryIO, owned: bool = False) -> tuple[bytes, BinaryIO]:
    """Return the first ten bytes and a stream that still has them, seekable or not.

    Closing the returned stream closes the given one only if that is ``owned``.
    """
    head = filled(stream.read, _HEAD)
    return head, io.BufferedReader(_Replay(head, stream, owned))


def decompressed(head: bytes, stream: BinaryIO, name: str) -> BinaryIO:
    """Return the content of a stream of text that begins with ``head``.

    Raises:
        DataError: the content is of a known kind that is not text, or its compression is
            damaged; while reading, that it cannot be read or decompressed.
    """
    content = _unpacked(head, stream, name)
    try:
        _check_is_text(content.peek(_HEAD) if head.startswith(_PACKED) else head, name)
    except DataError:
        content.close()
        raise
    return content


def _unpacked(head: bytes, stream: BinaryIO, name: str) -> io.BufferedReader:
    inner: Any = stream
    if head.startswith(_GZIP):
        inner = gzip.GzipFile(fileobj=stream)
    elif head.startswith(_ZSTD):
        import pyarrow as pa

        inner = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
    return io.BufferedReader(_Guarded(inner, stream, name))


def _check_is_text(head: bytes, name: str) -> None:
    for beginnings, told in _FOREIGN.items():
        if head.startswith(beginnings):
            raise DataError(f"{name}: {told}")


def filled(read: Read, size: int) -> bytes:
    """Read until there are ``size`` bytes or no more to come."""
    parts: list[bytes] = []
    while size > 0 and (part := read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def utf8(stream: BinaryIO, name: str, encoding: str) -> tuple[bytes, Read]:
    """Return the first bytes of a text as UTF-8, for looking only, and a reader of all of it.

    A byte order mark is dropped. Bytes that are invalid in ``encoding`` become bytes that are
    invalid in UTF-8, so that whoever parses the text can tell which row holds them.

    Raises:
        UsageError: the encoding is unknown.
        DataError: the text is in UTF-16 although UTF-8 was said; while reading, that the text
            as a whole cannot be in this encoding.
    """
    read: Read = stream.read
    codec = _codec(encoding)
    if not _is_utf8(codec):
        read = _transcoded(read, codec, name)
    head = filled(read, _HEAD_BYTES)
    if head.startswith(_UTF16_BOMS):
        raise DataError(f"{name}: is not UTF-8 but looks like UTF-16; try --encoding utf-16")
    head = head.removeprefix(_UTF8_BOM)
    if _FOR_SPREADSHEETS.match(head):
        raise DataError(
            f"{name}, line 1: tells spreadsheets the delimiter; remove this line, as by tail -n +2"
        )
    replay = io.BytesIO(head)
    return head, lambda size: replay.read(size) or read(size)


def _codec(encoding: str) -> codecs.CodecInfo:
    try:
        codec = codecs.lookup(encoding)
        with contextlib.suppress(UnicodeError):
            b"?".decode(encoding)  # refuses what is no text encoding, such as base64
    except (LookupError, ValueError):
        codec = None
    if codec is None or codec.incrementaldecoder is None:
        raise UsageError(f"unknown encoding {encoding!r}; try utf-8, utf-16, latin-1 or cp1252")
    return codec


def _is_utf8(codec: codecs.CodecInfo) -> bool:
    return codec.name in ("utf-8", "utf-8-sig")


def _transcoded(read: Read, codec: codecs.CodecInfo, name: str) -> Read:
    decoder = cast(Any, codec.incrementaldecoder)(_MARK_INVALID)

    def next_part(size: int) -> bytes:
        while True:
            part = read(size)
            try:
                text = decoder.decode(part, not part)
            except UnicodeError as error:
                raise DataError(
                    f"{name}: cannot be read as {codec.name}: {error}; try another --encoding"
                ) from error
            if text or not part:  # no text yet: only the beginning of a character
                return cast(bytes, text.encode("utf-8", _MARK_INVALID))

    return next_part


def _mark_invalid(error: UnicodeError) -> tuple[str | bytes, int]:
    """Codec error handler: a lone surrogate when decoding, a lone 0xFF when encoding that."""
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff" * (error.end - error.start), error.end
    raise error


_MARK_INVALID = "anoean-mark-invalid"
codecs.register_error(_MARK_INVALID, _mark_invalid)


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Replay(io.RawIOBase):
    """A stream put together again after its first bytes were looked at."""

    def __init__(self, head: bytes, rest: BinaryIO, owned: bool) -> None:
        self._head, self._rest, self._owned = head, rest, owned
        # One system call at a time: only between two of them does Python see a signal. A buffered
        # read of many would sleep on an idle pipe although Ctrl-C came just before.
        self._read_once: Read = getattr(rest, "read1", rest.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        part = self._head[:size] or self._read_once(size)
        self._head = self._head[size:]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if self._owned and not self.closed:
            self._rest.close()
        super().close()


class _Guarded(io.RawIOBase):
    """A stream whose failures are :class:`DataError` and name the file."""

    def __init__(self, inner: Any, beneath: BinaryIO, name: str) -> None:
        self._inner, self._beneath, self._name = inner, beneath, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            part = self._inner.read(len(buffer))
        except (EOFError, zlib.error, OSError, ValueError) as error:  # Arrow's are among these
            raise DataError(self._failure(error)) from error
        buffer[: len(part)] = part
        return len(part)

    def _failure(self, error: Exception) -> str:
        if self._inner is self._beneath:
            return f"{self._name}: cannot be read: {_cause(error)}"
        return (
            f"{self._name}: its compression is damaged or cut short ({error}); "
            "fetch or write the file again"
        )

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._beneath.close()
        super().close()
