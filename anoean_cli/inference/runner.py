"""Runs a graph on rows, in blocks of one fixed size.

ONNX Runtime's results differ in the last bits between batch sizes. With every block padded to
the same size, and one thread a session, a row's result depends on that row alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.errors import FileFormatError
from anoean_cli.inference.guard import check_graph
from anoean_cli.interfaces import ExampleSpec, FloatRows

BLOCK = {"image": 64, "table": 1024}


class GraphRunner:
    """A checked graph, ready to run. One instance serves any number of threads.

    Args:
        graph: ONNX model bytes.
        spec: what one row looks like.

    Raises:
        FileFormatError: the graph is damaged, not plain, or does not take such rows.
    """

    def __init__(self, graph: bytes, spec: ExampleSpec) -> None:
        check_graph(graph)
        self.block = BLOCK[spec.kind]
        self.shape = spec.shape
        self._session = _session(graph)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(self._session.get_outputs()) != 1:
            raise FileFormatError("the graph must have one input and one output")
        kind = self._session.get_outputs()[0].type
        if kind not in ("tensor(float)", "tensor(double)"):
            raise FileFormatError(f"the graph gives {kind}, not numbers")
        self._input = inputs[0].name
        if inputs[0].type != "tensor(float)" or tuple(inputs[0].shape[1:]) != self.shape:
            raise FileFormatError(
                f"the graph takes {inputs[0].type} of shape {inputs[0].shape}, "
                f"but the preprocessing gives float rows of shape {self.shape}"
            )

    def __call__(self, rows: FloatRows) -> NDArray[np.float32]:
        """(n, *shape) float32 → (n, k) or (n,) as the graph gives it."""
        if len(rows) == 0:
            return self(np.zeros((1, *self.shape), np.float32))[:0]
        parts = []
        for at in range(0, len(rows), self.block):
            part = rows[at : at + self.block]
            parts.append(self._run(_padded(part, self.block))[: len(part)])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, block: FloatRows) -> NDArray[np.float32]:
        try:
            (result,) = self._session.run(None, {self._input: block})
        except Exception as error:
            raise FileFormatError(f"the graph cannot be run: {error}") from error
        array: NDArray[np.float32] = np.asarray(result)
        if array.ndim not in (1, 2) or len(array) != self.block:
            raise FileFormatError(f"the graph gives shape {array.shape} for {self.block} rows")
        return array


def _padded(part: FloatRows, block: int) -> FloatRows:
    if len(part) == block:
        return np.ascontiguousarray(part)
    whole = np.zeros((block, *part.shape[1:]), np.float32)
    whole[: len(part)] = part
    return whole


def _session(graph: bytes) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise FileFormatError(f"the graph cannot be loaded: {error}") from error
