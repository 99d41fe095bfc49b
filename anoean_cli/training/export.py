"""From a trained torch module to the ONNX graph that scoring runs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from anoean_cli.errors import PluginError
from anoean_cli.interfaces import State


def onnx_graph(module: torch.nn.Module, shape: tuple[int, ...]) -> bytes:
    """Return the ONNX model of a module that maps (n, *shape) float32 to (n, k).

    Raises:
        PluginError: the module uses what ONNX's standard operators cannot express.
    """
    example = torch.zeros(2, *shape)
    try:
        with _silenced(), torch.no_grad():
            program = torch.onnx.export(
                module.cpu().eval(),
                (example,),
                input_names=["rows"],
                output_names=["embedding"],
                dynamic_shapes=[{0: torch.export.Dim("n")}],
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        raise PluginError(
            f"the encoder {type(module).__name__} cannot be written as an ONNX graph: {error}"
        ) from error
    assert program is not None
    model = program.model_proto
    _strip(model)
    return bytes(model.SerializeToString(deterministic=True))


def weights_of(module: torch.nn.Module) -> State:
    """Return the module's parameters and buffers by name."""
    return {name: _array(tensor) for name, tensor in module.state_dict().items()}


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().cpu().numpy().copy()


def _strip(model: Any) -> None:
    """Drop what the exporter noted down for debugging: it names files of this machine."""
    model.ClearField("metadata_props")
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")


@contextmanager
def _silenced() -> Iterator[None]:
    """The exporter logs and warns about its own affairs, which no user can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
