"""Damaged and missing files, full disks, plugins that fail: one line, the right status, no rest."""

from __future__ import annotations

import gzip
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from .conftest import COMMAND, HEADER, Run, environment, table_rows, words, write_csv

GOOD = ["x", "1", "1", "red", "k", "ok"]
HEAD = ",".join(HEADER)
LINE = ",".join(GOOD)


def text(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


FILES: dict[str, tuple[bytes | None, str]] = {
    "absent.csv": (None, "no such file"),
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\n\n\n", "is empty"),
    "header.csv": (text(HEAD), "has no data rows"),
    "ragged.csv": (text(HEAD, LINE, "x,1,2"), "line 3: 3 fields where 6 are expected"),
    "long.csv": (text(HEAD, LINE, LINE, LINE + ",9"), "line 4: 7 fields where 6 are expected"),
    "text.csv": (
        text(HEAD, LINE, "x,1,oops,red,k,ok"),
        "line 3, column 'weight': 'oops' is not a number",
    ),
    "inf.csv": (
        text(HEAD, LINE, "x,1,inf,red,k,ok"),
        "line 3, column 'weight': 'inf' is not a finite number",
    ),
    "overflow.csv": (text(HEAD, LINE, "x,1,1e999,red,k,ok"), "line 3, column 'weight': '1e999'"),
    "narrow.csv": (text("x,1,1", "x,1,2"), "has 3 columns; the model needs 5 ('id', 's"),
    "missing.csv": (text("id,size,colour", "x,1,red"), "no column 'weight'"),
    "twice.csv": (text("size,size,weight,colour", "1,1,1,red"), "more than one column 'size'"),
    "quote.csv": (text(HEAD, LINE, 'x,"1,1,red,k,ok'), "line 3: a quoted field is never closed"),
    "latin.csv": (text(HEAD) + b"x,1,1,gr\xfcn,k,ok\n", "line 2, column 'colour'"),
    "cut.csv.gz": (gzip.compress(text(HEAD, *[LINE] * 50))[:-20], "cut short"),
    "flipped.csv.gz": (gzip.compress(text(HEAD, LINE))[:30] + b"garbage", "damaged"),
    "fake.csv.zst": (b"\x28\xb5\x2f\xfdnonsense", "damaged"),
    "fake.parquet": (b"PAR1 nonsense", "damaged or no Parquet file"),
    "zipped.xlsx": (b"PK\x03\x04nonsense", "spreadsheet"),
    "excel.csv": (
        b"sep=;\r\n1;2\r\n",
        "line 1: tells spreadsheets the delimiter; remove this line",
    ),
    "rows.parquet.gz": (gzip.compress(b"PAR1nonsense"), "is Parquet, which is packed itself"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("model")
def test_a_bad_table_is_told_and_leaves_nothing(anoean: Run, name: str) -> None:
    content, told = FILES[name]
    if content is not None:
        Path(name).write_bytes(content)
    before = sorted(Path().iterdir())
    outputs = "--out o.csv --embeddings e.h5 --summary s.json"
    found = anoean("score", name, outputs)
    assert found.returncode == 3
    assert found.error.startswith(f"error: {name}")
    assert told in found.error
    assert sorted(Path().iterdir()) == before


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--normal ok", "--normal"),
        ("--label kind --encoding nosuch --decimal ,", "--decimal, --encoding, --label"),
        ("--data fresh.csv --source nosuch", "--source"),
    ],
)
def test_evaluate_refuses_options_that_would_do_nothing(
    anoean: Run, fresh: Path, options: str, told: str
) -> None:
    found = anoean("evaluate", options)
    assert (found.returncode, found.stdout) == (2, "")
    assert told in found.error


def test_another_delimiter_is_told_with_the_columns_that_are_needed(
    anoean: Run, model: Path, fresh: Path
) -> None:
    """Rows to be scored may leave the label out, rows to evaluate on may not."""
    found = anoean("score fresh.csv --delimiter ;")
    assert found.returncode == 3
    assert "has 1 column; the model needs 5 ('id', 'size', 'weight', 'colour', 's" in found.error
    assert "or say the delimiter (';' was taken) with --delimiter" in found.error
    assert "needs 6" in anoean("evaluate --data fresh.csv --delimiter ;").error


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train --dataset fresh.csv --normal ok", "--normal ok: which column holds the labels?"),
        ("train --dataset fresh.csv --label label --delimiter ;", "label; if that is several, say"),
        ("train --dataset bare.csv --label label", "else count the column, as in --label 6"),
        ("train --dataset https://there/x.csv --label label", "of addresses only s3:// and gs:// "),
        ("train --dataset ./folder/", "of a folder of tables name one"),
        ("score https://there/x.csv -m {}", "download it, and name the file"),
        ("score renamed.csv -m {}", "add or rename what is missing"),
        ("evaluate --data unlabelled.csv -m {}", "give rows with labels, or name their column wi"),
    ],
)
def test_beginners_are_told_how_to_go_on(
    anoean: Run, table_run: Path, fresh: Path, command: str, told: str
) -> None:
    rows = table_rows(20, seed=2)
    write_csv(Path("bare.csv"), rows, ())
    write_csv(Path("renamed.csv"), rows, [name.replace("weight", "Weight") for name in HEADER])
    write_csv(Path("unlabelled.csv"), [row[:-1] for row in rows], HEADER[:-1])
    Path("folder").mkdir()
    found = anoean(command.format(table_run / "model.h5"))
    assert found.returncode in (2, 3)
    assert told in found.error


