"""The model file: which values it holds under which names, and how it is replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from anoean_cli.storage import hdf5
from anoean_cli.storage.atomic import reading_back, replacing

FORMAT = "anoean-model"
VERSION = 1
# Wall times differ between equal runs, so the digest leaves them out.
VOLATILE = ("history/seconds", "timing")


def save_model(
    path: Path,
    values: Mapping[str, hdf5.Value],
    *,
    overwrite: bool,
    check: Callable[[hdf5.Content], object],
) -> str:
    """Write a whole model file, read it back, and put it in place; returns its digest.

    Args:
        check: called with what was read; what it raises keeps the file from appearing.

    Raises:
        OutputError: the file exists and ``overwrite`` is false, or it cannot be written.
    """
    with replacing(path, overwrite=overwrite) as temporary:
        digest = hdf5.write(
            temporary, format=FORMAT, version=VERSION, values=values, volatile=VOLATILE
        )
        with reading_back(path):
            content = read_model(temporary)
        check(content)
    return digest


def read_model(path: Path) -> hdf5.Content:
    """Read and check a model file.

    Raises:
        FileFormatError: not a model, damaged, or of a newer version.
    """
    return hdf5.read(path, format=FORMAT, version=VERSION, volatile=VOLATILE)
