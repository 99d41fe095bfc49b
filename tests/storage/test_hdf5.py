"""Files come back as they were written, and what is not sound is refused in one message."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anoean_cli.errors import FileFormatError
from anoean_cli.storage import checkpoint, embeddings, hdf5, model, prepared, structure, values
from anoean_cli.storage.hdf5 import Content, Json, Reader, Value, Writer, digest_of

FORMAT = "anoean-model"
SMALL: dict[str, Value] = {
    "config": Json({"detector": "anoean", "rates": [0.01, None, True]}),
    "gaussian/mean": np.arange(6, dtype=np.float32).reshape(2, 3),
    "flag": np.array([True, False]),
    "names": ["ü", "", "tcp"],
    "graph": b"\x00\x08\x01",
}


def write(path: Path, content: dict[str, Value], **options: Any) -> str:
    return hdf5.write(path, format=FORMAT, version=1, values=content, **options)


def read(path: Path, **options: Any) -> Content:
    return hdf5.read(path, format=FORMAT, version=1, **options)


def reader(path: Path, **options: Any) -> Reader:
    return Reader(path, format=FORMAT, version=1, **options)


def plain(value: Any) -> Any:
    """Values in a form that == compares to the last bit."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return value.value if isinstance(value, Json) else value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.h5"


# --------------------------------------------------------------------------- round trips

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ARRAYS = hnp.arrays(
    st.sampled_from(["?", "u1", "<i8", ">i4", "<f4", "<f8", "<f2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
STRINGS = st.lists(st.text(), max_size=5)
VALUES = ARRAYS | STRINGS | st.builds(Json, JSON) | st.binary(max_size=20)
TREES = st.dictionaries(st.sampled_from(["a/x", "a/y", "b", "c/z", "ü"]), VALUES)


def native(value: Value) -> Any:
    """What a value reads back as: arrays come back in this machine's byte order."""
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("="))
    return value


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES)
def test_every_tree_comes_back_to_the_last_bit(path: Path, tree: dict[str, Value]) -> None:
    digest = write(path, tree)
    content = read(path)
    assert plain(content.values) == plain({name: native(value) for name, value in tree.items()})
    assert content.digest == digest == digest_of(tree)
    assert hdf5.kind_of(path) == FORMAT
    with reader(path) as source:
        source.verify()
        assert plain({name: source.get(name) for name in source.names()}) == plain(content.values)


@pytest.mark.parametrize(
    "strings", [np.array(["a", "ßß"]), np.array(["a", "ßß"], object), ("a", "ßß")]
)
def test_arrays_of_strings_come_back_as_a_list(path: Path, strings: Any) -> None:
    write(path, {"names": strings})
    assert read(path).values == {"names": ["a", "ßß"]}


def test_attributes_say_what_the_file_is(path: Path) -> None:
    digest = write(path, SMALL, created="2026-01-02T03:04:05+00:00")
    attributes = read(path).attributes
    assert attributes["format"] == FORMAT
    assert attributes["format_version"] == 1
    assert attributes["created"] == "2026-01-02T03:04:05+00:00"
    assert attributes["digest"] == digest


def test_plain_h5py_reads_the_file(path: Path) -> None:
    write(path, SMALL)
    with h5py.File(path) as file:
        assert file.attrs["format"].decode() == FORMAT
        assert file["gaussian/mean"][1, 2] == 5
        assert json.loads(file["config"][:].tobytes())["detector"] == "anoean"
        start, stop = file["names/offsets"][2:4]
        assert file["names/bytes"][start:stop].tobytes() == b"tcp"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.array([object()]), TypeError),
        (np.array([1 + 2j]), TypeError),
        (np.array(["2026-01-01"], "M8[D]"), TypeError),
        (np.array([("a", 1)], [("name", "U1"), ("n", "i4")]), TypeError),
        ("one string", TypeError),
        ([1, 2], TypeError),
        ({"a": 1}, TypeError),
        (["\ud800"], ValueError),
        (Json(float("nan")), ValueError),
    ],
)
def test_what_a_file_cannot_hold_is_refused_in_writing(
    path: Path, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"cannot hold|surrogates|JSON compliant"):
        write(path, {"value": value})


