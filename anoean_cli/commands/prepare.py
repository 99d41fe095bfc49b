"""``anoean prepare``: fetch and verify a data set, and keep it as HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anoean_cli.commands import options
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.wording import counted


def run(
    console: Console,
    table: TableFlags,
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            autocompletion=options.complete_datasets,
            help="A data set plugin, a table of your own (CSV, Parquet), or a folder of images.",
        ),
    ],
    source: options.Source = "auto",
    label: options.Label = None,
    ignore: options.Ignore = None,
    numeric: options.Numeric = None,
    categorical: options.Categorical = None,
    datetime: options.Datetime = None,
    dates: options.Dates = None,
    schema: options.Schema = None,
    dry_run: Annotated[
        bool,
        options.flag(
            "--dry-run",
            help="Print what the columns are taken for, as TOML; write nothing.",
        ),
    ] = False,
    image_size: options.ImageSize = None,
    max_rows: options.MaxRows = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file to write; data sets with a name go to the cache by default.",
        ),
    ] = None,
    force: options.Force = False,
) -> None:
    """Fetch and verify a data set, and write it as a prepared HDF5 file; prints its path."""
    from anoean_cli import environment
    from anoean_cli.commands import schema_file
    from anoean_cli.commands.loading import (
        check_image_size,
        check_table_options,
        described_by,
        drawing_for,
        is_file,
        load_dataset,
    )
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.errors import UsageError
    from anoean_cli.storage.atomic import make_folder
    from anoean_cli.storage.prepared import in_cache, write_prepared

    table_options = table.options(label, ignore, numeric, categorical, datetime, dates)
    check_table_options(dataset, source, table_options)
    check_image_size(dataset, source, image_size)
    drawing = drawing_for(max_rows, dataset, source, seed=0)
    if dry_run:
        table_options = described_by(schema, dataset, source, table_options)
        rows = load_dataset(dataset, source, table_options, console, drawing=drawing)
        console.document(schema_file.described(rows))
        return
    if out is None:
        if is_file(dataset):
            raise UsageError(f"give --out FILE for the prepared form of {dataset}")
        out = in_cache(environment.cache_folder(), dataset)
        make_folder(out.parent)
    inputs = [("DATASET", dataset), ("--source", source), ("--schema", schema or "")]
    check_outputs({"--out": out}, inputs, force)
    table_options = described_by(schema, dataset, source, table_options)
    rows = load_dataset(
        dataset,
        source,
        table_options,
        console,
        from_cache=False,
        image_size=image_size,
        drawing=drawing,
    )
    digest = write_prepared(rows, out, overwrite=force)
    console.note(f"{counted(len(rows.labels), 'row')} of {rows.name}, digest {digest[:16]}")
    console.data(str(out))
