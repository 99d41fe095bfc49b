"""Which files a command is about to write: what must not be is refused before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from anoean_cli.errors import UsageError
from anoean_cli.storage.atomic import check_writable
from anoean_cli.storage.remote import address_of


def check_outputs(
    outputs: Mapping[str, Path | None],
    inputs: Sequence[tuple[str, str | Path]],
    force: bool | Mapping[str, bool],
) -> None:
    """Check all outputs of a command.

    Args:
        outputs: the files by the options that name them.
        inputs: what the command reads, as it is called in messages, and where; what is no file
            counts for nothing.
        force: whether existing outputs may be replaced, or that of each option. Inputs never are.

    Raises:
        UsageError: a file is to be written twice, read and written, or to go to stdout.
        OutputError: an output exists, or could not be written.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    taken = {os.path.realpath(path): name for name, path in inputs if os.path.isfile(path)}
    for option, path in given.items():
        if str(path) == "-":
            raise UsageError(f"{option} -: this needs a file, which stdout is not")
        if address := address_of(path):
            raise UsageError(
                f"{option} {address}: this needs a file of this machine; only score's --out goes "
                "to a store"
            )
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option:
            raise UsageError(f"{option} {path}: that file is {other} too; write elsewhere")
    for option, path in given.items():
        check_writable(path, force=force if isinstance(force, bool) else force[option])
