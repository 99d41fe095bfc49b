"""Which row plays which role: training, selection, calibration, test. None plays two, but where
normals are too few to be parted.

The protocols are those of section 4.1 of the paper; `SplitRequest` says where they leave room.
Rows are named by their positions in the dataset, which is what model files remember.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anoean_cli.choices import Scheme, Unlabelled
from anoean_cli.data.content import MANY_COPIES, row_hashes
from anoean_cli.data.labels import among, label_list, require, spelled
from anoean_cli.errors import DataError, UsageError
from anoean_cli.interfaces import Apportionment, Dataset
from anoean_cli.wording import counted

Positions = NDArray[np.int64]

NORMAL_SHARE_OF_TEST = 0.8
SHARE_SET_ASIDE = 0.1
ENOUGH_FOR_ONE_PERCENT = 99
MOST_SET_ASIDE = 20_000
FEWEST_TO_CALIBRATE = 100
FEWEST_TO_SELECT = 30
FEW_ANOMALIES = 25
FEWEST_NORMALS = 3
# A shortage up to this share of the training rows leaves the test as large as asked for, so that
# its figures stay comparable (MNIST's digit 5 lacks 47 of 6,360 images).
SMALL_SHORTAGE = 0.05


@dataclass(frozen=True)
class SplitRequest:
    """What the user asks for.

    Attributes:
        normal: labels that are normal; everything else that has a label is an anomaly. Empty
            if only rows without a label are.
        apportionment: how many rows of which kind.
        anomaly_types: labels or families that training may show; None draws
            ``apportionment.seen_types`` of them, or takes all.
        unlabeled: what rows without a label are: left out, or normal.
        scheme: ``"drawn"`` draws the test from the same rows as the rest, ``"publisher"`` takes
            the publisher's test partition.
    """

    normal: tuple[str, ...]
    apportionment: Apportionment = Apportionment()
    anomaly_types: tuple[str, ...] | None = None
    unlabeled: Unlabelled = "drop"
    scheme: Scheme = "drawn"


@dataclass(frozen=True)
class Split:
    """Positions of rows by role, sorted; normals and anomalies are told apart by `is_anomaly`.

    Attributes:
        training, selection, calibration, test: positions in the dataset.
        is_anomaly: (n,) for every row of the dataset.
        seen: labels of the anomalies that training or selection shows.
        multiplicity: (n,) how often a row stands in the data, where duplicates were dropped.
        notes: what the user should know, a line each.
        doubtful: positions of normals that have no role, since they look like known anomalies.
    """

    training: Positions
    selection: Positions
    calibration: Positions
    test: Positions
    is_anomaly: NDArray[np.bool_]
    seen: tuple[str, ...]
    multiplicity: Positions | None = None
    notes: tuple[str, ...] = ()
    doubtful: Positions = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass
class _Pool:
    """Rows that may still be drawn."""

    normals: Positions
    anomalies: Positions
    notes: list[str] = field(default_factory=list)


def is_anomaly(dataset: Dataset, normal: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) whether a row's label is one of the anomalies.

    Raises:
        DataError: a normal label that no row has.
    """
    present = set(np.unique(dataset.labels).tolist()) - {""}
    for value in normal:
        require(value, present, dataset.name)
    normal_rows = among(dataset.labels, normal)
    unknown = dataset.labels == ""
    anomalous: NDArray[np.bool_] = ~normal_rows & ~unknown
    return anomalous


def draw(dataset: Dataset, request: SplitRequest, rng: np.random.Generator) -> Split:
    """Give every row that is used its role.

    Raises:
        DataError: no normals, or a label that is not there.
        UsageError: sizes that cannot be had.
    """
    anomalous = is_anomaly(dataset, request.normal)
    usable, notes = _usable(dataset, request, anomalous)
    train_pool, test_pool, multiplicity = _pools(dataset, request, anomalous, usable, notes)
    if len(train_pool.normals) == 0:
        raise DataError(
            f"{dataset.name} has no normal rows to learn from; "
            f"its labels are: {label_list(np.unique(dataset.labels).tolist())}"
        )
    seen = _seen_types(dataset, request, train_pool, rng, notes)
    roles = _assign(dataset, request, train_pool, test_pool, seen, rng, notes)
    if not request.apportionment.distinct and test_pool is None:
        notes += _of_copies(dataset, roles)
    return Split(
        **roles,
        is_anomaly=anomalous,
        seen=_shown(dataset, anomalous, roles),
        multiplicity=multiplicity,
        notes=tuple(notes),
    )


