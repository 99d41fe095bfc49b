"""``--help``, ``--version``, ``plugins`` and ``info``; and what each command imports."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from anoean_cli.app import built
from anoean_cli.commands import shell
from anoean_cli.inference.model import load_model

from .conftest import Result, Run, environment, words

COMMANDS = ("prepare", "train", "calibrate", "score", "evaluate", "export", "info", "plugins")
# Each takes long to import, the last two for what one row is.
HEAVY = ("torch", "matplotlib", "sklearn", "pandas", "numpy", "pyarrow.compute", "numpy.ma")
# What scoring a table does not need: each takes a hundredth of what one row does, or brings more.
NEEDLESS = (
    "dateutil",
    "secrets",
    "anoean_cli.registry",
    "anoean_cli.interfaces",
    "anoean_cli.commands.explaining",
    "anoean_cli.data.drawing",
    "anoean_cli.data.pixels",
    "anoean_cli.data.ranges",
    "anoean_cli.storage.embeddings",
    "anoean_cli.storage.prepared",
)


def test_help_names_every_command(anoean: Run) -> None:
    found = anoean("--help")
    assert found.returncode == 0
    assert not found.stderr
    assert [name for name in COMMANDS if f" {name} " not in found.stdout] == []


def test_the_list_of_commands_needs_none_of_their_options() -> None:
    whole, listed = map(typer.main.get_command, (built(), built(made=shell.stub)))
    assert whole.get_help(typer.Context(whole)) == listed.get_help(typer.Context(listed))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(anoean: Run, command: str) -> None:
    found = anoean(command, "--help")
    assert found.returncode == 0
    assert all(option in found.stdout for option in ("--quiet", "--verbose", "--debug"))


def test_version(anoean: Run) -> None:
    from importlib.metadata import version

    assert anoean("--version").stdout == f"anoean {version('anoean')}\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["scor"], "'scor'"),
        (["score"], "INPUT"),
        (["train"], "--dataset"),
        (["score", "x.csv", "--nonsense"], "--nonsense"),
        (["score", "x.csv", "--fpr", "much"], "--fpr"),
        (["score", "x.csv", "--on-error", "weep"], "weep"),
        (["train", "--dataset", "toy", "--latent-dim", "0"], "--latent-dim"),
    ],
)
def test_usage_errors_are_one_line(anoean: Run, args: list[str], told: str) -> None:
    found = anoean(*args)
    assert found.returncode == 2
    assert told in found.error
    assert "--help" in found.error
    assert found.stdout == ""


def completions(
    line: str, shell: str, action: str = "get-args"
) -> subprocess.CompletedProcess[str]:
    """What a shell is told when TAB is pressed at the end of a line."""
    words = line.split(" ")
    asking = {
        "_ANOEAN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": action,
    }
    code = "import sys; sys.argv[0] = 'anoean'; from anoean_cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(Path("cache"), asking),
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    Path("tumours.csv").touch()
    Path("more").mkdir()
    for line in ("anoean train --dataset ", "anoean prepare "):
        found = completions(line, shell).stdout
        assert all(word in found for word in ("toy", "mnist", "tumours.csv", "more/")), line
    found = completions("anoean train --dataset t", shell).stdout
    assert ("toy" in found, "tumours.csv" in found, "more/" in found) == (True, True, False)
    assert "sample" in completions("anoean train --source s", shell).stdout
    found = completions("anoean train --preset ", shell).stdout
    assert ("paper" in found, "tumours.csv" in found) == (True, False)
    found = completions("anoean compare --detectors pca,k", shell).stdout
    assert ("pca,knn" in found, "forest" in found) == (True, False)


@pytest.mark.parametrize("shell", ["zsh", "fish"])  # bash shows no help
def test_completion_tells_what_turning_a_switch_off_does(shell: str) -> None:
    lines = completions("anoean score --", shell).stdout.splitlines()
    (on,) = (line for line in lines if "--force" in line and "--no-force" not in line)
    (off,) = (line for line in lines if "--no-force" in line)
    assert "Replace an existing output." in on
    assert "Not --force." in off


def test_help_in_zsh_has_no_apostrophes() -> None:
    """Which typer's completion for zsh would drop: a models figures."""
    for line in ("anoean ", "anoean prepare --", "anoean train --"):
        assert "''" not in completions(line, "zsh").stdout


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_completes_on_the_first_tab(tmp_path: Path) -> None:
    bin, home = tmp_path / "bin", tmp_path / "home"
    bin.mkdir()
    home.mkdir()
    command = bin / "anoean"
    code = "import sys; sys.argv[0] = 'anoean'; from anoean_cli.app import main; sys.exit(main())"
    command.write_text(f"#!{sys.executable}\n{code}\n")
    command.chmod(0o755)
    path = f"{bin}{os.pathsep}{os.environ['PATH']}"
    env = environment(tmp_path, {"HOME": str(home), "ZDOTDIR": str(home), "PATH": path})
    install = {**env, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    subprocess.run([command, "--install-completion", "zsh"], env=install, check=True)
    with (home / ".zshrc").open("a") as start:
        start.write("unset zle_bracketed_paste; PS1='ready> '\n")
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env={**env, "TERM": "dumb"}
    )
    try:
        assert "ready> " in until(ours, "ready> ")
        os.write(ours, b"anoean plug\t")
        assert "anoean plugins" in until(ours, "plugins")
    finally:
        shell.kill()
        shell.wait()


