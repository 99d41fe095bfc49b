"""The state of an unfinished training run, beside the model it will become."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from anoean_cli.errors import FileFormatError, with_remedy
from anoean_cli.storage import hdf5
from anoean_cli.storage.atomic import replacing
from anoean_cli.storage.values import Json

FORMAT = "anoean-checkpoint"
VERSION = 1


class Checkpoint:
    """A file that holds one run's state beside the configuration that it is of."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def beside(cls, model: Path) -> Checkpoint:
        """The checkpoint of the training that is to write this model."""
        return cls(Path(f"{model}.checkpoint"))

    def load(self) -> tuple[Mapping[str, Any], dict[str, NDArray[Any]]] | None:
        """Return the configuration and the state, or None where there is no file.

        Raises:
            FileFormatError: the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            content = hdf5.read(self.path, format=FORMAT, version=VERSION)
        except FileFormatError as error:
            raise with_remedy(error, "delete it, or leave --resume out, to train anew") from error
        state = {
            name.removeprefix("state/"): value
            for name, value in content.values.items()
            if name.startswith("state/")
        }
        return content.values["config"], state

    def save(self, config: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> None:
        """Replace the file. Raises OutputError where it cannot be written."""
        values: dict[str, hdf5.Value] = {"config": Json(dict(config))}
        values |= {f"state/{name}": value for name, value in state.items()}
        with replacing(self.path, overwrite=True) as temporary:
            hdf5.write(temporary, format=FORMAT, version=VERSION, values=values)

    def remove(self) -> None:
        """Delete it, if there is one."""
        if self.path.exists():
            os.unlink(self.path)
