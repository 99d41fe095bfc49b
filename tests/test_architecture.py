"""Arrows between rooms point one way, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text()
ROWS = re.findall(r"^\| (`[^|]*`) \|", PAGE, re.M)
LEVELS = {
    room.removesuffix(".py").removesuffix("/"): -at
    for at, row in enumerate(ROWS)
    for room in re.findall(r"`([^`]*)`", row)
}
CORE = sorted((ROOT / "anoean_cli").rglob("*.py"))
ENTRANCES = {"__init__", "__main__"}  # which stand above all rooms


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, those of ``from package import module`` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            within = node.module == "anoean_cli"
            yield from (f"{node.module}.{name.name}" for name in node.names if within)
            yield node.module


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "anoean_cli").parts[0].removesuffix(".py")


def test_the_page_knows_every_room() -> None:
    assert {room_of(path) for path in CORE} - ENTRANCES == set(LEVELS)


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_is_below_it(path: Path) -> None:
    own = room_of(path)
    for module in imported(path):
        assert not module.startswith("anoean_plugins"), module
        _, _, rest = module.partition("anoean_cli.")
        other = rest.partition(".")[0]
        if own in ENTRANCES or other not in LEVELS or other == own:
            continue
        assert LEVELS[other] < LEVELS[own], f"{own} imports {module}"


def test_the_page_names_what_there_is() -> None:
    core = ROOT / "anoean_cli"
    within = [place for place in core.rglob("*") if place.is_dir()]
    folders = [ROOT, ROOT / "plugins/anoean_plugins", core, *within]
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", PAGE):
        assert any((folder / name).exists() for folder in folders), name
