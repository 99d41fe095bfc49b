"""Which outputs are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from anoean_cli.commands.targets import check_outputs
from anoean_cli.errors import AnoeanError, OutputError, UsageError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").touch()


@pytest.mark.parametrize(
    ("outputs", "kind", "says"),
    [
        ({"--out": "-"}, UsageError, "--out -: this needs a file"),
        ({"--out": "s3://bucket/o.json"}, UsageError, "s3://bucket/o.json: this needs a file"),
        ({"--out": "./rows.csv"}, UsageError, "that file is an input too"),
        ({"--out": "a", "--summary": "./a"}, UsageError, "that file is --out too"),
        ({"--out": ""}, OutputError, "it is a folder"),
        ({"--out": "absent/a"}, OutputError, "there is no folder"),
    ],
)
def test_what_is_refused(outputs: dict[str, str], kind: type[AnoeanError], says: str) -> None:
    paths = {option: Path(path) for option, path in outputs.items()}
    with pytest.raises(kind, match=says):
        check_outputs(paths, [("an input", "rows.csv")], force=True)