def test_rows_that_no_reader_would_take_are_refused_in_writing(path: Path) -> None:
    with Writer(path, format=FORMAT, version=1) as writer:
        with pytest.raises(TypeError, match="cannot hold"):
            writer.append("complex", np.zeros(2, complex))
        for shape in ((), (3, 0)):
            with pytest.raises(ValueError, match="no rows"):
                writer.append("empty", np.zeros(shape))
        with pytest.raises(ValueError, match="rows of more than"):
            writer.append("wide", np.zeros((0, 2**26 + 1), np.uint8))


def test_json_too_deep_to_be_read_is_not_written(path: Path) -> None:
    nested: list[Any] = []
    for _ in range(values.JSON_DEPTH + 1):
        nested = [nested]
    with pytest.raises(ValueError, match="too deep"):
        write(path, {"config": Json(nested)})


# --------------------------------------------------------------------------- digests


def test_equal_content_has_an_equal_digest_in_any_order_and_gives_equal_bytes(
    tmp_path: Path,
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write(one, SMALL, created="now")
    time.sleep(1.1)  # time stamps inside HDF5 have seconds
    write(other, dict(reversed(SMALL.items())), created="now")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"flag": np.array([True, True])},
        {"flag": np.array([1, 0], np.uint8)},
        {"flag": np.array([[True, False]])},
        {"names": ["ü", "t", "cp"]},
        {"graph": np.frombuffer(b"\x00\x08\x01", np.uint8)},
        {"config": Json({})},
        {"more": b""},
    ],
)
def test_any_change_of_content_changes_the_digest(change: dict[str, Value]) -> None:
    assert digest_of({**SMALL, **change}) != digest_of(SMALL)


def test_byte_order_and_memory_layout_do_not_change_the_digest() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    swapped = matrix.astype(">f8")
    assert (
        digest_of({"a": matrix}) == digest_of({"a": swapped}) == digest_of({"a": matrix.T.copy().T})
    )


