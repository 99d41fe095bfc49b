"""JSON of a file against type hints: checked once, where it is read, so that users need no checks.

A ``TypedDict`` names keys of an object, which may have others; a dataclass names all that there
may be, those with a default may be missing. ``list``, ``tuple``, ``dict``, ``Literal``, unions,
``Any`` and plain types say what they say in Python; JSON's lists stand for tuples.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Sequence
from typing import Any

from anoean_cli.errors import FileFormatError

NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "a truth value",
    types.NoneType: "null",
}


def check_json(value: Any, hint: Any, name: str) -> None:
    """Raise FileFormatError, which names the part, unless a value is what the hint says."""
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if typing.is_typeddict(hint):
        _check_keys(value, hint, name, hint.__required_keys__)
    elif dataclasses.is_dataclass(hint):
        needed = [f.name for f in dataclasses.fields(hint) if f.default is dataclasses.MISSING]
        _check_keys(value, hint, name, needed)
        _expect(value.keys() <= typing.get_type_hints(hint).keys(), name, "free of other keys")
    elif kind in (list, tuple):
        _expect(isinstance(value, list), name, "a list")
        if kind is list and args[0] in NAMES and all(type(item) is args[0] for item in value):
            return  # thousands of labels need no names of their own
        each = [args[0]] * len(value) if kind is list or args[-1] is Ellipsis else list(args)
        _expect(len(value) == len(each), name, f"a list of {len(each)}")
        for at, (item, item_hint) in enumerate(zip(value, each, strict=True)):
            check_json(item, item_hint, f"{name}[{at}]")
    elif kind is dict:
        _expect(isinstance(value, dict), name, "an object")
        for key, item in value.items():
            check_json(item, args[1], f"{name}.{key}")
    elif kind in (typing.Union, types.UnionType):
        _check_any(value, args, name)
    elif kind is typing.Literal:
        _expect(value in args, name, f"one of {', '.join(map(str, args))}")
    elif hint is not Any:
        wanted = (int, float) if hint is float else (hint,)  # and a bool is no int here
        _expect(type(value) in wanted, name, NAMES[hint])


def _check_keys(value: Any, hint: Any, name: str, needed: Collection[str]) -> None:
    _expect(isinstance(value, dict), name, "an object")
    for key, key_hint in typing.get_type_hints(hint).items():
        if key in value:
            check_json(value[key], key_hint, f"{name}.{key}")
        else:
            _expect(key not in needed, f"{name}.{key}", "there")


def _check_any(value: Any, hints: Sequence[Any], name: str) -> None:
    """Where no hint fits, the first one's failure is told: put that which names most first."""
    failures = []
    for hint in hints:
        try:
            return check_json(value, hint, name)
        except FileFormatError as error:
            failures.append(error)
    raise failures[0]


def _expect(fulfilled: bool, name: str, wanted: str) -> None:
    if not fulfilled:
        raise FileFormatError(f"its {name} is not {wanted}")
