"""Tree ensembles as ONNX graphs, through the standard operator ai.onnx.ml.TreeEnsemble.

skl2onnx is no way here: with the versions pinned it fails on histogram boosting, takes minutes
for an isolation forest, and writes every node as a dozen attributes that take seconds to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anoean_cli.interfaces import FloatRows
from anoean_cli.training.export import onnx_graph

if TYPE_CHECKING:
    import torch

ML_OPSET = 5
LESS_OR_EQUAL = 0  # the operator's code for "true where x <= split"


@dataclass(frozen=True)
class Tree:
    """One binary tree; node 0 is its root.

    Attributes:
        feature, threshold: (nodes,) a row goes left where row[feature] <= threshold.
        left, right: (nodes,) child nodes, -1 in a leaf.
        value: (nodes,) what a leaf adds to the score.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]


def from_sklearn(tree: Any, value: NDArray[np.float64]) -> Tree:
    """A scikit-learn ``tree_`` with the value of each of its nodes."""
    return Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, value)


def tree_graph(
    trees: Sequence[Tree],
    shape: tuple[int, ...],
    head: torch.nn.Module | None = None,
    output: str = "score",
) -> bytes:
    """Return the ONNX model that sums the leaves' values and gives them to a head.

    Args:
        trees: all that are summed.
        shape: of one row.
        head: a module from (n, features) flattened rows and their (n, 1) sums to what the model
            is to give; None gives the sums themselves.
        output: what its output is called.
    """
    import onnx
    from onnx import helper

    features = int(np.prod(shape))
    behind = onnx_graph(head or _sum(), (features,), output, beside=("sum",))
    model = onnx.load_model_from_string(behind)
    graph = model.graph
    for node in graph.node:
        node.input[:] = ["row" if name == "rows" else name for name in node.input]
    nodes = [
        helper.make_node("Flatten", ["rows"], ["row"]),
        helper.make_node("TreeEnsemble", ["row"], ["sum"], domain="ai.onnx.ml", **_fields(trees)),
        *graph.node,
    ]
    rows = helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["n", *shape])
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("input")
    graph.input.append(rows)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    return bytes(model.SerializeToString(deterministic=True))


def rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each: x <= it for the same float32 x as before."""
    nearest = thresholds.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > thresholds, below, nearest)


def _sum() -> torch.nn.Module:
    from torch import Tensor, nn

    class Sum(nn.Module):
        def forward(self, rows: Tensor, sums: Tensor) -> Tensor:
            return sums.squeeze(1)

    return Sum()


def _fields(trees: Sequence[Tree]) -> dict[str, Any]:
    """The operator's attributes: inner nodes and leaves of all trees, each numbered through."""
    from onnx import numpy_helper

    parts = [_numbered(_with_a_split(tree)) for tree in trees]
    inner_before = np.cumsum([0] + [len(part["feature"]) for part in parts])
    leaves_before = np.cumsum([0] + [len(part["weight"]) for part in parts])

    def joined(key: str) -> NDArray[Any]:
        return np.concatenate([part[key] for part in parts])

    def children(side: str) -> NDArray[np.int64]:
        """Positions among all inner nodes, or among all leaves where the child is one."""
        shifted = [
            part[side] + np.where(part[f"{side} leaf"], leaves, inner)
            for part, inner, leaves in zip(parts, inner_before, leaves_before, strict=False)
        ]
        return np.concatenate(shifted)

    modes = np.full(len(joined("feature")), LESS_OR_EQUAL, np.uint8)
    return {
        "n_targets": 1,
        "tree_roots": inner_before[:-1].tolist(),
        "nodes_featureids": joined("feature").tolist(),
        "nodes_modes": numpy_helper.from_array(modes),
        "nodes_splits": numpy_helper.from_array(rounded_down(joined("threshold"))),
        "nodes_trueleafs": joined("left leaf").astype(int).tolist(),
        "nodes_truenodeids": children("left").tolist(),
        "nodes_falseleafs": joined("right leaf").astype(int).tolist(),
        "nodes_falsenodeids": children("right").tolist(),
        "leaf_weights": numpy_helper.from_array(joined("weight").astype(np.float32)),
        "leaf_targetids": [0] * int(leaves_before[-1]),
    }


def _numbered(tree: Tree) -> dict[str, NDArray[Any]]:
    """One tree's inner nodes and leaves, parted and numbered from 0 each."""
    is_leaf = tree.left < 0
    inner = ~is_leaf
    number = np.where(is_leaf, np.cumsum(is_leaf), np.cumsum(inner)) - 1
    left, right = tree.left[inner], tree.right[inner]
    return {
        "feature": tree.feature[inner],
        "threshold": tree.threshold[inner],
        "left": number[left],
        "left leaf": is_leaf[left],
        "right": number[right],
        "right leaf": is_leaf[right],
        "weight": tree.value[is_leaf],
    }