def test_volatile_values_and_time_stay_out_of_the_digest_but_not_of_the_checksum(
    tmp_path: Path,
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    slow = {**SMALL, "seconds": np.array([9.0])}
    fast = {**SMALL, "seconds": np.array([1.0])}
    assert write(one, slow, volatile={"seconds"}, created="a") == write(
        other, fast, volatile={"seconds"}, created="b"
    )
    assert read(other, volatile={"seconds"}).values["seconds"] == 1.0
    with h5py.File(other, "r+") as file:
        file["seconds"][0] = 2.0
    with pytest.raises(FileFormatError, match="checksum"):
        read(other, volatile={"seconds"})


def test_only_the_reader_says_what_is_volatile(path: Path) -> None:
    write(path, SMALL, volatile={"flag"})
    with pytest.raises(FileFormatError, match="digest"):
        read(path)


# --------------------------------------------------------------------------- damage


def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(path: Path) -> None:
    write(path, SMALL)
    sound, before = path.read_bytes(), plain(read(path).values)
    assert len(sound) < 8192
    refused = 0
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        try:
            assert plain(read(path).values) == before, place
        except FileFormatError:
            refused += 1
    assert refused > len(sound) // 2


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    write(path, SMALL)
    sound = path.read_bytes()
    for length in [*range(0, len(sound), 37), len(sound) - 1]:
        path.write_bytes(sound[:length])
        with pytest.raises(FileFormatError):
            read(path)


def test_damage_to_a_streamed_file_is_found_by_verify(path: Path) -> None:
    with Writer(path, format=FORMAT, version=1) as writer:
        writer.append("rows", np.arange(500.0))
        writer.append_strings("labels", ["normal"] * 500)
    sound = path.read_bytes()
    with reader(path) as source:
        before = [plain(source.get(name)) for name in source.names()]
    for place in range(0, len(sound), 7):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        try:
            with reader(path) as source:
                source.verify()
                assert [plain(source.get(name)) for name in source.names()] == before, place
        except FileFormatError:
            pass


# --------------------------------------------------------------------------- wrong files


def test_what_is_no_file_of_ours_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("a,b\n1,2\n")
    (tmp_path / "empty.h5").touch()
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file.attrs["format"] = "other"
        file["data"] = [1]
    for name, reason in {
        "missing.h5": "no such file",
        "text.h5/inside": "no such file",
        "text.h5": "not an HDF5 file",
        "empty.h5": "not an HDF5 file",
        ".": "a folder",
        "foreign.h5": "none of anoean's",
    }.items():
        for attempt in (read, reader, hdf5.kind_of):
            with pytest.raises(FileFormatError, match=reason) as caught:
                attempt(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)


def test_a_device_is_refused_without_being_opened() -> None:
    with pytest.raises(FileFormatError, match="not a regular file"):
        read(Path("/dev/zero"))


def test_another_format_is_named(path: Path) -> None:
    for format, told in {
        model.FORMAT: "a model",
        prepared.FORMAT: "a prepared dataset",
        embeddings.FORMAT: "a file of embeddings",
        checkpoint.FORMAT: "a checkpoint of a training",
    }.items():
        hdf5.write(path, format=format, version=1, values=SMALL)
        with pytest.raises(FileFormatError, match=f": this is {told}, not a file of the format"):
            hdf5.Reader(path, format="another", version=1)
        assert hdf5.kind_of(path) == format


def test_a_newer_version_is_refused_and_an_older_one_is_read(path: Path) -> None:
    hdf5.write(path, format=FORMAT, version=2, values=SMALL)
    with pytest.raises(FileFormatError, match=r"newer anoean .*update anoean"):
        read(path)
    content = hdf5.read(path, format=FORMAT, version=3)
    assert content.attributes["format_version"] == 2


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_refused(path: Path, version: int) -> None:
    hdf5.write(path, format=FORMAT, version=version, values=SMALL)
    with pytest.raises(FileFormatError, match="no version of a format"):
        read(path)


@pytest.mark.parametrize("name", hdf5.ATTRIBUTES)
def test_a_file_that_lacks_a_root_attribute_is_refused(path: Path, name: str) -> None:
    write(path, SMALL)
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    with pytest.raises(FileFormatError):
        read(path)


@pytest.mark.parametrize(
    ("failure", "reason"), [(MemoryError, "not enough memory"), (PermissionError, "permission")]
)
def test_a_failure_of_the_machine_is_not_called_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[Exception], reason: str
) -> None:
    def fail(*_: object) -> None:
        raise failure

    write(path, SMALL)
    monkeypatch.setattr(structure.Part, "read", fail)
    with pytest.raises(FileFormatError, match=reason):
        read(path)


def test_a_file_whose_writer_failed_is_refused(path: Path) -> None:
    with pytest.raises(TypeError), Writer(path, format=FORMAT, version=1) as writer:
        writer.append("rows", np.array(["text"]))
    with pytest.raises(FileFormatError):
        reader(path)


def test_a_file_larger_than_allowed_is_refused(path: Path) -> None:
    write(path, {"a": np.zeros(100), "b": np.zeros(100)})
    assert set(read(path, max_bytes=1600).values) == {"a", "b"}
    with pytest.raises(FileFormatError, match="more than 1599 bytes"):
        read(path, max_bytes=1599)


# --------------------------------------------------------------------------- hostile files


def soft_link(file: h5py.File) -> None:
    file["bad"] = h5py.SoftLink("/flag")


def external_link(file: h5py.File) -> None:
    file["bad"] = h5py.ExternalLink("other.h5", "/flag")


