"""The two-dimensional example of Fig. 3 of the paper, drawn afresh for every seed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from anoean_cli.errors import DatasetUnavailableError
from anoean_cli.interfaces import Apportionment, Dataset, LoadRequest

NORMALS = 1000
ANOMALIES = 20  # of each type
SPREAD = 0.5
# Scattered around the normals, of which hardly any lies further than 3.5 from the origin.
CENTRES = {
    "a1": (5.0, 1.5),
    "a2": (0.5, 5.5),
    "a3": (-5.0, 3.0),
    "a4": (-3.5, -4.0),
    "a5": (3.0, -5.0),
}


class Toy:
    """Normals from N(0, I), anomalies from five narrow Gaussians around them."""

    name: ClassVar[str] = "toy"
    summary: ClassVar[str] = "1,000 normals and 100 anomalies in the plane, generated"

    def load(self, request: LoadRequest) -> Dataset:
        """Generate the rows from ``request.seed``: columns x and y.

        The protocol trains on 500 normals and 50 anomalies, as the figure does; the other 50
        anomalies make 20 % of the test rows.

        Raises:
            DatasetUnavailableError: the source is a path or a URL.
        """
        import pyarrow as pa

        if request.source not in ("auto", "full", "sample"):
            raise DatasetUnavailableError(
                f"toy is generated and cannot be read from {request.source}; leave out --source"
            )
        rng = np.random.default_rng(request.seed)
        clusters = [rng.normal(centre, SPREAD, (ANOMALIES, 2)) for centre in CENTRES.values()]
        points = np.concatenate([rng.normal(size=(NORMALS, 2)), *clusters])
        return Dataset(
            name=self.name,
            examples=pa.table({"x": points[:, 0], "y": points[:, 1]}),
            labels=np.repeat(["normal", *CENTRES], [NORMALS, *[ANOMALIES] * len(CENTRES)]),
            provenance={
                "source": "generated",
                "files": {},
                "sample": False,
                "rows": len(points),
                "licence": "none needed",
                "seed": request.seed,
            },
            normal=("normal",),
            apportionment=Apportionment(train_size=500, test_size=250, anomaly_fraction=0.1),
            columns=("x", "y", "label"),
            label_column="label",
        )
