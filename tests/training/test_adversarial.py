"""Algorithm 1 on rows small enough to follow it step by step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from anoean_plugins.encoders.conv import Conv
from anoean_plugins.encoders.mlp import Mlp
from torch import nn

from anoean_cli.errors import TrainingError
from anoean_cli.interfaces import Encoder, ExampleSpec, Rows, State
from anoean_cli.training import adversarial, batches, progress
from anoean_cli.training.adversarial import fit_encoder, start
from anoean_cli.training.batches import Plan
from anoean_cli.training.density import log_density
from anoean_cli.training.generator import Outskirts
from anoean_cli.training.progress import embed, restore, state_of
from anoean_cli.training.settings import PAPER
from anoean_cli.training.settings import AnoeanParameters as Parameters

FEATURES = 6
CPU = torch.device("cpu")


@dataclass
class Quiet:
    """A monitor that remembers, hands out a saved state and stops after some epochs."""

    state: State | None = None
    stop_after: int | None = None
    records: list[dict[str, float]] = field(default_factory=list)
    saved: list[State] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def report(self, record: Mapping[str, float], epochs: int) -> None:
        self.records.append(dict(record))

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def stopping(self) -> bool:
        return self.stop_after is not None and len(self.records) >= self.stop_after

    def restore(self) -> State | None:
        return self.state

    def save(self, state: Callable[[], State]) -> None:
        self.saved.append(state())


def table_rows(normals: int = 60, anomalies: int = 20, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    examples = np.concatenate(
        [
            rng.normal(size=(normals, FEATURES)),
            rng.normal(size=(anomalies, FEATURES)) + 3,
        ]
    )
    return Rows(examples.astype(np.float32), np.repeat([False, True], [normals, anomalies]))


def image_rows(normals: int = 24, anomalies: int = 8, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    examples = rng.random((normals + anomalies, 1, 8, 8)).astype(np.float32)
    examples[normals:, :, :4] = 0
    return Rows(examples, np.repeat([False, True], [normals, anomalies]))


def mlp(latent_dim: int = 3) -> Encoder:
    return Encoder(Mlp(), ExampleSpec("table", (FEATURES,)), latent_dim, Mlp.Parameters(width=0.1))


def conv(latent_dim: int = 3) -> Encoder:
    spec = ExampleSpec("image", (1, 8, 8))
    return Encoder(Conv(), spec, latent_dim, Conv.Parameters(width=0.1))


SMALL = Parameters(epochs=4, batch_size=20, members=1, distillation=0.0)
TAUGHT = replace(SMALL, members=3, distillation=1.0)


def fit(
    parameters: Parameters = SMALL,
    monitor: Quiet | None = None,
    seed: int = 0,
    encoder: Encoder | None = None,
    train: Rows | None = None,
    selection: Rows | None = None,
    has_generator: bool = False,
) -> tuple[nn.Module, adversarial.Run]:
    train, encoder = train or table_rows(), encoder or mlp()
    return fit_encoder(
        train,
        selection or table_rows(30, 10, seed=1),
        encoder,
        parameters,
        np.random.default_rng(seed),
        monitor or Quiet(),
        outskirts(train, encoder.spec) if has_generator else None,
    )


def outskirts(rows: Rows, spec: ExampleSpec) -> Outskirts:
    density = log_density(rows.normals, spec, np.random.default_rng(0))
    return Outskirts.of(density, rows.normals)


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def assert_same(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def one_step(run: adversarial.Run, parameters: Parameters, rows: Rows | None = None) -> dict:
    rows = rows or table_rows(10, 10)
    plan = Plan(epochs=1, steps=1, normals=10, anomalies=10)
    return adversarial._step(run, plan, torch.from_numpy(rows.examples), parameters)


# --------------------------------------------------------------------------- sizes


def plan_of(normals: int, anomalies: int, kind: str = "table", **settings: Any) -> Plan:
    parameters = Parameters(**settings)
    return Plan.of(table_rows(normals, anomalies), kind, parameters, parameters.anomaly_share)


@pytest.mark.parametrize(
    ("normals", "anomalies", "settings", "expected"),
    [
        (5000, 500, {"anomaly_share": 0.5}, (100, 100)),
        (5000, 500, {"anomaly_share": None}, (182, 18)),  # 500 of 5,500
        (1000, 1, {"anomaly_share": None}, (199, 1)),
        (1, 1000, {"anomaly_share": None}, (1, 199)),
        (50, 50, {"batch_size": 2, "anomaly_share": 0.999}, (1, 1)),
    ],
)
def test_a_batch_is_split_between_normals_and_anomalies(normals, anomalies, settings, expected):
    plan = plan_of(normals, anomalies, **settings)
    assert (plan.normals, plan.anomalies) == expected


@pytest.mark.parametrize(("normals", "steps"), [(60, 20), (4001, 41), (60_000, 500)])
def test_an_epoch_is_one_pass_over_the_normals_within_limits(normals, steps):
    assert plan_of(normals, 5).steps == steps


@pytest.mark.parametrize("kind", ["image", "table"])
def test_training_takes_at_least_one_pass_and_steps_that_grow_with_the_normals(kind):
    plans = [plan_of(n, 5, kind) for n in (50, 500, 5000, 400_000)]
    steps = [plan.epochs * plan.steps for plan in plans]
    assert steps == sorted(steps)
    assert steps[0] >= batches.FEWEST_STEPS
    assert steps[2] >= batches.MOST_STEPS[kind]
    assert steps[3] >= 4000
    assert plan_of(50, 5, kind, epochs=7).epochs == 7


@pytest.mark.parametrize("normals", [1000, 1001, 1999, 6000])
def test_a_pass_of_several_epochs_holds_every_normal(normals):
    plan = Plan(epochs=math.ceil(normals / 1000), steps=100, normals=10, anomalies=0)
    rows, generator = torch.arange(normals), torch.Generator().manual_seed(0)
    seen = [
        [int(row) for batch in batches.batches(plan, rows, rows, generator, epoch) for row in batch]
        for epoch in range(plan.epochs)
    ]
    assert {len(epoch) for epoch in seen} == {1000}
    times = np.bincount(np.concatenate(seen), minlength=normals)
    assert times.min() >= 1
    assert times.max() <= math.ceil(1000 * plan.epochs / normals)


def test_the_order_of_many_normals_is_by_the_seed_as_well():
    plan, rows = Plan(epochs=2, steps=100, normals=10, anomalies=0), torch.arange(6000)

    def first(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return next(iter(batches.batches(plan, rows, rows, generator, epoch=0)))

    assert first(1).equal(first(1))
    assert not first(1).equal(first(2))


def test_what_keeps_the_generator_off_normals_goes_to_the_device_and_stays_where_it_was():
    near = outskirts(table_rows(60, 0), ExampleSpec("table", (FEATURES,)))
    moved = near.on(torch.device("meta"))
    assert {each.device.type for each in moved.density.state_dict().values()} == {"meta"}
    assert {each.device.type for each in near.density.state_dict().values()} == {"cpu"}


def test_batches_have_the_planned_sizes_even_when_rows_are_few(monkeypatch):
    seen = []
    step = adversarial._step

    def spy(run, plan, examples, *more):
        seen.append(len(examples))
        return step(run, plan, examples, *more)

    monkeypatch.setattr(adversarial, "_step", spy)
    fit(Parameters(epochs=1, batch_size=50), train=table_rows(7, 2))
    assert seen == [50] * 20


def test_an_epoch_shows_every_normal():
    seen: list[torch.Tensor] = []

    class Watched(Mlp):
        def build(self, spec, latent_dim, parameters):
            network = super().build(spec, latent_dim, parameters)
            network.register_forward_pre_hook(
                lambda module, args: seen.append(args[0]) if module.training else None
            )
            return network

    train = table_rows(45, 20)
    encoder = replace(mlp(), plugin=Watched())
    fit(Parameters(epochs=1, batch_size=20), encoder=encoder, train=train)
    shown = {tuple(row) for batch in seen for row in batch[:10].tolist()}
    assert shown == {tuple(row) for row in train.normals.tolist()}


# --------------------------------------------------------------------------- one step


@pytest.mark.parametrize("steps", [1, 3])
def test_one_forward_pass_of_the_encoder_serves_all_steps_of_a_batch(steps):
    parameters = Parameters(discriminator_steps=steps)
    run = start(mlp(), parameters, np.random.default_rng(0))
    counts = {"encoder": 0, "discriminator": 0}
    for name, module in (("encoder", run.encoder), ("discriminator", run.discriminator)):

        def count(module, args, name=name):
            counts[name] += 1

        module.register_forward_pre_hook(count)
    one_step(run, parameters)
    assert counts == {"encoder": 1, "discriminator": steps + 1}


def test_each_network_moves_by_its_own_loss_only(monkeypatch):
    run = start(mlp(), Parameters(), np.random.default_rng(0))
    parts = {"encoder": run.encoder, "discriminator": run.discriminator}
    moved: dict[str, dict[str, list[bool]]] = {}

    def watch(owner: str, adam: torch.optim.Adam) -> None:
        step = adam.step

        def spy() -> None:
            before = {name: copy.deepcopy(weights(part)) for name, part in parts.items()}
            step()
            moved[owner] = {
                name: [not np.array_equal(before[name][k], w) for k, w in weights(part).items()]
                for name, part in parts.items()
            }
            moved[owner]["gradients"] = [
                p.grad is not None and bool(p.grad.any()) for p in run.encoder.parameters()
            ]

        monkeypatch.setattr(adam, "step", spy)

    watch("discriminator", run.discriminator_adam)
    watch("encoder", run.encoder_adam)
    one_step(run, Parameters())
    assert all(moved["discriminator"]["discriminator"])
    assert not any(moved["discriminator"]["encoder"])
    assert not any(moved["discriminator"]["gradients"])  # none reach E from D's loss
    assert all(moved["encoder"]["encoder"])
    assert not any(moved["encoder"]["discriminator"])


def test_the_encoder_step_leaves_no_gradient_on_the_discriminator():
    run = start(mlp(), Parameters(), np.random.default_rng(0))
    caught = {}
    step = run.discriminator_adam.step

    def spy():
        caught.update({n: p.grad.clone() for n, p in run.discriminator.named_parameters()})
        step()

    run.discriminator_adam.step = spy
    one_step(run, Parameters())
    for name, parameter in run.discriminator.named_parameters():
        assert torch.equal(parameter.grad, caught[name])
        assert parameter.requires_grad


def test_all_terms_are_reported_apart():
    run = start(mlp(), Parameters(), np.random.default_rng(0))
    adversarial_terms = {"d_prior", "d_normal", "d_anomaly", "e_normal", "e_anomaly"}
    assert set(one_step(run, Parameters())) == adversarial_terms | {
        "e_radial_normal",
        "e_radial_anomaly",
    }
    assert set(one_step(run, Parameters(radial=0))) == adversarial_terms


def test_without_weight_on_any_loss_the_encoder_stands_still():
    parameters = Parameters(adversarial=0, radial=0)
    run = start(mlp(), parameters, np.random.default_rng(0))
    before = weights(run.encoder)
    one_step(run, parameters)
    assert_same(before, weights(run.encoder))


# --------------------------------------------------------------------------- rates and averages


def learning_rates(parameters: Parameters, monkeypatch) -> list[float]:
    rates = []
    step = adversarial._step

    def spy(run, *more):
        groups = [adam.param_groups[0]["lr"] for adam in (run.encoder_adam, run.discriminator_adam)]
        assert groups[0] == groups[1]
        rates.append(groups[0])
        return step(run, *more)

    monkeypatch.setattr(adversarial, "_step", spy)
    fit(parameters)
    return rates


def test_the_learning_rate_falls_along_half_a_cosine(monkeypatch):
    parameters = Parameters(epochs=4, batch_size=20, final_learning_rate=0.1)
    rates = learning_rates(parameters, monkeypatch)
    n = len(rates)
    assert n == 80  # 4 epochs of 20 steps
    expected = [1e-3 * (0.1 + 0.9 * (1 + math.cos(math.pi * i / n)) / 2) for i in range(n)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates[-1] == pytest.approx(1e-4, rel=0.01)


def test_the_papers_learning_rate_is_constant(monkeypatch):
    paper = Parameters(**{**PAPER, "epochs": 2})
    assert set(learning_rates(paper, monkeypatch)) == {1e-3}


@pytest.mark.parametrize("decay", [0.9, 0.0])
def test_the_scorer_is_the_exponential_average_of_the_weights(decay):
    parameters = Parameters(averaging=decay)
    run = start(mlp(), parameters, np.random.default_rng(0))
    average = None
    for _ in range(5):
        one_step(run, parameters)
        now = weights(run.encoder)
        if average is None:
            average = now
        else:
            average = {k: decay * average[k] + (1 - decay) * now[k] for k in now}
    for name, value in weights(run.scorer).items():
        np.testing.assert_allclose(value, average[name], rtol=1e-5, atol=1e-7)


# --------------------------------------------------------------------------- the best epoch


def test_the_best_epoch_is_returned_and_the_later_of_equals(monkeypatch):
    kept = []
    given = iter([1.0, 3.0, 3.0, 2.0])

    def figures_of_epoch(module, selection, device, covariance):
        kept.append(weights(module))
        return {"ranking": next(given)}

    monkeypatch.setattr(adversarial, "_figures", figures_of_epoch)
    module, run = fit()
    assert run.best_epoch == 3
    assert_same(weights(module), kept[2])
    assert not module.training


def test_a_later_epoch_is_taken_unless_its_ranking_is_worse_by_more_than_nothing(monkeypatch):
    given = iter([-0.5, -0.00001, -0.00009, -0.0002])
    monkeypatch.setattr(adversarial, "_figures", lambda *args: {"ranking": next(given)})
    run = fit(Parameters(epochs=4, batch_size=20))[1]
    assert (run.best_epoch, run.risen_epoch, run.best_figure) == (3, 2, -0.00001)


def test_selection_by_last_takes_the_last_epoch(monkeypatch):
    given = iter([4.0, 3.0, 2.0, 1.0])
    monkeypatch.setattr(adversarial, "_figures", lambda *args: {"ranking": next(given)})
    assert fit(replace(SMALL, selection="last"))[1].best_epoch == 4


def test_patience_ends_training(monkeypatch):
    given = iter([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    monkeypatch.setattr(adversarial, "_figures", lambda *args: {"ranking": next(given)})
    run = fit(Parameters(epochs=6, batch_size=20, patience=2))[1]
    assert (run.epoch, run.best_epoch) == (3, 1)


def test_a_run_stopped_when_its_patience_ended_does_not_go_on(monkeypatch):
    patient = Parameters(epochs=6, batch_size=20, patience=2)
    given = iter([5.0, 4.0, 3.0])
    monkeypatch.setattr(adversarial, "_figures", lambda *args: {"ranking": next(given)})
    first = Quiet(stop_after=3)
    stopped, _ = fit(patient, first)
    rest = Quiet(state=first.saved[-1])
    resumed, _ = fit(patient, rest)
    assert rest.records == []
    assert_same(weights(stopped), weights(resumed))


def test_older_checkpoints_do_not_say_when_the_figure_rose_last():
    small, first = Parameters(epochs=2, batch_size=20), Quiet()
    fit(small, first)
    state = {name: value for name, value in first.saved[-1].items() if name != "risen_epoch"}
    for older in (state, {**state, "risen_epoch": np.array(0)}):
        run = fit(small, Quiet(state=older))[1]
        assert run.risen_epoch == run.best_epoch > 0


def test_without_selection_anomalies_the_last_epoch_is_taken():
    monitor = Quiet()
    run = fit(monitor=monitor, selection=table_rows(30, 0))[1]
    assert run.best_epoch == 4
    assert "auc_pr" not in monitor.records[0]


def test_records_carry_terms_figures_and_seconds():
    monitor = Quiet()
    fit(monitor=monitor)
    assert [record["epoch"] for record in monitor.records] == [1, 2, 3, 4]
    for record in monitor.records:
        assert {"d_prior", "e_normal", "e_radial_normal", "auc_pr", "ranking"} <= record.keys()
        assert record["ranking"] < 0
        assert record["seconds"] > 0


def test_training_tells_the_classes_apart():
    module, _ = fit(Parameters(epochs=15, batch_size=20))
    test = table_rows(200, 50, seed=9)
    norms = np.linalg.norm(embed(module, test.examples, CPU), axis=1)
    assert np.median(norms[test.is_anomaly]) > np.quantile(norms[~test.is_anomaly], 0.95)


# --------------------------------------------------------------------------- failures


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_ends_training():
    huge = table_rows()
    huge.examples[:] *= np.float32(1e30)
    with pytest.raises(TrainingError, match="diverged in epoch 1"):
        fit(train=huge)


def test_constant_embeddings_end_training():
    class Constant(Mlp):
        def build(self, spec, latent_dim, parameters):
            network = super().build(spec, latent_dim, parameters)
            nn.init.zeros_(network[-1].weight)
            network[-1].weight.requires_grad_(False)
            return network

    with pytest.raises(TrainingError, match="collapsed"):
        fit(encoder=replace(mlp(), plugin=Constant()))


def test_embeddings_that_are_not_finite_end_training():
    broken = table_rows(30, 10, seed=1)
    broken.examples[3] = np.nan
    with pytest.raises(TrainingError, match="not finite"):
        fit(selection=broken)


def test_members_and_a_teacher_add_their_terms():
    module, run = fit(TAUGHT)
    assert {"d_taught", "e_taught", "e_radial_taught"} <= set(run.history[0])
    assert run.dimensions == 1, "three members share three dimensions"
    assert embed(module, table_rows().examples, CPU).shape == (80, 3)
    assert "e_taught" not in fit()[1].history[0]


# --------------------------------------------------------------------------- the generator


def edited(run: adversarial.Run, parameters: Parameters, rows: Rows) -> torch.Tensor:
    examples = torch.from_numpy(rows.examples)
    off = outskirts(rows, mlp().spec)
    return adversarial._edited(run, examples, examples[:5], off, parameters)[0]


def test_the_generators_edits_take_the_place_of_the_last_anomalies():
    rows = table_rows(20, 10)
    run = start(mlp(), SMALL, np.random.default_rng(0), has_generator=True)
    batch = edited(run, replace(SMALL, generator_distance=0.0), rows)
    before = torch.from_numpy(rows.examples)
    assert torch.equal(batch[:-5], before[:-5])
    between = (batch[-5:] - before[:5]) / (before[-5:] - before[:5])
    assert ((between > 0) & (between < 1)).all()


def test_an_edit_among_the_normals_is_not_shown_to_the_encoder():
    rows = table_rows(20, 10)
    run = start(mlp(), SMALL, np.random.default_rng(0), has_generator=True)
    batch = edited(run, replace(SMALL, generator_distance=100.0), rows)
    assert torch.equal(batch, torch.from_numpy(rows.examples))


def test_a_step_of_the_generator_moves_no_other_network():
    run = start(mlp(), SMALL, np.random.default_rng(0), has_generator=True)
    networks = {name: part for name, part in vars(run).items() if isinstance(part, nn.Module)}
    before = {name: weights(part) for name, part in networks.items()}
    edited(run, SMALL, table_rows(20, 10))
    for name, part in networks.items():
        moved = any(not np.array_equal(v, before[name][k]) for k, v in weights(part).items())
        assert moved == (name == "editor")


def test_the_generator_is_pushed_off_the_normals_and_passes_there():
    weak = replace(SMALL, epochs=30, generator_distance=0.0)
    strong = replace(weak, generator_distance=3.0)
    near, far = (fit(each, has_generator=True)[1] for each in (weak, strong))
    rows = table_rows(seed=7)
    normals, anomalies = (torch.from_numpy(each[:20]) for each in (rows.normals, rows.anomalies))
    noise = torch.zeros(20, 8)
    off = outskirts(table_rows(), mlp().spec)
    distances = [off(run.editor(normals, anomalies, noise)).mean() for run in (near, far)]
    assert distances[0] < distances[1]
    assert {"g_passed", "g_near"} <= near.history[0].keys()


def test_the_generators_part_grows_over_the_first_quarter():
    plan = Plan(epochs=8, steps=10, normals=100, anomalies=100)
    run = start(mlp(), SMALL, np.random.default_rng(0), has_generator=True)
    counts = []
    for run.history in ([{}] * epoch for epoch in range(8)):
        counts.append(adversarial._generated(run, plan, 0, replace(SMALL, generated=0.4)))
    assert counts == [1, 20, 40, 40, 40, 40, 40, 40]


# --------------------------------------------------------------------------- the same again


def options_of(kind: str) -> dict[str, Any]:
    """What `fit` is given for that kind of run."""
    has_generator = kind.startswith("generated")
    if kind.endswith("image"):
        return {
            "encoder": conv(),
            "train": image_rows(),
            "selection": image_rows(12, 4, seed=1),
            "has_generator": has_generator,
        }
    return {"parameters": TAUGHT if kind == "taught" else SMALL, "has_generator": has_generator}


KINDS = ["table", "image", "taught", "generated table", "generated image"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_weights_and_another_one_others(kind):
    options = options_of(kind)
    first, again, other = (weights(fit(seed=seed, **options)[0]) for seed in (0, 0, 1))
    assert_same(first, again)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_training_leaves_torchs_own_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_weights(kind, after):
    options = options_of(kind)
    whole = Quiet()
    uninterrupted, run = fit(monitor=whole, **options)
    first = Quiet(stop_after=after)
    fit(monitor=first, **options)
    assert len(first.records) == after
    rest = Quiet(state=first.saved[-1])
    resumed, resumed_run = fit(monitor=rest, **options)
    assert len(rest.records) == 4 - after
    assert_same(weights(uninterrupted), weights(resumed))
    without_seconds = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in each.history]
        for each in (run, resumed_run)
    ]
    assert without_seconds[0] == without_seconds[1]
    final, again = whole.saved[-1], rest.saved[-1]
    for state in (final, again):
        del state["history/seconds"]
    assert_same(final, again)


class Noisy(Mlp):
    """It draws from torch's global generator in every step."""

    def build(self, spec, latent_dim, parameters):
        return nn.Sequential(nn.Dropout(0.3), super().build(spec, latent_dim, parameters))