def external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(b"12345678")
    file.create_dataset("bad", (8,), "u1", external=[(str(secret), 0, 8)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "?")
    layout[:] = h5py.VirtualSource("other.h5", "flag", (2,))
    file.create_virtual_dataset("bad", layout)


def references(file: h5py.File) -> None:
    file.create_dataset("bad", data=file["flag"].ref, dtype=h5py.ref_dtype)


def variable_strings(file: h5py.File) -> None:
    file.create_dataset("bad", data=["a"], dtype=h5py.string_dtype())


def fixed_strings(file: h5py.File) -> None:
    file.create_dataset("bad", data=np.array([b"abc"]))


def variable_numbers(file: h5py.File) -> None:
    file.create_dataset("bad", (1,), h5py.vlen_dtype(np.int32))


def compound(file: h5py.File) -> None:
    file.create_dataset("bad", data=np.zeros(2, [("a", "i4"), ("b", "f4")]))


def enumeration(file: h5py.File) -> None:
    file.create_dataset("bad", data=[0], dtype=h5py.enum_dtype({"NO": 0, "YES": 1}))


def complex_numbers(file: h5py.File) -> None:
    file.create_dataset("bad", data=np.zeros(2, complex))


def long_double(file: h5py.File) -> None:
    file.create_dataset("bad", data=np.zeros(2, np.longdouble))


def odd_integers(file: h5py.File) -> None:
    kind = h5t.STD_I32LE.copy()
    kind.set_precision(17)
    h5d.create(file.id, b"bad", kind, h5s.create_simple((2,)))


def named_type(file: h5py.File) -> None:
    file["bad"] = np.dtype("f4")


def no_extent(file: h5py.File) -> None:
    file["bad"] = h5py.Empty("f4")


def huge_attribute(file: h5py.File) -> None:
    file["flag"].attrs["kind"] = np.bytes_(b"a" * 100_000)


def strange_attribute(file: h5py.File) -> None:
    file["flag"].attrs["other"] = 1


def strange_root_attribute(file: h5py.File) -> None:
    file.attrs["other"] = 1


def attribute_of_many(file: h5py.File) -> None:
    file["flag"].attrs["kind"] = np.zeros(100, np.uint8)


def attribute_elsewhere(file: h5py.File) -> None:
    file["flag"].attrs["kind"] = "json"


def strange_kind(file: h5py.File) -> None:
    file["flag"].attrs["kind"] = np.bytes_(b"pickle")


def hard_link_cycle(file: h5py.File) -> None:
    file["group/again"] = file["group"]


def root_within_itself(file: h5py.File) -> None:
    file["group/root"] = file["/"]


def shared_object(file: h5py.File) -> None:
    file["again"] = file["flag"]


def deep_nesting(file: h5py.File) -> None:
    file.create_group("/".join("a" * 2000))


def compressed(file: h5py.File) -> None:
    file.create_dataset("bad", data=np.zeros(10), chunks=(5,), compression="gzip")


def chunked_terabyte(file: h5py.File) -> None:
    file.create_dataset("bad", (2**37,), "f8", chunks=(1024,))


def contiguous_terabyte(file: h5py.File) -> None:
    file.create_dataset("bad", (2**37,), "f8")


def beyond_counting(file: h5py.File) -> None:
    file.create_dataset("bad", (2**31, 2**31, 2**31), "u1", chunks=(1, 1, 1))


def compact(file: h5py.File) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_layout(h5d.COMPACT)
    h5d.create(file.id, b"bad", h5t.IEEE_F32LE, h5s.create_simple((2,)), plan)


def strings_without_bytes(file: h5py.File) -> None:
    del file["names/bytes"]


def strings_and_more(file: h5py.File) -> None:
    file["names/more"] = np.zeros(1)


def strings_of_floats(file: h5py.File) -> None:
    del file["names/offsets"]
    file["names/offsets"] = np.zeros(4)


def strings_without_offset(file: h5py.File) -> None:
    del file["names/offsets"]
    file["names/offsets"] = np.zeros(0, np.int64)


HOSTILE = {
    soft_link: "link to elsewhere",
    external_link: "link to elsewhere",
    external_storage: "in other files",
    virtual_dataset: "in other files",
    references: "plain numbers",
    variable_strings: "plain numbers",
    fixed_strings: "plain numbers",
    variable_numbers: "plain numbers",
    compound: "plain numbers",
    enumeration: "plain numbers",
    complex_numbers: "plain numbers",
    long_double: "plain numbers",
    odd_integers: "unusual make",
    named_type: "neither a group nor a dataset",
    no_extent: "no extent",
    huge_attribute: "too large",
    attribute_of_many: "too large",
    attribute_elsewhere: "fixed length",
    strange_attribute: "unexpected attribute",
    strange_root_attribute: "unexpected attributes",
    strange_kind: "unknown kind",
    hard_link_cycle: "same object",
    root_within_itself: "same object",
    shared_object: "same object",
    deep_nesting: "deeper than 4",
    contiguous_terabyte: "another size",
    chunked_terabyte: "layout|far more",
    beyond_counting: "layout|far more",
    compact: "layout",
    strings_without_bytes: "lacks",
    strings_and_more: "more than strings",
    strings_of_floats: "no value of the kind",
    strings_without_offset: "lacks the first offset",
}


def test_two_members_of_one_name_are_refused(path: Path) -> None:
    """HDF5 opens the first of them whichever is meant, and would leave the other unread."""
    write(path, SMALL)
    copied = path.with_name("copied.h5")
    with h5py.File(path) as file, h5py.File(copied, "w", libver="earliest") as other:
        for name in file.attrs:
            kind = file.attrs.get_id(name).dtype
            other.attrs.create(name, file.attrs[name], dtype=kind)
        for name in file:
            file.copy(name, other)
        other["flah"] = np.full(4, 9.0)
    copied.write_bytes(copied.read_bytes().replace(b"flah\0", b"flag\0"))
    with pytest.raises(FileFormatError, match="two members have one name"):
        read(copied)


@contextmanager
def no_data_read() -> Iterator[None]:
    """Fail when a structural check leaves it to the digest to find the trouble."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure.Part, "read", lambda *_: pytest.fail("data were read"))
        yield


def tampered(path: Path, tamper: Callable[[h5py.File], None]) -> None:
    write(path, SMALL)
    with h5py.File(path, "r+", libver="v110") as file:
        file.create_group("group")
        tamper(file)


@pytest.mark.parametrize("tamper", HOSTILE, ids=lambda function: function.__name__)
def test_a_hostile_structure_is_refused_before_any_data_is_read(
    path: Path, tamper: Callable[[h5py.File], None]
) -> None:
    tampered(path, tamper)
    tracemalloc.start()
    with no_data_read():
        for attempt in (read, reader):
            with pytest.raises(
                FileFormatError, match=rf"damaged or altered \(.*({HOSTILE[tamper]})"
            ):
                attempt(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_a_whole_file_has_no_compressed_arrays(path: Path) -> None:
    tampered(path, compressed)
    with pytest.raises(FileFormatError, match="layout"), no_data_read():
        read(path)
    with reader(path) as source:
        assert source.shape("bad") == (10,)


def test_too_many_objects_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, {f"{group}/{i}": np.zeros(1) for group in "ab" for i in range(6)})
    monkeypatch.setattr(structure, "OBJECTS", 12)
    with pytest.raises(FileFormatError, match="more than 12 objects"), no_data_read():
        read(path)


def forged(path: Path, name: str, kind: str, *parts: np.ndarray[Any, Any]) -> None:
    """A file that passes every check but those of the value itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, "encode", lambda value: (kind, parts))
        write(path, {name: b""})