@pytest.mark.usefixtures("model")
def test_an_input_that_is_not_there_is_told_before_others_are_scored(
    anoean: Run, fresh: Path
) -> None:
    found = anoean("score fresh.csv absent.csv")
    assert (found.returncode, found.stdout) == (3, "")
    assert found.error == "error: absent.csv: no such file; check the path"


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    "command", ["score {}", "train --dataset ./{} -m new.h5", "calibrate --data {}"]
)
def test_a_name_too_long_for_a_file_is_no_bug_of_ours(anoean: Run, command: str) -> None:
    found = anoean(command.format("x" * 5000))
    assert found.returncode in (2, 3)
    assert "x: " in found.error


TRAINING: dict[str, tuple[bytes, str]] = {
    "normals.csv": (text(HEAD, *[LINE] * 40), "no anomalies"),
    "constant.csv": (text(HEAD, *[LINE, LINE[:-2] + "leak"] * 20), "is constant"),
    "ragged.csv": FILES["ragged.csv"],
    "inf.csv": FILES["inf.csv"],
    "empty.csv": FILES["empty.csv"],
    "header.csv": FILES["header.csv"],
    "cut.csv.gz": FILES["cut.csv.gz"],
    "few.csv": (text(HEAD, LINE, "y,2,2,red,k,ok", "z,3,9,red,k,bad"), "too few"),
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_bad_table_trains_nothing(anoean: Run, name: str) -> None:
    content, told = TRAINING[name]
    Path(name).write_bytes(content)
    found = anoean("train", "--dataset", name, "--label", "label", "--normal", "ok")
    assert (found.returncode, found.stdout) == (3, "")
    assert told in found.error
    assert [path.name for path in Path().iterdir()] == [name]


def test_a_bad_row_after_good_ones_leaves_no_file(anoean: Run, model: Path) -> None:
    rows = [*table_rows(60_000, seed=3), ["x", "oops", "1", "red", "k", "ok"]]
    write_csv(Path("late.csv"), rows)
    found = anoean("score", "late.csv", "--out", "o.csv", "--embeddings", "e.h5")
    assert found.returncode == 3
    assert "late.csv, line 60002, column 'size': 'oops'" in found.error
    assert {path.name for path in Path().iterdir()} == {"anoean.h5", "late.csv"}


def test_a_folder_is_no_table(anoean: Run, model: Path) -> None:
    Path("folder").mkdir()
    for args in (["score", "folder"], ["train", "--dataset", "folder", "-m", "new.h5"]):
        found = anoean(*args)
        assert found.returncode == 3
        assert "folder" in found.error


def test_bad_idx_files(anoean: Run, images: Path) -> None:
    header = np.array([0x803, 2, 28, 28], ">u4").tobytes()
    cases = {
        "cut-idx3-ubyte": (header + bytes(28 * 28), "truncated"),
        "cut-idx3-ubyte.gz": (gzip.compress(header + bytes(2 * 784))[:-9], "cut-idx3-ubyte.gz"),
        "long-idx3-ubyte": (header + bytes(3 * 784), "overlong"),
        "small-idx3-ubyte": (np.array([0x803, 1, 2, 2], ">u4").tobytes() + bytes(4), "28 x 28"),
    }
    for name, (content, told) in cases.items():
        Path(name).write_bytes(content)
        found = anoean("score", "-m", images, name)
        assert found.returncode == 3, name
        assert name in found.error
        assert told in found.error


# --------------------------------------------------------------------------- models


def altered(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "altered": altered,
    "empty": lambda data: b"",
    "text": lambda data: b"size,weight\n1,2\n",
    "head only": lambda data: data[:8] + b"nonsense",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model(anoean: Run, model: Path, fresh: Path, damage: str) -> None:
    model.write_bytes(DAMAGE[damage](model.read_bytes()))
    for args in (["score", "fresh.csv"], ["info"], ["calibrate", "--fpr", "0.1"], ["evaluate"]):
        found = anoean(*args)
        assert (found.returncode, found.stdout) == (4, "")
        assert found.error.startswith("error: anoean.h5")
    assert {path.name for path in Path().iterdir()} == {"anoean.h5", "fresh.csv"}


def test_a_model_that_cannot_be_is_told(anoean: Run, fresh: Path) -> None:
    for name, told in (
        ("none.h5", "there is no such model"),
        ("s3://rows/m.h5", "s3://rows/m.h5: a model is a file of this machine"),
        ("n" * 300, "too long"),
    ):
        found = anoean("score", "-m", name, fresh)
        assert found.returncode == 4
        assert told in found.error


def test_files_of_another_kind(anoean: Run, model: Path, fresh: Path) -> None:
    assert anoean("prepare", "fresh.csv", "--out", "p.h5").returncode == 0
    for args in (
        ["score", "fresh.csv", "-m", "p.h5"],
        ["score", "fresh.csv", "-m", "nosuch.h5"],
        ["score", "anoean.h5"],
        ["train", "--dataset", "anoean.h5", "-m", "new.h5"],
    ):
        found = anoean(*args)
        assert found.returncode == 4
        assert args[1] in found.error or args[-1] in found.error or "anoean.h5" in found.error


def test_rows_of_another_kind(anoean: Run, model: Path, images: Path, fresh: Path) -> None:
    found = anoean("score", "-m", images, "fresh.csv")
    assert found.returncode == 3
    assert "784" in found.error
    assert anoean("prepare", "fresh.csv", "--out", "p.h5").returncode == 0
    found = anoean("score", "-m", images, "p.h5")
    assert found.returncode == 3
    assert "p.h5" in found.error


# --------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("out", ["nowhere/o", "/proc/o", "/dev/full", "."])
@pytest.mark.usefixtures("model", "fresh")
def test_outputs_that_cannot_be(anoean: Run, out: str) -> None:
    for args in (
        ["score", "fresh.csv", "--out", out],
        ["score", "fresh.csv", "--embeddings", out],
        ["calibrate", "--fpr", "0.1", "--out", out, "--force"],
        ["prepare", "fresh.csv", "--out", out, "--force"],
    ):
        found = anoean(*args)
        assert (found.returncode, found.stdout) == (7, "")
        assert out in found.error
    if out != "/proc/o":  # that one shows only in writing
        assert anoean("train", "--dataset", "nosuch.csv", "-m", out, "--force").returncode == 7


@pytest.mark.usefixtures("model", "fresh")
@pytest.mark.parametrize(
    "args",
    [
        "score long.csv --out o.csv",
        "score long.csv --out o.parquet",
        "score long.csv --embeddings e.h5 --out o.csv",
        "calibrate --fpr 0.1",
        "prepare long.csv --out p.h5",
        "train --dataset toy --epochs 1 -m m.h5",
    ],
)
def test_a_full_disk_leaves_no_half_file(anoean: Run, args: str) -> None:
    write_csv(Path("long.csv"), table_rows(4000, seed=3))
    before = {path: path.read_bytes() for path in Path().iterdir()}

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    found = anoean(args, preexec_fn=fill_disk)
    assert found.returncode == 7, found.stderr
    assert "cannot write" in found.error
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.usefixtures("model", "fresh")
@pytest.mark.parametrize(
    "args",
    [
        "score fresh.csv",
        "score fresh.csv --format parquet",
        "info",
        "plugins",
        "--help",
        "score --help",
        "--version",
    ],
)
def test_a_full_disk_behind_stdout(tmp_path: Path, args: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *words([args])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment(tmp_path / "cache"),
        )
    assert done.returncode == 7
    assert done.stderr.startswith("error: cannot write to stdout: No space left on device")
    assert len(done.stderr.splitlines()) == 1


# --------------------------------------------------------------------------- plugins and bugs


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        ("--dataset toy --epochs 2 --encoder constant", 8, "collapsed"),
        ("--dataset toy --epochs 2 --encoder exploding", 8, "diverged"),
        (
            "--dataset toy --epochs 2 --encoder crashing",
            6,
            "encoder plugin 'crashing' failed: ZeroDivisionError",
        ),
        ("--dataset toy --epochs 2 --encoder absent", 6, "third-party"),
        (
            "--dataset toy --detector dividing",
            6,
            "detector plugin 'dividing' failed: ZeroDivisionError",
        ),
        ("--dataset dropping", 6, "dataset plugin 'dropping' failed: KeyError"),
        ("--dataset pumps.cvs", 6, "no dataset plugin and no file is called 'pumps.cvs'"),
        ("--dataset nothing", 6, "dataset plugin 'nothing' breaks its contract: its load returns"),
    ],
)
def test_training_that_fails_writes_no_model(
    anoean: Run, third_party: dict[str, str], args: str, status: int, told: str
) -> None:
    found = anoean("train", args, env=third_party)
    assert (found.returncode, found.stdout) == (status, "")
    assert told in found.error
    assert list(Path().iterdir()) == []


