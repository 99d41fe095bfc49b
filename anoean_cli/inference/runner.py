"""Runs a graph, or a plugin that scores by itself, on rows in blocks of one fixed size.

ONNX Runtime's results differ in the last bits between batch sizes. With every block padded to
the same size, and one thread a session, a row's result depends on that row alone.

A few bytes of a graph can ask for any amount of memory: by sizes that operators take from values
(Expand, Tile, Range, Pad, ...), by attributes, by broadcasting. So what its tensors take together
is bounded where ONNX Runtime allocates them: to a gibibyte, and what a block of rows may take
against all that the file holds, as the distances to k neighbours do. Time is bounded only by how
many operators a file holds, each on tensors of no more than that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anoean_cli.errors import FileFormatError, PluginError, blaming, reason_of
from anoean_cli.examples import ExampleSpec, FloatRows, State
from anoean_cli.inference.guard import check_graph

BLOCK = {"image": 64, "table": 256}  # larger ones are no faster, and one row costs a block
PLUGIN_BLOCK = 64
MEMORY = 2**30
# Before ONNX Runtime is imported: newer builds keep an identifier and a log of their use in
# the home folder, and send them out. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
Runner: TypeAlias = Callable[[FloatRows], NDArray[np.float32]]


class GraphRunner:
    """A checked graph, ready to run. One instance serves any number of threads.

    Args:
        graph: ONNX model bytes.
        spec: what one row looks like.
        jobs: how many threads run it at once.

    Raises:
        FileFormatError: the graph is damaged, not plain, or does not take such rows.
    """

    def __init__(self, graph: bytes, spec: ExampleSpec, jobs: int = 1) -> None:
        check_graph(graph)
        self.block = BLOCK[spec.kind]
        self.shape = spec.shape
        self._memory = MEMORY + self.block * len(graph)
        self._session = session(graph, jobs * self._memory)
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
        return _in_blocks(self._run, rows, self.block)

    def _run(self, block: FloatRows) -> NDArray[np.float32]:
        try:
            (result,) = self._session.run(None, {self._input: block})
        except Exception as error:
            reason = reason_of(error)
            raise FileFormatError(
                f"the graph cannot be run in {self._memory >> 20:,} MiB: {reason}"
            ) from error
        array: NDArray[np.float32] = np.asarray(result)
        if array.ndim not in (1, 2) or len(array) != self.block:
            raise FileFormatError(f"the graph gives shape {array.shape} for {self.block} rows")
        return array


class PluginRunner:
    """A detector plugin restored from its arrays, where a model has no graph.

    Args:
        detector: its name, looked up among those registered.
        arrays: as the plugin's ``fit`` gave them.
        spec: what one row looks like.

    Raises:
        FileFormatError: no such detector is installed, or it scores by a graph.
        PluginError: the plugin fails.
    """

    def __init__(self, detector: str, arrays: State, spec: ExampleSpec) -> None:
        from anoean_cli import registry  # only here: most models need none

        if detector not in registry.names("detectors"):
            raise FileFormatError(
                f"it scores by a detector plugin {detector[:100]!r}, which is not installed: "
                "install that if you trust it"
            )
        plugin = registry.get("detectors", detector)
        if not getattr(plugin, "needs_plugin", False):
            raise FileFormatError(f"the graph is missing, by which the detector {detector} scores")
        self._blame = f"detector plugin {detector!r}"
        self._alone = threading.Lock()  # nobody asks of a plugin that several threads may use it
        with blaming(self._blame):
            self._score = plugin.restore(arrays, spec)

    def __call__(self, rows: FloatRows) -> NDArray[np.float32]:
        """(n, *shape) float32 → (n,)."""
        return _in_blocks(self._run, rows, PLUGIN_BLOCK)

    def _run(self, block: FloatRows) -> NDArray[np.float32]:
        with self._alone, blaming(self._blame):
            scores = np.asarray(self._score(block), np.float32)
        if scores.shape != (len(block),):
            raise PluginError(
                f"{self._blame} gives scores of shape {scores.shape} for {len(block)} rows"
            )
        return scores


def _in_blocks(run: Runner, rows: FloatRows, block: int) -> NDArray[np.float32]:
    if len(rows) == 0:
        return _in_blocks(run, np.zeros((1, *rows.shape[1:]), np.float32), block)[:0]
    parts = []
    for at in range(0, len(rows), block):
        part = rows[at : at + block]
        parts.append(run(_padded(part, block))[: len(part)])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _padded(part: FloatRows, block: int) -> FloatRows:
    if len(part) == block:
        return np.ascontiguousarray(part)
    whole = np.zeros((block, *part.shape[1:]), np.float32)
    whole[: len(part)] = part
    return whole


def session(graph: bytes, memory: int) -> Any:
    """Return the graph loaded by ONNX Runtime, with one thread and so many bytes for tensors.

    Raises:
        FileFormatError: it cannot be loaded.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.use_env_allocators", "1")
    _bound_memory(memory)
    try:
        return ort.InferenceSession(
            graph,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["ConstantFolding"],  # what it computes is kept out of bounds
        )
    except Exception as error:
        reason = reason_of(error)
        raise FileFormatError(f"the graph cannot be loaded: {reason}") from error


def _bound_memory(memory: int) -> None:
    """Give the next session an arena of no more than so many bytes.

    Older versions of ONNX Runtime, as 1.20, keep the first one that a process registers.
    """
    import onnxruntime as ort

    cpu = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    as_requested = {"max_mem": memory, "arena_extend_strategy": 1}
    with suppress(RuntimeError):
        ort.create_and_register_allocator(cpu, ort.OrtArenaCfg(as_requested))
