"""A training epoch against the bare passes of the same networks on the same batches.

*Bare* is, for each batch, already drawn and in memory: E forward; D forward and backward on prior
draws and E's detached output, D's Adam step; D forward on E's output, backward to E, E's Adam
step. Of tables E is four encoders side by side, as by default, and a batch holds as many rows
again that a forest teaches. No drawing of rows, no distortions, no averaged weights, no radial
term, no opinions of the forest, no learning rate schedule, no selection figures. The epoch is the
product's, with all of these. Target: <= 1.3.

With --compile the bare epoch is run once more with E under torch.compile, which needs a C++
compiler: whether it pays depends on how long compiling takes beside the epochs of a training.

    python benchmarks/epoch.py --repeats 9
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from common import interleaved, pair_ratio, parser, tell

TARGET = 1.3
NORMALS, ANOMALIES = 4000, 450  # training rows of the paper's protocol
SELECTION = (500, 50)


class Silent:
    """A monitor that keeps the seconds of the last epoch, as the product counts them."""

    seconds = 0.0

    def report(self, record: Mapping[str, float], epochs: int) -> None:
        self.seconds = float(record["seconds"])

    def warn(self, message: str) -> None: ...

    def stopping(self) -> bool:
        return False

    def restore(self) -> None:
        return None

    def save(self, state: Callable[[], Any]) -> None: ...


def rows_of(spec: Any, normals: int, anomalies: int, seed: int) -> Any:
    from anoean_cli.interfaces import Rows

    rng = np.random.default_rng(seed)
    examples = rng.random((normals + anomalies, *spec.shape)).astype(np.float32)
    examples[normals:] = 1 - examples[normals:] ** 2
    return Rows(examples, np.repeat([False, True], [normals, anomalies]))


def pays(name: str, first: float, seconds: Mapping[str, list[float]]) -> str:
    """What torch.compile costs and saves, in words."""
    bare, compiled = (statistics.median(seconds[each]) for each in ("bare", "compiled"))
    saved = bare - compiled
    after = (
        f"it pays after {(first - compiled) / saved:.0f} epochs" if saved > 0 else "it never pays"
    )
    return (
        f"torch.compile of {name}: compiling took {first - compiled:.1f} s, a bare epoch "
        f"{1000 * compiled:.0f} ms in place of {1000 * bare:.0f}: {after}."
    )


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--compile", action="store_true", help="try torch.compile as well")
    given = options.parse_args()
    # What was compiled before would be found again, which users who train once have not.
    cache = tempfile.TemporaryDirectory()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name

    import torch
    from torch.nn.functional import softplus

    from anoean_cli import registry
    from anoean_cli.interfaces import Encoder, ExampleSpec
    from anoean_cli.training import adversarial
    from anoean_cli.training.batches import Plan

    torch.set_num_threads(given.threads)
    parameters_type = registry.get("detectors", "anoean").Parameters
    rows, results, compiled_notes = [], {}, []
    for name, spec in (
        ("conv", ExampleSpec("image", (1, 28, 28))),
        ("mlp", ExampleSpec("table", (150,))),
    ):
        plugin = registry.get("encoders", name)
        encoder = Encoder(plugin, spec, 32, plugin.Parameters())
        parameters = parameters_type(epochs=1)
        train = rows_of(spec, NORMALS, ANOMALIES, 0)
        selection = rows_of(spec, *SELECTION, 1)
        plan = Plan.of(train, spec.kind, parameters, parameters.anomaly_share)
        bare = adversarial.start(encoder, parameters, np.random.default_rng(0))
        chosen = np.random.default_rng(0)
        batches = [
            torch.from_numpy(
                np.concatenate(
                    [
                        train.normals[chosen.integers(NORMALS, size=plan.normals)],
                        train.anomalies[chosen.integers(ANOMALIES, size=plan.anomalies)],
                    ]
                )
            )
            for _ in range(plan.steps)
        ]
        size = plan.normals + plan.anomalies
        if spec.kind == "table":
            batches = [torch.cat([batch, batch]) for batch in batches]
        members = adversarial.MEMBERS[spec.kind]
        priors = [torch.randn(size * members, bare.dimensions) for _ in range(plan.steps)]

        def bare_epoch(run=bare, batches=batches, priors=priors, m=plan.normals * members) -> None:
            run.encoder.train()
            for examples, prior in zip(batches, priors, strict=True):
                z = run.encoder(examples).reshape(-1, run.dimensions)
                logits = run.discriminator(torch.cat([prior, z.detach()]))
                real, fake = logits[: len(prior)], logits[len(prior) :]
                loss = softplus(-real).mean() + softplus(fake[:m]).mean()
                loss = loss + softplus(fake[m:]).mean()
                run.discriminator_adam.zero_grad()
                loss.backward()
                run.discriminator_adam.step()
                run.discriminator.requires_grad_(False)
                logits = run.discriminator(z)
                run.discriminator.requires_grad_(True)
                loss = softplus(-logits[:m]).mean() + softplus(logits[m:]).mean()
                run.encoder_adam.zero_grad()
                loss.backward()
                run.encoder_adam.step()

        # A run of one epoch each time, which takes its own time: drawing, steps and figures.
        def epoch(e=encoder, p=parameters, t=train, s=selection) -> float:
            monitor = Silent()
            adversarial.fit_encoder(t, s, e, p, np.random.default_rng(0), monitor)
            return monitor.seconds

        runs: dict[str, Callable[[], Any]] = {"epoch": epoch, "bare": bare_epoch}
        if given.compile:
            other = adversarial.start(encoder, parameters, np.random.default_rng(0))
            other.encoder = torch.compile(other.encoder)
            runs["compiled"] = partial(bare_epoch, other)
            began = time.perf_counter()
            runs["compiled"]()
            first = time.perf_counter() - began
        seconds = interleaved(runs, given.repeats)
        ratio = pair_ratio(seconds["epoch"], seconds["bare"])
        if given.compile:
            compiled_notes.append(pays(name, first, seconds))
        results[name] = {"ratio": ratio, "steps": plan.steps, "batch": size, **seconds}
        medians = [
            f"{1000 * statistics.median(seconds[each]):.0f} ms" for each in ("epoch", "bare")
        ]
        rows.append(
            [
                name,
                f"{plan.steps} × {size}",
                *medians,
                f"{ratio:.2f}",
                "met" if ratio <= TARGET else "MISSED",
            ]
        )
    head = ["encoder", "steps × batch", "epoch", "bare", "ratio", f"target {TARGET}"]
    notes = [
        f"{NORMALS} normals and {ANOMALIES} anomalies, {given.threads} thread(s), default preset "
        f"(distortions, averaging, radial term, selection figures on {sum(SELECTION)} rows); "
        f"medians of {given.repeats} interleaved pairs after a warm-up.",
        *compiled_notes,
    ]
    tell(given.out, "A training epoch", notes, head, rows, results)


if __name__ == "__main__":
    main()
