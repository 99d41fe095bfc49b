"""Algorithm 1: encoder and discriminator learn against each other, in turns.

`fit_encoder` is the whole of it and reads top to bottom; `_epoch` is the algorithm's inner loop.
What it shares with the loop of the peers is in `batches` and `progress`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from anoean_cli.calibration.gaussian import Gaussian, fitting_estimator
from anoean_cli.examples import differ
from anoean_cli.interfaces import Encoder, Kind, Monitor, Rows
from anoean_cli.training import progress
from anoean_cli.training import selection as figures
from anoean_cli.training.batches import Plan, batches
from anoean_cli.training.discriminator import Discriminator
from anoean_cli.training.distortions import distort
from anoean_cli.training.generator import Editor, Outskirts, editor_of
from anoean_cli.training.losses import (
    Terms,
    backward,
    discriminator_terms,
    encoder_terms,
    generator_terms,
    radial_taught_terms,
    radial_terms,
    standard_radius,
    taught_terms,
    total,
)
from anoean_cli.training.members import side_by_side
from anoean_cli.training.progress import Means, embed, usable_device
from anoean_cli.training.settings import AnoeanParameters
from anoean_cli.training.teacher import Lesson, lesson_of_forest

GENERATOR_SLOWER = 0.3  # than E, whose mistakes it looks for
GENERATOR_RISES = 0.25  # of training
NEARLY = 0.9  # of the distance that G is to keep, which it reaches from below
MEMBERS: dict[Kind, int] = {"image": 1, "table": 4}  # unless a number is asked for


@dataclass(kw_only=True)
class Run(progress.AveragedRun):
    """All that changes while training runs."""

    encoder: nn.Module
    discriminator: nn.Module
    dimensions: int
    encoder_adam: torch.optim.Adam
    discriminator_adam: torch.optim.Adam
    editor: Editor | None = None
    editor_adam: torch.optim.Adam | None = None

    @cached_property
    def encoder_weights(self) -> list[nn.Parameter]:
        """Those of E that learn."""
        return [weight for weight in self.encoder.parameters() if weight.requires_grad]


@dataclass(frozen=True)
class Course:
    """What a training learns from, on the device where it does.

    Attributes:
        plan: the sizes of batches and epochs.
        normals, anomalies: (n, *shape).
        lesson: what a forest thinks of made-up rows; of tables, or None.
        outskirts: what keeps G off the normals; None: no G.
        distortion: how strongly images are distorted.
    """

    plan: Plan
    normals: Tensor
    anomalies: Tensor
    lesson: Lesson | None
    outskirts: Outskirts | None
    distortion: float

    @classmethod
    def of(
        cls,
        train: Rows,
        kind: Kind,
        parameters: AnoeanParameters,
        rng: np.random.Generator,
        outskirts: Outskirts | None,
    ) -> Course:
        """The course of these rows; draws what the forest is asked about."""
        device, is_image = usable_device(parameters.device), kind == "image"
        has_teacher = parameters.distillation > 0 and not is_image
        return cls(
            plan=Plan.of(train, kind, parameters, parameters.anomaly_share),
            normals=torch.from_numpy(train.normals).to(device),
            anomalies=torch.from_numpy(train.anomalies).to(device),
            lesson=lesson_of_forest(train, rng, device) if has_teacher else None,
            outskirts=outskirts and outskirts.on(device),
            distortion=parameters.distortion if is_image else 0.0,
        )


def fit_encoder(
    train: Rows,
    selection: Rows,
    encoder: Encoder,
    parameters: AnoeanParameters,
    rng: np.random.Generator,
    monitor: Monitor,
    outskirts: Outskirts | None = None,
) -> tuple[nn.Module, Run]:
    """Train E against D and return E as of its best epoch, in evaluation mode on the CPU.

    Args:
        train: normals and anomalies to learn from.
        selection: normals and anomalies that pick the epoch; without anomalies the last is taken.
        outskirts: what keeps G off the normals where G makes some of the anomalies; None: no G.

    Raises:
        TrainingError: a loss is no longer finite, or all examples get one embedding or score.
    """
    run = start(encoder, parameters, rng, has_generator=outskirts is not None)
    course = Course.of(train, encoder.spec.kind, parameters, rng, outskirts)

    def epoch() -> dict[str, float]:
        with progress.noise_after(run.generator):
            terms = _epoch(run, course, parameters)
        device = course.normals.device
        return {**terms, **_figures(run.scorer, selection, device, parameters.covariance)}

    progress.run_epochs(run, course.plan.epochs, parameters, monitor, epoch)
    return progress.best_of(run), run


def _epoch(run: Run, course: Course, parameters: AnoeanParameters) -> dict[str, float]:
    """One pass of Algorithm 1 over the normals; returns the means of all loss terms."""
    run.encoder.train()
    means = Means()
    plan, normals, lesson = course.plan, course.normals, course.lesson
    drawn = batches(plan, normals, course.anomalies, run.generator, run.epoch)
    for step, examples in enumerate(drawn):
        progress.set_learning_rate(run, plan, step, parameters)
        part = None if lesson is None else lesson.some(len(examples), run.generator)
        examples = distort(examples, course.distortion, run.generator)
        g_terms: Terms = {}
        if course.outskirts is not None:
            count = _generated(run, plan, step, parameters)
            at = torch.randint(len(normals), (count,), generator=run.generator)
            sources = distort(normals[at], course.distortion, run.generator)
            examples, g_terms = _edited(run, examples, sources, course.outskirts, parameters)
        means.add(_step(run, plan, examples, parameters, part) | g_terms)
    return means.finite(run.epoch + 1)


def _step(
    run: Run,
    plan: Plan,
    examples: Tensor,
    parameters: AnoeanParameters,
    lesson: Lesson | None = None,
) -> Terms:
    """n_D steps of D, then one of E; one forward pass of E serves them all, since only D moves.

    What several encoders give of one row are so many rows to D and to the losses.
    """
    rows = examples if lesson is None else torch.cat([examples, lesson.examples])
    z = run.encoder(rows).reshape(-1, run.dimensions)
    members = len(z) // len(rows)
    counts = plan.normals, len(examples) - plan.normals, len(rows) - len(examples)
    sizes = [members * count for count in counts]
    d_terms = _discriminator_steps(run, parameters.discriminator_steps, z.detach(), sizes)

    normal, anomalous, taught = run.discriminator(z).split(sizes)
    r_n, r_a, r_t = standard_radius(z).split(sizes)
    margins = parameters.normal_margin, parameters.anomaly_margin
    weighted = [(parameters.adversarial, encoder_terms(normal, anomalous))]
    if parameters.radial > 0:
        weighted.append((parameters.radial, radial_terms(r_n, r_a, *margins)))
    if lesson is not None:
        opinion, weight = lesson.opinion.repeat_interleave(members), parameters.distillation
        weighted.append((weight * parameters.adversarial, taught_terms(taught, opinion)))
        radial = radial_taught_terms(r_t, opinion, *margins)
        weighted.append((weight * parameters.radial, radial))
    run.encoder_adam.zero_grad(set_to_none=True)
    backward(weighted, run.encoder_weights)  # D is frozen in this step
    run.encoder_adam.step()
    run.averaged.update()
    return d_terms | {name: term for _, terms in weighted for name, term in terms.items()}


def _generated(run: Run, plan: Plan, step: int, parameters: AnoeanParameters) -> int:
    """How many of a batch's anomalies G makes: more and more over the first part of training."""
    risen = min(1.0, progress.share_done(run, plan, step) / GENERATOR_RISES)
    return max(1, round(plan.anomalies * parameters.generated * risen))