@pytest.mark.parametrize(
    ("offsets", "octets"),
    [
        ([1, 2], b"ab"),
        ([0, 1], b"ab"),
        ([0, 3], b"ab"),
        ([0, 2, 1, 2], b"ab"),
        ([0, -1, 2], b"ab"),
        ([0, 1, 2], "ü".encode()),
    ],
)
def test_strings_that_do_not_fit_their_offsets_are_refused(
    path: Path, offsets: list[int], octets: bytes
) -> None:
    forged(path, "names", "strings", np.array(offsets), np.frombuffer(octets, np.uint8))
    with pytest.raises(FileFormatError):
        read(path)
    with reader(path) as source, pytest.raises(FileFormatError):
        source.get("names")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        "[" * 500 + "]" * 500,
        '{"a":' * 100_000,
        "NaN",
        "[1e999]",
        "-Infinity",
        "[1,",
        "9" * 10_000,
    ],
    ids=lambda text: text[:10],
)
def test_json_that_nobody_should_walk_is_refused(path: Path, text: str) -> None:
    forged(path, "config", "json", np.frombuffer(text.encode(), np.uint8))
    with pytest.raises(FileFormatError):
        read(path)


def test_json_larger_than_allowed_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, {"config": Json("a" * 100)})
    monkeypatch.setattr(structure, "JSON_BYTES", 101)
    with pytest.raises(FileFormatError, match="JSON of more than 101 bytes"), no_data_read():
        read(path)


