"""The figures of a model on labelled rows."""

from types import SimpleNamespace

import numpy as np

from anoean_cli.evaluation.run import Labelled, figures

MODEL = SimpleNamespace(calibration=SimpleNamespace(threshold=2.0), config={"seen_types": ["leak"]})


def test_figures_with_duplicates_count_every_copy():
    scores = np.array([1.0, 1.5, 3.0, 4.0])
    types = np.array(["ok", "ok", "leak", "burst"])
    labelled = Labelled(scores, types != "ok", types, np.array([2, 3, 5, 7]))
    found = figures(MODEL, labelled)
    assert (found["n_normals"], found["n_anomalies"]) == (2, 2)
    repeated = found["with_duplicates"]
    assert (repeated["n_normals"], repeated["n_anomalies"]) == (5, 12)
    single = Labelled(scores, types != "ok", types, np.ones(4, np.int64))
    assert "with_duplicates" not in figures(MODEL, single)
