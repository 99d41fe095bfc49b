"""JSON against type hints: what fits, and which part is named where something does not."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import pytest

from anoean_cli.errors import FileFormatError
from anoean_cli.storage.typed_json import check_json


@dataclass
class Options:
    size: int
    rate: float = 0.5
    names: tuple[str, ...] = ()


class Whole(TypedDict):
    options: Options | None
    kinds: dict[str, Literal["a", "b"]]
    pairs: list[tuple[str, int]]
    any: Any


GOOD = {"options": {"size": 1}, "kinds": {"x": "a"}, "pairs": [["p", 1]], "any": [None], "more": 0}


def test_what_fits_passes() -> None:
    check_json(GOOD, Whole, "whole")
    check_json({**GOOD, "options": None}, Whole, "whole")
    check_json({"size": 1, "rate": 2, "names": ["x", "y"]}, Options, "options")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"options": {}}, "whole.options.size is not there"),
        ({"options": {"size": True}}, "whole.options.size is not a whole number"),
        ({"options": {"size": 1, "x": 1}}, "whole.options is not free of other keys"),
        ({"options": {"size": 1, "rate": "1"}}, "whole.options.rate is not a number"),
        ({"options": {"size": 1, "names": "xy"}}, "whole.options.names is not a list"),
        ({"options": []}, "whole.options is not an object"),
        ({"kinds": {"x": "c"}}, "whole.kinds.x is not one of a, b"),
        ({"kinds": ["a"]}, "whole.kinds is not an object"),
        ({"pairs": [["p", 1], ["p"]]}, r"whole.pairs\[1\] is not a list of 2"),
        ({"pairs": [["p", "1"]]}, r"whole.pairs\[0\]\[1\] is not a whole number"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(FileFormatError, match=f"its {told}"):
        check_json({**GOOD, **change}, Whole, "whole")
