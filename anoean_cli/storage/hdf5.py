"""HDF5 files of arrays, strings and JSON: written complete, read with suspicion.

Every file has the root attributes ``format``, ``format_version``, ``anoean_version``,
``created``, ``digest`` and ``checksum``. The digest names the content: two files with the same
values have the same one, whenever and however they were written. The checksum covers the
attributes too and tells damage. Neither is a signature: whoever can write the file can renew both.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import h5py
import numpy as np
from h5py import h5a, h5g
from numpy.typing import NDArray

from anoean_cli.errors import FileFormatError, reason_of
from anoean_cli.storage.structure import (
    CHUNK_BYTES,
    MalformedError,
    Part,
    Rules,
    Stored,
    read_attribute,
    read_attributes,
    survey,
)
from anoean_cli.storage.values import (
    Entry,
    Json,
    Print,
    Value,
    decode,
    digest_of,
    encode,
    encode_strings,
    little,
    manifest_checksum,
    manifest_digest,
    print_of,
    raw,
    storable,
)

__all__ = [
    "Content",
    "Json",
    "Reader",
    "Value",
    "Writer",
    "digest_of",
    "is_hdf5",
    "kind_of",
    "read",
    "write",
]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
BLOCK_BYTES = 128 * 2**10
ATTRIBUTES = ("anoean_version", "checksum", "created", "digest", "format", "format_version")
DESCRIPTIONS = {
    "anoean-model": "a model",
    "anoean-prepared": "a prepared dataset",
    "anoean-embeddings": "a file of embeddings",
    "anoean-checkpoint": "a checkpoint of a training",
}
PART_NAMES = {"strings": ("/offsets", "/bytes")}


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        values: by name: arrays, lists of strings, decoded JSON, bytes.
        attributes: the root attributes.
        digest: names the content.
    """

    values: dict[str, Any]
    attributes: dict[str, str | int]
    digest: str


def write(
    path: Path,
    *,
    format: str,
    version: int,
    values: Mapping[str, Value],
    volatile: Collection[str] = (),
    created: str | None = None,
) -> str:
    """Write one complete file and return its digest.

    Args:
        path: overwritten when it exists; callers pass the path that ``replacing`` gives.
        format: what kind of file it is, such as ``anoean-model``.
        version: of that format.
        values: by name, ``group/name``.
        volatile: names that the digest leaves out.
        created: ISO time; now unless given.

    Raises:
        TypeError, ValueError: a value that a file cannot hold.
        OSError: the file cannot be written.
    """
    with Writer(path, format=format, version=version, volatile=volatile, created=created) as writer:
        for name, value in sorted(values.items()):
            writer.put(name, value)
        return writer.close()


