"""Writes that are cut off: SIGKILL at random moments, and every write failing once in turn.

Each trial starts with old outputs in place. Kills: half come after a random time, half at a random
system call on one of the files, by strace. Failures: a clean run tells how many such calls there
are; then each of them in turn is answered with ENOSPC, EIO or EACCES, by turns, which takes more
than an hour (--thorough: with one error after the other). After each trial:

- every output is byte for byte the old one, or the complete new one;
- after a failure the status is 7, with one message that names the file, which is the old one, and
  nothing else is left beside the outputs;
- after a kill the same command, with --resume for train, completes, and nothing else is left.

    python benchmarks/faults.py --kills 200
"""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import Cells, parser, tell
from launching import Done, is_one_message, launch, strace

# Checkpoints are kept every five seconds; these trainings are shorter than that.
OFTEN = """
import sys
if sys.argv[1] == "train":
    import anoean_cli.training.run as run
    run.SECONDS_BETWEEN_CHECKPOINTS = 0
from anoean_cli.__main__ import main
main()
"""
TRAIN = "train --dataset toy --preset paper --latent-dim 2 --epochs {} -m m.h5 --force --quiet"
CALLS = ("openat", "write", "pwrite64", "ftruncate", "fsync", "link", "rename", "chmod")
ERRORS = ("ENOSPC", "EIO", "EACCES")
LINE = re.compile(r"^\d+ +(\w+)\((.*?)\) += ", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """What is run, on which outputs, and how many of a hundred kills it gets."""

    line: str
    outputs: tuple[str, ...]
    share: int
    before: str = ""  # what makes the old outputs; by default the line on other rows
    again: str = ""  # what is run after a kill

    @property
    def name(self) -> str:
        return " ".join(word for word in self.line.split() if word[0] != "-" and "." not in word)


SCORE = "score rows.csv -m model.h5 --force --embeddings e.h5 --summary s.json --out "
COMPARE = "compare --dataset toy --detectors gaussian --seeds 1 --out cmp --force --quiet"
COMPARED = ("cmp/compare.json", "cmp/results.csv", "cmp/summary.csv")
SCORED = ("e.h5", "s.json")
COMMANDS = {
    "prepare": Command("prepare rows.csv --out p.h5 --force", ("p.h5",), 23),
    "train": Command(
        TRAIN.format(2), ("m.h5",), 12, TRAIN.format(1), TRAIN.format(2) + " --resume"
    ),
    "calibrate": Command(
        "calibrate --data rows.csv -m m.h5", ("m.h5",), 33, "calibrate --fpr 0.2 -m m.h5"
    ),
    "score (CSV)": Command(SCORE + "o.csv", ("o.csv", *SCORED), 10),
    "score (JSON lines)": Command(SCORE + "o.jsonl", ("o.jsonl", *SCORED), 8),
    "score (Parquet)": Command(SCORE + "o.parquet", ("o.parquet", *SCORED), 8),
    "compare": Command(COMPARE, COMPARED, 6, COMPARE + " --train-size 300"),
}


@dataclass
class Tally:
    """What the trials of one command came to."""

    kills: int = 0
    at_calls: int = 0
    after_old: int = 0
    after_new: int = 0
    resumed: int = 0
    calls: int = 0
    missed: int = 0
    failures: int = 0
    tolerated: int = 0
    faults: list[str] = field(default_factory=list)


class Bench:
    """A folder with the inputs, and what undisturbed runs make of them."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = folder
        self.inputs = folder / "inputs"
        self.inputs.mkdir()
        write_rows(self.inputs / "rows.csv", rows, seed=1)
        self.run(self.inputs, TRAIN.format(3).replace("m.h5", "model.h5"))

    def run(
        self, place: Path, line: str, under: Sequence[str] = (), timeout: float | None = None
    ) -> Done:
        cache, program = self.folder / "cache", [sys.executable, "-c", OFTEN]
        return launch(place, line, cache, under=under, program=program, timeout=timeout)

    def start(self, command: Command) -> tuple[Path, dict[str, bytes]]:
        """A folder in which old outputs stand, and their bytes."""
        cached = self.folder / f"old-{abs(hash(command))}"
        if not cached.exists():
            shutil.copytree(self.inputs, cached)
            shutil.copy(cached / "model.h5", cached / "m.h5")
            write_rows(cached / "rows.csv", 50, seed=2)
            done = self.run(cached, command.before or command.line)
            assert done.returncode == 0, done.stderr
            shutil.copy(self.inputs / "rows.csv", cached / "rows.csv")
        place = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.rmtree(place)
        shutil.copytree(cached, place)
        return place, {name: (place / name).read_bytes() for name in command.outputs}


def write_rows(path: Path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    lines = [f"{rng.gauss(0, 1):.4f},{rng.gauss(0, 1):.4f}\n" for _ in range(count)]
    path.write_text("x,y\n" + "".join(lines))


def essence(path: Path) -> Any:
    """What equal runs have in common: content without wall times and the time of writing.

    Raises whatever reading raises where the file is not whole.
    """
    from anoean_cli.storage import hdf5

    if path.suffix == ".h5":
        kind, version = hdf5.kind_of(path), 1
        volatile = ("history/seconds", "timing") if kind == "anoean-model" else ()
        with hdf5.Reader(path, format=kind, version=version, volatile=volatile) as reader:
            reader.verify()
            return reader.digest
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.parent.name == "cmp":  # tables with seconds among the figures
        return [len(line.split(",")) for line in path.read_text().splitlines()]
    return path.read_bytes()


def without_times(value: Any) -> Any:
    """JSON without seconds and what depends on their digits."""
    if isinstance(value, dict):
        keys = [key for key in value if "seconds" not in key and key != "model_bytes"]
        return {key: without_times(value[key]) for key in keys}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def names(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def judge(place: Path, old: dict[str, bytes], new: dict[str, Any], tally: Tally, what: str) -> bool:
    """Whether the outputs are the old ones; anything but old or new goes to the faults."""
    all_old = True
    for name, before in old.items():
        try:
            if (place / name).read_bytes() == before:
                continue
            all_old = False
            if essence(place / name) != new[name]:
                tally.faults.append(f"{what}: {name} is neither the old nor the new one")
        except Exception as error:
            tally.faults.append(f"{what}: {name} is damaged: {error}")
    return all_old


# --------------------------------------------------------------------------- the calls on files


def watching(log: Path, *more: str) -> list[str]:
    """strace of the calls that write, with the paths of open files."""
    return strace(log, CALLS, "-y", *more)


def calls_of(bench: Bench, command: Command) -> list[tuple[str, int]]:
    """The calls that touch an output or what stands beside it: name, and which one of its name."""
    place, _ = bench.start(command)
    log = bench.folder / "calls"
    done = bench.run(place, command.line, watching(log))
    assert done.returncode == 0, done.stderr
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if match := LINE.match(line):
            task = (line.split(maxsplit=1)[0], match[1])
            counts[task] += 1
            if touches(match[1], match[2], place):
                found.append((match[1], counts[task]))
    shutil.rmtree(place)
    return found


def touches(name: str, arguments: str, place: Path) -> bool:
    """Whether a call is one on what becomes an output, on a claim, or flushes a folder of ours."""
    is_folder = name == "fsync" and str(place) in arguments
    return is_folder or any(
        f".{mark}{end}" in arguments for mark in ("tmp", "lock") for end in '>"'
    )


# --------------------------------------------------------------------------- kills


def kill(bench: Bench, command: Command, new: dict[str, Any], tally: Tally, how: Any) -> None:
    place, old = bench.start(command)
    if isinstance(how, float):
        killed = was_killed(bench, place, command, how)
        what = f"killed after {how:.2f} s"
    else:
        name, number = how
        order = watching(bench.folder / "log", "-e", f"inject={name}:signal=KILL:when={number}")
        killed = bench.run(place, command.line, order).returncode in (-signal.SIGKILL, 137)
        what = f"killed at {name} {number}"
    if not killed:  # it was done before
        shutil.rmtree(place)
        return
    tally.kills += 1
    tally.at_calls += not isinstance(how, float)
    is_old = judge(place, old, new, tally, what)
    tally.after_old += is_old
    tally.after_new += not is_old
    tally.resumed += (place / "m.h5.checkpoint").exists()
    if command.again and not is_old and not (place / "m.h5.checkpoint").exists():
        shutil.rmtree(place)  # trained: there is nothing to go on with
        return
    again = bench.run(place, command.again or command.line)
    if again.returncode:
        tally.faults.append(f"{what}: the next run fails: {again.stderr.strip()}")
    elif command.name != "calibrate" and judge(place, old, new, tally, what + " and run again"):
        tally.faults.append(f"{what}: the next run changes nothing")
    extra = names(place) - names(bench.inputs) - set(command.outputs) - {"m.h5"}
    extra = {name for name in extra if "/cells/" not in name or name.endswith(".tmp")}
    if extra:
        tally.faults.append(f"{what}: left after the next run: {sorted(extra)}")
    shutil.rmtree(place)


def was_killed(bench: Bench, place: Path, command: Command, seconds: float) -> bool:
    """Kill a command after some seconds; whether it was still at work."""
    try:
        bench.run(place, command.line, timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


# --------------------------------------------------------------------------- failures


def failures_of(calls: Sequence[Any], is_thorough: bool) -> list[tuple[Any, str]]:
    """The calls that are to fail, and with which error."""
    if is_thorough:
        return [(call, error) for call in calls for error in ERRORS]
    return [(call, ERRORS[at % len(ERRORS)]) for at, call in enumerate(calls)]


def fail(
    bench: Bench, command: Command, new: dict[str, Any], tally: Tally, call: Any, error: str
) -> None:
    place, old = bench.start(command)
    log, (name, number) = bench.folder / "log", call
    done = bench.run(
        place, command.line, watching(log, "-e", f"inject={name}:error={error}:when={number}")
    )
    injected = [x for x in log.read_text(errors="replace").splitlines() if "(INJECTED)" in x]
    match = LINE.match(injected[0]) if injected else None
    if match is None or not touches(name, match[2], place):
        shutil.rmtree(place)  # it was another call this time
        tally.missed += 1
        return
    what = f"{error} at {name} {number}"
    tally.failures += 1
    is_old = judge(place, old, new, tally, what)
    if done.returncode == 0:
        tally.tolerated += 1
        if is_old:
            tally.faults.append(f"{what}: status 0, yet nothing is written")
    elif done.returncode != 7 or not is_one_message(done):
        tally.faults.append(f"{what}: status {done.returncode}: {done.stderr.strip()}")
    else:
        named = [n for n in old if f"cannot write {n}:" in done.stderr]
        if named and (place / named[0]).read_bytes() != old[named[0]]:
            tally.faults.append(f"{what}: {named[0]} was replaced all the same")
    extra = names(place) - names(bench.inputs) - set(command.outputs)
    extra = {n for n in extra if n.endswith((".tmp", ".lock"))}
    if extra:
        tally.faults.append(f"{what}: left beside: {sorted(extra)}")
    shutil.rmtree(place)


def without_locks(bench: Bench, command: Command, new: dict[str, Any]) -> bool:
    """Whether all goes well where no file can be locked, as on some network file systems."""
    place, old = bench.start(command)
    order = strace(bench.folder / "log", ["flock", "fcntl"], "-e", "inject=flock:error=ENOLCK")
    done = bench.run(place, command.line, order)
    tally = Tally()
    judge(place, old, new, tally, "without locks")
    shutil.rmtree(place)
    return done.returncode == 0 and not tally.faults


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--kills", type=int, default=200, help="at least so many in all")
    options.add_argument("--thorough", action="store_true", help="each call by every error")
    options.add_argument("--rows", type=int, default=3000, help="rows that are scored")
    options.add_argument("--only", help="one of the commands")
    options.add_argument("--keep", type=Path, help="file of finished commands, to go on from")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    if shutil.which("strace") is None:
        sys.exit("this needs strace")
    rng = random.Random(given.seed)
    kept = None if given.keep is None else Cells(given.keep)
    done = {} if kept is None else kept.done
    tallies = {name: Tally(**done[name]["tally"]) for name in COMMANDS if name in done}
    locks: dict[str, bool] = {name: done[name]["locks"] for name in tallies}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.rows)
        for name, command in COMMANDS.items():
            if given.only in (None, name) and name not in done:
                tallies[name] = Tally()
                locks[name] = trial(bench, command, tallies[name], given, rng)
                print(f"{name}: {tallies[name]}, without locks: {locks[name]}", file=sys.stderr)
                if kept is not None:
                    kept.add(name, {"tally": vars(tallies[name]), "locks": locks[name]})
    report(given.out, tallies, locks)


def trial(bench: Bench, command: Command, tally: Tally, given: Any, rng: random.Random) -> bool:
    place, _ = bench.start(command)
    began = time.monotonic()
    done = bench.run(place, command.line)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    new = {name: essence(place / name) for name in command.outputs}
    shutil.rmtree(place)
    calls = calls_of(bench, command)
    wanted = -(-given.kills * command.share // 100)
    while tally.kills < wanted:
        by_time = tally.kills % 2 == 0
        kill(bench, command, new, tally, rng.uniform(0, took) if by_time else rng.choice(calls))
    tally.calls = len(calls)
    for call, error in failures_of(calls, given.thorough):
        fail(bench, command, new, tally, call, error)
    return without_locks(bench, command, new)


def report(out: Path | None, tallies: dict[str, Tally], locks: dict[str, bool]) -> None:
    head = ["command", "kills", "of them at a call on a file", "left the old outputs", "left new"]
    head += ["had a checkpoint to go on from", "calls of a clean run", "failed in turn"]
    head += ["of them done without", "faults"]
    rows: list[list[Any]] = []
    for name, t in tallies.items():
        kills = [t.kills, t.at_calls, t.after_old, t.after_new, t.resumed]
        rows.append([name, *kills, t.calls, t.failures, t.tolerated, len(t.faults)])
    rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, len(head)))])
    faults = [f"{name}: {fault}" for name, tally in tallies.items() for fault in tally.faults]
    notes = [
        "Each trial starts from old outputs. A clean run tells the calls; each of them failed in "
        "turn, with ENOSPC, EIO and EACCES by turns. Where fewer failed than that, a run came by "
        "other calls than the clean one did "
        f"({sum(t.missed for t in tallies.values())} times). *Left new* are kills after an output "
        "was replaced; *done without* are calls that may fail: the folder cannot be flushed, a "
        "lock had. A fault "
        "is an output that is neither the old nor the complete new one, another status than 7 "
        "after a failed call, something left beside the outputs, or a next run that does not "
        "complete. Checkpoints were kept after every epoch, not every five seconds.",
        "Where no file can be locked (every flock fails with ENOLCK): "
        + ", ".join(f"`{n}` {'works' if ok else 'FAILS'}" for n, ok in locks.items())
        + ".",
        *(f"FAULT: {fault}" for fault in faults),
    ]
    data = {"commands": {name: vars(tally) for name, tally in tallies.items()}, "no_locks": locks}
    tell(out, "Writes that are cut off", notes, head, rows, data)


if __name__ == "__main__":
    main()
