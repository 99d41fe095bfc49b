"""What files of options may hold, and what is said of all else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from anoean_cli.app import built
from anoean_cli.errors import UsageError


def taken(path: Path) -> None:
    """Let ``train`` take its options from a file."""
    command = typer.main.get_command(built(["train"])).commands["train"]  # type: ignore[attr-defined]
    command.make_context("train", ["--config", str(path), "--dataset", "toy"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[train]\nseed = 1\nepoch = 2\n", "run.toml, line 3: [train] epoch: there is no such"),
        ("[train]\nepoch = 2\n", "did you mean epochs?"),
        ('[train]\nepochs = "ten"\n', "line 2: [train] epochs is 'ten'; a whole number"),
        ("[train]\nepochs = true\n", "epochs is true; a whole number"),
        ("[train]\nepochs = 1.5\n", "epochs is 1.5; a whole number"),
        ("[train]\nepochs = 0\n", "line 2: [train] epochs: 0 is not in the range"),
        ("[train]\nlr = nan\n", "lr is nan; a finite number"),
        ("[train]\nforce = 1\n", "force is 1; true or false"),
        ('[train]\nmodel = "a\\u0000b"\n', "a\\x00b'; text without NUL characters is needed"),
        ("[train]\nsplit = 'half'\n", "'half' is not one of"),
        ("[train]\ndataset = ['toy']\n", "dataset is ['toy']; one value"),
        ("[train]\nset = 'a=1'\n", "an array of values"),
        ("[train.set]\nforest = [1]\n", "set.forest is [1]; one value"),
        ("[train]\nbatch-size = 5\nbatch_size = 6\n", "line 3: [train] batch_size: is given twice"),
        ("seed = 1\n", "line 1: seed stands in no table; write [train]"),
        ("[[train]]\nseed = 1\n", "line 1: [[train]] is an array of tables; write [train]"),
        ("[trian]\n", "line 1: [trian] is no command's table"),
        ("[score]\n", "has no table [train]; it holds [score]"),
        ("[train]\nconfig = 'other.toml'\n", "there is no such option"),
        ("[train\n", "is no TOML"),
        ("[train]\nseed = 1\nseed = 2\n", "is no TOML"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(says)):
        taken(path)


def test_a_file_with_a_mark_before_the_text(tmp_path: Path) -> None:
    """As editors of Windows write it."""
    path = tmp_path / "marked.toml"
    path.write_text("[train]\r\nseed = 1\r\n", encoding="utf-8-sig")
    taken(path)


def test_a_file_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is no UTF-8"):
        taken(path)
