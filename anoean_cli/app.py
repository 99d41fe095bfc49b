"""The ``anoean`` command: its subcommands, wired."""

from __future__ import annotations

from typing import Annotated

import typer

from anoean_cli.commands import (
    calibrate,
    evaluate,
    info,
    plugins,
    prepare,
    score,
    shell,
    train,
)

app = typer.Typer(
    name="anoean",
    help="Find anomalies when you have many normal examples and a few known anomalies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"anoean {version('anoean')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


for _module in (prepare, train, calibrate, score, evaluate, info, plugins):
    app.command(_module.__name__.rpartition(".")[2])(shell.command(_module.run))


def main() -> None:
    """The console script."""
    app()
