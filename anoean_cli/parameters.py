"""Plugin parameters: dataclasses whose fields carry a help text and a range.

``--set KEY=VALUE``, ``anoean plugins`` and the documentation are all made from these fields.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from anoean_cli.errors import SettingError, UsageError

KINDS = (bool, int, float, str)


def parameter(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Declare a field of a ``Parameters`` dataclass; ``low`` and ``high`` are inclusive."""
    return dataclasses.field(
        default=default,
        metadata={"help": help, "low": low, "high": high, "choices": choices},
    )


def build(owner: str, cls: type, settings: Mapping[str, Any]) -> Any:
    """Return ``cls(**settings)`` with text converted and every range checked.

    Args:
        owner: who the parameters belong to, for messages (``"encoder conv"``).
        settings: values by field name; text is converted to the field's type.

    Raises:
        SettingError: an unknown name, a value of the wrong type or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    kinds = typing.get_type_hints(cls)
    values = {}
    for name, value in settings.items():
        if name not in fields:
            raise SettingError(
                f"{owner} has no parameter {name!r}; it has: {', '.join(fields) or 'none'}", name
            )
        values[name] = _checked(owner, fields[name], kinds[name], value)
    return cls(**values)


def positive(text: str) -> int | None:
    """The whole number from 1 that a text stands for, or None."""
    try:
        number = int(text)  # str.isdigit would take ², which int refuses
    except ValueError:
        return None
    return number if number >= 1 else None


def describe(cls: type) -> list[dict[str, Any]]:
    """Return name, type, default, range, choices and help of each field, as JSON."""
    kinds = typing.get_type_hints(cls)
    return [
        {
            "name": field.name,
            "type": _type_name(kinds[field.name]),
            "default": field.default,
            **{key: value for key, value in field.metadata.items() if value is not None},
        }
        for field in dataclasses.fields(cls)
    ]


def is_json(value: object) -> bool:
    """Whether our files and outputs can hold a value as JSON, in which NaN and ∞ are none."""
    try:
        json.dumps(value, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def breaches(cls: Any, presets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What keeps a plugin's ``Parameters`` and presets from being used, a line each."""
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return ["its Parameters is not a dataclass"]
    if not isinstance(presets, Mapping) or not all(
        isinstance(settings, Mapping) for settings in presets.values()
    ):
        return ["its presets is no mapping of names to settings"]
    kinds = typing.get_type_hints(cls)
    found = []
    for field, described in zip(dataclasses.fields(cls), describe(cls), strict=True):
        if field.default is dataclasses.MISSING:
            found.append(f"its parameter {field.name} has no default")
        elif not is_json(described):
            found.append(f"its parameter {field.name} has a default or a range that is no JSON")
        if not _is_supported(kinds[field.name]):
            names = ", ".join(kind.__name__ for kind in KINDS)
            found.append(
                f"its parameter {field.name} is of type {_type_name(kinds[field.name])}; "
                f"one of {names}, or one of them and None, is needed"
            )
    if found:
        return found
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    for name, settings in ({"default": defaults} | dict(presets)).items():
        try:
            build(f"its preset {name}", cls, {**defaults, **settings})
        except UsageError as error:
            found.append(str(error))
        if not is_json(dict(settings)):
            found.append(f"its preset {name} is no JSON")
    return found


def _checked(owner: str, field: dataclasses.Field[Any], kind: Any, value: Any) -> Any:
    value = _converted(owner, field.name, kind, value)
    low, high = field.metadata.get("low"), field.metadata.get("high")
    choices = field.metadata.get("choices")
    if value is None:
        return None
    if choices is not None and value not in choices:
        message = f"{owner}: {field.name} is {value!r}; choose from {', '.join(choices)}"
        raise SettingError(message, field.name)
    # Written so that NaN, which compares false with everything, is refused as well.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = f"{'-∞' if low is None else low} to {'∞' if high is None else high}"
        raise SettingError(f"{owner}: {field.name} is {value!r}; the range is {bounds}", field.name)
    return value


def _converted(owner: str, name: str, kind: Any, value: Any) -> Any:
    options = _options(kind)
    if type(None) in options and (value is None or value in ("none", "auto")):
        return None
    target = next(option for option in options if option is not type(None))
    try:
        if value is None:
            raise ValueError
        if target is bool:
            return _as_bool(value)
        if target is int and isinstance(value, float) and value != int(value):
            raise ValueError
        return target(value)
    except (TypeError, ValueError, OverflowError):
        raise SettingError(
            f"{owner}: {name} is {value!r}; a value of type {_type_name(kind)} is needed", name
        ) from None


def _is_supported(kind: Any) -> bool:
    options = [option for option in _options(kind) if option is not type(None)]
    return len(options) == 1 and options[0] in KINDS


def _options(kind: Any) -> tuple[Any, ...]:
    """int | None → (int, NoneType), in either way of writing it; int → (int,)."""
    is_union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return typing.get_args(kind) if is_union else (kind,)


def _as_bool(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    text = str(value).lower()
    if text not in words:
        raise ValueError
    return words[text]


def _type_name(kind: Any) -> str:
    names = [getattr(option, "__name__", str(option)) for option in _options(kind)]
    return " | ".join(names).replace("NoneType", "None")
