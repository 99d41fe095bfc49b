"""``anoean export``: the whole scorer as one ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anoean_cli.commands import options, shell
from anoean_cli.console import Console


@shell.without_pandas()
def run(
    console: Console,
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.")],
    model: options.Model = options.DEFAULT_MODEL,
    force: options.Force = False,
    json: options.AsJson = False,
) -> None:
    """Write the whole scorer as one ONNX graph: raw columns in; score, p-value and verdict out."""
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.inference.export import BOUND, exported
    from anoean_cli.inference.model import load_model
    from anoean_cli.storage.atomic import write_whole

    check_outputs({"OUT.onnx": out}, [("the model", model)], force)
    loaded = load_model(model)
    result = exported(loaded)
    write_whole(out, result.onnx, overwrite=force)
    for column, name in result.renamed.items():
        console.note(f"column {column!r}: its input is called {name!r}")
    dates = loaded.schema.dates if loaded.schema is not None else {}
    for column, zoned in dates.items():
        console.note(
            f"column {column!r}: its input takes seconds since 1970-01-01T00:00:00"
            f"{' UTC' if zoned else ', of the same clock'}; NaN where the date is missing"
        )
    if json:
        console.json(
            {
                "export": str(out),
                "model": str(model),
                "model_digest": loaded.digest,
                "bytes": len(result.onnx),
                "checked_rows": result.rows,
                "largest_difference": result.difference,
                "bound": BOUND,
                "renamed": result.renamed,
                "in_seconds": list(dates),
            }
        )
        return
    rows = [
        ["model", f"{model}, digest {loaded.digest[:16]}"],
        ["bytes", f"{len(result.onnx):,}"],
        [
            "checked",
            f"on {result.rows:,} made rows: scores differ from the model's by "
            f"{result.difference:.1g} of them at most ({BOUND:g} is allowed)",
        ],
    ]
    console.table(["export", str(out)], rows)
