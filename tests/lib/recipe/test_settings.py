"""Settings: parsing, checking, and the way through JSON."""

from typing import Literal

import pytest
from pydantic import Field, ValidationError

from components.lib.recipe.settings import Settings, bounds, choices, from_dict, from_json, parse, replace, to_json


class Inner(Settings):
    path: str = Field(description="a path")
    cap: int = 0


class Outer(Settings):
    rate: float = Field(description="a rate", ge=0, le=1)
    steps: int = Field(description="steps", ge=1)
    on: bool = Field(description="a switch")
    kinds: tuple[Literal["a", "b"], ...] = Field(description="kinds")
    inner: tuple[Inner, ...] = Field(description="nested")


VALUE = Outer(rate=0.5, steps=3, on=True, kinds=("a",), inner=(Inner(path="it's"),))


def test_json_round_trip_has_no_apostrophe():
    assert "'" not in to_json(VALUE)
    assert from_json(Outer, to_json(VALUE)) == VALUE


def test_nothing_can_be_changed_in_place():
    with pytest.raises(ValidationError, match="frozen"):
        VALUE.steps = 4


def test_ints_that_kfp_made_floats_are_ints_again():
    steps = from_json(Outer, to_json(VALUE), steps=4.0).steps
    assert steps == 4 and isinstance(steps, int)
    with pytest.raises(ValueError, match=r"steps: 4\.5 is not a whole number"):
        from_json(Outer, to_json(VALUE), steps=4.5)


def test_changes_win():
    assert from_json(Outer, to_json(VALUE), rate=0.25).rate == 0.25


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "1e-3", 0.001),
        ("steps", "7", 7),
        ("on", "False", False),
        ("kinds", "a, b", ("a", "b")),
        ("inner", '[{"path": "x"}]', (Inner(path="x"),)),
    ],
)
def test_parse(name, text, value):
    assert parse(Outer, name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rate", "fast", "'fast' is not a number"),
        ("rate", "2", "at most 1"),
        ("rate", "nan", "finite"),
        ("steps", "0", "at least 1"),
        ("steps", "1.5", "whole number"),
        ("on", "yes", "true or false"),
        ("kinds", "c", "one of 'a', 'b'"),
        ("inner", "{}", "JSON list"),
        ("inner", '[{"where": 1}]', "no such field; valid: path, cap"),
    ],
)
def test_bad_text_is_named(name, text, said):
    with pytest.raises(ValueError, match=said) as error:
        replace(VALUE, **{name: parse(Outer, name, text)})
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "path: this field is missing"),
        ({"path": "p", "x": 1}, "x: there is no such field; valid: path, cap"),
        ({"path": "p", "caps": 1}, "caps: there is no such field; valid: cap$"),
        ({"path": "p", "cap": "many"}, "cap: 'many' is not a whole number"),
        ({"path": "p", "cap": True}, "cap: True is not a whole number"),
        ({"path": None}, "path: None is not text"),
        ({"cap": "many"}, "(and 1 more)"),
    ],
)
def test_missing_unknown_and_wrong_fields_are_named(values, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")) as error:
        from_dict(Inner, values)
    assert "\n" not in str(error.value)


def test_a_changed_copy_is_checked():
    with pytest.raises(ValueError, match="steps: 0 is too small; it must be at least 1"):
        replace(VALUE, steps=0)


def test_choices_and_bounds_are_told():
    assert choices(Outer.model_fields["kinds"]) == ("a", "b") and not choices(Outer.model_fields["on"])
    assert bounds(Outer.model_fields["rate"]) == "at least 0, at most 1" and not bounds(Outer.model_fields["on"])
