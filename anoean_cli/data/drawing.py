"""Rows drawn in one pass from a table that has more of them than may be kept.

Half of the rows that are kept are for normals and half for all others; among the labels of either,
each gets an equal share. What a rare label does not need goes to those that have more. Of every
label the rows are drawn at random, without replacement, and stay in the order of the table.

Each row gets a random key, and of each label the rows with the smallest keys stay (bottom-k
sampling): which ones depends on the table, the seed and the limit, not on the size of the blocks
that the table is read in. A table within the limit is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anoean_cli.data.meaning import meaning
from anoean_cli.errors import DataError
from anoean_cli.examples import Drawing

SLACK = 1.25  # rows held between two clearings, against the limit
OF_DRAWING = 2  # 0 and 1 are the random numbers of the split and of the training
UNKNOWN = ""
MORE_THAN_ANY = 1 << 62


class Drawn(NamedTuple):
    """What was kept of a table.

    Attributes:
        table: its rows, in their order.
        rows: (n,) their positions in the table.
        of: how many rows there are of each label, ``""`` where it is not known or there is none.
        kept: how many of them were kept.
    """

    table: pa.Table
    rows: NDArray[np.int64]
    of: Mapping[str, int]
    kept: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many rows there are."""
        return sum(self.of.values())

    @property
    def is_whole(self) -> bool:
        """Whether no row was left out."""
        return len(self.rows) == self.total


@dataclass
class _Held:
    """Rows that may still be kept: a key, a label's code and a position for each."""

    table: pa.Table
    keys: NDArray[np.float64]
    codes: NDArray[np.int64]
    rows: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> _Held:
        if mask.all():
            return self
        table = self.table.filter(pa.array(mask))
        return _Held(table, self.keys[mask], self.codes[mask], self.rows[mask])


class Reservoir:
    """What is kept of a table while it is read.

    Args:
        name: what messages call the table.
        drawing: how many rows are kept, and which labels are normal; None keeps all rows.
    """

    def __init__(self, name: str, drawing: Drawing | None) -> None:
        drawing = drawing or Drawing(most=MORE_THAN_ANY)
        random = np.random.SeedSequence(drawing.seed, spawn_key=(OF_DRAWING,))
        self._name = name
        self._most = drawing.most
        self._normal = frozenset(map(meaning, drawing.normal))
        self._rng = np.random.default_rng(random)
        self._codes: dict[str, int] = {}
        self._is_normal = np.empty(0, bool)  # all three by code
        self._counts = np.empty(0, np.int64)
        self._limits = np.empty(0)  # rows with such a key, or a larger one, are not kept
        self._held: list[_Held] = []
        self._done = self._waiting = 0  # rows looked at, rows held

    def add(self, table: pa.Table, labels: Any = None) -> None:
        """Take the next rows of the table.

        Args:
            labels: (n,) their labels as an Arrow array of strings; None where there are none.

        Raises:
            DataError: rows have to be drawn, and there are about as many labels as rows.
        """
        n = len(table)
        rows = np.arange(self._done, self._done + n)
        self._done += n
        codes = self._codes_of(labels, n)
        self._counts += np.bincount(codes, minlength=len(self._counts))
        some = _Held(table, self._rng.random(n), codes, rows)
        self._hold(some.where(some.keys < self._limits[codes]))
        if self._waiting > SLACK * self._most:
            self._clear()

    def drawn(self) -> Drawn:
        """Return what is kept of all rows so far, of which there is at least one.

        Raises:
            DataError: as :meth:`add`.
        """
        if self._done > self._most:
            self._clear()
        held = _joined(self._held)
        kept = np.bincount(held.codes, minlength=len(self._counts))
        return Drawn(held.table, held.rows, self._by_label(self._counts), self._by_label(kept))

    def _by_label(self, counts: NDArray[np.int64]) -> dict[str, int]:
        return dict(zip(self._codes, counts.tolist(), strict=True))

    def _codes_of(self, labels: Any, n: int) -> NDArray[np.int64]:
        """(n,) the code of each row's label; new labels get new codes."""
        labels = pa.nulls(n, pa.string()) if labels is None else labels
        column = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
        encoded = column.fill_null(UNKNOWN).dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        new = [text for text in texts if text not in self._codes]
        for text in new:
            self._codes[text] = len(self._codes)
        normal = np.array([meaning(text) in self._normal for text in new], bool)
        self._is_normal = np.concatenate([self._is_normal, normal])
        self._counts = np.concatenate([self._counts, np.zeros(len(new), np.int64)])
        self._limits = np.concatenate([self._limits, np.full(len(new), np.inf)])
        codes = np.array([self._codes[text] for text in texts], np.int64)
        found: NDArray[np.int64] = codes[encoded.indices.to_numpy(zero_copy_only=False)]
        return found

    def _hold(self, some: _Held) -> None:
        self._held.append(some)
        self._waiting += len(some.rows)

    def _clear(self) -> None:
        """Let go of the rows beyond what each label may keep, given all rows so far.

        A label may keep fewer and fewer rows as more come, so none that is let go is missed later.
        """
        if 2 * len(self._codes) > self._most:
            raise DataError(
                f"{self._name}: of its rows, more than {self._most:,}, some are to be drawn of "
                f"each label, but there are {len(self._codes):,} labels; correct --label, or give "
                "a larger --max-rows"
            )
        held = _joined(self._held)
        room = quotas(self._counts, self._is_normal, self._most)
        order = np.lexsort((held.keys, held.codes))
        codes, keys = held.codes[order], held.keys[order]
        begins = np.searchsorted(codes, np.arange(len(room)))
        rank = np.arange(len(order)) - begins[codes]
        stays = np.zeros(len(order), bool)
        stays[order[rank < room[codes]]] = True
        beyond = rank == room[codes]  # the first of each label that does not stay
        self._limits[codes[beyond]] = keys[beyond]
        held = held.where(stays)
        held.table = held.table.combine_chunks()
        self._held, self._waiting = [], 0
        self._hold(held)


def quotas(counts: NDArray[np.int64], is_normal: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """(k,) how many rows of each label are kept, of (k,) that there are.

    Args:
        is_normal: (k,) which labels are normal.
        most: how many rows are kept; more where there are more labels than that.
    """
    of_class = np.array([counts[~is_normal].sum(), counts[is_normal].sum()])
    room = np.minimum(of_class, level(of_class, most))
    found = counts.copy()
    for which in (0, 1):
        mine = is_normal == which
        if mine.any():
            found[mine] = np.minimum(counts[mine], max(1, level(counts[mine], int(room[which]))))
    return found


def level(counts: NDArray[np.int64], room: int) -> int:
    """Return the largest number such that room is enough for that many of each, if there are so
    many: the largest of the counts where it is enough for all."""
    rising = np.sort(counts)
    before = np.cumsum(rising) - rising
    shares = (room - before) // np.arange(len(rising), 0, -1)
    short = np.flatnonzero(rising > shares)
    return int(shares[short[0]] if len(short) else rising[-1])


def _joined(held: list[_Held]) -> _Held:
    if len(held) == 1:
        return held[0]
    return _Held(
        pa.concat_tables([h.table for h in held]),
        np.concatenate([h.keys for h in held]),
        np.concatenate([h.codes for h in held]),
        np.concatenate([h.rows for h in held]),
    )
