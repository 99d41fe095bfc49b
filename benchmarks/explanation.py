"""Whether explanations name what makes rows anomalous: deletion and insertion curves, and cost.

Deletion puts the values of a normal in place of a row's, column by column, those first that a
method says add most; the sooner the score falls, the better the method. Insertion puts a row's
columns into the normal likewise; the sooner the score rises, the better. Both are given as the
area under the curve over the share of columns, of the share of log score over that of a median
normal that is left, from 0 to 1. The normals put in place are the model's typical one, and for
each row two drawn from the calibration rows, which no method knows of.

Methods are chosen with --choose, on anomalies that no reported test holds and that training has not
seen; without it they are judged on the anomalies that training set aside. Models are trained as
`anoean train` does, and kept in --models.

    python benchmarks/explanation.py --choose --out docs/results/explanation-choice.md
    python benchmarks/explanation.py --out docs/results/explanation.md

KernelSHAP needs the package shap (pip install -e '.[bench]').
"""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ablation import REPORTED_SEEDS
from common import (
    anoean,
    environment,
    interleaved,
    load,
    pair_ratio,
    parser,
    run,
    spread,
    tell,
)
from numpy.typing import NDArray

from anoean_cli.commands.train import DataFlags, split_request
from anoean_cli.data.splits import draw
from anoean_cli.inference.explanation import PATCHES, QUESTIONS, Explainer
from anoean_cli.inference.model import Model, load_model
from anoean_cli.interfaces import Dataset
from anoean_cli.training.preparation import take

FLAGS = {"nsl-kdd": {}, "kdd99": {}, "mnist": {"normal": "3"}}
STEPS = 40  # of a curve, at most
DRAWN = 2  # normals for each row
LOG_FLOOR = 0.1
PERMUTED = 5  # times each column, for permutation importance
PATCHES_PUT_IN = 4  # a side, of images that are asked about once
SHAP_PIXELS = 4  # a side of the squares that KernelSHAP is asked about
Ranking = Callable[["Bed"], NDArray[Any]]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--datasets", default=",".join(FLAGS))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--rows", type=int, default=100, help="anomalies a model")
    options.add_argument("--models", type=Path, default=Path(".reproduce/explanation"))
    options.add_argument("--choose", action="store_true", help="between methods, on other rows")
    given = options.parse_args()
    methods = CANDIDATES if given.choose else REPORTED
    areas: dict[str, dict[str, list[dict[str, float]]]] = {}
    costs: dict[str, dict[str, float]] = {}
    for name in given.datasets.split(","):
        dataset = load(name, "full")
        for seed in range(given.seeds):
            path = trained(given.models, name, seed)
            bed = Bed(dataset, name, load_model(path), seed, given.rows, given.choose)
            for method, ranking in methods.items():
                if bed.is_image and ranking in FOR_TABLES:
                    continue
                contributions = ranking(bed)
                found = bed.areas(np.argsort(-contributions, axis=1, kind="stable"))
                areas.setdefault(method, {}).setdefault(name, []).append(found)
                print(name, seed, method, found, flush=True)
        if not given.choose:
            costs[name] = cost(dataset, trained(given.models, name, 0))
    page(given, areas, costs)


def trained(folder: Path, name: str, seed: int) -> Path:
    path = folder / f"{name}-{seed}.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        normal = FLAGS[name].get("normal")
        asked = ["--normal", normal] if normal else []
        asked += ["--seed", str(seed), "--model", str(path), "--quiet"]
        run(anoean("train", "--dataset", name, "--source", "full", *asked), env=environment())
    return path


