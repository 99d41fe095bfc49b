"""The batches of a table, parsed one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anoean_cli.data.readers import Batch, unread


def stream_table(*args: Any) -> Iterator[Batch]:
    """What `unread` yields, parsed."""
    return (batch for part in unread(*args) if (batch := part()) is not None)