def _of_copies(dataset: Dataset, roles: dict[str, Positions]) -> list[str]:
    """What to tell of rows set aside that stand among those to learn from, too."""
    aside = np.concatenate([roles["calibration"], roles["test"]])
    if not len(aside):
        return []
    hashes = row_hashes(dataset.examples)
    learnt = np.concatenate([roles["training"], roles["selection"]])
    copies = int(np.isin(hashes[aside], hashes[learnt]).sum())
    if copies < MANY_COPIES * len(aside):
        return []
    return [
        f"{copies:,} of {counted(len(aside), 'row')} set aside to calibrate and test equal rows "
        "that are learned from: figures and p-values hold for new rows of which as many are such "
        "copies; --distinct takes equal rows once"
    ]


def _shown(
    dataset: Dataset, anomalous: NDArray[np.bool_], roles: dict[str, Positions]
) -> tuple[str, ...]:
    """The anomaly labels that training or selection gets to see."""
    rows = np.concatenate([roles["training"], roles["selection"]])
    return tuple(np.unique(dataset.labels[rows[anomalous[rows]]]).tolist())


# --------------------------------------------------------------------------- which rows there are


def _usable(
    dataset: Dataset, request: SplitRequest, anomalous: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], list[str]]:
    unknown = dataset.labels == ""
    if not unknown.any():
        return np.ones(len(anomalous), bool), []
    if request.unlabeled == "normal":
        note = f"{unknown.sum()} unlabelled rows taken as normal"
        if not request.normal:
            types = label_list(np.unique(dataset.labels[anomalous]).tolist())
            note += f", and all others as anomalies, for want of --normal: {types}"
        return np.ones(len(anomalous), bool), [note]
    return ~unknown, [f"{unknown.sum()} unlabelled rows left out (--unlabeled normal keeps them)"]


def _pools(
    dataset: Dataset,
    request: SplitRequest,
    anomalous: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    notes: list[str],
) -> tuple[_Pool, _Pool | None, Positions | None]:
    """The rows to train from, those to test on where they differ, and multiplicities."""
    in_train, in_test = usable, None
    if request.scheme == "publisher":
        if dataset.partition is None or not (dataset.partition == "test").any():
            raise UsageError(f"{dataset.name} has no test partition of its publisher")
        in_test = usable & (dataset.partition == "test")
        in_train = usable & (dataset.partition == "train")
    elif dataset.partition is not None and not request.apportionment.pooled:
        in_train = usable & (dataset.partition == "train")
    multiplicity = None
    distinct = request.apportionment.distinct
    if distinct or in_test is not None:
        groups = row_hashes(dataset.examples)
        if distinct:
            multiplicity = np.zeros(len(anomalous), np.int64)
            in_train = _distinct(dataset, groups, in_train, anomalous, multiplicity, notes)
            if in_test is not None:
                in_test = _distinct(dataset, groups, in_test, anomalous, multiplicity, notes)
        if in_test is not None:
            in_train = _without_copies(dataset, groups, in_train, in_test, notes)

    def pool(mask: NDArray[np.bool_]) -> _Pool:
        return _Pool(np.flatnonzero(mask & ~anomalous), np.flatnonzero(mask & anomalous))

    return pool(in_train), None if in_test is None else pool(in_test), multiplicity


def _without_copies(
    dataset: Dataset,
    groups: NDArray[np.uint64],
    in_train: NDArray[np.bool_],
    in_test: NDArray[np.bool_],
    notes: list[str],
) -> NDArray[np.bool_]:
    """Leave out of the training side what equals a test row, whatever its label."""
    copies = in_train & np.isin(groups, groups[in_test])
    if copies.any():
        notes.append(
            f"{copies.sum():,} training rows of {dataset.name} equal a row of the test "
            "and are left out"
        )
    return in_train & ~copies


def _distinct(
    dataset: Dataset,
    groups: NDArray[np.uint64],
    mask: NDArray[np.bool_],
    anomalous: NDArray[np.bool_],
    multiplicity: Positions,
    notes: list[str],
) -> NDArray[np.bool_]:
    """Keep the first of equal rows, drop those that are both normal and anomalous."""
    positions = np.flatnonzero(mask)
    _, first, group, counts = np.unique(
        groups[positions], return_index=True, return_inverse=True, return_counts=True
    )
    share = np.bincount(group, weights=anomalous[positions]) / counts
    conflicting = (share > 0) & (share < 1)
    notes.append(
        f"{counted(len(positions), 'row')} of {dataset.name} hold {len(first):,} distinct ones; "
        f"{conflicting.sum():,} of them are both normal and anomalous and left out"
    )
    kept = positions[first[~conflicting]]
    multiplicity[kept] = counts[~conflicting]
    result = np.zeros_like(mask)
    result[kept] = True
    return result


