"""Every shell block of README, guide and FAQ runs as it stands, in the order of the page.

A page is one session of bash in an empty folder; the FAQ goes on in that of the README. A block
that cannot run says why in a comment before it, unseen by readers, ``<!-- not run: WHY -->``;
one that wants the publishers' data says so, ``<!-- needs: nsl-kdd -->``. What ``console`` blocks
print is compared with what the page shows: ``...`` stands for any lines, figures are alike within
what another processor or, but for the README, fewer epochs make of them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n\n)?^```(sh|console)\n(.*?)^```$", re.M | re.S)
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.M | re.S)
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?%?")
EXPLAINING = re.compile(r'(?<="explain_\d": )"\w+"')
# How many blocks of each page run, and how many say why not.
PAGES = {"README.md": (4, 2), "docs/faq.md": (8, 0), "docs/guide.md": (18, 6)}
SESSIONS = (("README.md", "docs/faq.md"), ("docs/guide.md",))
# The suite shall end while one waits: all pages but the README train for one epoch and without
# forests, compare with two seeds, and take the sample of MNIST without asking the network first.
QUICK = r"""
anoean() {
    case " $* " in *" mnist "*) set -- "$@" --source sample ;; esac
    case $1 in
        train) set -- "$@" --epochs 1 --set forest=0 --set distillation=0 ;;
        compare)
            set -- "$@" --epochs 1 --seeds 2
            set -- "$@" --set anoean.forest=0 --set anoean.distillation=0
            ;;
    esac
    command anoean "$@"
}
"""


# --------------------------------------------------------------------------- blocks


@dataclass(frozen=True)
class Block:
    """One shell block of a page.

    Attributes:
        line: where it begins.
        note: what its comment says.
        steps: commands, each with the lines that the page shows below it (None: no output shown).
    """

    line: int
    note: str
    steps: Sequence[tuple[str, Sequence[str] | None]]

    @property
    def is_run(self) -> bool:
        return not self.note.startswith("not run: ")

    @property
    def needs(self) -> str:
        """Which of the publishers' data sets, if any."""
        return self.note.partition("needs: ")[2]


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text()
    found = []
    for match in BLOCK.finditer(text):
        note, kind, content = match.groups()
        steps = console_steps(content) if kind == "console" else [(content, None)]
        found.append(Block(text.count("\n", 0, match.start(2)) + 1, note or "", steps))
    return found


