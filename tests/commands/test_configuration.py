"""What files of options may hold, and what is said of all else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from anoean_cli.app import built
from anoean_cli.commands.configuration import placing
from anoean_cli.errors import SettingError, UsageError


def taken(path: Path, *args: str) -> Any:
    """The context of a ``train`` that takes its options from a file."""
    command = typer.main.get_command(built(["train"])).commands["train"]  # type: ignore[attr-defined]
    return command.make_context("train", ["--config", str(path), "--dataset", "toy", *args])


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


@pytest.mark.parametrize(
    ("text", "setting", "place"),
    [
        ("[train.set]\nforest = true\n", "forest", ", line 2: [train] set.forest: no"),
        ("[train.set]\na.forest = 1\nb.forest = 2\n", "b.forest", ", line 3: [train] set.b.forest"),
        ("[train.set.detector]\na = 1\nforest = -1\n", "forest", "line 3: [train] set.detector.f"),
        ("[train]\nseed = 1\nset.encoder.width = 'x'\n", "width", "line 3: [train] set.encoder.w"),
        ("[train]\nset = ['a=1', 'forest=many']\n", "forest", "line 2: [train] set.forest: no"),
        ("[train]\nset = ['forest']\n", "forest", "line 2: [train] set.forest: no"),
        ("[train]\nseed = 1\nlr = 5\n", "learning_rate", "line 3: [train] lr: no"),
        ("[train]\nseed = 1\nencoder = 'mlp'\n", "encoder", "line 3: [train] encoder: no"),
        ("[train]\nlatent-dim = 3\n", "latent_dim", "line 2: [train] latent-dim: no"),
        ("[train]\nbatch_size = 3\n", "batch_size", "line 2: [train] batch-size: no"),
    ],
)
def test_where_the_file_sets_what_cannot_be_set(
    tmp_path: Path, text: str, setting: str, place: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with (
        pytest.raises(UsageError, match=re.escape(place)),
        placing(taken(path), path),
    ):
        raise SettingError("no", setting)


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ("--set=forest=few", "forest"),
        ("--set=detector.forest=few", "forest"),
        ("--lr=7", "learning_rate"),
        ("--set=radial=-1", "radial"),
    ],
)
def test_the_file_is_not_blamed_for_the_command_line(
    tmp_path: Path, given: str, setting: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[train]\nset.forest = 1\nlr = 0.1\n")
    with pytest.raises(SettingError), placing(taken(path, given), path):
        raise SettingError("no", setting)


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