def _edited(
    run: Run, examples: Tensor, normals: Tensor, outskirts: Outskirts, parameters: AnoeanParameters
) -> tuple[Tensor, Terms]:
    """A step of G; returns the batch with edited normals in place of its last anomalies, and L_G.

    An edit that lies too near to the normals leaves the anomaly as it was.
    """
    assert run.editor is not None
    assert run.editor_adam is not None
    count, least = len(normals), parameters.generator_distance
    anomalies = examples[-count:]
    edits, others = (
        run.editor(normals, anomalies, run.editor.noise(count, run.generator).to(examples.device))
        for _ in range(2)
    )
    run.encoder.eval()  # what G makes is not to move the means of batch normalisation
    z = run.encoder(edits).reshape(-1, run.dimensions)
    run.encoder.train()
    distance = outskirts(edits)
    terms = generator_terms(
        run.discriminator(z), z, distance, edits - others, parameters.normal_margin, least
    )
    run.editor_adam.zero_grad(set_to_none=True)
    total(terms).backward(inputs=list(run.editor.parameters()))
    run.editor_adam.step()
    is_off = (distance.detach() > NEARLY * least).reshape(-1, *[1] * (examples.dim() - 1))
    kept = torch.where(is_off, edits.detach(), anomalies)
    return torch.cat([examples[:-count], kept]), terms


