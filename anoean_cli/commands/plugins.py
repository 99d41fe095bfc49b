"""``anoean plugins``: what is registered, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anoean_cli.commands.options import AsJson
from anoean_cli.console import Console

if TYPE_CHECKING:
    from anoean_cli.registry import Registration


def run(console: Console, json: AsJson = False) -> None:
    """Show the registered plugins, their parameters, and what failed to load and why."""
    from anoean_cli import registry

    found = [
        _described(registration)
        for role in registry.CONTRACTS
        for registration in registry.registrations(role)
    ]
    if json:
        console.json(found)
        return
    console.table(
        ["kind", "name", "from", "what", "parameters"],
        [
            [
                entry["kind"],
                entry["name"],
                entry["distribution"],
                f"FAILED: {entry['error']}" if "error" in entry else entry["summary"],
                " ".join(
                    f"{p['name']}={_shown(p['default'])}" for p in entry.get("parameters", ())
                ),
            ]
            for entry in found
        ],
    )


def _described(registration: Registration) -> dict[str, Any]:
    from anoean_cli import parameters, registry
    from anoean_cli.errors import PluginError

    entry: dict[str, Any] = {
        "kind": registration.role.removesuffix("s"),
        "name": registration.name,
        "distribution": registration.distribution,
        "target": registration.target,
    }
    try:
        plugin = registry.get(registration.role, registration.name)
    except PluginError as error:
        return {**entry, "error": str(error)}
    entry["summary"] = plugin.summary
    if registration.role != "datasets":
        entry["parameters"] = parameters.describe(plugin.Parameters)
        presets = getattr(plugin, "presets", {})  # encoders need not have any
        entry["presets"] = {name: dict(values) for name, values in presets.items()}
    return entry


def _shown(default: object) -> str:
    """A default as --set takes it."""
    return "none" if default is None else str(default)
