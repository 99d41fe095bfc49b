"""``anoean info``: what one of our files holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anoean_cli.commands import options
from anoean_cli.console import Console


def run(
    console: Console,
    file: Annotated[
        Path | None, typer.Argument(help="A model, prepared data set or embeddings file.")
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of it and check its digest.")
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Show what a model, prepared data set or embeddings file holds."""
    from anoean_cli.commands.summary import show_model
    from anoean_cli.inference.model import load_model
    from anoean_cli.storage import embeddings, prepared
    from anoean_cli.storage.hdf5 import kind_of

    path = file or model
    kind = kind_of(path)
    if kind == prepared.FORMAT:
        _show(console, _prepared(path, verify), json)
    elif kind == embeddings.FORMAT:
        _show(console, _embeddings(path, verify), json)
    else:
        # A model is always read and checked as a whole.
        show_model(console, load_model(path), path, json)
    if verify:
        console.note(f"{path}: verified")


def _prepared(path: Path, verify: bool) -> dict[str, Any]:
    from anoean_cli.storage.prepared import PreparedReader

    with PreparedReader(path) as reader:
        if verify:
            reader.verify()
        return {"prepared": str(path), "rows": len(reader), "digest": reader.digest, **reader.about}


def _embeddings(path: Path, verify: bool) -> dict[str, Any]:
    from anoean_cli.storage.embeddings import FORMAT, VERSION
    from anoean_cli.storage.hdf5 import Reader

    with Reader(path, format=FORMAT, version=VERSION) as reader:
        if verify:
            reader.verify()
        rows, dimensions = reader.shape("embedding")
        return {
            "embeddings": str(path),
            "rows": rows,
            "dimensions": dimensions,
            "files": reader.get("files"),
            "digest": reader.digest,
            **reader.get("about"),
        }


def _show(console: Console, about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.json(about)
        return
    rows = [[name, str(value)] for name, value in about.items()]
    console.table("", ["what", "value"], rows)
