"""Labels: which ones a user means, and which rows have them.

Labels are compared by what they mean, so that 1.0 is 1 and True is true: the same rows are labelled
alike wherever they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anoean_cli.choices import Unlabelled
from anoean_cli.data.meaning import meaning
from anoean_cli.errors import DataError, UsageError
from anoean_cli.wording import some, split_list


def among(labels: ArrayLike, wanted: Collection[str]) -> NDArray[np.bool_]:
    """(n,) whether each label is one of those wanted."""
    distinct, index = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    return np.isin(distinct, spelled(wanted, distinct.tolist()))[index]


def spelled(wanted: Collection[str], labels: Collection[str]) -> list[str]:
    """Return those of some labels that are wanted, as they are spelled there."""
    meanings = {meaning(label) for label in wanted}
    return [label for label in labels if meaning(label) in meanings]


def parts(text: str, labels: Collection[str]) -> tuple[str, ...]:
    """Return what an option names: the whole of it if that is a label, else between commas, of
    which those in double quotes part nothing."""
    if spelled([text], labels):
        return (text.strip(),)
    return split_list(text)


def normal_labels(
    text: str | None,
    known: Sequence[str],
    labels: ArrayLike,
    source: str,
    nulls: Collection[str] = (),
    unlabeled: Unlabelled = "drop",
) -> tuple[str, ...]:
    """Return the labels of some rows that are normal, as they are spelled there.

    There may be none if rows without a label are there and are normal; then nobody needs to name
    any.

    Args:
        text: what ``--normal`` names, or None.
        known: the labels that are normal unless it names any.
        labels: (n,) of the rows, ``""`` where there is none.
        source: where the rows come from, for messages.
        nulls: what is read as a missing label.
        unlabeled: what rows without a label are.

    Raises:
        UsageError: nobody says which labels are normal.
        DataError: no row has such a label.
    """
    distinct = np.unique(np.asarray(labels, dtype=str)).tolist()
    present = [label for label in distinct if label]
    others_are_normal = unlabeled == "normal" and "" in distinct
    named = () if text is None else parts(text, present)
    for label in named:
        require(label, present, source, nulls)
    if not named and text is not None:
        raise UsageError(f"--normal {text!r} names no label; the labels are: {label_list(present)}")
    if not named and not known and not others_are_normal:
        others = ", or --unlabeled normal if rows without a label are" if "" in distinct else ""
        raise UsageError(
            f"which labels of {source} are normal? Give --normal V[,V...]{others}; "
            f"the labels are: {label_list(present)}"
        )
    found = spelled(named or known, present)
    if not found and not others_are_normal:
        raise DataError(
            f"no row of {source} has a label that is normal ({label_list(known)}); "
            f"the labels are: {label_list(present)}; name normal ones with --normal"
        )
    return tuple(found)


def as_trained(
    text: str | None,
    config: Mapping[str, Any],
    labels: ArrayLike,
    source: str,
    nulls: Collection[str],
    warn: Callable[[str], None],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell the rows of a file apart by what was normal in a model's training: `told_apart`.

    Args:
        text, labels, source, nulls: see `normal_labels`.
        config: the model's.
        warn: told of rows without a label.

    Raises:
        DataError, UsageError: see `normal_labels`.
    """
    unlabeled = config.get("unlabeled", "drop")
    normal = normal_labels(text, config["normal"], labels, source, nulls, unlabeled)
    told = about_unlabelled(labels, unlabeled)
    if told is not None:
        warn(f"{source}: {told}")
    return told_apart(labels, normal, unlabeled)


def told_apart(
    labels: ArrayLike, normal: Collection[str], unlabeled: Unlabelled
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) which rows are anomalies, and (n,) which rows are known to be that or normal."""
    is_labelled = np.asarray(labels, dtype=str) != ""
    return is_labelled & ~among(labels, normal), is_labelled | (unlabeled == "normal")


def about_unlabelled(labels: ArrayLike, unlabeled: Unlabelled) -> str | None:
    """Return what to tell of the rows that have no label, if there are any."""
    count = int((np.asarray(labels, dtype=str) == "").sum())
    what = "taken as normal" if unlabeled == "normal" else "left out"
    told = f"{count:,} unlabelled rows {what}: the model was trained with --unlabeled {unlabeled}"
    return told if count else None


def require(label: str, present: Collection[str], source: str, nulls: Collection[str] = ()) -> None:
    """Raise DataError unless a label that ``--normal`` names is one of those present."""
    if spelled([label], present):
        return
    why = ""
    if label in nulls:
        why = ", for it is read as a missing value (--null-values '' reads it as it is)"
    raise DataError(
        f"no row of {source} has the label {label!r} that --normal names{why}; "
        f"the labels are: {label_list(sorted(present))}"
    )


def label_list(labels: Sequence[str]) -> str:
    """Return labels for a message, so that blanks and commas in them show."""
    return some([repr(str(label)) if label else "(none)" for label in labels]) or "none"
