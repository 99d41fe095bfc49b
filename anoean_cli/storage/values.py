"""What our files hold: arrays, strings, JSON and bytes, each as one or two plain arrays.

===========  ==============================================================================
kind         stored as
===========  ==============================================================================
``array``    the array itself: bool, integer or float, any shape
``strings``  ``offsets`` int64 (n + 1,) and ``bytes`` uint8: string i is
             ``bytes[offsets[i]:offsets[i + 1]]`` in UTF-8
``json``     uint8: canonical JSON in UTF-8
``bytes``    uint8
===========  ==============================================================================
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

JSON_BYTES = 64 * 2**20
JSON_DEPTH = 100


@dataclass(frozen=True)
class Json:
    """Marks a value to be stored as JSON (tuples come back as lists)."""

    value: Any


Value: TypeAlias = NDArray[Any] | Sequence[str] | Json | bytes
Parts: TypeAlias = tuple[NDArray[Any], ...]


class Print(NamedTuple):
    """The fingerprint of one stored array."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


class Entry(NamedTuple):
    """The fingerprint of one value: its kind and that of each of its arrays."""

    kind: str
    prints: tuple[Print, ...]


Manifest: TypeAlias = Mapping[str, Entry]


def digest_of(values: Mapping[str, Value]) -> str:
    """Return the digest that a file of these values has, whatever their order."""
    return manifest_digest({name: _entry(value) for name, value in values.items()})


def manifest_digest(manifest: Manifest, volatile: Collection[str] = ()) -> str:
    """SHA-256 of what the arrays hold, but for those named volatile."""
    return canonical_sha256(_listing({n: e for n, e in manifest.items() if n not in volatile}))


def manifest_checksum(manifest: Manifest, attributes: Mapping[str, str | int]) -> str:
    """Return the checksum of all values and all root attributes: against accidents only."""
    return canonical_sha256([dict(attributes), _listing(manifest)])


def canonical_sha256(value: Any) -> str:
    """SHA-256 of a value as canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one way to write a value: sorted keys, no spaces, ASCII, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def print_of(array: NDArray[Any]) -> Print:
    """Type, shape and SHA-256 of an array, on any machine the same."""
    return Print(little(array.dtype).str, array.shape, hashlib.sha256(raw(array)).hexdigest())


def raw(array: NDArray[Any]) -> memoryview:
    """Return the elements as little-endian bytes in C order, without a copy where possible."""
    plain = np.asarray(array, dtype=little(array.dtype), order="C")
    return plain.reshape(-1).view(np.uint8).data


def little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type with its bytes in the order of files: little endian."""
    return dtype.newbyteorder("<")


def storable(dtype: np.dtype[Any]) -> bool:
    """Whether files hold such numbers: bool, integers and floats of up to 8 bytes."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def encode(value: Value) -> tuple[str, Parts]:
    """Return the kind of a value and the arrays that stand for it.

    Raises:
        TypeError: the value is of no kind that a file may hold.
        ValueError: JSON with NaN, too deep or too large; strings that are not Unicode.
    """
    if isinstance(value, Json):
        return "json", (_octets(encode_json(value.value)),)
    if isinstance(value, bytes):
        return "bytes", (_octets(value),)
    if isinstance(value, np.ndarray | np.generic) and storable(value.dtype):
        return "array", (np.asarray(value),)
    if _are_strings(value):
        return "strings", encode_strings(value)
    raise TypeError(f"a file cannot hold {type(value).__name__} {getattr(value, 'dtype', '')}")


def decode(kind: str, parts: Parts) -> Any:
    """Return the value that ``encode`` was given (strings as a list).

    Raises:
        ValueError: the arrays stand for no value of this kind.
    """
    if kind == "json":
        return decode_json(parts[0].tobytes())
    if kind == "bytes":
        return parts[0].tobytes()
    if kind == "strings":
        return decode_strings(*parts)
    return parts[0]


def encode_strings(strings: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(n + 1,) offsets into the UTF-8 of all strings, which comes second."""
    encoded = [str(string).encode("utf-8") for string in strings]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(item) for item in encoded], out=offsets[1:])
    return offsets, _octets(b"".join(encoded))


def decode_strings(offsets: NDArray[np.int64], octets: NDArray[np.uint8]) -> list[str]:
    """Return the strings; ``offsets`` must start at 0, never fall, and end with the bytes."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(octets):
        raise ValueError("offsets of strings do not span their bytes")
    if (offsets[1:] < offsets[:-1]).any():
        raise ValueError("offsets of strings fall")
    text, bounds = octets.tobytes(), offsets.tolist()
    return [text[a:b].decode("utf-8") for a, b in pairwise(bounds)]


def encode_json(value: Any) -> bytes:
    """Canonical JSON that `decode_json` reads.

    Raises:
        ValueError: it is too large, nested too deeply, or has numbers that are not finite.
    """
    try:
        data = canonical_json(value)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    decode_json(data)  # what could not be read back is not written
    return data


def decode_json(data: bytes) -> Any:
    """A value from a file of whoever it may be.

    Raises:
        ValueError: it is too large, nested too deeply, or has numbers that are not finite.
    """
    if len(data) > JSON_BYTES:
        raise ValueError(f"JSON is larger than {JSON_BYTES} bytes")
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    _check_depth(value)
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"JSON holds {text}")
    return number


def _check_depth(value: Any) -> None:
    """Bound the nesting, so that whoever walks the value later needs no care."""
    level = [value]
    for _ in range(JSON_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise ValueError("JSON is nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _are_strings(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and all(isinstance(item, str) for item in value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    return all(isinstance(item, str) for item in value)


def _octets(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _entry(value: Value) -> Entry:
    kind, parts = encode(value)
    return Entry(kind, tuple(print_of(part) for part in parts))


def _listing(manifest: Manifest) -> list[Any]:
    return [
        [name, entry.kind, [[p.dtype, p.shape, p.sha256] for p in entry.prints]]
        for name, entry in sorted(manifest.items())
    ]
