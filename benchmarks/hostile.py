"""Reads of hostile files: cut, flipped, altered by who knows the format; and malformed tables.

- Mutations: a small model, prepared and embeddings file, cut at every offset and with each byte
  flipped. Each is refused as such (FileFormatError, status 4), or has the content and, of a model,
  the scores of the sound file: a byte of no meaning. Python's opens are watched by an audit hook.
- Attacks: those of tests/attacks.py, through the command line: status 4, one message, within 2 s
  and 300 MB, and no file opened (strace) that reading the sound one does not open.
- Tables: CSV and Parquet that are malformed: the right result, or status 3 and one message.

    python benchmarks/hostile.py
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import environment, parser, tell
from launching import Done, is_one_message, launch, strace

ROOT = Path(__file__).parents[1]
FIRST = ROOT / "tests" / "compatibility" / "v1"
SECONDS, MEGABYTES = 2.0, 300
# A process inherits the peak of the one that starts it: this one is small.
LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
measured = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
with open(sys.argv[1], "w") as file:
    json.dump(measured, file)
os._exit(os.waitstatus_to_exitcode(status) % 256)
"""
OPENED = re.compile(r'open(?:at)?\((?:[^"]*, )?"([^"]+)"')
KINDS = ("model", "prepared", "embeddings")
CODE = (str(ROOT / "anoean_cli"), str(ROOT / "plugins"), sys.prefix)
SMALL = "train --dataset toy --detector pca --train-size 120 --test-size 0 --quiet -m model.h5"


@dataclass
class Tally:
    tried: int = 0
    refused: int = 0
    harmless: int = 0
    slowest: float = 0.0
    megabytes: float = 0.0
    faults: list[str] = field(default_factory=list)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--step", type=int, default=1, help="mutate every so manieth byte")
    options.add_argument("--worker", nargs=4, help=argparse_suppressed(), metavar=("", "", "", ""))
    given = options.parse_args()
    if given.worker:
        kind, file, change, span = given.worker
        mutate(kind, Path(file), change, range(*map(int, span.split(":"))))
        return
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for kind, sound in small_files(folder).items():
            for change in ("cut", "flipped"):
                name = f"{kind}, {sound.stat().st_size:,} bytes, {change}"
                tallies[name] = mutations(kind, sound, change, given.step)
                print(name, tallies[name], file=sys.stderr)
        for name, tally in attacks(folder):
            tallies[name] = tally
            print(name, tally, file=sys.stderr)
        tallies["tables"] = tables(folder)
        print(tallies["tables"], file=sys.stderr)
    report(given.out, tallies)


def argparse_suppressed() -> str:
    return "==SUPPRESS=="


