"""Algorithm 1: encoder and discriminator learn against each other, in turns.

`fit_encoder` is the whole of it and reads top to bottom; `_epoch` is the algorithm's inner loop.
All that changes while training runs is in `Run`, and goes into a checkpoint after an epoch, so
that a run that was cut off goes on as if it had not been.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from anoean_cli.calibration.gaussian import Gaussian, fitting_estimator
from anoean_cli.errors import TrainingError, UsageError
from anoean_cli.interfaces import Encoder, FloatRows, Monitor, Rows, State
from anoean_cli.training import selection as figures
from anoean_cli.training.discriminator import Discriminator
from anoean_cli.training.distortions import distort
from anoean_cli.training.losses import (
    Terms,
    discriminator_terms,
    encoder_terms,
    radial_terms,
    total,
)
from anoean_cli.training.settings import AnoeanParameters

MOST_STEPS = {"image": 3200, "table": 3000}
FEWEST_STEPS = 300
STEPS_PER_NORMAL = 2
EPOCH_STEPS = (20, 500)
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Plan:
    """The sizes that follow from the rows and the parameters."""

    epochs: int
    steps: int
    normals: int
    anomalies: int

    @classmethod
    def of(cls, train: Rows, kind: str, parameters: AnoeanParameters) -> Plan:
        """Split a batch between normals and anomalies, and the training into epochs.

        An epoch is one pass over the normals, but no fewer than 20 and no more than 500 steps.
        Without a number of epochs, training takes one pass, and steps that grow with the
        normals from 300 to 3200 for images and 3000 for tables.
        """
        share = parameters.anomaly_share
        if share is None:
            share = float(train.is_anomaly.mean())
        m = parameters.batch_size
        m_a = min(m - 1, max(1, round(m * share)))
        m_n = m - m_a
        normals = int((~train.is_anomaly).sum())
        one_pass = math.ceil(normals / m_n)
        steps = min(max(one_pass, EPOCH_STEPS[0]), EPOCH_STEPS[1])
        wanted = min(max(STEPS_PER_NORMAL * normals, FEWEST_STEPS), MOST_STEPS[kind])
        epochs = parameters.epochs or math.ceil(max(wanted, one_pass) / steps)
        return cls(epochs, steps, m_n, m_a)


@dataclass
class Run:
    """All that changes while training runs."""

    encoder: nn.Module
    averaged: AveragedModel
    discriminator: nn.Module
    encoder_adam: torch.optim.Adam
    discriminator_adam: torch.optim.Adam
    generator: torch.Generator
    history: list[dict[str, float]]
    best: dict[str, Tensor]
    best_figure: float = -math.inf
    best_epoch: int = 0

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    @cached_property
    def encoder_weights(self) -> list[nn.Parameter]:
        return [weight for weight in self.encoder.parameters() if weight.requires_grad]

    @property
    def scorer(self) -> nn.Module:
        """The encoder as it would be used now: with averaged weights."""
        return self.averaged.module


def fit_encoder(
    train: Rows,
    selection: Rows,
    encoder: Encoder,
    parameters: AnoeanParameters,
    rng: np.random.Generator,
    monitor: Monitor,
) -> tuple[nn.Module, Run]:
    """Train E against D and return E as of its best epoch, in evaluation mode on the CPU.

    Args:
        train: normals and anomalies to learn from.
        selection: normals and anomalies that pick the epoch; without anomalies the last is taken.

    Raises:
        TrainingError: a loss is no longer finite, or all examples get one embedding or score.
    """
    plan = Plan.of(train, encoder.spec.kind, parameters)
    run = start(encoder, parameters, rng)
    restore(run, monitor.restore())
    device = usable_device(parameters.device)
    normals = torch.from_numpy(train.normals).to(device)
    anomalies = torch.from_numpy(train.anomalies).to(device)
    distortion = parameters.distortion if encoder.spec.kind == "image" else 0.0

    while run.epoch < plan.epochs and not exhausted(run, parameters):
        began = time.perf_counter()
        with noise_after(run.generator):
            terms = _epoch(run, plan, normals, anomalies, distortion, parameters)
        record = {
            "epoch": run.epoch + 1.0,
            **terms,
            **_figures(run.scorer, selection, device, parameters.covariance),
        }
        record["seconds"] = time.perf_counter() - began
        run.history.append(record)
        _keep_best(run, record.get(parameters.selection, float(run.epoch)))
        monitor.report(record, plan.epochs)
        is_stopping = monitor.stopping()
        monitor.save(lambda: state_of(run))
        if is_stopping:
            break

    module = copy.deepcopy(run.scorer)
    module.load_state_dict(run.best)
    return module.cpu().eval(), run


def _epoch(
    run: Run,
    plan: Plan,
    normals: Tensor,
    anomalies: Tensor,
    distortion: float,
    parameters: AnoeanParameters,
) -> dict[str, float]:
    """One pass of Algorithm 1 over the normals; returns the means of all loss terms."""
    run.encoder.train()
    sums: dict[str, Tensor] = {}
    # Passes follow each other until the last batch is full, so that all batches have one size.
    passes = math.ceil(plan.steps * plan.normals / len(normals))
    order = torch.cat(
        [torch.randperm(len(normals), generator=run.generator) for _ in range(passes)]
    )
    for step in range(plan.steps):
        _set_learning_rate(run, plan, step, parameters)
        chosen = order[step * plan.normals : (step + 1) * plan.normals]
        also = torch.randint(len(anomalies), (plan.anomalies,), generator=run.generator)
        examples = torch.cat([normals[chosen], anomalies[also]])
        terms = _step(run, plan, distort(examples, distortion, run.generator), parameters)
        for name, term in terms.items():
            sums[name] = sums.get(name, torch.zeros(())) + term.detach()
    means = {name: float(value) / plan.steps for name, value in sums.items()}
    if not all(math.isfinite(value) for value in means.values()):
        raise TrainingError(
            f"training diverged in epoch {run.epoch + 1}: a loss is not finite "
            f"({', '.join(f'{k} {v:.3g}' for k, v in means.items())}); "
            "try a smaller --lr, and look for extreme values in the data"
        )
    return means


def _step(run: Run, plan: Plan, examples: Tensor, parameters: AnoeanParameters) -> Terms:
    """n_D steps of D, then one of E; one forward pass of E serves them all, since only D moves."""
    m_n = plan.normals
    z = run.encoder(examples)
    frozen = z.detach()
    for _ in range(parameters.discriminator_steps):
        prior = torch.randn(frozen.shape, generator=run.generator).to(z.device)
        logits = run.discriminator(torch.cat([prior, frozen]))
        at = len(prior)
        d_terms = discriminator_terms(logits[:at], logits[at : at + m_n], logits[at + m_n :])
        run.discriminator_adam.zero_grad(set_to_none=True)
        total(d_terms).backward()
        run.discriminator_adam.step()

    logits = run.discriminator(z)
    e_terms = encoder_terms(logits[:m_n], logits[m_n:])
    loss = parameters.adversarial * total(e_terms)
    if parameters.radial > 0:
        radial = radial_terms(z[:m_n], z[m_n:], parameters.normal_margin, parameters.anomaly_margin)
        loss = loss + parameters.radial * total(radial)
        e_terms |= radial
    run.encoder_adam.zero_grad(set_to_none=True)
    loss.backward(inputs=run.encoder_weights)  # D is frozen in this step
    run.encoder_adam.step()
    run.averaged.update_parameters(run.encoder)
    return d_terms | e_terms


def _set_learning_rate(run: Run, plan: Plan, step: int, parameters: AnoeanParameters) -> None:
    """Half a cosine from the learning rate to its final share over the whole training."""
    done = (run.epoch * plan.steps + step) / (plan.epochs * plan.steps)
    last = parameters.final_learning_rate
    factor = last + (1 - last) * (1 + math.cos(math.pi * done)) / 2
    for adam in (run.encoder_adam, run.discriminator_adam):
        for group in adam.param_groups:
            group["lr"] = parameters.learning_rate * factor


# --------------------------------------------------------------------------- selection


def _figures(
    module: nn.Module, selection: Rows, device: torch.device, covariance: str
) -> dict[str, float]:
    """The selection figures of one epoch; none where the selection rows lack a class."""
    if selection.is_anomaly.all() or not selection.is_anomaly.any():
        return {}
    z = embed(module, selection.examples, device)
    if not np.isfinite(z).all():
        raise TrainingError("training diverged: embeddings are not finite; try a smaller --lr")
    normals = z[~selection.is_anomaly]
    gaussian = Gaussian.from_embeddings(normals, fitting_estimator(normals, covariance))
    scores = gaussian.mahalanobis(z)
    return {
        "auc_pr": figures.auc_pr(scores, selection.is_anomaly),
        "ranking": figures.ranking(scores, selection.is_anomaly),
    }


def embed(module: nn.Module, examples: FloatRows, device: torch.device) -> FloatRows:
    """E(x) in evaluation mode, shape (n, d)."""
    module.eval()
    with torch.no_grad():
        parts = [
            module(torch.from_numpy(examples[at : at + ROWS_AT_ONCE]).to(device)).cpu().numpy()
            for at in range(0, len(examples), ROWS_AT_ONCE)
        ]
    return np.concatenate(parts)


def _keep_best(run: Run, figure: float) -> None:
    # An equal figure takes the later epoch: its weights have seen more.
    if figure >= run.best_figure:
        run.best_figure, run.best_epoch = figure, run.epoch
        run.best = {name: t.detach().clone() for name, t in run.scorer.state_dict().items()}


def exhausted(run: Run, parameters: AnoeanParameters) -> bool:
    """Whether the figure has not become better for as long as patience lasts."""
    patience = parameters.patience
    return patience is not None and run.epoch - run.best_epoch >= patience


# --------------------------------------------------------------------------- start, stop, go on


def start(encoder: Encoder, parameters: AnoeanParameters, rng: np.random.Generator) -> Run:
    """Networks and optimisers before the first step, their weights drawn from ``rng``."""
    device = usable_device(parameters.device)
    with torch.random.fork_rng(devices=[]):  # initialisers know torch's global generator only
        torch.manual_seed(int(rng.integers(2**63)))
        network = encoder.build().to(device)
        discriminator = Discriminator(encoder.latent_dim).to(device)
    averaged = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(parameters.averaging), use_buffers=True
    )
    adam = partial(
        torch.optim.Adam,
        lr=parameters.learning_rate,
        betas=(parameters.beta1, 0.999),
        fused=True,
    )
    return Run(
        encoder=network,
        averaged=averaged,
        discriminator=discriminator,
        encoder_adam=adam(network.parameters()),
        discriminator_adam=adam(discriminator.parameters()),
        generator=torch.Generator().manual_seed(int(rng.integers(2**63))),
        history=[],
        best={},
    )


@contextmanager
def noise_after(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global generator, which layers such as dropout draw from, and put it back.

    The seed is what the run's own generator would give next. It is not drawn, so that networks
    without noise train as ever, and a checkpoint needs no second state.
    """
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**63 - 1, (), generator=twin)))
        yield


