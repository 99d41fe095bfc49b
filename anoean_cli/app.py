"""The ``anoean`` command: its subcommands, wired."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, TypeAlias

import typer

from anoean_cli import process
from anoean_cli.commands import COMMANDS, shell
from anoean_cli.console import Console
from anoean_cli.errors import ExitStatus

LISTING = (["-h"], ["--help"])
"""The command lines that show the list of commands, and of each no more than a line."""

Made: TypeAlias = Callable[[shell.Function], Callable[..., None]]

ZSH_AS_FUNCTION = """
if [[ $funcstack[1] == _%(prog_name)s ]]; then
  %(complete_func)s "$@"
fi
"""


def built(commands: Sequence[str] = COMMANDS, made: Made = shell.command) -> typer.Typer:
    """The application with these commands, each made of the function of its module."""
    app = typer.Typer(
        name="anoean",
        help="Find anomalies when you have many normal examples and a few known anomalies.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich's help would take longer than all the rest of --help
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    for name in commands:
        module = import_module(f"anoean_cli.commands.{name}")
        app.command(name, cls=shell.Command)(made(module.run))
    return app


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"anoean {version('anoean')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> ExitStatus:
    """Run the command and return its exit status, whatever happens."""
    return shell.guarded(Console(), _run)


def _let_zsh_complete_at_once() -> None:
    """Have typer's script for zsh complete when it is loaded too, which is at the first Tab."""
    from typer import _completion_shared

    scripts: dict[str, str] = getattr(_completion_shared, "_completion_scripts", {})
    if "zsh" in scripts:
        scripts["zsh"] += ZSH_AS_FUNCTION


def _run() -> ExitStatus:
    """Parse and run. Usage errors are told like all others, in one line."""
    first = sys.argv[1:2]
    if any("-completion" in word for word in first):
        _let_zsh_complete_at_once()
    # Building the options of all commands takes as long as scoring a row; one is run, or all
    # are listed.
    if sys.argv[1:] in LISTING:
        app = built(made=shell.stub)
    else:
        app = built(first if first and first[0] in COMMANDS else COMMANDS)
    try:
        return ExitStatus(app(standalone_mode=False))
    except SystemExit as end:
        if isinstance(end.__context__, OSError):  # typer's answer to a closed stdout is to exit
            raise end.__context__ from None
        raise
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own errors have no public base class
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            process.tell(error.format_message())
        else:
            command = getattr(getattr(error, "ctx", None), "command_path", "anoean")
            message = " ".join(error.format_message().split()).rstrip(".")
            Console().error(f"{message}; {command} --help shows how")
        return ExitStatus.USAGE