def read(
    path: Path,
    *,
    format: str,
    version: int,
    volatile: Collection[str] = (),
    max_bytes: int = 2**31,
) -> Content:
    """Read a whole file that ``write`` wrote, after it passed every check.

    Args:
        path: the file.
        format: the kind of file that is wanted.
        version: the newest version of the format that is understood.
        volatile: names that the digest leaves out, the same as in writing.
        max_bytes: bytes that all arrays may take together.

    Raises:
        FileFormatError: it is not there, not such a file, newer, damaged or altered.
    """
    with _Source(path, format, version, volatile, max_bytes, chunked=False) as source:
        return Content(source.whole(), source.attributes, source.digest)


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by how it begins; no where it cannot be read."""
    with suppress(OSError, ValueError):  # ValueError: a NUL byte in the name
        if path.is_file():
            with path.open("rb") as file:
                return file.read(len(SIGNATURE)) == SIGNATURE
    return False


def kind_of(path: Path) -> str:
    """Return the root attribute ``format`` of a file.

    Raises:
        FileFormatError: it is not there or not one of ours.
    """
    with _guarded(path), _opened(path) as file:
        return _format_of(file)


class Writer:
    """Writes a file bit by bit; complete only once it is closed without a failure.

    Raises:
        TypeError, ValueError: (every method) a value that a file cannot hold.
        OSError: (every method) the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        format: str,
        version: int,
        volatile: Collection[str] = (),
        created: str | None = None,
    ) -> None:
        self._attributes: dict[str, str | int] = {
            "format": format,
            "format_version": version,
            "anoean_version": _own_version(),
            "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._volatile = frozenset(volatile)
        self._manifest: dict[str, Entry] = {}
        self._columns: dict[str, tuple[_Column, ...]] = {}
        self._digest: str | None = None
        self._sink = _Sink(path, "w+b")
        # One version of the library's format, so that equal content gives equal bytes; this one
        # guards its own structure with checksums.
        self._file = h5py.File(self._sink, "w", libver=("v110", "v110"))

    def append(self, name: str, array: NDArray[Any]) -> None:
        """Append rows; the first call fixes the type and the shape of a row."""
        if not storable(array.dtype):
            raise TypeError(f"a file cannot hold an array of {array.dtype}")
        with self._writing():
            if name not in self._columns:
                self._start(name, ("", array))
            (column,) = self._columns[name]
            column.append(array)

    def append_strings(self, name: str, strings: Iterable[str]) -> None:
        """Append strings."""
        offsets, octets = encode_strings(strings)
        with self._writing():
            if name not in self._columns:
                self._group(name)
                self._start(name, ("/offsets", offsets), ("/bytes", octets))
                self._columns[name][0].append(offsets[:1])
            bounds, text = self._columns[name]
            bounds.append(offsets[1:] + text.length)
            text.append(octets)

    def put(self, name: str, value: Value) -> None:
        """Write one whole value."""
        kind, parts = encode(value)
        with self._writing():
            if kind == "strings":
                self._group(name)
            for suffix, part in zip(PART_NAMES.get(kind, ("",)), parts, strict=True):
                data = np.asarray(part, dtype=little(part.dtype), order="C")
                dataset = self._file.create_dataset(name + suffix, data=data, track_times=False)
                if kind in ("json", "bytes"):
                    _set_text(dataset, "kind", kind)
            self._manifest[name] = Entry(kind, tuple(print_of(part) for part in parts))

    def close(self) -> str:
        """Complete the file and return its digest."""
        if self._digest is None:
            try:
                digest = self._complete()
            finally:
                self._release()
            self._digest = digest
        return self._digest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(Exception):  # the first failure is the one to tell
                self._release()

    def _complete(self) -> str:
        for name, columns in self._columns.items():
            kind = "strings" if len(columns) == 2 else "array"
            self._manifest[name] = Entry(kind, tuple(column.print() for column in columns))
        digest = manifest_digest(self._manifest, self._volatile)
        attributes = {**self._attributes, "digest": digest}
        attributes["checksum"] = manifest_checksum(self._manifest, attributes)
        with self._writing():
            for name, value in sorted(attributes.items()):
                if isinstance(value, str):
                    _set_text(self._file, name, value)
                else:
                    self._file.attrs.create(name, value, dtype="<i8")
        return digest

    def _release(self) -> None:
        try:
            with self._writing():
                self._file.close()
        finally:
            self._sink.close()

    def _start(self, name: str, *columns: tuple[str, NDArray[Any]]) -> None:
        self._columns[name] = tuple(
            _Column(self._file, name + suffix, rows) for suffix, rows in columns
        )

    def _group(self, name: str) -> None:
        _set_text(self._file.create_group(name), "kind", "strings")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise what went wrong underneath, as an OSError when it was the disk."""
        try:
            yield
        except RuntimeError as error:
            raise OSError(str(error)) from error
        finally:
            if self._sink.failure is not None:
                raise self._sink.failure


class _Sink(io.FileIO):
    """A file that keeps its first failure and from then on swallows what it is given.

    HDF5 cannot give up a file whose last blocks it failed to write: it ends the process with a
    segmentation fault. So it is never told; the writer asks for the failure after each call.
    """

    failure: BaseException | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and self.failure is None:
                done += super().write(view[done:]) or 0
        except BaseException as error:  # an interrupt, too, must not pass through HDF5
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.failure is None:
                return super().truncate(size)
        except BaseException as error:
            self.failure = error
        return size or 0


class _Column:
    """A dataset that grows by rows; hashes them on the way."""

    def __init__(self, file: h5py.File, name: str, rows: NDArray[Any]) -> None:
        if rows.ndim == 0 or 0 in rows.shape[1:]:
            raise ValueError(f"{name!r} has no rows to append, its shape is {rows.shape}")
        self._dtype, self._row = rows.dtype, rows.shape[1:]
        width = rows.dtype.itemsize * int(np.prod(self._row, dtype=object))
        if width > CHUNK_BYTES:
            raise ValueError(f"{name!r} has rows of more than {CHUNK_BYTES} bytes")
        self._name, self._sha = name, hashlib.sha256()
        self.length = 0
        self._dataset = file.create_dataset(
            name,
            shape=(0, *self._row),
            maxshape=(None, *self._row),
            chunks=(max(1, BLOCK_BYTES // width), *self._row),
            dtype=little(rows.dtype),
            compression="gzip",
            compression_opts=4,
            shuffle=True,
            track_times=False,
        )

    def append(self, rows: NDArray[Any]) -> None:
        if rows.dtype != self._dtype or rows.shape[1:] != self._row or rows.ndim == 0:
            raise ValueError(
                f"{self._name!r} takes rows of {self._dtype} {self._row}, "
                f"not of {rows.dtype} {rows.shape[1:]}"
            )
        if len(rows):
            start, self.length = self.length, self.length + len(rows)
            self._dataset.resize(self.length, axis=0)
            self._dataset[start:] = rows
            self._sha.update(raw(rows))

    def print(self) -> Print:
        return Print(little(self._dtype).str, (self.length, *self._row), self._sha.hexdigest())


class _Source:
    """An open file that passed the checks of its structure."""

    def __init__(
        self,
        path: Path,
        format: str,
        version: int,
        volatile: Collection[str],
        max_bytes: int,
        *,
        chunked: bool,
    ) -> None:
        self._path, self._volatile = path, frozenset(volatile)
        with _guarded(path):
            self._opening = _opened(path)
            self._file = self._opening.__enter__()
            try:
                _check_format(self._file, path, format, version)
                self.attributes = read_attributes(_root(self._file), ATTRIBUTES)
                if len(self.attributes) < len(ATTRIBUTES):
                    raise MalformedError("it was not written to its end")
                self.digest = str(self.attributes["digest"])
                size = path.stat().st_size
                self._stored = survey(_root(self._file), Rules(size, max_bytes, chunked))
            except BaseException:
                self.close()
                raise

    def names(self) -> list[str]:
        """Return the names of the values, sorted."""
        return sorted(self._stored)

    def get(self, name: str) -> Any:
        """Return a whole value: an array, a list of strings, decoded JSON or bytes."""
        with _guarded(self._path):
            stored = self._of(name)
            return decode(stored.kind, tuple(part.read() for part in stored.parts))

    def whole(self) -> dict[str, Any]:
        """Return all values; what was compared with digest and checksum is what is returned."""
        with _guarded(self._path):
            read = {name: tuple(p.read() for p in s.parts) for name, s in self._stored.items()}
            self._compare({name: tuple(map(print_of, parts)) for name, parts in read.items()})
            return {name: decode(self._stored[name].kind, read[name]) for name in self.names()}

    def verify(self) -> None:
        """Read everything, in blocks, and compare it with the digest and the checksum."""
        with _guarded(self._path):
            self._compare({n: tuple(map(_print, s.parts)) for n, s in self._stored.items()})

    def _compare(self, prints: Mapping[str, tuple[Print, ...]]) -> None:
        manifest = {name: Entry(self._stored[name].kind, prints[name]) for name in prints}
        covered = {k: v for k, v in self.attributes.items() if k != "checksum"}
        if manifest_checksum(manifest, covered) != self.attributes["checksum"]:
            raise MalformedError("its checksum does not fit")
        if manifest_digest(manifest, self._volatile) != self.digest:
            raise MalformedError("its digest does not fit")

    def close(self) -> None:
        self._opening.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _of(self, name: str) -> Stored:
        if name not in self._stored:
            raise MalformedError(f"it holds no {name!r}")
        return self._stored[name]


class Reader(_Source):
    """Reads a file piece by piece, after its structure passed the checks.

    The content is compared with the digest only by ``verify``.

    Raises:
        FileFormatError: (every method) the file is not there, not such a file, newer, damaged,
            altered or lacks the name.
    """

    def __init__(
        self,
        path: Path,
        *,
        format: str,
        version: int,
        volatile: Collection[str] = (),
        max_bytes: int = 2**40,
    ) -> None:
        super().__init__(path, format, version, volatile, max_bytes, chunked=True)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array, or (n,) for n strings."""
        with _guarded(self._path):
            stored = self._of(name)
            shape = stored.parts[0].shape
            return (shape[0] - 1,) if stored.kind == "strings" else shape

    def length(self, name: str) -> int:
        """Return the number of rows or strings."""
        with _guarded(self._path):
            if not self.shape(name):
                raise MalformedError(f"{name!r} has no rows")
            return self.shape(name)[0]

    def slice(self, name: str, start: int, stop: int) -> Any:
        """Return the rows [start, stop) as far as there are such: an array or a list of strings."""
        length = self.length(name)
        start, stop = min(max(start, 0), length), min(max(stop, start, 0), length)
        with _guarded(self._path):
            stored = self._of(name)
            if stored.kind == "strings":
                return _slice_strings(stored, start, stop)
            if stored.kind != "array":
                raise MalformedError(f"{name!r} has no rows")
            return stored.parts[0].read(start, stop)


def _slice_strings(stored: Stored, start: int, stop: int) -> Any:
    offsets, octets = stored.parts
    bounds = offsets.read(start, stop + 1)
    first, last = int(bounds[0]), int(bounds[-1])
    if not 0 <= first <= last <= octets.shape[0]:
        raise MalformedError("offsets of strings lie outside of their bytes")
    return decode("strings", (bounds - first, octets.read(first, last)))


def _print(part: Part) -> Print:
    """Fingerprint a dataset, a few megabytes at a time."""
    if not part.shape or part.nbytes <= 2**22:
        return print_of(part.read())
    sha, rows = hashlib.sha256(), part.shape[0]
    step = max(1, 2**22 * rows // part.nbytes)
    for start in range(0, rows, step):
        sha.update(raw(part.read(start, min(start + step, rows))))
    return Print(little(part.dtype).str, part.shape, sha.hexdigest())


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in reading into the one message that the user reads."""
    try:
        yield
    except FileFormatError:
        raise
    except MemoryError as error:
        raise FileFormatError(f"{path}: there is not enough memory to read it") from error
    except PermissionError as error:
        message = f"{path}: no permission to read it; change the permissions"
        raise FileFormatError(message) from error
    except Exception as error:  # HDF5 answers to damage with every kind of exception
        reason = reason_of(error)[:300]
        raise FileFormatError(
            f"{path}: damaged or altered ({reason}); get a fresh copy, or make the file anew"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileFormatError(f"{path}: no such file; check the path") from None
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise FileFormatError(f"{path}: this is {what}; name an HDF5 file of anoean")
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise FileFormatError(f"{path}: not an HDF5 file; name a file that anoean wrote")
    # No locks: network file systems often have none, and we only read.
    with h5py.File(os.fspath(path), "r", locking=False) as opened:
        yield opened


def _root(file: h5py.File) -> Any:
    return h5g.open(file.id, b"/")


def _format_of(file: h5py.File) -> str:
    root, found = _root(file), None
    if h5a.exists(root, b"format"):
        with suppress(MalformedError):  # of another make, hence another program's
            found = read_attribute(root, "format")
    if not isinstance(found, str) or not found.startswith("anoean-"):
        raise FileFormatError(
            f"{file.filename}: an HDF5 file, but none of anoean's; name a file that anoean wrote"
        )
    return found


def _check_format(file: h5py.File, path: Path, wanted: str, newest: int) -> None:
    found = _format_of(file)
    if found != wanted:
        raise FileFormatError(
            f"{path}: this is {_describe(found)}, not {_describe(wanted)}; name another file"
        )
    version = read_attribute(_root(file), "format_version")
    if not isinstance(version, int) or version < 1:
        raise MalformedError(f"{version!r} is no version of a format")
    if version > newest:
        raise FileFormatError(
            f"{path}: written by a newer anoean (format version {version}, this one reads up to "
            f"{newest}); update anoean"
        )


def _describe(format: str) -> str:
    return DESCRIPTIONS.get(format, f"a file of the format {format[:100]!r}")


def _set_text(place: Any, name: str, text: str) -> None:
    """Set an attribute to a string of fixed length, which needs no heap in the file."""
    data = text.encode("utf-8")
    dtype = h5py.string_dtype("utf-8", max(1, len(data)))
    place.attrs.create(name, np.array(data, dtype=dtype))


def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("anoean")
    except PackageNotFoundError:
        return "unknown"