def test_noise_within_a_network_comes_from_the_seed_too():
    noisy = replace(mlp(), plugin=Noisy())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weights(fit(encoder=noisy)[0])
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert_same(first, weights(fit(encoder=noisy)[0]))
    stopped = Quiet(stop_after=2)
    fit(encoder=noisy, monitor=stopped)
    resumed, _ = fit(encoder=noisy, monitor=Quiet(state=stopped.saved[-1]))
    assert_same(first, weights(resumed))


def test_noise_differs_from_epoch_to_epoch_and_from_seed_to_seed():
    drawn = []
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(2):
            with progress.noise_after(generator):
                drawn.append(float(torch.rand(())))
            torch.rand((), generator=generator)
    assert len(set(drawn)) == 4


def test_a_state_survives_its_round_trip():
    monitor = Quiet()
    run = fit(monitor=monitor)[1]
    other = start(mlp(), SMALL, np.random.default_rng(99))
    restore(other, monitor.saved[-1])
    assert_same(state_of(run), state_of(other))


def test_a_saved_state_does_not_move_with_the_run():
    monitor = Quiet()
    fit(monitor=monitor)
    assert not np.array_equal(
        monitor.saved[0]["encoder/0.weight"], monitor.saved[1]["encoder/0.weight"]
    )
