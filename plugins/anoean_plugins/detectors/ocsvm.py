"""One-class support vector machine with an RBF kernel.

Schölkopf, Williamson, Smola, Shawe-Taylor and Platt (2000), Support vector method for novelty
detection; section 4.1 of the paper for ν, and for γ, which is chosen on the selection rows by
AUC-PR: no other use is made of known anomalies. The preset ``contaminated`` is its second test:
known anomalies stand among the training rows as if they were normal, under a soft margin of 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.interfaces import Encoder, Fitted, FloatRows, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_plugins.scorers.rows import (
    at_most,
    best_by_auc_pr,
    flat,
    gammas,
    only_normals,
)

# The first is taken where there is nothing to choose by: scikit-learn's own.
GAMMAS = (1.0, 3.0, 10.0)  # times 1 / (features x variance)


@dataclass(frozen=True)
class OcSvmParameters:
    nu: float = parameter(1e-4, "bound on the share of training rows outside", low=1e-6, high=1)
    gamma: float | None = parameter(
        None,
        "of the kernel; none: 1, 3 or 10 / (features x variance) by the selection rows",
        low=1e-9,
        high=1e6,
    )
    inject_anomalies: bool = parameter(False, "train on known anomalies as if they were normal")
    max_rows: int = parameter(20_000, "most rows to learn from", low=2, high=200_000)
    inputs: str = parameter("quantile", INPUTS_HELP, choices=INPUTS)


class OcSvmDetector:
    name = "ocsvm"
    summary = "one-class SVM around the normals, RBF kernel"
    uses_anomalies = False
    uses_encoder = False
    Parameters = OcSvmParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "contaminated": {"nu": 0.1, "inject_anomalies": True},
    }

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: OcSvmParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Enclose the rows: (n, *shape) rows get log ρ minus the log of their kernel sum."""
        from anoean_cli.training.export import onnx_graph
        from anoean_plugins.scorers.modules import LogKernelSum

        kept = train if parameters.inject_anomalies else only_normals(train)
        rows = flat(at_most(kept, parameters.max_rows, rng, monitor).examples)
        model = best_by_auc_pr(
            _candidates(rows, parameters),
            lambda model, rows: -model.score_samples(rows),
            selection,
        )
        module = LogKernelSum(
            rows[model.support_], model.dual_coef_[0], float(model.offset_[0]), model.gamma
        )
        graph = onnx_graph(module, train.examples.shape[1:], output="score")
        metadata = {"support_vectors": len(model.support_), "gamma": model.gamma}
        return Fitted(graph=graph, output="score", metadata=metadata)


def _candidates(rows: FloatRows, parameters: OcSvmParameters) -> Iterator[Any]:
    """A fitted OneClassSVM for each γ."""
    from sklearn.svm import OneClassSVM

    for gamma in gammas(GAMMAS, parameters.gamma, rows):
        yield OneClassSVM(nu=parameters.nu, gamma=gamma).fit(rows)