def console_steps(content: str) -> list[tuple[str, list[str]]]:
    """Commands begin with ``$ ``, and go on while a quote or a backslash is open."""
    steps: list[tuple[str, list[str]]] = []
    lines = iter(content.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            steps[-1][1].append(line)
            continue
        command = line.removeprefix("$ ")
        while is_open(command):
            command += "\n" + next(lines)
        steps.append((command, []))
    return steps


def is_open(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return True
    return command.endswith("\\")


# --------------------------------------------------------------------------- what is printed


Alike = Callable[[float, float], bool]


def is_shown(printed: Sequence[str], shown: Sequence[str], alike: Alike) -> bool:
    """Whether lines are what a page shows, of which ``...`` leaves any out."""
    if not shown:
        return not printed
    if shown[0] == "...":
        starts = range(len(printed) + 1)
        return any(is_shown(printed[at:], shown[1:], alike) for at in starts)
    return (
        bool(printed)
        and same_line(shown[0], printed[0], alike)
        and is_shown(printed[1:], shown[1:], alike)
    )


def same_line(shown: str, printed: str, alike: Alike) -> bool:
    """Words are equal, counts too; other numbers are alike."""
    if words_of(shown) != words_of(printed):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(a == b or ({".", "%"} & set(a) and alike(value(a), value(b))) for a, b in pairs)


def words_of(line: str) -> str:
    """Without numbers, and without the columns that explain a score, which follow from them."""
    return NUMBER.sub("#", EXPLAINING.sub("", " ".join(line.split())))


def value(text: str) -> float:
    number = float(text.rstrip("%").replace(",", ""))
    return number / 100 if text.endswith("%") else number


def as_seeds_allow(a: float, b: float) -> bool:
    """Rates by a tenth, scores by a factor of ten: seeds 0 to 3 differ no less."""
    return abs(a - b) <= 0.1 if 0 <= a <= 1 and 0 <= b <= 1 else 0.1 <= a / b <= 10


def as_few_epochs_allow(a: float, b: float) -> bool:
    """A model of one epoch, without forests, is another one: what it says of three rows may be
    anything, but hardly of hundreds."""
    return abs(a - b) <= 0.8 if 0 <= a <= 1 and 0 <= b <= 1 else (a > 0) == (b > 0)


# --------------------------------------------------------------------------- a session


@dataclass(frozen=True)
class Session:
    """All blocks of some pages, run one after the other in one shell."""

    pages: Sequence[str]
    folder: Path

    @cached_property
    def results(self) -> dict[str, tuple[int, str]]:
        """Exit status and output of each step that ran, by its name."""
        (self.folder / ".out").mkdir()
        subprocess.run(
            ["bash", "-c", "\n".join(self.script())],
            cwd=self.folder,
            env=self.environment,
            timeout=600,
        )
        return {
            path.stem: (int(path.read_text()), path.with_suffix(".out").read_text())
            for path in (self.folder / ".out").glob("*.status")
        }

    def script(self) -> Iterator[str]:
        for page in self.pages:
            if page != "README.md":
                yield QUICK
            for block in blocks_of(page):
                if block.is_run and has(block.needs):
                    for number, (command, _) in enumerate(block.steps):
                        to = f"{self.folder}/.out/{name_of(page, block, number)}"
                        yield f"{{\n{command}\n}} </dev/null >{to}.out 2>&1"
                        # The next command sees this one's status, as at a prompt.
                        yield f"status=$?; echo $status >{to}.status; (exit $status)"

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if "ANOEAN" not in name}
        return clean | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "ANOEAN_CACHE": str(self.folder / ".cache"),
            "ANOEAN_THREADS": "1",
            "OMP_NUM_THREADS": "1",  # tests share the machine with each other
        }


def name_of(page: str, block: Block, number: int) -> str:
    return f"{Path(page).stem}-{block.line}-{number}"


def data_of(name: str) -> Path:
    return Path(os.environ.get("ANOEAN_DATA", "nowhere")) / name


def has(needed: str) -> bool:
    return not needed or data_of(needed).is_dir()


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Session]:
    """That of each page."""
    made = [Session(pages, tmp_path_factory.mktemp("reader")) for pages in SESSIONS]
    for session in made:
        if "docs/guide.md" in session.pages:
            furnish(session.folder)
    return {page: session for session in made for page in session.pages}


def furnish(folder: Path) -> None:
    """What the guide takes for granted: tables, images and, where they are, the raw data."""
    (folder / "data").mkdir()
    if has("nsl-kdd"):
        (folder / "data/nsl-kdd").symlink_to(data_of("nsl-kdd").resolve())
    for seed, (name, rows) in enumerate({"readings": 600, "labelled": 200, "mixed": 300}.items()):
        write_readings(folder / f"{name}.csv", rows, seed)
    write_readings(folder / "machines.csv", 600, seed=3, label="fault", normal="")
    write_readings(folder / "new-normals.csv", 300, seed=4, faults=0, label=None)
    write_readings(folder / "monday.csv", 20, seed=5, label=None)
    write_readings(folder / "tuesday.csv", 20, seed=6, label=None)
    (config,) = (text for text in tables_of_options("docs/guide.md") if "[train]" in text)
    (folder / "run.toml").write_text(config)  # as the guide shows it
    write_images(folder / "photos", 4, side=28)
    write_images(folder / "screws/good", 60, side=40)
    write_images(folder / "screws/scratch", 12, side=40, scratched=True)
    shutil.copy(folder / "photos/0.png", folder / "one.png")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 28, 28), np.uint8)
    header = np.array([0x00000803, *pixels.shape], ">u4")
    (folder / "more-images-idx3-ubyte").write_bytes(header.tobytes() + pixels.tobytes())


