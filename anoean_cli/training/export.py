"""From a trained torch module to the ONNX graph that scoring runs."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import onnx
import torch

from anoean_cli.errors import PluginError
from anoean_cli.examples import State


def onnx_graph(
    module: torch.nn.Module,
    shape: tuple[int, ...],
    output: str,
    beside: tuple[str, ...] = (),
) -> bytes:
    """Return the ONNX model of a module that maps (n, *shape) float32 to (n, k) or (n,).

    Args:
        output: what its output is called.
        beside: what further inputs of the module are called, of (n, 1) float32 each.

    Raises:
        PluginError: the module uses what ONNX's standard operators cannot express.
    """
    examples = {"rows": torch.zeros(2, *shape), **{name: torch.zeros(2, 1) for name in beside}}
    module = module.cpu().eval()
    try:
        with _silenced(), torch.no_grad():
            model = _exported(module, examples, output)
    except Exception as error:
        raise PluginError(
            f"the network {type(module).__name__} cannot be written as an ONNX graph: "
            f"{_reason(error)}; make it of what torch.onnx.export knows"
        ) from error
    _strip(model)
    return bytes(model.SerializeToString(deterministic=True))


def _exported(module: torch.nn.Module, examples: dict[str, torch.Tensor], output: str) -> Any:
    """The ONNX model, by the exporter that traces or, where that fails, by the newer one.

    For networks as small as ours the newer one takes as long as training them does.
    """
    names: dict[str, Any] = {"input_names": list(examples), "output_names": [output]}
    given = tuple(examples.values())
    buffer = io.BytesIO()
    try:
        batch = {name: {0: "n"} for name in (*examples, output)}
        # Its type says path, its documentation and code say path or file.
        file = cast(Any, buffer)
        # ONNX Runtime folds constants when it loads; here it would store float32 as float64.
        names_too = {"dynamic_axes": batch, "do_constant_folding": False, **names}
        torch.onnx.export(module, given, file, dynamo=False, **names_too)
        return onnx.load_model_from_string(buffer.getvalue())
    except Exception:
        any_batch = [{0: torch.export.Dim("n")}] * len(given)
        program = torch.onnx.export(
            module, given, dynamo=True, dynamic_shapes=any_batch, verbose=False, **names
        )
        assert program is not None
        return program.model_proto


def _reason(error: BaseException) -> str:
    """The first line of what lies at the bottom: the exporter wraps it in advice, in colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def weights_of(module: torch.nn.Module) -> State:
    """Return the module's parameters and buffers by name."""
    return {name: array_of(tensor) for name, tensor in module.state_dict().items()}


def array_of(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A copy of its values."""
    return tensor.detach().cpu().numpy().copy()


def _strip(model: Any) -> None:
    """Drop what the exporter noted down for debugging, which names files of this machine, and
    constants that it left unused, of which ONNX Runtime would warn whoever loads the model."""
    used = set(_inputs_of(model.graph)) | {value.name for value in model.graph.output}
    for constant in [each for each in model.graph.initializer if each.name not in used]:
        model.graph.initializer.remove(constant)
    model.ClearField("metadata_props")
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")


def _inputs_of(graph: Any) -> Iterator[str]:
    """What the nodes of a graph, and of those within it, take."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _inputs_of(inner)


@contextmanager
def _silenced() -> Iterator[None]:
    """The exporter logs and warns about its own affairs, which no user can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    # The one that traces writes its graph to C++'s stdout when it fails, and asks no logger.
    library: Any = torch._C
    write = getattr(library, "_jit_onnx_log", None)
    library._jit_onnx_log = lambda *parts: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library._jit_onnx_log = write
        logging.disable(level)
