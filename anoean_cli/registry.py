"""Names to plugins, through entry points.

Listing imports nothing; asking for a name imports that plugin's module only. Whatever fails
(an import, the contract, a name registered twice) is contained: it concerns that name alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias

from anoean_cli import parameters
from anoean_cli.errors import PluginError, in_one_line
from anoean_cli.interfaces import DatasetPlugin, DetectorPlugin, EncoderPlugin

Role: TypeAlias = Literal["datasets", "encoders", "detectors"]

CONTRACTS: dict[Role, type] = {
    "datasets": DatasetPlugin,
    "encoders": EncoderPlugin,
    "detectors": DetectorPlugin,
}


@dataclass(frozen=True)
class Registration:
    """One entry point, not yet imported."""

    role: Role
    name: str
    target: str
    distribution: str


def names(role: Role) -> list[str]:
    """Return the registered names of one role, sorted, without importing anything."""
    return sorted(_entries(role))


def registrations(role: Role) -> list[Registration]:
    """Return every entry point of one role, those of a name registered twice included."""
    return [
        Registration(role, entry.name, entry.value, _distribution(entry))
        for name in names(role)
        for entry in _entries(role)[name]
    ]


def get(role: Role, name: str) -> Any:
    """Import and return the plugin of that name.

    Raises:
        PluginError: no such name, registered twice, not importable, or not fulfilling the
            contract of its role.
    """
    found = _entries(role).get(name)
    kind = role.removesuffix("s")
    if not found:
        known = ", ".join(names(role)) or "none"
        nor_file = " and no file" if role == "datasets" else ""  # what --dataset takes as well
        raise PluginError(f"no {kind} plugin{nor_file} is called {name!r}; there are: {known}")
    if len(found) > 1:
        owners = ", ".join(sorted(_distribution(entry) for entry in found))
        raise PluginError(
            f"{kind} plugin {name!r} is registered twice (by {owners}); uninstall one of them"
        )
    return _load(role, found[0])


def distribution(role: Role, name: str) -> str:
    """Return name and version of the distribution that registers the plugin of that name."""
    found = _entries(role).get(name, [])
    return ", ".join(f"{_distribution(e)} {e.dist.version if e.dist else ''}" for e in found)


def _load(role: Role, entry: EntryPoint) -> Any:
    where = f"{role.removesuffix('s')} plugin {entry.name!r} of {_distribution(entry)}"
    # SystemExit as well: a plugin that exits on import must not end the tool without a word.
    try:
        loaded = entry.load()
        plugin = loaded() if inspect.isclass(loaded) else loaded
        breaches = _breaches(role, entry.name, plugin)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{where} cannot be loaded: {in_one_line(error)}; mend or uninstall that distribution"
        ) from error
    if breaches:
        raise PluginError(f"{where} breaks its contract: {'; '.join(breaches)}")
    return plugin


def _breaches(role: Role, name: str, plugin: Any) -> list[str]:
    """What a plugin lacks of its contract, as far as that shows before it is used."""
    contract = CONTRACTS[role]
    methods = {name for name, _ in inspect.getmembers(contract, inspect.isfunction)}
    wanted = {each for each in methods | set(contract.__annotations__) if not each.startswith("_")}
    missing = sorted(each for each in wanted if not hasattr(plugin, each))
    if missing:
        return [f"it lacks {', '.join(missing)}"]
    found = [
        f"its {each} is not a method"
        for each in sorted(methods & wanted)
        if not callable(getattr(plugin, each))
    ]
    if plugin.name != name:
        found.append(f"it calls itself {plugin.name!r}, its entry point {name!r}")
    if not isinstance(plugin.summary, str) or not plugin.summary.strip():
        found.append(f"its summary is {plugin.summary!r}; a line of text is needed")
    presets = getattr(plugin, "presets", {})
    if "Parameters" in wanted:
        found += parameters.breaches(plugin.Parameters, presets)
    if getattr(plugin, "needs_plugin", False) and not callable(getattr(plugin, "restore", None)):
        found.append("it needs its plugin for scoring, but has no method restore")
    if "presets" in wanted and isinstance(presets, Mapping) and "default" not in presets:
        found.append("it has no preset 'default'")
    return found


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"


@cache
def _entries(role: Role) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=f"anoean.{role}"):
        same = found.setdefault(entry.name, [])
        # An editable install and its source folder may list one entry point twice.
        if not any(
            entry.value == other.value and _distribution(entry) == _distribution(other)
            for other in same
        ):
            same.append(entry)
    return found