def write_readings(
    path: Path,
    count: int,
    seed: int,
    faults: float = 0.1,
    label: str | None = "state",
    normal: str = "ok",
) -> None:
    """A table of machines, of which a few have a fault."""
    rng = np.random.default_rng(seed)
    lines = ["site,load,vibration" + (f",{label}" if label else "")]
    for is_fault, idle in zip(rng.random(count) < faults, rng.random(count) < 0.4, strict=True):
        state = "broken" if is_fault else normal and ("idle" if idle else normal)
        row = f"s{rng.integers(8)},{rng.normal(9 if is_fault else 3):.3f},{rng.normal():.3f}"
        lines.append(f"{row},{state}" if label else row)
    path.write_text("\n".join([*lines, ""]))


def write_images(folder: Path, count: int, side: int, scratched: bool = False) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for at in range(count):
        pixels = rng.integers(100, 140, (side, side), np.uint8)
        if scratched:
            pixels[side // 2] = 255
        Image.fromarray(pixels).save(folder / f"{at}.png")


def tables_of_options(page: str) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)


# --------------------------------------------------------------------------- tests

RUN = [(page, block) for page in PAGES for block in blocks_of(page) if block.is_run]


@pytest.mark.parametrize(
    ("page", "block"), RUN, ids=[f"{page}:{block.line}" for page, block in RUN]
)
def test_shell_block_runs_and_prints_what_it_shows(
    page: str, block: Block, sessions: dict[str, Session]
):
    if not has(block.needs):
        pytest.skip(f"needs the files of {block.needs} in ANOEAN_DATA")
    alike = as_seeds_allow if page == "README.md" else as_few_epochs_allow
    commands = [command for command, _ in block.steps]
    for number, (command, shown) in enumerate(block.steps):
        status, printed = sessions[page].results[name_of(page, block, number)]
        asks_for_status = commands[number + 1 : number + 2] == ["echo $?"]
        assert status == 0 or asks_for_status, f"$ {command}\n{printed}"
        assert shown is None or is_shown(printed.splitlines(), shown, alike), (
            f"$ {command}\n{printed}\n-- is not what the page shows:\n" + "\n".join(shown)
        )


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("rows 12\nfpr 0.05 (file)\nend", True),
        ("rows 12\nfpr   0.07 (file)\nend", True),
        ("rows 12\nfpr 0.25 (file)\nend", False),
        ("rows 13\nfpr 0.05 (file)\nend", False),
        ("rows 12\nfpr 0.05 (sample)\nend", False),
        ("rows 12\n...\nend", True),
        ("rows 12\n...", True),
        ("...\nfpr 0.05 (file)\n...", True),
        ("rows 12\nend", False),
        ("...\nend\nmore", False),
        ("...\nrows 13\n...", False),
        ("...\nend\n...\nrows 12\n...", False),
        ("", False),
    ],
)
def test_output_is_held_against_what_is_shown(shown: str, same: bool):
    printed = ["rows 12", "fpr 0.05 (file)", "end"]
    assert is_shown(printed, shown.splitlines(), as_seeds_allow) is same


@pytest.mark.parametrize("page", PAGES)
def test_no_block_escapes(page: str):
    blocks = blocks_of(page)
    run = [block for block in blocks if block.is_run]
    assert (len(run), len(blocks) - len(run)) == PAGES[page]
    assert all(len(block.note) > len("not run: x") for block in blocks if not block.is_run)
    prose = FENCED.sub("", (ROOT / page).read_text())
    assert not re.findall(r"^ {4}\S.*", prose, re.M), "an indented block is not run: fence it"
    kinds = set(re.findall(r"^```(\w*)$", (ROOT / page).read_text(), re.M)) - {""}
    assert kinds <= {"sh", "console", "text", "toml", "make", "python"}
