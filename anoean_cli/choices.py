"""The words that users choose from. Importing this module imports nothing, as `--help` does."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Covariance: TypeAlias = Literal["empirical", "ledoit-wolf", "mcd", "spherical"]
COVARIANCES: tuple[Covariance, ...] = get_args(Covariance)

# Of columns whose dates leave it open whether the day or the month is first.
FirstIfOpen: TypeAlias = Literal["day-first", "month-first"]
OnError: TypeAlias = Literal["stop", "flag"]  # what a row that cannot be read does
Unlabelled: TypeAlias = Literal["drop", "normal"]  # what rows without a label are
Scheme: TypeAlias = Literal["drawn", "publisher"]  # where the test rows come from
Output: TypeAlias = Literal["embedding", "score"]  # what a graph gives
OutputFormat: TypeAlias = Literal["csv", "jsonl", "parquet"]