class Bed:
    """Anomalies to explain, normals to put in their place, and how a ranking is judged."""

    def __init__(
        self, dataset: Dataset, name: str, model: Model, seed: int, rows: int, choose: bool
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.model = model
        self.explainer = Explainer(model)
        self.shape = model.preprocessor.spec.shape
        self.is_image = model.schema is None
        is_anomaly = ~np.isin(dataset.labels, model.config["normal"])
        if choose:
            free = outside_tests(dataset, name)
            free[model.split["training"]] = False
            free[model.split["selection"]] = False
            candidates = np.flatnonzero(free & is_anomaly)
        else:
            test = model.split["test"]
            candidates = test[is_anomaly[test]]
        chosen = np.sort(self.rng.permutation(candidates)[:rows])
        normals = model.split["calibration"]

        def of(at: NDArray[np.int64]) -> NDArray[np.float32]:
            rows = model.preprocessor.transform(take(dataset, model.schema, at))
            return rows.reshape(len(at), -1)

        self.rows, self.normals = of(chosen), of(normals)
        assert model.typical is not None
        self.typical = np.repeat(model.typical.reshape(1, -1), len(self.rows), axis=0)
        self.drawn = [
            self.normals[self.rng.integers(len(normals), size=len(self.rows))] for _ in range(DRAWN)
        ]
        self.scores = self.score(self.rows)
        self.median = float(np.median(model.calibration.reference))
        self.distance = self.explainer._distances(self.rows)
        self.columns = self.distance.shape[1]

    def score(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.model.score_rows(rows.reshape(-1, *self.shape)).scores

    def log(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.log(np.maximum(self.score(rows), 1e-12))

    def mixed(self, normal: NDArray[np.float32], own: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The rows' own columns where said, a normal's elsewhere."""
        return np.where(self.explainer._features(own), self.rows, normal)

    def areas(self, order: NDArray[np.intp]) -> dict[str, float]:
        """Under the curves of deletion and insertion, by what is put in place."""
        rank = np.argsort(order, axis=1)
        typical = self._areas(rank, self.typical)
        drawn = [self._areas(rank, normal) for normal in self.drawn]
        found = {f"{kind}, typical": typical[kind] for kind in typical}
        return found | {
            f"{kind}, drawn": statistics.mean(some[kind] for some in drawn) for kind in typical
        }

    def _areas(self, rank: NDArray[np.intp], normal: NDArray[np.float32]) -> dict[str, float]:
        steps = np.unique(np.linspace(0, self.columns, STEPS + 1).round().astype(int))
        whole = np.maximum(np.log(self.scores / self.median), LOG_FLOOR)

        def area(own: Callable[[int], NDArray[np.bool_]]) -> float:
            left = [self.log(self.mixed(normal, own(k))) - np.log(self.median) for k in steps]
            curve = np.clip(np.array(left) / whole, 0, 1).mean(axis=1)
            return float(np.trapezoid(curve, steps / self.columns))

        return {"deletion": area(lambda k: rank >= k), "insertion": area(lambda k: rank < k)}


def outside_tests(dataset: Dataset, name: str) -> NDArray[np.bool_]:
    """Rows that no test of the reported seeds holds; of the publisher's training part for KDD."""
    free = np.ones(len(dataset.labels), np.bool_)
    if dataset.kind == "table":
        assert dataset.partition is not None
        free = dataset.partition == "train"
    for seed in range(REPORTED_SEEDS):
        rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
        free[draw(dataset, split_request(dataset, DataFlags(**FLAGS[name])), rng).test] = False
    return free


# --------------------------------------------------------------------------- methods


def ours(bed: Bed) -> NDArray[np.float64]:
    shaped = bed.rows.reshape(-1, *bed.shape)
    return bed.explainer.explain_rows(shaped, bed.scores).contributions


def at_random(bed: Bed) -> NDArray[np.float64]:
    return np.random.default_rng(1).random(bed.distance.shape)


def by_distance(bed: Bed) -> NDArray[np.float64]:
    return bed.distance


def _groups(bed: Bed, most: int) -> NDArray[np.intp]:
    """(n, columns): the columns that a question is about, as ours: the last takes all the rest."""
    if bed.is_image:
        _, height, width = bed.shape
        side = int(np.sqrt(most))
        y, x = np.mgrid[:height, :width]
        patch = (y * side // height * side + x * side // width).ravel()
        return np.broadcast_to(patch, bed.distance.shape)
    order = np.argsort(-bed.distance, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable").clip(max=most - 1)


def asked(bed: Bed, groups: NDArray[np.intp], take_out: bool, put_in: bool) -> NDArray[np.float64]:
    """The change of log score as each group is taken out of the row, put into the typical one."""
    change = np.zeros_like(bed.distance)
    whole, start = np.log(bed.scores), bed.log(bed.typical)
    for group in range(groups.max() + 1):
        here = groups == group
        effect = np.zeros(len(bed.rows))
        if take_out:
            effect += whole - bed.log(bed.mixed(bed.typical, ~here))
        if put_in:
            effect += bed.log(bed.mixed(bed.typical, here)) - start
        share = np.where(here, bed.distance, 0)
        total = share.sum(axis=1, keepdims=True)
        change += effect[:, None] * share / np.where(total > 0, total, 1)
    return change


def taken_out(bed: Bed) -> NDArray[np.float64]:
    return asked(bed, _groups(bed, QUESTIONS), True, False)


def put_in(bed: Bed) -> NDArray[np.float64]:
    most = PATCHES_PUT_IN**2 if bed.is_image else QUESTIONS
    return asked(bed, _groups(bed, most), False, True)


def both_ways(bed: Bed) -> NDArray[np.float64]:
    return asked(bed, _groups(bed, QUESTIONS // 2), True, True)


def path(bed: Bed) -> NDArray[np.float64]:
    """Groups taken out one after the other: what each changes, which adds up by itself."""
    groups = _groups(bed, QUESTIONS)
    change = np.zeros_like(bed.distance)
    before = np.log(bed.scores)
    for group in range(groups.max() + 1):
        after = bed.log(bed.mixed(bed.typical, groups > group))
        share = np.where(groups == group, bed.distance, 0)
        total = share.sum(axis=1, keepdims=True)
        change += (before - after)[:, None] * share / np.where(total > 0, total, 1)
        before = after
    return change


def sampled_shapley(bed: Bed, permutations: int = 10) -> NDArray[np.float64]:
    """Of many more questions than the limit allows: what there is to gain. Tables only."""
    change = np.zeros_like(bed.distance)
    rng = np.random.default_rng(2)
    for _ in range(permutations):
        own, before = np.ones(bed.distance.shape, np.bool_), np.log(bed.scores)
        for column in rng.permutation(bed.columns):
            own[:, column] = False
            after = bed.log(bed.mixed(bed.typical, own))
            change[:, column] += before - after
            before = after
    return change


def permutation(bed: Bed) -> NDArray[np.float64]:
    """scikit-learn's permutation importance for average precision: one order for all rows."""
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import average_precision_score

    kept = bed.normals[: 4 * len(bed.rows)]
    labels = np.repeat([0, 1], [len(kept), len(bed.rows)])
    both = np.concatenate([kept, bed.rows])
    # scikit-learn permutes columns, of which ours have several features: it is given row numbers
    index = np.repeat(np.arange(len(both))[:, None], bed.columns, axis=1)

    def quality(_: Any, rows: NDArray[np.intp], y: NDArray[np.intp]) -> float:
        features = bed.explainer._features(np.ones((1, bed.columns), np.bool_)).shape[1]
        column = np.zeros(features, np.intp)
        for at in range(bed.columns):
            column[bed.explainer._features(np.arange(bed.columns)[None] == at)[0]] = at
        permuted = both[rows[:, column], np.arange(features)]
        return float(average_precision_score(y, bed.score(permuted)))

    found = permutation_importance(
        _Nothing(), index, labels, scoring=quality, n_repeats=PERMUTED, random_state=0
    )
    return np.broadcast_to(found.importances_mean, bed.distance.shape)


class _Nothing:
    """scikit-learn wants an estimator; the scorer does without."""

    def fit(self) -> None: ...


def kernel_shap(bed: Bed) -> NDArray[np.float64]:
    """shap.KernelExplainer with its defaults on the log score, from the typical row; images in
    squares."""
    import shap

    squares = np.arange(bed.columns)
    if bed.is_image:
        _, height, width = bed.shape
        y, x = np.mgrid[:height, :width]
        squares = (y // SHAP_PIXELS * (-(-width // SHAP_PIXELS)) + x // SHAP_PIXELS).ravel()
    found = np.zeros_like(bed.distance)
    for at in range(len(bed.rows)):

        def value(own: NDArray[np.float64], at: int = at) -> NDArray[np.float64]:
            features = bed.explainer._features(own[:, squares] > 0)
            return bed.log(np.where(features, bed.rows[at], bed.typical[0]))

        count = squares.max() + 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            explainer = shap.KernelExplainer(value, np.zeros((1, count)))
            found[at] = explainer.shap_values(np.ones(count), silent=True)[squares]
    if bed.is_image:  # within a square as ours, so that pixels can be ranked
        found *= bed.distance
    return found


CANDIDATES: Mapping[str, Ranking] = {
    "random order": at_random,
    "distance from the typical row": by_distance,
    "put into the typical row": put_in,
    "taken out of the row": taken_out,
    "both, half as many groups": both_ways,
    "one path": path,
    "sampled Shapley values, 10 orders": sampled_shapley,
}
FOR_TABLES = (sampled_shapley,)  # an image has too many pixels
REPORTED: Mapping[str, Ranking] = {
    "random order": at_random,
    "permutation importance": permutation,
    "KernelSHAP": kernel_shap,
    "--explain": ours,
}


# --------------------------------------------------------------------------- cost


def cost(dataset: Dataset, path: Path, rows: int = 4000, repeats: int = 5) -> dict[str, float]:
    """Seconds with and without an explanation: of rows in memory, and of whole commands."""
    model = load_model(path)
    test = np.resize(model.split["test"], rows)
    examples = take(dataset, model.schema, test)
    prepared = model.preprocessor.transform(examples)
    explainer = Explainer(model)
    scores = model.score_rows(prepared).scores
    inside = interleaved(
        {
            "explain": lambda: explainer.explain_rows(prepared, scores),
            "score": lambda: model.score_rows(prepared),
        },
        repeats,
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.parquet"
        _write(examples, model, source)
        command = ["score", str(source), "--model", str(path), "--jobs", "1", "--quiet", "--out"]

        def scored(*more: str) -> None:
            out = str(Path(folder) / "scores.csv")
            run(anoean(*command, out, "--force", *more), env=environment())

        whole = interleaved({"explain": partial(scored, "--explain", "5"), "score": scored}, 3)
    return {
        "rows in memory": 1 + pair_ratio(inside["explain"], inside["score"]),
        "whole command": pair_ratio(whole["explain"], whole["score"]),
        "microseconds a row": 1e6 * statistics.median(inside["explain"]) / rows,
    }


def _write(examples: Any, model: Model, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    if model.schema is None:
        pixels = examples.reshape(len(examples), -1)
        examples = pa.table({f"pixel{i}": pixels[:, i] for i in range(pixels.shape[1])})
    parquet.write_table(examples, path)


# --------------------------------------------------------------------------- the page


def page(given: Any, areas: Mapping[str, Any], costs: Mapping[str, Any]) -> None:
    names = given.datasets.split(",")
    rows = []
    for kind in ("deletion, drawn", "deletion, typical", "insertion, drawn", "insertion, typical"):
        for method, found in areas.items():
            figures = [spread([100 * some[kind] for some in found.get(name, [])]) for name in names]
            rows.append([kind, method, *figures])
    head = ["curve, normals put in place", "method", *names]
    which = (
        "Anomalies that no test of seeds 0 to 9 holds and that training has not seen."
        if given.choose
        else "Anomalies that training set aside. The choice was made on others."
    )
    notes = [
        f"{which} {given.rows} a model, {given.seeds} seeds; area under the curve in %, mean ± "
        "standard deviation over seeds. **Deletion: lower is better; insertion: higher is.**",
        f"`--explain` asks {QUESTIONS} questions about a row of a table: what its columns add when "
        f"put into the typical row; and {2 * PATCHES**2} about an image: both ways, by patches.",
    ]
    for name, of in costs.items():
        notes.append(
            f"Cost on {name}, relative to scoring: {of['rows in memory']:.1f} for rows in memory, "
            f"{of['whole command']:.1f} as a whole command on 4,000 rows of Parquet; "
            f"{of['microseconds a row']:.0f} µs a row."
        )
    title = "Choice of the method of --explain" if given.choose else "Explanations"
    tell(given.out, title, notes, head, rows, {"areas": areas, "cost": costs})


if __name__ == "__main__":
    main()