# --------------------------------------------------------------------------- which types are seen


def _seen_types(
    dataset: Dataset,
    request: SplitRequest,
    pool: _Pool,
    rng: np.random.Generator,
    notes: list[str],
) -> NDArray[np.str_]:
    present = np.unique(dataset.labels[pool.anomalies])
    if request.anomaly_types is not None:
        return _named_types(dataset, request.anomaly_types, present)
    wanted = request.apportionment.seen_types
    if wanted is not None and wanted > len(present):
        notes.append(f"{wanted} anomaly types were asked for, {len(present)} are there")
    if wanted is None or wanted >= len(present):
        return present
    return np.sort(rng.choice(present, size=wanted, replace=False))


def _named_types(
    dataset: Dataset, names: Sequence[str], present: NDArray[np.str_]
) -> NDArray[np.str_]:
    chosen: set[str] = set()
    for name in names:
        found = set(spelled([name], present.tolist()))
        if not found and dataset.family is not None:
            found = set(dataset.labels[dataset.family == name].tolist()) & set(present.tolist())
        if not found:
            raise UsageError(
                f"--anomaly-types: {name!r} is not an anomaly of {dataset.name}; "
                f"its anomalies are: {label_list(present.tolist())}"
            )
        chosen |= found
    return np.array(sorted(chosen))


# --------------------------------------------------------------------------- how many of which


def _assign(
    dataset: Dataset,
    request: SplitRequest,
    pool: _Pool,
    test_pool: _Pool | None,
    seen: NDArray[np.str_],
    rng: np.random.Generator,
    notes: list[str],
) -> dict[str, Positions]:
    sizes = request.apportionment
    normals, anomalies = rng.permutation(pool.normals), rng.permutation(pool.anomalies)
    if test_pool is not None:
        train_size = min(sizes.train_size or len(normals), len(normals))
        if sizes.train_size is not None and train_size < sizes.train_size:
            notes.append(f"{sizes.train_size:,} normals were asked for, {train_size:,} are there")
        test = _publisher_test(test_pool, sizes.test_size, rng, notes)
    else:
        train_size, test_normals, test_anomalies = _shrunk(
            sizes, len(normals), len(anomalies), notes
        )
        test = np.concatenate([normals[:test_normals], anomalies[:test_anomalies]])
        normals, anomalies = normals[test_normals:], anomalies[test_anomalies:]
    normals = normals[:train_size]
    if len(normals) < FEWEST_NORMALS:
        raise DataError(
            f"{counted(len(normals), 'normal row')} of {dataset.name}: too few to train with; "
            f"at least {FEWEST_NORMALS} are needed beside those for the test"
        )
    anomalies = anomalies[np.isin(dataset.labels[anomalies], seen)]
    if sizes.anomaly_fraction is not None:
        wanted = round(sizes.anomaly_fraction * len(normals))
        if sizes.anomaly_fraction > 0:
            wanted = max(1, wanted)  # none at all would be another kind of training
        if wanted > len(anomalies):
            notes.append(f"{wanted} training anomalies were asked for, {len(anomalies)} are there")
        anomalies = anomalies[:wanted]
    selection, calibration, training = _parted_normals(normals)
    held = _selection_anomalies(len(anomalies))
    _warn_of_few(len(normals), len(calibration), len(anomalies), held, notes)
    return {
        "training": np.sort(np.concatenate([training, anomalies[held:]])),
        "selection": np.sort(np.concatenate([selection, anomalies[:held]])),
        "calibration": np.sort(calibration),
        "test": np.sort(test),
    }


def _publisher_test(
    pool: _Pool, size: float, rng: np.random.Generator, notes: list[str]
) -> Positions:
    if size == 0:  # "none set aside" of the drawn scheme: here the partition is the test
        return np.concatenate([pool.normals, pool.anomalies])
    classes = [rng.permutation(rows) for rows in (pool.normals, pool.anomalies)]
    wanted = [max(1, count) for count in _test_sizes(size, *map(len, classes))]
    found = [rows[:count] for rows, count in zip(classes, wanted, strict=True)]
    for what, count, rows in zip(("normals", "anomalies"), wanted, found, strict=True):
        if len(rows) < count:
            notes.append(f"{count:,} test {what} were asked for, {len(rows):,} are there")
    return np.concatenate(found)


