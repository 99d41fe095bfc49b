"""Class-weighted support vector machine with an RBF kernel.

Cortes and Vapnik (1995), Support-vector networks; Veropoulos, Campbell and Cristianini (1999),
Controlling the sensitivity of support vector machines, for the classes' weights, as section 4.1
of the paper has them. C and γ are chosen on the selection rows by AUC-PR.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.interfaces import Encoder, Fitted, FloatRows, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_plugins.scorers.rows import (
    at_most,
    best_by_auc_pr,
    flat,
    gammas,
    of_both_classes,
)

# The first of each is taken where there is nothing to choose by, or where the figures tie.
COSTS = (10.0, 1.0, 100.0)
GAMMAS = (0.3, 0.1, 1.0, 3.0)  # times 1 / (features x variance)
CACHE_MEGABYTES = 500


@dataclass(frozen=True)
class SvmParameters:
    C: float | None = parameter(
        None, "cost of errors; none: 1, 10 or 100 by the selection rows", low=1e-6, high=1e9
    )
    gamma: float | None = parameter(
        None,
        "of the kernel; none: 0.1, 0.3, 1 or 3 / (features x variance) by the selection rows",
        low=1e-9,
        high=1e6,
    )
    max_rows: int = parameter(20_000, "most rows to learn from", low=2, high=200_000)
    inputs: str = parameter("quantile", INPUTS_HELP, choices=INPUTS)


class SvmDetector:
    name = "svm"
    summary = "class-weighted SVM on known anomalies, RBF kernel"
    uses_anomalies = True
    uses_encoder = False
    Parameters = SvmParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: SvmParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Try each C and γ: (n, *shape) rows get the best one's decision function.

        Raises:
            DataError: no training anomalies.
        """
        from anoean_cli.training.export import onnx_graph
        from anoean_plugins.scorers.modules import KernelSum

        train = at_most(of_both_classes(train, self.name), parameters.max_rows, rng, monitor)
        rows = flat(train.examples)
        model = best_by_auc_pr(
            _candidates(rows, train.is_anomaly, parameters),
            lambda model, rows: model.decision_function(rows),
            selection,
        )
        module = KernelSum(
            rows[model.support_], model.dual_coef_[0], float(model.intercept_[0]), model.gamma
        )
        graph = onnx_graph(module, train.examples.shape[1:], output="score")
        metadata = {"C": model.C, "gamma": model.gamma, "support_vectors": len(model.support_)}
        return Fitted(graph=graph, output="score", metadata=metadata)


def _candidates(
    rows: FloatRows, is_anomaly: NDArray[np.bool_], parameters: SvmParameters
) -> Iterator[Any]:
    """A fitted SVC for each C and γ."""
    from sklearn.svm import SVC

    for gamma in gammas(GAMMAS, parameters.gamma, rows):
        for cost in COSTS if parameters.C is None else (parameters.C,):
            model = SVC(C=cost, gamma=gamma, class_weight="balanced", cache_size=CACHE_MEGABYTES)
            yield model.fit(rows, is_anomaly)