def _discriminator_steps(run: Run, steps: int, z: Tensor, sizes: Sequence[int]) -> Terms:
    """Steps of D on z ~ N(0, I) against embeddings; returns the terms of the last.

    Args:
        z: embeddings of normals, anomalies and taught rows.
        sizes: how many there are of each; z ~ N(0, I) are as many as the former two.
    """
    terms: Terms = {}
    m = sizes[0] + sizes[1]
    for _ in range(steps):
        prior = torch.randn(z[:m].shape, generator=run.generator).to(z.device)
        logits = run.discriminator(torch.cat([prior, z]))
        known, normal, anomalous, taught = logits.split([m, *sizes])
        terms = discriminator_terms(known, normal, anomalous)
        if sizes[2]:
            terms["d_taught"] = softplus(taught).mean()
        run.discriminator_adam.zero_grad(set_to_none=True)
        torch.autograd.backward(list(terms.values()))  # as of their sum
        run.discriminator_adam.step()
    return terms


# --------------------------------------------------------------------------- selection


def _figures(
    module: nn.Module, selection: Rows, device: torch.device, covariance: str | None
) -> dict[str, float]:
    """The selection figures of one epoch; none where the selection rows lack a class, or where
    its normals are all the same, which have no Gaussian."""
    if not selection.is_anomaly.any() or not differ(selection.normals):
        return {}
    z = progress.finite(embed(module, selection.examples, device), "embeddings")
    normals = z[~selection.is_anomaly]
    gaussian = Gaussian.from_embeddings(normals, fitting_estimator(normals, covariance))
    return figures.of_distances(gaussian.mahalanobis(z), selection.is_anomaly)


# --------------------------------------------------------------------------- before the first step


def start(
    encoder: Encoder,
    parameters: AnoeanParameters,
    rng: np.random.Generator,
    has_generator: bool = False,
) -> Run:
    """Networks and optimisers before the first step, their weights drawn from ``rng``."""
    device = usable_device(parameters.device)
    with progress.weights_drawn_from(rng):
        network, dimensions = side_by_side(
            encoder, parameters.members or MEMBERS[encoder.spec.kind]
        )
        network = network.to(device)
        discriminator = Discriminator(dimensions).to(device)
        editor = editor_of(encoder.spec).to(device) if has_generator else None
    return Run(
        encoder=network,
        discriminator=discriminator,
        dimensions=dimensions,
        encoder_adam=progress.adam_of(network, parameters),
        discriminator_adam=progress.adam_of(discriminator, parameters),
        averaged=progress.Average(network, parameters.averaging),
        generator=progress.generator_from(rng),
        editor=editor,
        editor_adam=progress.adam_of(editor, parameters, GENERATOR_SLOWER) if editor else None,
    )