def until(terminal: int, text: str) -> str:
    """What a terminal shows up to a text, or in half a minute."""
    seen, end = "", time.monotonic() + 30
    while text not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


@pytest.mark.parametrize(
    "line",
    ["train --dataset tum", "train --dataset more/", "info ", "score ", "evaluate --data "],
)
def test_a_shell_completes_files_itself(line: str) -> None:
    Path("tumours.csv").touch()
    assert completions(f"anoean {line}", "bash").stdout.strip() == ""
    assert completions(f"anoean {line}", "zsh").stdout.strip() == "_files"
    assert completions(f"anoean {line}", "fish", "is-args").returncode == 1, "it switches files off"


def test_plugins(anoean: Run) -> None:
    found = anoean("plugins", "--json").json
    by_kind = {
        kind: {entry["name"] for entry in found if entry["kind"] == kind}
        for kind in ("dataset", "encoder", "detector")
    }
    assert {"mnist", "nsl-kdd", "kdd99", "table", "toy"} <= by_kind["dataset"]
    assert {"conv", "mlp"} <= by_kind["encoder"]
    assert "anoean" in by_kind["detector"]
    detector = next(entry for entry in found if entry["name"] == "anoean")
    assert set(detector["presets"]) == {"default", "paper", "small"}
    rate = next(p for p in detector["parameters"] if p["name"] == "learning_rate")
    assert (rate["type"], rate["default"], rate["high"]) == ("float", 1e-3, 1)
    table = anoean("plugins").stdout
    assert all(entry["name"] in table for entry in found)
    line = next(line for line in table.splitlines() if line.startswith("detector  anoean "))
    assert " learning_rate=0.001 " in line
    assert " patience=none " in line


def test_a_plugin_that_fails_is_reported_and_breaks_no_other(
    anoean: Run, third_party: dict[str, str]
) -> None:
    found = anoean("plugins", "--json", env=third_party)
    assert found.returncode == 0
    entries = {entry["name"]: entry for entry in found.json}
    assert "third_party_that_is_not_there" in entries["absent"]["error"]
    assert entries["absent"]["distribution"] == "third-party"
    assert "error" not in entries["constant"]
    line = next(
        line for line in anoean("plugins", env=third_party).stdout.splitlines() if "absent" in line
    )
    assert "FAILED" in line
    assert "third_party_that_is_not_there" in line, "the reason is cut off"


def test_info_of_a_model(anoean: Run, model: Path, table_run: Path) -> None:
    of_train, of_info = (table_run / "summary.txt").read_text(), anoean("info").stdout
    assert of_info.split()[2:] == of_train.split()[2:], "train and info tell different things"
    about = anoean("info", "anoean.h5", "--json").json
    assert about["normal"] == ["ok"]
    assert about["seen_types"] == ["burst", "leak"]
    assert about["columns"] == {"size": "numeric", "weight": "numeric", "colour": "categorical"}
    assert about["dataset"]["sample"] is False
    verified = anoean("info", "anoean.h5", "--verify")
    assert verified.returncode == 0
    assert "verified" in verified.stderr


