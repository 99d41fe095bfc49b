"""From what a template needs to one self-contained file: no network, no script of others."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from anoean_cli.errors import UsageError
from anoean_cli.storage.atomic import write_whole

LONGEST = 120
# HTML has no place for them, and some turn the text around them about.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef"
    "\ufeff\ufffe\uffff\ud800-\udfff]"
)


def check_available() -> None:
    """Raises UsageError where what makes pages is not installed."""
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise UsageError("--report needs jinja2: pip install 'anoean[report]'") from None


def write_page(path: Path, template: str, content: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a page, whole or not at all.

    Raises:
        OutputError: the file exists and ``overwrite`` is false, or it cannot be written.
    """
    write_whole(path, render(template, content), overwrite=overwrite)


def render(template: str, content: Mapping[str, Any]) -> str:
    """Fill in a template. All text in ``content`` is taken as hostile: it is escaped, and rid of
    characters that no page may hold."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("anoean_cli.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _template("threshold.js")
    return environment.get_template(template).render(
        **content,
        style=_safe(_template("style.css")),
        style_hash=_hash(_template("style.css")),
        script=_safe(script),
        script_hash=_hash(script),
    )


def shown(value: Any) -> Any:
    """Text as a page may show it; anything else as it is."""
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _UNPRINTABLE.sub("\ufffd", value)


def short(text: str, most: int = LONGEST) -> str:
    """Text of the data, which may be as long as it likes, cut to a length that can be read."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _template(name: str) -> str:
    folder = files("anoean_cli.evaluation.report") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _hash(text: str) -> str:
    """What the page's policy allows to run: this script, and nothing that got in otherwise."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
