"""What all commands share at a shell: options in groups, and failures as exit statuses.

A command is a plain function whose first parameter is a `Console`. Parameters whose type is a
dataclass are groups of options: each of its fields becomes an option of the command.
Importing the commands must stay cheap, for ``anoean --help`` imports them all: what they need
beyond typer they import when they run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import inspect
import os
import shlex
import signal
import sys
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from anoean_cli import process
from anoean_cli.commands import options
from anoean_cli.console import Console
from anoean_cli.errors import AnoeanError, ExitStatus, in_one_line
from anoean_cli.process import forget, tell

Function = Callable[..., ExitStatus | None]
CANNOT_WRITE = {
    code: f"{os.strerror(code)}; free some space, or write elsewhere"
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
} | {errno.EBADF: "it is closed; open it, or write to a file"}
# What asking for a path may end in; whoever opens a file says more.
BAD_PATH = {
    errno.ENAMETOOLONG: "the name is too long; check the path",
    errno.EACCES: "no permission to look there; change the permissions of its folder",
}


def _take_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of --config, before all other options: the file stands in for them."""
    if path is not None and not context.resilient_parsing:
        from anoean_cli.commands import configuration

        configuration.take(context, path)
    return path


@dataclasses.dataclass(frozen=True)
class Common:
    """Options that every command takes."""

    quiet: Annotated[bool, options.flag("--quiet", "-q", help="No notes and no progress.")] = False
    verbose: Annotated[bool, options.flag("--verbose", "-v", help="More notes.")] = False
    debug: Annotated[bool, options.flag("--debug", help="Show tracebacks of failures.")] = False
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            is_eager=True,
            callback=_take_config,
            help="Take options from the table of the command in this file; those given here win.",
        ),
    ] = None

    def console(self) -> Console:
        """The console that these options ask for."""
        return Console(self.quiet, self.verbose, self.debug)


def command_line() -> str:
    """How this process was called, as it could be called again."""
    return shlex.join(["anoean", *sys.argv[1:]])


def command(function: Function) -> Callable[..., None]:
    """Wrap a command for typer."""
    hints = typing.get_type_hints(function, include_extras=True)
    plain: list[inspect.Parameter] = []
    groups: dict[str, type] = {"common": Common}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        kind = hints[parameter.name]
        if dataclasses.is_dataclass(kind):
            groups[parameter.name] = typing.cast(type, kind)
        else:
            plain.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    def run(context: typer.Context, **values: Any) -> None:
        placing: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if values["config"] is not None:
            from anoean_cli.commands import configuration

            configuration.check_apart(context, values)
            configuration.with_settings(context, values)
            placing = configuration.placing(context, values["config"])
        built = {
            name: group(**{f.name: values.pop(f.name) for f in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        console = built.pop("common").console()

        def action() -> ExitStatus | None:
            # What a plugin prints is no data: see `Console.out`.
            with placing, contextlib.redirect_stdout(sys.stderr):
                return function(console, **values, **built)

        raise typer.Exit(int(guarded(console, action)))

    parameters = [*plain, *(p for group in groups.values() for p in _options(group))]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return run


def stub(function: Function) -> Callable[..., None]:
    """A command for typer that can only be listed: it has no options."""

    def run() -> None: ...

    run.__doc__ = function.__doc__
    return run


class Command(TyperCommand):
    """A command of typer's that completes ``--no-force`` with what it does: not ``--force``."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """What may follow, with help for options' opposites too."""
        found: list[Any] = super().shell_complete(ctx, incomplete)
        turned_off = {name: p.opts[0] for p in self.params for name in p.secondary_opts}
        for item in found:
            if item.value in turned_off:
                item.help = f"Not {turned_off[item.value]}."
        return found


def guarded(console: Console, action: Callable[[], ExitStatus | None]) -> ExitStatus:
    """Run an action and turn every way it can end into an exit status."""
    try:
        status = action() or ExitStatus.OK
        console.out.flush()
        return status
    except BaseException as error:
        if process.came:
            return _ended_by(console, process.came[-1])
        if not isinstance(error, Exception) or isinstance(error, typer.Exit):
            raise
        status = _told(console, error)
        if console.debug:
            tell(traceback.format_exc().rstrip())
        return status


def _ended_by(console: Console, number: int) -> ExitStatus:
    console.error(process.ENDINGS[signal.Signals(number)])
    return ExitStatus(128 + number)


def _told(console: Console, error: Exception) -> ExitStatus:
    """Tell in one line what went wrong; returns the exit status that stands for it."""
    if isinstance(error, AnoeanError):
        console.error(str(error))
        return error.status
    if isinstance(error, BrokenPipeError):  # whoever read our output has enough
        forget(console.out)
        return ExitStatus.BROKEN_PIPE
    if isinstance(error, MemoryError):
        console.error("out of memory; use fewer or narrower rows at once")
        return ExitStatus.BAD_DATA
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
        # Files are written by `replacing`, which tells its failures: this one was stdout.
        forget(console.out)
        console.error(f"cannot write to stdout: {CANNOT_WRITE[error.errno]}")
        return ExitStatus.OUTPUT
    if isinstance(error, OSError) and error.errno in BAD_PATH:
        console.error(f"{error.filename}: {BAD_PATH[error.errno]}")
        return ExitStatus.USAGE
    what = in_one_line(error)
    console.error(f"a bug of anoean: {what}; please report it with --debug")
    return ExitStatus.BUG


@contextlib.contextmanager
def without_pandas() -> Iterator[None]:
    """Keep pyarrow from importing pandas where it is installed: that takes longer than scoring.

    For what reads rows of files and runs no data set plugin. A plugin of another kind may need it:
    only what pyarrow and scikit-learn ask for is refused (pyarrow, being compiled, in our name).
    """
    sys.meta_path.insert(0, _NoPandas)
    try:
        yield
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoPandas:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas" and _asks() in ("anoean_cli", "pyarrow", "sklearn"):
            raise ModuleNotFoundError("not wanted here", name=name)


def _asks() -> str:
    """The package of the Python code that is importing something."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "importlib" in frame.f_globals.get("__name__", ""):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _options(group: type) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
