"""Parameters of plugins: conversion, ranges, description, and what may not be a parameter."""

import json
from dataclasses import dataclass, field
from typing import Optional

import pytest

from anoean_cli import parameters
from anoean_cli.errors import UsageError
from anoean_cli.parameters import parameter


@dataclass(frozen=True)
class Example:
    layers: int = parameter(3, "how many", low=1, high=10)
    rate: float = parameter(0.1, "how fast", low=0, high=1)
    norm: str = parameter("l2", "which", choices=("l1", "l2"))
    bias: bool = parameter(True, "whether")
    epochs: int | None = parameter(None, "none: as many as it takes", low=1)
    plain: int = 7


def built(**settings: object) -> Example:
    return parameters.build("encoder example", Example, settings)


def refusal(**settings: object) -> str:
    with pytest.raises(UsageError) as caught:
        built(**settings)
    return str(caught.value)


# --------------------------------------------------------------------------- build


def test_without_settings_the_defaults_hold():
    assert built() == Example()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("layers", "4", 4),
        ("layers", 4.0, 4),
        ("rate", "1e-3", 0.001),
        ("rate", 1, 1.0),
        ("norm", "l1", "l1"),
        ("bias", "no", False),
        ("bias", "TRUE", True),
        ("bias", False, False),
        ("epochs", "5", 5),
        ("epochs", "none", None),
        ("epochs", "auto", None),
        ("epochs", None, None),
        ("plain", "-1", -1),
    ],
)
def test_text_becomes_a_value_of_the_fields_type(name: str, text: object, value: object):
    found = getattr(built(**{name: text}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", ["1", "10"])
def test_bounds_belong_to_the_range(value: str):
    assert built(layers=value).layers == int(value)


@pytest.mark.parametrize("value", ["0", "11"])
def test_a_value_out_of_range_is_refused_with_the_range(value: str):
    assert refusal(layers=value) == (f"encoder example: layers is {value}; the range is 1 to 10")


def test_an_open_range_is_told_as_such():
    assert "the range is 1 to ∞" in refusal(epochs=0)


def test_not_a_number_is_in_no_range():
    assert "rate is nan" in refusal(rate="nan")


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("layers", "three", "int"),
        ("layers", "2.5", "int"),
        ("layers", 2.5, "int"),
        ("layers", float("inf"), "int"),
        ("layers", None, "int"),
        ("rate", "fast", "float"),
        ("norm", None, "str"),
        ("bias", "maybe", "bool"),
        ("epochs", "some", "int | None"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_type(name: str, value: object, kind: str):
    expected = f"encoder example: {name} is {value!r}; a value of type {kind} is needed"
    assert refusal(**{name: value}) == expected


def test_another_choice_is_refused_with_the_choices():
    assert refusal(norm="l3") == "encoder example: norm is 'l3'; choose from l1, l2"


def test_an_unknown_name_is_refused_with_the_known_ones():
    assert refusal(depth=1) == (
        "encoder example has no parameter 'depth'; it has: layers, rate, norm, bias, epochs, plain"
    )


def test_optional_is_understood_in_its_older_spelling():
    @dataclass
    class Older:
        epochs: Optional[int] = None  # noqa: UP045 - third parties write it so

    assert parameters.build("x", Older, {"epochs": "3"}).epochs == 3
    assert parameters.build("x", Older, {"epochs": "none"}).epochs is None
    assert parameters.describe(Older)[0]["type"] == "int | None"


# --------------------------------------------------------------------------- describe


def test_description_is_json_with_what_each_field_says():
    described = parameters.describe(Example)
    assert json.loads(json.dumps(described)) == [
        {"name": "layers", "type": "int", "default": 3, "help": "how many", "low": 1, "high": 10},
        {"name": "rate", "type": "float", "default": 0.1, "help": "how fast", "low": 0, "high": 1},
        {
            "name": "norm",
            "type": "str",
            "default": "l2",
            "help": "which",
            "choices": ["l1", "l2"],
        },
        {"name": "bias", "type": "bool", "default": True, "help": "whether"},
        {
            "name": "epochs",
            "type": "int | None",
            "default": None,
            "help": "none: as many as it takes",
            "low": 1,
        },
        {"name": "plain", "type": "int", "default": 7},
    ]


# --------------------------------------------------------------------------- breaches


@dataclass
class WithoutDefault:
    layers: int


@dataclass
class WithFactory:
    names: str = field(default_factory=str)


@dataclass
class OfAnotherType:
    widths: list[int] | None = None


@dataclass
class DefaultOutOfRange:
    layers: int = parameter(0, "how many", low=1)


@pytest.mark.parametrize(
    ("cls", "breach"),
    [
        (dict, "its Parameters is not a dataclass"),
        (Example(), "its Parameters is not a dataclass"),
        (WithoutDefault, "its parameter layers has no default"),
        (WithFactory, "its parameter names has no default"),
        (
            OfAnotherType,
            "its parameter widths is of type list | None; one of bool, int, float, str, "
            "or one of them and None, is needed",
        ),
        (DefaultOutOfRange, "its preset default: layers is 0; the range is 1 to ∞"),
    ],
)
def test_what_cannot_be_a_parameter_is_told(cls: object, breach: str):
    assert parameters.breaches(cls, {"default": {}}) == [breach]


def test_presets_must_fit_the_parameters():
    presets = {"default": {}, "wide": {"layers": 99}, "odd": {"depth": 1}}
    wide, odd = parameters.breaches(Example, presets)
    assert wide == "its preset wide: layers is 99; the range is 1 to 10"
    assert odd.startswith("its preset odd has no parameter 'depth'")


def test_sound_parameters_and_presets_breach_nothing():
    assert parameters.breaches(Example, {"default": {}, "deep": {"layers": 10}}) == []
