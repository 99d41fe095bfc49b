"""An encoder plugin that breaks its contract is blamed before a step of training is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from anoean_cli.errors import PluginError
from anoean_cli.interfaces import Encoder, ExampleSpec

FEATURES, LATENT_DIM = 4, 3


class Module(nn.Module):
    def __init__(self, forward: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, LATENT_DIM)
        self.what = forward

    def forward(self, rows: torch.Tensor) -> Any:
        return self.what(self.linear(rows))


@dataclass
class Plugin:
    module: Any
    name = "odd"

    def build(self, spec: ExampleSpec, latent_dim: int, parameters: Any) -> Any:
        return self.module


def built(module: Any) -> nn.Module:
    plugin: Any = Plugin(module)
    return Encoder(plugin, ExampleSpec("table", (FEATURES,)), LATENT_DIM, None).build()


def frozen() -> nn.Module:
    return nn.Linear(FEATURES, LATENT_DIM).requires_grad_(False)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (None, "builds a NoneType, not a torch.nn.Module"),
        (frozen(), "no weight to train"),
        (nn.Linear(FEATURES, 1), r"gives \(8, 1\) for 8 rows in 3 dimensions"),
        (Module(lambda z: z[:1]), r"gives \(1, 3\) for 8 rows"),
        (Module(lambda z: z.double()), "gives torch.float64, not float32"),
        (Module(lambda z: (z, z)), "gives tuple, not float32"),
        (Module(lambda z: z / 0), "not finite"),
        (Module(lambda z: z - z.mean(0)), "a row alone another embedding"),
        (nn.Linear(FEATURES + 1, LATENT_DIM), "failed: RuntimeError: mat1 and mat2"),
    ],
)
def test_a_module_that_breaks_the_contract_is_blamed_on_its_plugin(module, told):
    with pytest.raises(PluginError, match=rf"^encoder plugin 'odd' .*{told}"):
        built(module)


def test_the_trial_leaves_the_module_and_torchs_generator_as_they_were():
    module = nn.Sequential(
        nn.Linear(FEATURES, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, LATENT_DIM)
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    drawn = torch.get_rng_state()
    assert built(module).training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(drawn, torch.get_rng_state())