def test_what_a_plugin_leaves_is_written_and_its_end_fails_no_training(
    anoean: Run, third_party: dict[str, str]
) -> None:
    args = "train --dataset toy --epochs 2 --encoder untidy --preset paper"
    done = anoean(args, env=third_party)
    assert done.returncode == 0, done.stderr
    assert Path("notes.txt").read_text() == "noted"
    assert Path("late.txt").read_text() == "late"
    with h5py.File("numbers.h5") as file:
        assert list(file["numbers"]) == [1, 2, 3]


def test_tracebacks_are_for_debug_only(anoean: Run, third_party: dict[str, str]) -> None:
    args = "train --dataset toy --detector dividing"
    assert "Traceback" not in anoean(args, env=third_party).stderr
    shown = anoean(args, "--debug", env=third_party)
    assert shown.returncode == 6
    assert "Traceback" in shown.stderr
    assert "ZeroDivisionError: division by zero" in shown.stderr


def test_a_bug_of_ours_is_one_line(anoean: Run) -> None:
    Path("sitecustomize.py").write_text(
        "import anoean_cli.registry\nanoean_cli.registry.registrations = None\n"
    )
    found = anoean("plugins", env={"PYTHONPATH": "."})
    assert found.returncode == 1
    assert "TypeError" in found.error
    assert "--debug" in found.error
    debug = anoean("plugins", "--debug", env={"PYTHONPATH": "."})
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


@pytest.mark.parametrize("args", ["--dataset -", "--dataset table --source -"])
def test_no_data_set_comes_by_stdin(anoean: Run, args: str) -> None:
    found = anoean("train", args, input="a,b\n1,2\n")
    assert found.returncode == 2
    assert found.error == (
        "error: -: a data set is read more than once, which stdin cannot be; "
        "write it to a file, and name that"
    )