def test_a_slice_stays_within_its_bytes(path: Path) -> None:
    forged(path, "names", "strings", np.array([0, 1, 9, 2]), np.zeros(2, np.uint8))
    with reader(path) as source:
        assert source.slice("names", 0, 1) == ["\0"]
        with pytest.raises(FileFormatError, match="outside of their bytes"):
            source.slice("names", 1, 2)


def test_a_read_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, {"rows": np.zeros(100)})
    monkeypatch.setattr(structure, "READ_BYTES", 400)
    with reader(path) as source:
        assert len(source.slice("rows", 0, 50)) == 50
        with pytest.raises(FileFormatError, match="more than 400 bytes"):
            source.get("rows")


def test_booleans_are_true_or_false(path: Path) -> None:
    forged(path, "flag", "array", np.array([7, 1], np.uint8).view(np.bool_))
    with pytest.raises(FileFormatError, match="booleans"):
        read(path)


# --------------------------------------------------------------------------- streams


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(st.integers(0, 50), max_size=6), start=st.integers(0, 55), size=st.integers(0, 9)
)
def test_rows_come_back_however_they_were_appended(
    path: Path, cuts: list[int], start: int, size: int
) -> None:
    rows = np.arange(150, dtype=np.float32).reshape(50, 3)
    labels = [f"ü{i}" * (i % 3) for i in range(50)]
    bounds = [0, *sorted(cuts), 50]
    with Writer(path, format=FORMAT, version=1) as writer:
        for low, high in pairwise(bounds):
            writer.append("data/rows", rows[low:high])
            writer.append_strings("data/labels", labels[low:high])
        writer.put("schema", Json({"a": 1}))
    whole = {"data/rows": rows, "data/labels": labels, "schema": Json({"a": 1})}
    with reader(path) as source:
        source.verify()
        assert source.digest == digest_of(whole)
        assert plain({name: source.get(name) for name in source.names()}) == plain(whole)
        assert source.shape("data/rows") == (50, 3)
        assert source.length("data/labels") == 50
        stop = start + size
        assert plain(source.slice("data/rows", start, stop)) == plain(rows[start:stop])
        assert source.slice("data/labels", start, stop) == labels[start:stop]


def test_a_large_stream_is_verified_in_blocks(path: Path) -> None:
    block = np.zeros((4096, 256), np.float32)
    with Writer(path, format=FORMAT, version=1) as writer:
        for _ in range(8):
            writer.append("rows", block)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    with reader(path) as source:
        source.verify()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * block.nbytes / 2


