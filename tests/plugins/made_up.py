"""Data sets that tests of detectors make up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anoean_cli.interfaces import Apportionment, Dataset


def dataset(examples: Any, is_anomaly: NDArray[np.bool_], test_size: float) -> Dataset:
    """The examples, a table or an array of images, labelled good or bad; good is normal."""
    return Dataset(
        name="made-up",
        examples=examples,
        labels=np.where(is_anomaly, "bad", "good"),
        provenance={"files": {}},
        normal=("good",),
        apportionment=Apportionment(test_size=test_size),
        columns=tuple(examples.column_names) if isinstance(examples, pa.Table) else (),
    )
