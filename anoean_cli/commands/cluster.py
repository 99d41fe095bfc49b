"""``score --scheduler``: one output part for each input, scored by the workers of a Dask cluster.

A big table has several parts, one for each range of its rows. They follow each other: put together
in their order, of CSV and JSON lines by their bytes, they are what one machine writes of the file.

The folder of parts, and the inputs, are where all workers and this process see them. A part
appears whole, and what is said of it in the manifest after that: whatever is killed between, a
part is missing there, or scored again to the same bytes, never half or twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from anoean_cli.choices import OutputFormat
from anoean_cli.commands.explaining import Why
from anoean_cli.commands.loading import TABLE_ENDINGS
from anoean_cli.commands.output import opened_output, written
from anoean_cli.commands.scoring import Total, scored
from anoean_cli.console import Console
from anoean_cli.data.inputs import Reading, unread_pieces
from anoean_cli.data.ranges import Range, ranges
from anoean_cli.data.streams import open_raw, sha256_of
from anoean_cli.errors import DataError, FileFormatError, OutputError, UsageError
from anoean_cli.evaluation.workers import connected
from anoean_cli.inference.drift import Incoming, Seen
from anoean_cli.inference.explanation import Explainer
from anoean_cli.inference.model import Model
from anoean_cli.storage.atomic import make_folder
from anoean_cli.storage.hdf5 import is_hdf5
from anoean_cli.storage.remote import is_remote, is_there, remove
from anoean_cli.storage.typed_json import check_json
from anoean_cli.wording import counted

MANIFEST = "manifest.json"
FORMAT, VERSION = "anoean-parts", 1


class Entry(TypedDict):
    """What the manifest says of a part."""

    part: str
    source: str
    source_state: list[int]
    range: dict[str, int] | None
    rows: int
    flagged: int
    anomalies: int
    seen: Seen
    digest: str
    model_digest: str


@dataclass(frozen=True)
class Part:
    """An input and what becomes of it.

    Attributes:
        name: the file name of the output, which depends on the input's name and, of a big one, the
            number of the range alone.
        source: the input as it was given.
        place: the same from any folder.
        state: size and time of change of a file, so that a changed one is scored again.
        range: the rows of the input; None: all.
    """

    name: str
    source: str
    place: str
    state: tuple[int, int]
    range: Range | None = None


@dataclass(frozen=True)
class How:
    """What the bytes of a part depend on, but for model and input.

    Attributes:
        explained: by how many columns each row is explained.
    """

    reading: Reading
    format: OutputFormat
    only_anomalies: bool
    explained: int | None = None


def score_parts(
    console: Console,
    scheduler: str,
    inputs: Sequence[str],
    folder: str,
    model: Model,
    how: How,
    size: int,
    force: bool,
) -> Total:
    """Score what the folder does not hold yet; returns what is in all parts together.

    Args:
        size: bytes, beyond which a table has several parts of about as many.

    Raises:
        UsageError: an input that has no part of its own or is the folder, or no scheduler that
            answers.
        OutputError: the folder holds parts of another model or other options, or is not shared.
        DataError: what a worker says of an input.
    """
    whole = parts_of(inputs, how.format, is_table=model.schema is not None)
    if not is_remote(folder) and any(
        os.path.realpath(folder) == os.path.realpath(i) for i in inputs
    ):
        raise UsageError(f"--out {folder}: that folder is an input too; write elsewhere")
    place = folder if is_remote(folder) else str(Path(folder).absolute())
    if not is_remote(folder):
        make_folder(Path(folder))
    about = json.loads(
        json.dumps(
            {
                "format": FORMAT,
                "format_version": VERSION,
                "model_digest": model.digest,
                "threshold": model.calibration.threshold,
                "options": _options(how),
            }
        )
    )
    parts = whole if model.schema is None else list(cut(whole, how, size))
    before, known = _kept(f"{place}/{MANIFEST}", about, folder, force)
    known = {name: e for name, e in known.items() if Incoming.beside(model).can_merge(e["seen"])}
    entries = {part.name: known[part.name] for part in parts if _is_finished(part, place, known)}
    missing = [part for part in parts if part.name not in entries]
    if entries:
        console.note(f"{len(entries)} of {len(parts)} parts were finished before")
    for entry in _run(scheduler, missing, place, model, how):
        entries[entry["part"]] = entry
        _keep(f"{place}/{MANIFEST}", about, [entries[p.name] for p in parts if p.name in entries])
        console.note(
            f"{len(entries)} of {len(parts)}: {entry['source']}, {counted(entry['rows'], 'row')}"
        )
    for name in _superseded(before, whole, parts):
        if is_there(f"{place}/{name}"):
            remove(f"{place}/{name}")
    return _together([entries[part.name] for part in parts], model)


def _together(entries: Sequence[Entry], model: Model) -> Total:
    total = Total.of(model)
    counts = total.counts
    for entry in entries:
        source, rows = entry["source"], entry["rows"]
        counts.read += rows
        counts.flagged += entry["flagged"]
        counts.anomalous += entry["anomalies"]
        counts.scored += rows - entry["flagged"]
        counts.files[source] = counts.files.get(source, 0) + rows
        total.incoming.merge_json(entry["seen"])
    return total


def _options(how: How) -> dict[str, Any]:
    reading = asdict(how.reading)
    del reading["block_bytes"]  # no byte depends on it
    return {**asdict(how), "reading": reading}


# --------------------------------------------------------------------------- parts


def parts_of(inputs: Sequence[str], format: str, *, is_table: bool) -> list[Part]:
    """One part an input, and of a folder one a table in it.

    Raises:
        UsageError: stdin, or an input that is named twice.
        DataError: a folder without tables, or an input that is not there.
    """
    found: dict[str, Part] = {}
    for given in inputs:
        for source in _in_folder(given) if is_table else [given]:
            part = _part(source, format)
            if part.name in found:
                raise UsageError(f"{source}: is named twice; each input has one part")
            found[part.name] = part
    return list(found.values())


def _in_folder(source: str) -> list[str]:
    if is_remote(source) or not Path(source).is_dir():
        return [source]
    inside = sorted(p for p in Path(source).iterdir() if p.is_file())
    tables = [str(p) for p in inside if p.name.lower().endswith(TABLE_ENDINGS)]
    if not tables:
        raise DataError(f"{source}: has no tables ({' '.join(TABLE_ENDINGS)})")
    return tables


def _part(source: str, format: str) -> Part:
    if source == "-":
        raise UsageError("-: stdin is not where workers are; give files with --scheduler")
    place, state = source, (0, 0)
    if not is_remote(source):
        place = str(Path(source).absolute())
        try:
            about = Path(source).stat()
        except OSError as error:
            raise DataError(f"{source}: {(error.strerror or str(error)).lower()}") from None
        state = about.st_size, about.st_mtime_ns
    told = hashlib.sha256(place.encode()).hexdigest()[:8]
    name = place.rstrip("/").rpartition("/")[2]
    return Part(f"{name}-{told}.{format}", source, place, state)


def cut(parts: Sequence[Part], how: How, size: int) -> Iterator[Part]:
    """The parts, several of a table that is larger than ``size`` bytes.

    Raises:
        DataError: it cannot be read.
    """
    for part in parts:
        divisible = is_remote(part.place) or not is_hdf5(Path(part.place))
        found = ranges(part.place, how.reading.options, size) if divisible else []
        stem = part.name.removesuffix(f".{how.format}")
        for at, each in enumerate(found, start=1):
            yield replace(part, name=f"{stem}-{at:05d}.{how.format}", range=each)
        if not found:
            yield part


def _superseded(before: Iterable[str], whole: Sequence[Part], parts: Sequence[Part]) -> list[str]:
    """Those names of parts of before that are of an input of now and no part of it any more: who
    reads all of the folder would have its rows twice."""
    stems = [re.escape(Path(part.name).stem) for part in whole]
    of_these = re.compile(rf"(?:{'|'.join(stems)})(?:-\d{{5}})?\.(?:csv|jsonl|parquet)")
    now = {part.name for part in parts}
    return [name for name in before if name not in now and of_these.fullmatch(name)]


def _is_finished(part: Part, folder: str, known: Mapping[str, Entry]) -> bool:
    """Whether a part is there, whole, of the input as it is now."""
    entry = known.get(part.name)
    if entry is None or entry["source_state"] != list(part.state):
        return False
    if entry["range"] != _as_json(part.range):
        return False
    try:
        return sha256_of(f"{folder}/{part.name}") == entry["digest"]
    except DataError:
        return False


# --------------------------------------------------------------------------- the manifest


def _kept(
    place: str, about: dict[str, Any], folder: str, force: bool
) -> tuple[list[str], dict[str, Entry]]:
    """The parts that the manifest names, and what it says of those by the same model and options.

    Raises:
        DataError: it cannot be read.
        OutputError: the parts are others, and not to be replaced.
    """
    if not is_there(place):
        return [], {}
    with open_raw(place) as stream:
        written = stream.read()
    try:
        before = json.loads(written)
        parts = before.pop("parts")
        check_json(parts, list[Entry], "parts")
        entries = {entry["part"]: entry for entry in parts}
    except (FileFormatError, ValueError, KeyError, TypeError, AttributeError):
        before, entries = None, {}
    if before == about:
        return list(entries), entries
    if force:
        return list(entries), {}
    raise OutputError(
        f"cannot write {folder}: it holds parts by another model or other options; "
        "name another --out, or give --force to replace them"
    )


def _as_json(part: Range | None) -> dict[str, int] | None:
    return None if part is None else asdict(part)


def _keep(place: str, about: dict[str, Any], entries: Sequence[Entry]) -> None:
    text = json.dumps({**about, "parts": entries}, indent=2) + "\n"
    with written(place, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------- the cluster


def _run(
    scheduler: str, parts: Sequence[Part], folder: str, model: Model, how: How
) -> Iterator[Entry]:
    """Yield what is to be said of each part, as they are finished."""
    if not parts:
        return
    with connected(scheduler) as client:
        import distributed

        as_completed: Any = distributed.as_completed
        threads = max(client.nthreads().values(), default=1)
        (shared,) = client.scatter([replace(model, jobs=threads)], broadcast=True, hash=False)
        futures = {
            client.submit(score_part, part, folder, shared, how, pure=False): part for part in parts
        }
        for future in as_completed(futures):
            part = futures[future]
            with _blaming(part):
                entry = future.result()
            if not is_remote(folder) and not Path(folder, part.name).exists():
                raise OutputError(
                    f"cannot write {folder}: a worker wrote {part.name} there, which is not seen "
                    "here; name a folder that this machine and all workers share, or s3://..."
                )
            yield entry


@contextmanager
def _blaming(part: Part) -> Iterator[None]:
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise DataError(
            f"{part.source}: the workers that scored it were killed, again and again; "
            "perhaps they ran out of memory"
        ) from error
    except CancelledError as error:
        raise DataError(
            f"{part.source}: the cluster has lost it; start the command again to go on"
        ) from error


def score_part(part: Part, folder: str, model: Model, how: How) -> Entry:
    """Score an input on a worker, and write its part."""
    target = f"{folder}/{part.name}"
    total = Total.of(model)
    why = None if how.explained is None else Why(Explainer(model), how.explained, draws=False)
    begins = part.range is None or part.range.rows == 0
    with opened_output(target, how.format, True, sys.stdout, head=begins) as output:
        for unread in unread_pieces(part.place, model.expected, how.reading, part.range):
            done = scored(unread, model, output, how.only_anomalies, part.source, why)
            if done is not None:
                output.write(done.encoded)
                total.add(done)
    return {
        "part": part.name,
        "source": part.source,
        "source_state": list(part.state),
        "range": _as_json(part.range),
        "rows": total.counts.read,
        "flagged": total.counts.flagged,
        "anomalies": total.counts.anomalous,
        "seen": total.incoming.to_json(),
        "digest": sha256_of(target),
        "model_digest": model.digest,
    }