def _with_a_split(tree: Tree) -> Tree:
    """A tree of one leaf as a split whose sides are equal: the operator knows no bare leaf."""
    if tree.left[0] >= 0:
        return tree
    return Tree(
        feature=np.zeros(3, np.int64),
        threshold=np.zeros(3),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        value=np.repeat(tree.value[0], 3),
    )


# --------------------------------------------------------------------------- scikit-learn's models


def fitted_forest(
    rows: FloatRows,
    is_anomaly: NDArray[np.bool_],
    class_weight: str | None = "balanced",
    **settings: Any,
) -> Any:
    """A RandomForestClassifier of (n, features) rows."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(class_weight=class_weight, **settings)
    return model.fit(rows, is_anomaly)


class Grown(NamedTuple):
    """A forest, and the votes on each of its rows by the trees grown without it.

    Attributes:
        model: has ``estimators_``, each a tree of both classes, and ``predict_proba``.
        votes: (n,) shares of these trees' votes that take the row for an anomaly.
    """

    model: Any
    votes: NDArray[np.float64]


def plain_trees(
    rows: FloatRows, is_anomaly: NDArray[np.bool_], count: int, random_state: int
) -> Grown:
    """Trees whose classes count by their rows alone."""
    model = fitted_forest(
        rows,
        is_anomaly,
        class_weight=None,
        n_estimators=count,
        oob_score=True,
        random_state=random_state,
    )
    return Grown(model, model.oob_decision_function_[:, 1])


def weighted_trees(
    rows: FloatRows,
    is_anomaly: NDArray[np.bool_],
    count: int,
    random_state: int,
    **of_tree: Any,
) -> Grown:
    """Trees whose classes count alike, each from rows that are drawn alike.

    A bootstrap that draws by weight, as scikit-learn's forests do, leaves hardly a tree without a
    row of a rare class, and so no votes on it. Votes are counted here as `BaggingClassifier` fails
    at a tree that has drawn every one of very few rows.
    """
    from sklearn.ensemble import BaggingClassifier
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(class_weight="balanced", **of_tree)
    model = BaggingClassifier(tree, count, random_state=random_state).fit(rows, is_anomaly)
    votes, voters = np.zeros(len(rows)), np.zeros(len(rows))
    for each, drawn in zip(model.estimators_, model.estimators_samples_, strict=True):
        left = np.setdiff1d(np.arange(len(rows)), drawn)
        if len(left):
            votes[left] += each.predict_proba(rows[left])[:, 1]
            voters[left] += 1
    return Grown(model, votes / np.maximum(voters, 1))


def forest_graph(
    model: Any,
    shape: tuple[int, ...],
    head: torch.nn.Module | None = None,
    output: str = "score",
    features: NDArray[np.intp] | None = None,
) -> bytes:
    """The anomalies' predict_proba of a forest of both classes, given to the head beside the row.

    Args:
        features: which of the row's features the forest was fitted to; None: all.
    """
    count = len(model.estimators_)
    trees = [
        from_sklearn(each.tree_, each.tree_.value[:, 0, 1] / count) for each in model.estimators_
    ]
    if features is not None:
        # Leaves, which look at no feature, have a negative one.
        trees = [replace(tree, feature=features[tree.feature.clip(min=0)]) for tree in trees]
    return tree_graph(trees, shape, head, output)


def boosting_graph(model: Any, shape: tuple[int, ...]) -> bytes:
    """The decision_function (a logit) of a HistGradientBoostingClassifier of two classes."""
    trees = [_from_boosting(stage[0].nodes) for stage in model._predictors]
    base = float(np.squeeze(model._baseline_prediction))
    first = trees[0]
    trees[0] = Tree(first.feature, first.threshold, first.left, first.right, first.value + base)
    return tree_graph(trees, shape)


def _from_boosting(nodes: Any) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"],
        np.where(leaf, -1, nodes["left"].astype(np.int64)),
        np.where(leaf, -1, nodes["right"].astype(np.int64)),
        nodes["value"],
    )


def isolation_graph(model: Any, shape: tuple[int, ...]) -> bytes:
    """Minus the score_samples of an IsolationForest: 2^(−mean depth / expected depth)."""
    scale = len(model.estimators_) * float(expected_depth(np.array([model.max_samples_]))[0])
    trees = [from_sklearn(each.tree_, -_depths(each.tree_) / scale) for each in model.estimators_]
    return tree_graph(trees, shape, _power_of_two())


def expected_depth(rows: NDArray[Any]) -> NDArray[np.float64]:
    """c(n) of Liu et al.: the mean depth of a search in a binary tree of n rows."""
    n = np.maximum(rows, 3).astype(np.float64)
    many = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, many))


def _depths(tree: Any) -> NDArray[np.float64]:
    """Depth of each node, and below a leaf that of a tree of the rows left in it."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents come before their children
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return depth + expected_depth(tree.n_node_samples)


def _power_of_two() -> torch.nn.Module:
    from torch import Tensor, nn

    class PowerOfTwo(nn.Module):
        def forward(self, rows: Tensor, sums: Tensor) -> Tensor:
            return (sums.squeeze(1) * float(np.log(2))).exp()

    return PowerOfTwo()
