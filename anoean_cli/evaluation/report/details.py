"""Single rows on the page: why they score as they do, and what images look like."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.evaluation.examples import Examples, Positions
from anoean_cli.evaluation.report.page import short
from anoean_cli.examples import Scores, rows_at
from anoean_cli.inference.model import Model

if TYPE_CHECKING:
    from anoean_cli.inference.explanation import Explainer

REASONS = 3
LARGEST_PICTURE = 224  # pixels of an image and its heat map, side by side
TILE = 32  # pixels of an image on the sheet
TILES_A_LINE = 40


@dataclass(frozen=True)
class Reason:
    """One column's part in a score.

    Attributes:
        column: its name, or the patch of an image.
        value: what the row has there; empty for a patch.
        contribution: how much it adds to the score of the typical normal row.
    """

    column: str
    value: str
    contribution: float


@dataclass(frozen=True)
class Why:
    """Why a row scores as it does.

    Attributes:
        reasons: the columns with the largest contributions, of either sign.
        picture: of an image, with its heat map, as a data URI.
    """

    reasons: list[Reason]
    picture: str = ""


def of_rows(
    model: Model, examples: Examples, worst: Positions, dots: Positions
) -> tuple[dict[int, Why], Mapping[str, Any] | None]:
    """Explain some rows and make a sheet of others, for which the input is read but once.

    Args:
        worst: positions among the scored rows, to be explained if the model has a typical row.
        dots: positions of images, in the order of their tiles; none of tables.
    """
    from anoean_cli.inference.explanation import Explainer

    explainer = None if model.typical is None else Explainer(model)
    why: dict[int, Why] = {}
    tiles: dict[int, NDArray[np.uint8]] = {}
    for part, given in examples(np.union1d(worst, dots).astype(np.intp)):
        if explainer is not None:
            chosen = np.flatnonzero(np.isin(part, worst))
            why |= _explained(explainer, part[chosen], rows_at(given, chosen))
        for at in np.flatnonzero(np.isin(part, dots)).tolist():
            tiles[int(part[at])] = _tile(given[at])
    return why, sheet(tiles, dots) if tiles else None


def _explained(explainer: Explainer, rows: Positions, given: Any) -> dict[int, Why]:
    """Why of rows, whose examples are given."""
    _, explanation = explainer.score(given)
    named, found = explainer.named(explanation).contributions, {}
    for index, at in enumerate(rows.tolist()):
        picture = ""
        if isinstance(given, np.ndarray):
            picture = _heat_map(given[index], explanation.contributions[index])
        found[at] = Why(_reasons(explainer.columns, named[index], _values(given, index)), picture)
    return found


def _reasons(
    columns: list[str], contributions: Scores, value_of: Callable[[str], str]
) -> list[Reason]:
    order = np.argsort(-np.abs(contributions), kind="stable")[:REASONS]
    return [
        Reason(short(columns[at], 40), short(value_of(columns[at]), 40), float(contributions[at]))
        for at in order
        if contributions[at] != 0
    ]


def _values(examples: Any, index: int) -> Callable[[str], str]:
    """What row ``index`` has in a column, as text; images have none."""

    def value_of(column: str) -> str:
        if isinstance(examples, np.ndarray):
            return ""
        value = examples.column(column)[index].as_py()
        if value is None:
            return "(missing)"
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    return value_of


# --------------------------------------------------------------------------- pictures


def _heat_map(image: NDArray[np.uint8], contributions: Scores) -> str:
    from anoean_cli.inference.pictures import heat_map, png, reduced

    return data_uri(png(reduced(heat_map(image, contributions), LARGEST_PICTURE)))


def data_uri(file: bytes) -> str:
    """A PNG file as an address that holds it."""
    return f"data:image/png;base64,{b64encode(file).decode()}"


def _tile(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from anoean_cli.inference.pictures import in_colours, reduced

    return reduced(in_colours(image), TILE)


def sheet(tiles: Mapping[int, NDArray[np.uint8]], rows: Positions) -> Mapping[str, Any]:
    """One picture of small images of one size, in lines of `TILES_A_LINE`.

    Args:
        tiles: by position among the scored rows; where one is missing its place stays black.
        rows: these positions in the order of their tiles.
    """
    from anoean_cli.inference.pictures import png

    height, width, _ = next(iter(tiles.values())).shape
    lines = -(-len(rows) // TILES_A_LINE)
    whole = np.zeros((lines * height, min(len(rows), TILES_A_LINE) * width, 3), np.uint8)
    for place, at in enumerate(rows.tolist()):
        line, across = divmod(place, TILES_A_LINE)
        top, left = line * height, across * width
        if at in tiles:
            whole[top : top + height, left : left + width] = tiles[at]
    grey = whole[:, :, 0] if (whole == whole[:, :, :1]).all() else whole
    return {"uri": data_uri(png(grey)), "width": width, "height": height, "across": TILES_A_LINE}