def test_info_of_prepared_data_and_embeddings(anoean: Run, model: Path, fresh: Path) -> None:
    assert anoean("prepare", fresh, "--label", "label", "--out", "p.h5").returncode == 0
    assert anoean("score", fresh, "--embeddings", "e.h5").returncode == 0
    prepared, embeddings = (
        anoean("info", name, "--json", "--verify").json for name in ("p.h5", "e.h5")
    )
    assert (prepared["rows"], prepared["label_column"]) == (160, "label")
    assert (embeddings["rows"], embeddings["files"]) == (160, [str(fresh)])
    assert embeddings["model_digest"] == anoean("info", "--json").json["digest"]
    for name in ("p.h5", "e.h5"):
        damage(Path(name))
        found = anoean("info", name, "--verify")
        assert found.returncode == 4
        assert name in found.error


def test_what_info_shows_is_for_people(anoean: Run, model: Path, fresh: Path) -> None:
    assert anoean("prepare", fresh, "--label", "label", "--out", "p.h5").returncode == 0
    shown = anoean("info", "p.h5").stdout.splitlines()
    for line in ("rows      160", "columns   3 categorical, 2 numeric", "label     label"):
        assert line in shown
    assert any(line.startswith("file      fresh.csv, ") for line in shown)
    copies = [Path(f"copy-{at:02}.csv") for at in range(14)]
    for copy in copies:
        copy.write_bytes(fresh.read_bytes())
    assert anoean("score", *copies, "--embeddings", "e.h5").returncode == 0
    shown = anoean("info", "e.h5").stdout.splitlines()
    assert "rows          2,240" in shown
    assert "file          copy-11.csv" in shown
    assert "              and 2 more" in shown
    assert max(map(len, shown)) < 100


def test_a_long_list_is_cut_for_people_only(anoean: Run, model: Path) -> None:
    trained = load_model(model)
    kinds = [f"attack-{at:03}" for at in range(100)]
    replace(trained, config={**trained.config, "seen_types": kinds}).save("many.h5")
    assert "attack-011 and 88 more\n" in anoean("info", "many.h5").stdout
    assert anoean("info", "many.h5", "--json").json["seen_types"] == kinds


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def imported(
    tmp_path: Path, *args: object, among: Sequence[str] = HEAVY
) -> tuple[Result, set[str]]:
    """Run a command in a process that tells which of these modules it has imported."""
    code = (
        "import atexit, sys\n"
        "from anoean_cli.__main__ import main\n"
        f"atexit.register(lambda: print('\\n' + ' '.join(m for m in {among} if m in sys.modules),"
        " file=sys.stderr))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words(args)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(tmp_path / "cache"),
    )
    result = Result(done.returncode, done.stdout, done.stderr)
    return result, set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("args", "allowed"),
    [
        ("--help", set()),
        ("--version", set()),
        ("plugins", set()),
        ("plugins --json", set()),
        ("info", set()),
        ("score fresh.csv", set()),
        ("score fresh.csv --embeddings e.h5 --format jsonl", set()),
        ("calibrate --fpr 0.1", set()),
        ("calibrate --data fresh.csv --label label", {"pyarrow.compute", "numpy.ma"}),
        ("calibrate --covariance ledoit-wolf", {"sklearn"}),
        ("calibrate --covariance mcd", {"sklearn", "numpy.ma"}),
        ("export out.onnx", {"pyarrow.compute", "numpy.ma"}),
        ("evaluate --data fresh.csv", {"torch", "sklearn", "pyarrow.compute", "numpy.ma"}),
    ],
)
@pytest.mark.usefixtures("model", "fresh")
def test_no_heavy_library_is_imported(tmp_path: Path, args: str, allowed: set[str]) -> None:
    result, found = imported(tmp_path, args)
    assert result.returncode == 0, result.stderr
    assert found - {"numpy"} <= allowed
    assert "numpy" not in found or args not in ("--help", "--version")


@pytest.mark.usefixtures("model", "fresh")
def test_scoring_a_table_imports_what_it_needs(tmp_path: Path) -> None:
    result, found = imported(tmp_path, "score fresh.csv", among=NEEDLESS)
    assert result.returncode == 0, result.stderr
    assert not found


@pytest.mark.usefixtures("images")
def test_scoring_images_imports_no_heavy_library(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png")
    result, found = imported(tmp_path, "score", "-m", "images.h5", "one.png")
    assert result.returncode == 0, result.stderr
    assert found <= {"numpy"}


def write_image(path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").resize((28, 28)).save(path)
