"""What options that hold several things, or sizes, are taken for."""

from __future__ import annotations

import pytest

from anoean_cli.wording import split_list


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("id, time,", ("id", "time")),
        ('"size, mm",id', ("size, mm", "id")),
        ('id, "size, mm" ', ("id", "size, mm")),
        ('"the ""best"", so far"', ('the "best", so far',)),
        ('5" disk,"half', ('5" disk', '"half')),
        (",", ()),
        (None, ()),
    ],
)
def test_a_list_of_names(text: str | None, parts: tuple[str, ...]) -> None:
    assert split_list(text) == parts