@pytest.mark.parametrize("second", [np.zeros((2, 3)), np.zeros((2, 4), np.float32), np.float32(1)])
def test_rows_unlike_the_first_are_refused(path: Path, second: Any) -> None:
    with Writer(path, format=FORMAT, version=1) as writer:
        writer.append("rows", np.zeros((2, 3), np.float32))
        with pytest.raises(ValueError, match="takes rows of float32"):
            writer.append("rows", np.asarray(second))
    with reader(path) as source:
        source.verify()
        assert source.shape("rows") == (2, 3)


def test_a_stream_without_rows_comes_back_empty(path: Path) -> None:
    with Writer(path, format=FORMAT, version=1) as writer:
        writer.append("rows", np.zeros((0, 3)))
        writer.append_strings("labels", [])
    with reader(path) as source:
        source.verify()
        assert source.get("labels") == source.slice("labels", 0, 5) == []
        assert source.slice("rows", 0, 5).shape == (0, 3)


def test_a_missing_name_is_told(path: Path) -> None:
    write(path, SMALL)
    with reader(path) as source, pytest.raises(FileFormatError, match="holds no 'other'"):
        source.length("other")
    with reader(path) as source, pytest.raises(FileFormatError, match="has no rows"):
        source.slice("config", 0, 1)


def chunks(file: h5py.File, shape: tuple[int, ...], size: tuple[int, ...], **more: Any) -> Any:
    return file.create_dataset("bad", shape, "u1", chunks=size, **more)


def giant_chunk(file: h5py.File) -> None:
    chunks(file, (2**27,), (2**27,), compression="gzip")


def unknown_filter(file: h5py.File) -> None:
    chunks(file, (100,), (10,), compression="lzf")


def bomb(file: h5py.File) -> None:
    """A chunk of 1 KiB by declaration that takes far more room packed."""
    chunks(file, (1024,), (1024,), compression="gzip").id.write_direct_chunk((0,), bytes(2**16))


@pytest.mark.parametrize("tamper", [giant_chunk, unknown_filter, bomb])
def test_hostile_chunks_are_refused_before_they_are_unpacked(
    path: Path, tamper: Callable[[h5py.File], None]
) -> None:
    tampered(path, tamper)
    with no_data_read(), pytest.raises(FileFormatError, match=r"'bad' (has|is)"):
        reader(path)


# --------------------------------------------------------------------------- the disk


def test_numbers_beyond_the_end_of_the_file_are_refused() -> None:
    """Newer HDF5 refuses such a file itself, so that none can be made here for it to open."""
    plan = SimpleNamespace(get_nfilters=lambda: 0)
    rules = structure.Rules(file_size=180, max_bytes=1000, chunked=True)
    for offset in (100, None, 101, 2**40):
        stored = SimpleNamespace(get_storage_size=lambda: 80, get_offset=lambda at=offset: at)
        part = structure.Part(stored, np.dtype(float), (10,))
        if offset == 100:
            structure._check_contiguous(part, plan, rules)
            continue
        with pytest.raises(structure.MalformedError, match="more than the file holds"):
            structure._check_contiguous(part, plan, rules)


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from anoean_cli.errors import OutputError
from anoean_cli.storage.atomic import replacing
from anoean_cli.storage.hdf5 import Writer

def write(target):
    with replacing(target, overwrite=True) as temporary:
        with Writer(temporary, format="anoean-dataset", version=1) as writer:
            for seed in range(20):
                writer.append("rows", np.random.default_rng(seed).normal(size=(100, 100)))
            writer.put("whole", np.zeros(1000))

target, trial = Path(sys.argv[1]), Path(sys.argv[1] + ".trial")
write(trial)
limit = int(trial.stat().st_size * float(sys.argv[2]))
trial.unlink()
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
try:
    write(target)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("share", [0, 0.5, 0.9999])
def test_a_full_disk_ends_in_one_message_and_keeps_the_old_file(path: Path, share: float) -> None:
    path.write_text("old")
    command = [sys.executable, "-c", FULL_DISK, str(path), str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"cannot write {path}: File too large; write elsewhere\n"
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
