"""The structure of a file, checked whole before one element of its data is read.

Only what our files need passes: groups and plain datasets under hard links, each reached once,
of bounded number, depth and size. Nothing else is opened, so that a file can neither reach other
files nor make us allocate more than it really holds.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t, h5z
from numpy.typing import NDArray

from anoean_cli.storage.values import JSON_BYTES, storable

OBJECTS = 10_000
DEPTH = 4
ATTRIBUTE_BYTES = 64 * 2**10
CHUNK_BYTES = 64 * 2**20
READ_BYTES = 2**31
INFLATION = 2_000
SLACK = 64 * 2**20
FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}


class MalformedError(Exception):
    """A breach of the rules for our files; the message names the member, not the file."""


class Part(NamedTuple):
    """One dataset that passed the checks."""

    id: Any
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return the rows [start, stop), or all of a part without rows, in native byte order."""
        shape, is_whole = self.shape, start == 0 and stop is None
        if not is_whole:
            stop = shape[0] if stop is None else stop
            shape = (stop - start, *shape[1:])
        if math.prod(shape) * self.dtype.itemsize > READ_BYTES:
            raise MalformedError(f"more than {READ_BYTES} bytes asked for at once")
        array = np.empty(shape, self.dtype)
        if array.size and is_whole:
            self.id.read(h5s.ALL, h5s.ALL, array)
        elif array.size:
            space = self.id.get_space()
            space.select_hyperslab((start, *(0,) * (len(shape) - 1)), shape)
            self.id.read(h5s.create_simple(shape), space, array)
        if self.dtype == np.bool_ and (array.reshape(-1).view(np.uint8) > 1).any():
            raise MalformedError("booleans that are neither true nor false")
        return array.astype(self.dtype.newbyteorder("="), copy=False)


class Stored(NamedTuple):
    """One value of the file: its kind and the datasets that hold it, in the order of encode."""

    kind: str
    parts: tuple[Part, ...]


class Rules(NamedTuple):
    """What one kind of file may hold.

    Attributes:
        file_size: bytes of the file; no file holds more than that.
        max_bytes: bytes of all arrays together.
        chunked: whether chunked, compressed datasets are allowed.
    """

    file_size: int
    max_bytes: int
    chunked: bool


def survey(root: Any, rules: Rules) -> dict[str, Stored]:
    """Walk the whole file from its root group and return its values by name, none of them read.

    Raises:
        MalformedError: the file breaks a rule.
    """
    parts: dict[str, Part] = {}
    kinds: dict[str, str] = {}
    pending = [("", root, 1)]
    seen = {h5o.get_info(root).addr}
    while pending:
        prefix, group, depth = pending.pop()
        if depth > DEPTH:
            raise MalformedError(f"groups are nested deeper than {DEPTH}")
        for link in _links(group):
            name, child = prefix + link.name.decode("utf-8"), _open(group, link)
            if link.address in seen:
                raise MalformedError(f"{name!r} is the same object as another")
            seen.add(link.address)
            if len(seen) > OBJECTS:
                raise MalformedError(f"more than {OBJECTS} objects")
            kind = read_attributes(child, {"kind"}).get("kind")
            if isinstance(child, h5g.GroupID):
                if kind is not None:
                    kinds[name] = _expect(kind, {"strings"}, name)
                pending.append((name + "/", child, depth + 1))
            elif isinstance(child, h5d.DatasetID):
                parts[name] = _inside(name, child, rules)
                if kind is not None:
                    kinds[name] = _expect(kind, {"json", "bytes"}, name)
            else:
                raise MalformedError(f"{name!r} is neither a group nor a dataset")
    _check_total(parts, rules)
    return _assemble(parts, kinds)


def read_attributes(place: Any, expected: Collection[str]) -> dict[str, str | int]:
    """Return the attributes of an object: scalars, whole numbers or strings of fixed length.

    Raises:
        MalformedError: there are others than expected, or of another make.
    """
    if h5a.get_num_attrs(place) > len(expected):
        raise MalformedError("unexpected attributes")
    names = [h5a.open(place, index=i).name.decode() for i in range(h5a.get_num_attrs(place))]
    for name in names:
        if name not in expected:
            raise MalformedError(f"unexpected attribute {name[:100]!r}")
    return {name: read_attribute(place, name) for name in names}


def read_attribute(place: Any, name: str) -> str | int:
    """A number or a short string, read only once its size is known.

    Raises:
        MalformedError: it is anything else.
    """
    attribute = h5a.open(place, name.encode())
    kind = attribute.get_type()
    size, shape = attribute.get_storage_size(), attribute.get_space()
    if size > ATTRIBUTE_BYTES or shape.get_simple_extent_type() != h5s.SCALAR:
        raise MalformedError(f"attribute {name!r} is too large")
    # Strings of variable length live elsewhere in the file, where no checksum guards them.
    is_string = isinstance(kind, h5t.TypeStringID) and not kind.is_variable_str()
    if not is_string and not isinstance(kind, h5t.TypeIntegerID):
        raise MalformedError(f"attribute {name!r} is neither a number nor a string of fixed length")
    array = np.empty((), attribute.dtype)
    attribute.read(array)
    return bytes(array[()]).decode("utf-8") if is_string else int(array)


class _Link(NamedTuple):
    """A member of a group; a hard link has the address of its object."""

    name: bytes
    kind: int
    address: int


def _links(group: Any) -> list[_Link]:
    """Return a group's members, never more than one too many."""
    links: list[_Link] = []

    def collect(name: bytes, info: Any) -> bool | None:
        links.append(_Link(name, info.type, info.u))
        return True if len(links) > OBJECTS else None

    group.links.iterate(collect, info=True)
    if len(links) > OBJECTS:
        raise MalformedError(f"more than {OBJECTS} objects")
    if len({link.name for link in links}) < len(links):  # members are opened by name
        raise MalformedError("two members have one name")
    return links