def usable_device(name: str) -> torch.device:
    """Raises UsageError for a device that torch does not know or does not have here."""
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(f"--device {name} cannot be used here: {reason}") from error
    return torch.device(name)


def state_of(run: Run) -> State:
    """All of a run as named arrays."""
    state = {"generator": run.generator.get_state().numpy().copy()}
    for part, tensors in _parts(run).items():
        state |= {f"{part}/{name}": _array(tensor) for name, tensor in tensors.items()}
    columns = sorted({name for record in run.history for name in record})
    for name in columns:
        state[f"history/{name}"] = np.array([r.get(name, math.nan) for r in run.history])
    state["best_figure"] = np.array(run.best_figure)
    state["best_epoch"] = np.array(run.best_epoch)
    return state


def restore(run: Run, state: State | None) -> None:
    """Bring a run to where ``state_of`` was called."""
    if state is None:
        return
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        part, _, name = key.partition("/")
        if name and part != "history":
            parts.setdefault(part, {})[name] = torch.from_numpy(np.array(value))
    run.encoder.load_state_dict(parts["encoder"])
    run.averaged.load_state_dict(parts["averaged"])
    run.discriminator.load_state_dict(parts["discriminator"])
    _load_adam(run.encoder_adam, parts["encoder_adam"])
    _load_adam(run.discriminator_adam, parts["discriminator_adam"])
    run.best = parts["best"]
    run.generator.set_state(torch.from_numpy(np.array(state["generator"])))
    columns = {k.removeprefix("history/"): v for k, v in state.items() if k.startswith("history/")}
    run.history = [
        {name: float(v[i]) for name, v in columns.items() if not math.isnan(v[i])}
        for i in range(len(columns["epoch"]))
    ]
    run.best_figure = float(state["best_figure"])
    run.best_epoch = int(state["best_epoch"])


def _parts(run: Run) -> dict[str, Mapping[str, Tensor]]:
    return {
        "encoder": run.encoder.state_dict(),
        "averaged": run.averaged.state_dict(),
        "discriminator": run.discriminator.state_dict(),
        "encoder_adam": _adam_tensors(run.encoder_adam),
        "discriminator_adam": _adam_tensors(run.discriminator_adam),
        "best": run.best,
    }


def _adam_tensors(adam: torch.optim.Adam) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": tensor
        for index, moments in adam.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def _load_adam(adam: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = tensor
    adam.load_state_dict({**adam.state_dict(), "state": moments})


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().cpu().numpy().copy()
