"""``anoean info``: what one of our files holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from anoean_cli.commands import options
from anoean_cli.console import Console
from anoean_cli.wording import some

MOST_SHOWN = 12  # values of one kind


def run(
    console: Console,
    file: Annotated[
        Path | None, typer.Argument(help="A model, prepared data set or embeddings file.")
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    verify: Annotated[
        bool, options.flag("--verify", help="Read all of it and check its digest.")
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
        _show(console, _prepared(path, verify), _prepared_lines, json)
    elif kind == embeddings.FORMAT:
        _show(console, _embeddings(path, verify), _embeddings_lines, json)
    else:
        # A model is always read and checked as a whole, but for what its graph does.
        loaded = load_model(path)
        if verify:
            loaded.try_graph()
        show_model(console, loaded, path, json)
    if verify:
        console.note(f"{path}: verified")


def _prepared(path: Path, verify: bool) -> dict[str, Any]:
    from anoean_cli.storage.prepared import PreparedReader

    with PreparedReader(path) as reader:
        if verify:
            reader.verify()
            for _ in reader.pieces():  # whole is not yet fit for use
                pass
        about = {"prepared": str(path), "rows": len(reader), "digest": reader.digest}
        return {**about, **reader.about, "shape": reader.image_shape}


def _embeddings(path: Path, verify: bool) -> dict[str, Any]:
    from anoean_cli.storage.embeddings import describe

    return {"embeddings": str(path), **describe(path, verify=verify)}


def _show(
    console: Console,
    about: dict[str, Any],
    lines: Callable[[dict[str, Any]], list[tuple[str, str]]],
    as_json: bool,
) -> None:
    if as_json:
        console.json(about)
        return
    kind, path = next(iter(about.items()))
    console.table([kind, path], [*lines(about), ("digest", about["digest"][:16])])


def _prepared_lines(about: dict[str, Any]) -> list[tuple[str, str]]:
    from anoean_cli.commands.summary import data_text

    provenance = about["provenance"]
    sizes = {name: value for name, value in about["apportionment"].items() if value}
    return [
        ("data", data_text(about["name"], provenance)),
        ("rows", f"{about['rows']:,}"),
        *_example_lines(about),
        ("normal", some(about["normal"]) or "what --normal says"),
        ("protocol", ", ".join(f"{name} {value}" for name, value in sizes.items()) or "all rows"),
        *(
            (name, str(provenance[name]))
            for name in ("source", "seed", "licence", "homepage")
            if name in provenance
        ),
        *_each("file", _files(provenance.get("files"))),
    ]


def _files(files: Any) -> list[str]:
    """Names and checksums, of which a prepared file may say anything or nothing."""
    if not isinstance(files, dict):
        return []
    return [f"{name}, {str(digest)[:16]}" for name, digest in files.items()]


def _example_lines(about: dict[str, Any]) -> list[tuple[str, str]]:
    """What a row is: an image, or features and a label."""

    if about["kind"] == "image":
        channels, height, width = about["shape"]
        return [("images", f"{height} x {width}, {channels} channel{'s'[: channels != 1]}")]
    kinds = Counter(kind for _, kind in about["features"])
    return [
        ("columns", ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())),
        ("names", some([name for name, _ in about["features"]])),
        ("label", about["label_column"] or "none"),
    ]


def _embeddings_lines(about: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("rows", f"{about['rows']:,}"),
        ("dimensions", str(about["dimensions"])),
        *_each("file", about["files"]),
        ("model digest", about["model_digest"][:16]),
    ]


def _each(name: str, values: list[str]) -> list[tuple[str, str]]:
    """A line for each value, as far as they are worth reading."""
    more = [("", f"and {len(values) - MOST_SHOWN:,} more")] if len(values) > MOST_SHOWN else []
    return [(name, value) for value in values[:MOST_SHOWN]] + more