def _open(group: Any, link: _Link) -> Any:
    if link.name in (b"", b".") or b"/" in link.name:
        raise MalformedError(f"{link.name!r} is no name")
    if link.kind != h5l.TYPE_HARD:
        raise MalformedError(f"{link.name!r} is a link to elsewhere")
    return h5o.open(group, link.name)


def _inside(name: str, dataset: Any, rules: Rules) -> Part:
    try:
        return _checked(dataset, rules)
    except MalformedError as error:
        raise MalformedError(f"{name!r} {error}") from error


def _checked(dataset: Any, rules: Rules) -> Part:
    plan = dataset.get_create_plist()
    # Before anything else is asked: the extent of a virtual dataset opens its source files.
    if plan.get_external_count() or plan.get_layout() == h5d.VIRTUAL:
        raise MalformedError("keeps its data in other files")
    chunked = plan.get_layout() == h5d.CHUNKED
    if plan.get_layout() != h5d.CONTIGUOUS and not (chunked and rules.chunked):
        raise MalformedError("has a layout that such files do not have")
    space = dataset.get_space()
    if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
        raise MalformedError("has no extent")
    part = Part(dataset, _dtype(dataset.get_type()), tuple(map(int, space.shape)))
    if chunked:
        _check_chunks(part, plan)
    else:
        _check_contiguous(part, plan, rules)
    return part


def _dtype(kind: Any) -> np.dtype[Any]:
    """Return the numpy type of a dataset that has one bit for bit."""
    numeric = isinstance(kind, h5t.TypeIntegerID | h5t.TypeFloatID) and kind.get_size() <= 8
    if not numeric and not kind.equal(_type_of(np.dtype(bool))):
        raise MalformedError("holds something other than plain numbers")
    dtype: np.dtype[Any] = np.dtype(kind.dtype)
    if not storable(dtype) or not kind.equal(_type_of(dtype)):
        raise MalformedError("holds numbers of an unusual make")
    return dtype


@cache
def _type_of(dtype: np.dtype[Any]) -> Any:
    """HDF5's type of such numbers."""
    return h5t.py_create(dtype, logical=True)


def _check_contiguous(part: Part, plan: Any, rules: Rules) -> None:
    if plan.get_nfilters() or part.id.get_storage_size() != part.nbytes:
        raise MalformedError("declares another size than it has")
    offset = part.id.get_offset()
    if part.nbytes and (offset is None or offset + part.nbytes > rules.file_size):
        raise MalformedError("declares more than the file holds")


def _check_chunks(part: Part, plan: Any) -> None:
    if any(plan.get_filter(i)[0] not in FILTERS for i in range(plan.get_nfilters())):
        raise MalformedError("is packed by an unknown filter")
    size = math.prod(map(int, plan.get_chunk())) * part.dtype.itemsize
    if size > CHUNK_BYTES:
        raise MalformedError(f"has chunks of more than {CHUNK_BYTES} bytes")
    if part.nbytes > INFLATION * part.id.get_storage_size() + SLACK:
        raise MalformedError("declares far more than it holds")
    # No filter makes a chunk much larger; one that is would inflate to many times its place.
    oversized: list[int] = []
    part.id.chunk_iter(
        lambda info: oversized.append(info.size) if info.size > size + 1024 else None
    )
    if oversized:
        raise MalformedError("has chunks that are larger packed than unpacked")


def _check_total(parts: dict[str, Part], rules: Rules) -> None:
    if sum(part.nbytes for part in parts.values()) > rules.max_bytes:
        raise MalformedError(f"its arrays take more than {rules.max_bytes} bytes")
    if sum(part.id.get_storage_size() for part in parts.values()) > rules.file_size:
        raise MalformedError("it declares more than it holds")


def _assemble(parts: dict[str, Part], kinds: dict[str, str]) -> dict[str, Stored]:
    """Join the datasets to values; every dataset belongs to exactly one."""
    rest, values = dict(parts), {}
    for name, kind in kinds.items():
        members = [f"{name}/offsets", f"{name}/bytes"] if kind == "strings" else [name]
        try:
            values[name] = Stored(kind, tuple(rest.pop(member) for member in members))
        except KeyError as error:
            raise MalformedError(f"{name!r} lacks {error}") from error
        _check_kind(name, values[name])
    for name, part in rest.items():
        values[name] = Stored("array", (part,))
        parent = name.rpartition("/")[0]
        if parent in kinds:
            raise MalformedError(f"{parent!r} holds more than strings")
    return values


def _check_kind(name: str, stored: Stored) -> None:
    expected = [np.int64, np.uint8] if stored.kind == "strings" else [np.uint8]
    for part, dtype in zip(stored.parts, expected, strict=True):
        if part.dtype.newbyteorder("=") != dtype or len(part.shape) != 1:
            raise MalformedError(f"{name!r} is no value of the kind {stored.kind!r}")
    if stored.kind == "strings" and stored.parts[0].shape == (0,):
        raise MalformedError(f"{name!r} lacks the first offset")
    if stored.kind == "json" and stored.parts[0].nbytes > JSON_BYTES:
        raise MalformedError(f"{name!r} is JSON of more than {JSON_BYTES} bytes")


def _expect(kind: str | int, allowed: set[str], name: str) -> str:
    if not isinstance(kind, str) or kind not in allowed:
        raise MalformedError(f"{name!r} is of an unknown kind")
    return kind
