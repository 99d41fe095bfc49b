"""The ONNX graph that training leaves is the torch module, and plain."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from anoean_plugins.encoders.conv import Conv
from anoean_plugins.encoders.mlp import Mlp
from torch import nn

from anoean_cli.errors import PluginError
from anoean_cli.inference.runner import GraphRunner
from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.export import onnx_graph, weights_of

SPECS = {
    "mlp": ExampleSpec("table", (9,)),
    "conv": ExampleSpec("image", (1, 28, 28)),
    "colour": ExampleSpec("image", (3, 17, 30)),
}


def module_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    plugin = Mlp() if name == "mlp" else Conv()
    return plugin.build(SPECS[name], 5, plugin.Parameters()).eval()


@pytest.fixture(scope="module", params=list(SPECS))
def exported(request) -> tuple[nn.Module, bytes, ExampleSpec]:
    module = module_of(request.param)
    return module, onnx_graph(module, SPECS[request.param].shape, "embedding"), SPECS[request.param]


def test_the_graph_computes_what_the_module_does(exported):
    module, graph, spec = exported
    rows = np.random.default_rng(0).normal(size=(130, *spec.shape)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(rows)).numpy()
    found = GraphRunner(graph, spec)(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_the_graph_takes_any_number_of_rows(exported):
    _, graph, spec = exported
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    (rows,) = model.graph.input
    first, *others = rows.type.tensor_type.shape.dim
    assert first.dim_param
    assert tuple(d.dim_value for d in others) == spec.shape
    assert [output.name for output in model.graph.output] == ["embedding"]


def test_the_graph_holds_standard_operators_only(exported):
    model = onnx.load_from_string(exported[1])
    assert {node.domain for node in model.graph.node} <= {""}
    assert {opset.domain for opset in model.opset_import} <= {"", "ai.onnx"}
    assert not model.functions


def test_the_graph_says_nothing_of_this_machine(exported):
    graph = exported[1]
    model = onnx.load_from_string(graph)
    assert not model.metadata_props
    parts = [model.graph, *model.graph.node, *model.graph.input, *model.graph.initializer]
    assert all(not part.doc_string and not part.metadata_props for part in parts)
    for name in (str(Path.home()), os.getcwd(), str(Path(torch.__file__).parent), ".py"):
        assert name.encode() not in graph


def test_the_same_module_gives_the_same_bytes():
    module = module_of("mlp")
    assert onnx_graph(module, (9,), "embedding") == onnx_graph(module, (9,), "embedding")


def test_weights_keep_their_names_and_are_copies():
    module = module_of("mlp")
    kept = weights_of(module)
    assert list(kept) == list(module.state_dict())
    with torch.no_grad():
        module[0].weight.zero_()
    assert kept["0.weight"].any()


def test_what_onnx_cannot_express_is_told():
    class Strange(nn.Module):
        def forward(self, x):
            return torch.from_numpy(np.linalg.inv(x.numpy()))

    with pytest.raises(PluginError, match="Strange"):
        onnx_graph(Strange(), (3, 3), "embedding")


def test_an_operator_that_onnx_lacks_is_told_in_one_line_and_nothing_else(capfd):
    class Decomposing(nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x.unsqueeze(1))[2][:, 0]

    with pytest.raises(PluginError, match="svd") as caught:
        onnx_graph(Decomposing(), (4,), "embedding")
    assert len(str(caught.value).splitlines()) == 1
    assert "\x1b" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
