"""Options from a file: ``--config FILE.toml``, with a table for each command.

What the command line says wins over the file, and the file over the environment: who names a file
wants what it says, wherever the command runs. What a file turns on, ``--no-...`` turns off.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anoean_cli.errors import SettingError, UsageError

NOT_IN_FILES = ("config", "print_config")
SETTINGS = "set"
TEXT = "anoean.config"  # where a context keeps what the file holds


def take(context: Any, path: Path) -> None:
    """Let a file's table stand in for what the command line leaves out.

    Args:
        context: of the command at hand, before any of its options is looked at (typer's).

    Raises:
        UsageError: no TOML file, no table of this command, or a key or value that it cannot take.
    """
    text = context.meta[TEXT] = text_of("--config", path)  # a pipe cannot be read twice
    command = context.info_name
    table = _table(path, text, command)
    known = {_key_of(p): p for p in context.command.params if p.name not in NOT_IN_FILES}
    found: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{path}{line_of(text, command, key)}: [{command}] {key}"
        parameter = known.get(key.replace("_", "-"))
        if parameter is None:
            raise UsageError(f"{where}: there is no such option; {_known(key, known)}")
        if parameter.name in found:
            raise UsageError(f"{where}: is given twice, with - and with _")
        found[parameter.name] = _taken(where, context, parameter, value)
        parameter.envvar = None
    context.default_map = found


def with_settings(context: Any, values: dict[str, Any]) -> None:
    """Put ``--set`` of the command line on top of the file's.

    What the command line says of a parameter that has an option of its own, by that or by
    ``--set``, wins over what the file says of it, by whichever of the two.
    """
    from anoean_cli.commands.train import OPTIONS_TOO

    of_file = context.default_map or {}
    given = {p.name for p in context.command.params if _is_given(context, p.name)}
    added = values[SETTINGS] if SETTINGS in given else []
    overruled = {OPTIONS_TOO[name] for name in map(_parameter_of, added) if name in OPTIONS_TOO}
    values |= dict.fromkeys(overruled & of_file.keys() - given)
    if SETTINGS not in of_file:
        return
    kept = [
        pair
        for pair in of_file[SETTINGS]
        if OPTIONS_TOO.get(name := _parameter_of(pair), name) not in given - {SETTINGS}
    ]
    values[SETTINGS] = kept + added


@contextmanager
def placing(context: Any, path: Path) -> Iterator[None]:
    """Tell of a plugin parameter that cannot be had where the file says it, if it does.

    Raises:
        UsageError: in place of a SettingError.
    """
    try:
        yield
    except SettingError as error:
        place = _place_of(error.setting, context)
        if place is None:
            raise
        raise UsageError(f"{path}{place}: {error}") from error


def _place_of(setting: str, context: Any) -> str | None:
    """``, line N: [train] set.forest`` of a parameter; None if the command line says it."""
    from anoean_cli.commands.train import OPTIONS_TOO

    text, command, found = context.meta[TEXT], context.info_name, context.default_map
    if _is_given(context, SETTINGS) and _named(setting, context.params[SETTINGS]):
        return None
    name = _named(setting, found.get(SETTINGS, ()))
    if name is not None:
        return f"{_line_of_setting(text, command, name)}: [{command}] {SETTINGS}.{name}"
    option = OPTIONS_TOO.get(setting, setting)
    if option not in found or _is_given(context, option):
        return None
    key = option.replace("_", "-")
    line = line_of(text, command, key) or line_of(text, command, option)
    return f"{line}: [{command}] {key}"


def _named(setting: str, pairs: Sequence[str]) -> str | None:
    """The name, perhaps with its owner before it, that KEY=VALUE pairs have for a setting."""
    names = (pair.partition("=")[0].strip() for pair in pairs)
    return next((name for name in names if f".{name}".endswith(f".{setting}")), None)


def _line_of_setting(text: str, command: str, name: str) -> str:
    """``, line N`` of a setting in its owner's table, in that of all, or in the command's."""
    owner, _, key = name.rpartition(".")
    table = f"{command}.{SETTINGS}"
    places = ((f"{table}.{owner}", key), (table, owner or key), (command, SETTINGS))
    return next(filter(None, (line_of(text, *place) for place in places)), "")


def check_apart(context: Any, values: Mapping[str, Any]) -> None:
    """Refuse the file of options as anything else, above all as an output.

    Raises:
        UsageError: an option or argument names it too.
    """
    place = os.path.realpath(values["config"])
    for parameter in context.command.params:
        given = values.get(parameter.name)
        for each in given if isinstance(given, list) else [given]:
            if parameter.name == "config" or not isinstance(each, str | Path):
                continue
            if os.path.realpath(each) == place:
                name = next((o for o in parameter.opts if o.startswith("--")), parameter.name)
                raise UsageError(f"{name} {each}: that file is --config too; name another one")


def _is_given(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parameter_of(pair: str) -> str:
    """detector.epochs=3 → epochs; an encoder's parameters have no options of their own."""
    return pair.partition("=")[0].strip().removeprefix("detector.")


# --------------------------------------------------------------------------- the file


def text_of(option: str, path: Path) -> str:
    """The text of the TOML file that an option names. Raises UsageError where there is none."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors put a mark before the text
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {path}: is no UTF-8, so it is no TOML") from error


def _table(path: Path, text: str, command: str) -> Mapping[str, Any]:
    from anoean_cli.commands import COMMANDS

    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: is no TOML: {error}") from error
    for name, value in tables.items():
        where = f"{path}{line_of(text, None, name)}"
        if name in COMMANDS and isinstance(value, list):
            raise UsageError(f"{where}: [[{name}]] is an array of tables; write [{name}]")
        if not isinstance(value, dict):
            raise UsageError(f"{where}: {name} stands in no table; write [{command}] above it")
        if name not in COMMANDS:
            raise UsageError(
                f"{where}: [{name}] is no command's table; the commands are: {', '.join(COMMANDS)}"
            )
    if command not in tables:
        has = ", ".join(f"[{name}]" for name in tables) or "nothing"
        raise UsageError(f"{path}: has no table [{command}]; it holds {has}")
    return tables[command]  # type: ignore[no-any-return]


def line_of(text: str, table: str | None, key: str) -> str:
    """``, line N`` for messages, or nothing where a key is written in an unusual way.

    Args:
        table: the one that the key stands in; None for keys of no table, and for tables.
    """
    name = rf"""["']?{re.escape(key)}["']?"""
    within: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line)
        if head:
            within = head[1]
            if within == (key if table is None else f"{table}.{key}"):
                return f", line {number}"
        elif within == table and re.match(rf"\s*{name}\s*[.=]", line):
            return f", line {number}"
    return ""


# --------------------------------------------------------------------------- keys and values


def _key_of(parameter: Any) -> str:
    """The long option without its dashes, or the argument's name."""
    options = [str(each[2:]) for each in parameter.opts if each.startswith("--")]
    return options[0] if options else str(parameter.name).replace("_", "-")


def _known(key: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"known are: {', '.join(known)}"


def _taken(where: str, context: Any, parameter: Any, value: Any) -> Any:
    """A value as the command line would have it, checked."""
    if parameter.name == SETTINGS and isinstance(value, dict):
        value = list(_pairs(where, value))
    is_list = getattr(parameter, "multiple", False) or parameter.nargs == -1
    if is_list != isinstance(value, list):
        wanted = "an array of values" if is_list else "one value"
        raise UsageError(f"{where} is {_shown(value)}; {wanted} is needed")
    for each in value if is_list else [value]:
        needed = _wanted(parameter, each)
        if needed is not None:
            raise UsageError(f"{where} is {_shown(each)}; {needed} is needed")
    if _is_text(parameter):
        value = [str(each) for each in value] if is_list else str(value)
    try:
        parameter.type_cast_value(context, value)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own errors have no public base class
            raise
        raise UsageError(f"{where}: {getattr(error, 'message', error)}") from error
    return value


def _wanted(parameter: Any, value: Any) -> str | None:
    """What a value should be that is of another type; None if all is well."""
    if isinstance(value, str) and "\0" in value:
        return "text without NUL characters"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if getattr(parameter, "is_flag", False):
        return None if isinstance(value, bool) else "true or false"
    if parameter.type.name.startswith("int"):
        return None if is_number and isinstance(value, int) else "a whole number"
    if is_number and not math.isfinite(value):
        return "a finite number"
    if parameter.type.name.startswith("float"):
        return None if is_number else "a number"
    return None if is_number or isinstance(value, str) else "text"


def _is_text(parameter: Any) -> bool:
    """Whether the value is text at a shell, though it may be written as a number in the file."""
    is_number = parameter.type.name.startswith(("int", "float"))
    return not is_number and not getattr(parameter, "is_flag", False)


def _pairs(where: str, settings: Mapping[str, Any], owner: str = "") -> Iterator[str]:
    """KEY=VALUE for each setting; those of a table within have its name before theirs."""
    for name, value in settings.items():
        if isinstance(value, dict) and not owner:
            yield from _pairs(where, value, f"{name}.")
        elif isinstance(value, bool | int | float | str):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{owner}{name}={text}"
        else:
            raise UsageError(f"{where}.{owner}{name} is {_shown(value)}; one value is needed")


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# --------------------------------------------------------------------------- writing one


def written(command: str, options: Mapping[str, Any]) -> str:
    """A command's options as TOML; those that are None are left out, for TOML has no such value."""
    from importlib.metadata import version

    import tomli_w

    table = {name: value for name, value in options.items() if value is not None}
    head = f"# anoean {version('anoean')}; anoean {command} --config FILE.toml repeats the run\n"
    return head + tomli_w.dumps({command: table})