def small_files(folder: Path) -> dict[str, Path]:
    (folder / "rows.csv").write_text("x,y\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(30)))
    lines = [SMALL, "prepare rows.csv --out prepared.h5"]
    lines.append("score rows.csv -m model.h5 --out o.csv --embeddings embeddings.h5")
    for line in lines:
        done = launch(folder, line, folder / "cache")
        assert done.returncode == 0, done.stderr
    return {kind: folder / f"{kind}.h5" for kind in KINDS}


# --------------------------------------------------------------------------- mutations


def mutations(kind: str, sound: Path, change: str, step: int) -> Tally:
    """All mutations of a file, by a process of its own, since HDF5 might bring it down."""
    tally = Tally()
    at, end = 0, sound.stat().st_size
    while at < end:
        what = [kind, str(sound), change, f"{at}:{end}:{step}"]
        command = [sys.executable, __file__, "--worker", *what]
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
        found = [json.loads(line) for line in done.stdout.splitlines()]
        for each in found:
            tally.tried += 1
            tally.refused += each["outcome"] == "refused"
            tally.harmless += each["outcome"] == "same"
            tally.slowest = max(tally.slowest, each["seconds"])
            tally.megabytes = max(tally.megabytes, each["megabytes"])
            if each["outcome"] not in ("refused", "same"):
                tally.faults.append(f"{kind} {change} at {each['at']}: {each['outcome']}")
        at = found[-1]["at"] + step if found else at + step
        if done.returncode:
            tally.tried += 1
            tally.faults.append(f"{kind} {change} at {at}: ended by {done.returncode}")
            at += step
    return tally


def mutate(kind: str, sound: Path, change: str, places: range) -> None:
    """What reading each mutation comes to, a JSON line each."""
    from anoean_cli.errors import FileFormatError

    target = sound.with_name("mutated.h5")
    data = sound.read_bytes()
    expected = content_of(kind, sound)  # imports all there is to import
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    for at in places:
        flipped = bytes([data[at] ^ 0xFF])
        target.write_bytes(data[:at] if change == "cut" else data[:at] + flipped + data[at + 1 :])
        opened.clear()
        began = time.perf_counter()
        try:
            outcome = "same" if content_of(kind, target) == expected else "another content"
        except FileFormatError as error:
            outcome = "refused" if str(target) in str(error) else f"told otherwise: {error}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        others = {path for path in opened if path != str(target)}
        row = {
            "at": at,
            "outcome": f"opened {sorted(others)}" if others else outcome,
            "seconds": time.perf_counter() - began,
            "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(row), flush=True)


def content_of(kind: str, path: Path) -> Any:
    """Everything in the file that a user could come to see."""
    import numpy as np

    if kind == "model":
        from anoean_cli.inference.model import load_model

        model = load_model(path)
        shape = model.preprocessor.spec.shape
        rows = np.random.default_rng(0).normal(size=(20, *shape)).astype(np.float32)
        return model.digest, model.score_rows(rows).scores.tolist(), str(model.config)
    if kind == "prepared":
        from anoean_cli.storage.prepared import read_prepared

        found = read_prepared(path)
        return found.examples, found.labels.tolist(), found.provenance, found.columns
    from anoean_cli.storage.embeddings import FORMAT, VERSION
    from anoean_cli.storage.hdf5 import Reader

    with Reader(path, format=FORMAT, version=VERSION) as reader:
        reader.verify()
        return [(n, np.asarray(reader.get(n)).tolist()) for n in reader.names()]


# --------------------------------------------------------------------------- attacks


def attacks(folder: Path) -> Iterator[tuple[str, Tally]]:
    sys.path.insert(0, str(ROOT / "tests"))
    from attacks import CONTENTS, STRUCTURES, restructured, rewritten

    place = folder / "attacks"
    place.mkdir()
    (place / "secret").write_bytes(bytes(4096))
    shutil.copy(FIRST / "model.h5", place / "secret.h5")
    shutil.copy(FIRST / "rows.csv", place / "rows.csv")
    reads = {
        "model": "score rows.csv -m model.h5",
        "prepared": "info prepared.h5 --verify",
        "embeddings": "info embeddings.h5 --verify",
    }
    for kind, line in reads.items():
        target, sound = place / f"{kind}.h5", FIRST / f"{kind}.h5"
        shutil.copy(sound, target)
        usual = files_opened(place, line)
        tally = Tally()
        for attack in STRUCTURES:
            restructured(sound, target, attack)
            attempt(place, line, attack.__name__, usual, tally)
        if kind == "model":
            for name, change in CONTENTS.items():
                rewritten(sound, target, change)
                attempt(place, line, name, usual, tally)
        yield f"{kind}, attacks", tally


def attempt(place: Path, line: str, name: str, usual: set[str], tally: Tally) -> None:
    done, seconds, megabytes = measured(place, line)
    tally.tried += 1
    tally.slowest, tally.megabytes = max(tally.slowest, seconds), max(tally.megabytes, megabytes)
    if done.returncode == 4 and is_one_message(done) and not done.stdout:
        tally.refused += 1
    else:
        tally.faults.append(f"{name}: status {done.returncode}: {done.stderr.strip()[-200:]}")
    if seconds > SECONDS or megabytes > MEGABYTES:
        tally.faults.append(f"{name}: {seconds:.1f} s and {megabytes:.0f} MB")
    others = files_opened(place, line) - usual
    if others:
        tally.faults.append(f"{name}: opened {sorted(others)}")


def measured(place: Path, line: str) -> tuple[Done, float, float]:
    """The command, seconds it took of a processor, and MB at its peak."""
    log = place.parent / "measured"
    launcher = [sys.executable, "-S", "-c", LAUNCHER, str(log)]
    done = launch(place, line, place.parent / "cache", under=launcher)
    seconds, megabytes = json.loads(log.read_text())
    return done, seconds, megabytes


def files_opened(place: Path, line: str) -> set[str]:
    """The files that a command opens, or tries to, but for code."""
    if shutil.which("strace") is None:
        return set()
    log = place.parent / "opened"
    launch(place, line, place.parent / "cache", under=strace(log, ["open", "openat"]))
    opened = set(OPENED.findall(log.read_text(errors="replace")))
    system = ("/proc", "/sys", "/usr", "/lib", "/etc", *CODE)
    ours = {path for path in opened if not path.startswith(system) and "/lib/python" not in path}
    return {path for path in ours if not path.endswith((".py", ".pyc", ".so", ".zip"))}


# --------------------------------------------------------------------------- tables

HEAD = "size,colour,weight\n"
PLAIN = "1,red,2\n-0.5,green,0.25\n"
Made = bytes | Callable[[Path], None]


def table_cases() -> dict[str, tuple[Made, str, int | None]]:
    """Name → content, options, and the rows of a right result; None: the table has none."""
    long = b"a" * (100 * 2**20)
    wide = ",".join(f"c{i}" for i in range(1_000_000))
    fewer = ",".join(f"c{i}" for i in range(99_000))
    late = HEAD + PLAIN * 50_000
    rows = HEAD + PLAIN
    semicolons = rows.replace(",", ";").replace(".", ",")
    huge = "9" * 400
    latin = f"{HEAD}1,grün,2\n".encode("latin-1")
    return {
        "NUL in a category": (b"size,colour,weight\n1,r\0d,2\n", "", 1),
        "NUL in a number": (b"size,colour,weight\n1\0,red,2\n", "", None),
        "NUL in the header": (b"si\0ze,colour,weight\n1,red,2\n", "", None),
        "nothing but NULs": (bytes(2**20), "", None),
        "a line of 100 MB": (HEAD.encode() + b"1," + long + b",2\n", "", None),
        "a header of 100 MB": (long, "", None),
        "a quoted field of 100 MB": (HEAD.encode() + b'1,"' + long + b'",2\n', "", None),
        "a quote that never ends": (HEAD.encode() + b'1,"red,2\n' + b"1,red,2\n" * 10**6, "", None),
        "a million columns": (f"{HEAD.strip()},{wide}\n1,red,2{',0' * 10**6}\n".encode(), "", None),
        "a million columns, none ours": (f"{wide}\n0{',0' * 999_999}\n".encode(), "", None),
        "a million commas": (HEAD.encode() + b"," * 10**6 + b"\n", "", None),
        "16 million commas": (HEAD.encode() + b"," * 16 * 10**6 + b"\n", "", None),
        "10 million quotes": (HEAD.encode() + b'"",' * 5 * 10**6 + b"\n", "", None),
        "99,000 columns": (f"{HEAD.strip()},{fewer}\n1,red,2{',0' * 99_000}\n".encode(), "", 1),
        "UTF-8 with BOM": (b"\xef\xbb\xbf" + rows.encode(), "", 2),
        "UTF-16 with BOM": (rows.encode("utf-16"), "", None),
        "UTF-16 with BOM, said": (rows.encode("utf-16"), "--encoding utf-16", 2),
        "UTF-16 without BOM": (rows.encode("utf-16-le"), "", None),
        "UTF-32": (rows.encode("utf-32"), "", None),
        "Latin-1": (latin, "", None),
        "Latin-1, said": (latin, "--encoding latin-1", 1),
        "an encoding that is none": (rows.encode(), "--encoding rot13", None),
        "quoted newlines": (b'size,colour,weight\n1,"r\ne\nd",2\n2,red,3\n', "", 2),
        "CRLF": (rows.replace("\n", "\r\n").encode(), "", 2),
        "CR": (rows.replace("\n", "\r").encode(), "", 2),
        "decimal commas": (semicolons.encode(), "", None),
        "decimal commas, said": (semicolons.encode(), "--decimal ,", 2),
        "an integer of 400 digits": (f"{HEAD}{huge},red,2\n".encode(), "", None),
        "an integer beyond 64 bits": (f"{HEAD}{2**70},red,2\n".encode(), "", 1),
        "infinity": (f"{HEAD}inf,red,2\n".encode(), "", None),
        "a word among numbers, late": ((late + "oops,red,2\n").encode(), "", None),
        "a short row, late": ((late + "1\n").encode(), "", None),
        "the header again, late": ((late + HEAD).encode(), "", None),
        "Parquet with nested columns": (nested, "", None),
        "Parquet with text for numbers": (worded, "", None),
        "Parquet with integers beyond 64 bits": (decimals, "", 2),
        "Parquet with NULs": (with_nuls, "", 1),
        "Parquet of 20,000 columns": (wide_parquet, "", 2),
        "Parquet cut off": (cut_parquet, "", None),
    }


def _parquet(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)


def nested(path: Path) -> None:
    _parquet(path, {"size": [[1.0], [2.0]], "colour": ["red", "red"], "weight": [1.0, 2.0]})


def worded(path: Path) -> None:
    _parquet(path, {"size": ["1", "oops"], "colour": ["red", "red"], "weight": [1.0, 2.0]})


def decimals(path: Path) -> None:
    import decimal

    sizes = [decimal.Decimal(2**70), decimal.Decimal(1)]
    _parquet(path, {"size": sizes, "colour": ["red", "red"], "weight": [1.0, 2.0]})


def with_nuls(path: Path) -> None:
    _parquet(path, {"size": [1.0], "colour": ["r\0d"], "weight": [1.0]})


def wide_parquet(path: Path) -> None:
    more = {f"c{i}": [0, 1] for i in range(20_000)}
    _parquet(path, {"size": [1.0, 2.0], "colour": ["red"] * 2, "weight": [1.0, 2.0], **more})


def cut_parquet(path: Path) -> None:
    worded(path)
    path.write_bytes(path.read_bytes()[:-20])


def tables(folder: Path) -> Tally:
    place = folder / "tables"
    place.mkdir()
    shutil.copy(FIRST / "model.h5", place / "m.h5")
    tally = Tally()
    for name, (made, more, wanted) in table_cases().items():
        path = place / ("t.parquet" if callable(made) else "t.csv")
        if callable(made):
            made(path)
        else:
            path.write_bytes(made)
        done, seconds, megabytes = measured(place, f"score {path.name} -m m.h5 {more}")
        tally.tried += 1
        tally.slowest, tally.megabytes = (
            max(tally.slowest, seconds),
            max(tally.megabytes, megabytes),
        )
        print(f"  {name}: {done.returncode}, {seconds:.1f} s, {megabytes:.0f} MB", file=sys.stderr)
        judge_table(name, done, wanted, more, tally)
        if seconds > SECONDS or megabytes > MEGABYTES:
            tally.faults.append(f"{name}: {seconds:.1f} s and {megabytes:.0f} MB")
    flips(place, tally)
    return tally


def judge_table(name: str, done: Any, wanted: int | None, more: str, tally: Tally) -> None:
    refusal = 2 if "rot13" in more else 3  # an encoding that is none is a wrong option
    if done.returncode == refusal and is_one_message(done) and wanted is None:
        tally.refused += 1
    elif done.returncode == 0 and wanted == len(done.stdout.splitlines()) - 1:
        tally.harmless += 1
    else:
        tally.faults.append(f"{name}: status {done.returncode}: {done.stderr.strip()[-200:]}")


def flips(place: Path, tally: Tally) -> None:
    """A Parquet file has no checksum: whatever is read, nothing may break."""
    path = place / "flipped.parquet"
    decimals(path)
    data = path.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        done, _, _ = measured(place, f"score {path.name} -m m.h5")
        tally.tried += 1
        tally.refused += done.returncode == 3
        tally.harmless += done.returncode == 0
        if done.returncode not in (0, 3) or (done.returncode and not is_one_message(done)):
            what = (
                f"Parquet flipped at {at}: status {done.returncode}: {done.stderr.strip()[-200:]}"
            )
            tally.faults.append(what)


# --------------------------------------------------------------------------- telling


def report(out: Path | None, tallies: dict[str, Tally]) -> None:
    head = ["files", "tried", "refused", "read as sound", "slowest, s", "peak, MB", "faults"]
    rows: list[list[Any]] = []
    for name, t in tallies.items():
        counts = [f"{count:,}" for count in (t.tried, t.refused, t.harmless)]
        rows.append([name, *counts, f"{t.slowest:.2f}", f"{t.megabytes:.0f}", len(t.faults)])
    faults = [f"FAULT: {name}: {fault}" for name, t in tallies.items() for fault in t.faults]
    tried = sum(tally.tried for tally in tallies.values())
    notes = [
        f"{tried:,} files, {len(faults)} faults. A file is *read as sound* "
        "where the byte means nothing: content, digest and scores are the same; of tables, where "
        "the result is the right one (of flipped Parquet files, which have no checksum, where "
        "some result came). Refused is status 4, of tables 3, with one message. Seconds are of "
        "the processor; a mutation's are without starting the interpreter, its MB those of a "
        "process that read all of them.",
        *faults,
    ]
    tell(out, "Hostile files", notes, head, rows, {n: vars(t) for n, t in tallies.items()})


if __name__ == "__main__":
    main()