def _test_sizes(size: float, normals: int, anomalies: int) -> tuple[int, int]:
    """The normals and anomalies that a test is to have: a share of each, or so many of both."""
    if size < 1:
        return round(size * normals), round(size * anomalies)
    of_normals = round(NORMAL_SHARE_OF_TEST * size)
    return of_normals, round(size) - of_normals


def _shrunk(
    sizes: Apportionment, normals: int, anomalies: int, notes: list[str]
) -> tuple[int, int, int]:
    """Training normals, test normals and test anomalies, where need be shrunk to what is there."""
    test_normals, test_anomalies = _test_sizes(sizes.test_size, normals, anomalies)
    if anomalies < 2:
        if test_anomalies or (anomalies and sizes.test_size):
            what = counted(anomalies, "anomaly")
            notes.append(f"{what} can be in no test: it is of normals alone")
        test_anomalies = 0
    elif test_anomalies > anomalies // 2:
        # At least half of the anomalies stay for training; the normals keep their proportion.
        factor = (anomalies // 2) / test_anomalies
        notes.append(
            f"{anomalies:,} anomalies are fewer than the test asks for: "
            f"the test shrinks to {factor:.0%}"
        )
        test_normals, test_anomalies = round(test_normals * factor), anomalies // 2
    train = sizes.train_size if sizes.train_size is not None else normals - test_normals
    if train < 1:
        raise UsageError(
            f"a test of {sizes.test_size:g} rows leaves no normal rows to train on; "
            f"there are {normals}: give a smaller --test-size"
        )
    shortage = train + test_normals - normals
    if shortage > 0:
        if shortage <= SMALL_SHORTAGE * train:
            train -= shortage
        else:
            factor = normals / (train + test_normals)
            train = math.floor(train * factor)
            test_normals, test_anomalies = (
                math.floor(test_normals * factor),
                math.floor(test_anomalies * factor),
            )
        notes.append(
            f"{normals:,} normal rows are fewer than training and test ask for: "
            f"{train:,} for training, selection and calibration, {test_normals:,} for the test"
        )
    return train, test_normals, test_anomalies


def _parted_normals(normals: Positions) -> tuple[Positions, Positions, Positions]:
    """Selection, calibration and training; with few rows selection also calibrates, and with
    very few it shares the training rows."""
    n = len(normals)
    nothing = normals[:0]
    if n < FEWEST_TO_SELECT:
        return normals, nothing, normals
    if n < FEWEST_TO_CALIBRATE:
        return normals[: n // 4], nothing, normals[n // 4 :]
    aside = set_aside(n)
    return normals[:aside], normals[aside : 2 * aside], normals[2 * aside :]


def set_aside(n: int) -> int:
    """How many of n normals each of selection and calibration gets.

    A tenth, but enough for a rate of one percent if that takes no more than a fifth.
    """
    return min(max(round(SHARE_SET_ASIDE * n), min(ENOUGH_FOR_ONE_PERCENT, n // 5)), MOST_SET_ASIDE)


def _selection_anomalies(anomalies: int) -> int:
    """A tenth, at least ten if that leaves two thirds for training."""
    return min(max(round(SHARE_SET_ASIDE * anomalies), min(10, anomalies // 3)), MOST_SET_ASIDE)


def _warn_of_few(
    normals: int, calibration: int, anomalies: int, held: int, notes: list[str]
) -> None:
    if 0 < anomalies < FEW_ANOMALIES:
        notes.append(
            f"only {counted(anomalies, 'anomaly')} to learn from: expect little of unlike ones"
        )
    if anomalies and held < 10:
        notes.append(
            f"{counted(held, 'anomaly')} to select by: the choice of the epoch is uncertain"
        )
    if calibration == 0:
        notes.append(
            f"{counted(normals, 'normal row')}: too few to set a calibration base aside: "
            "p-values are approximate"
        )
    elif calibration < ENOUGH_FOR_ONE_PERCENT:
        notes.append(
            f"a calibration base of {counted(calibration, 'row')} is too small for a "
            f"false-positive rate of 1 %: the finest is {1 / (calibration + 1):.2%}"
        )
