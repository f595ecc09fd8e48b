"""Settings: parsing, checking, and the way through JSON."""

from dataclasses import dataclass

import pytest

from components.lib.recipe.settings import check, from_dict, from_json, parse, setting, to_json


@dataclass(frozen=True, kw_only=True)
class Inner:
    path: str = setting("a path")
    cap: int = 0


@dataclass(frozen=True, kw_only=True)
class Outer:
    rate: float = setting("a rate", minimum=0, maximum=1)
    steps: int = setting("steps", minimum=1)
    on: bool = setting("a switch")
    kinds: tuple[str, ...] = setting("kinds", choices=("a", "b"))
    inner: tuple[Inner, ...] = setting("nested")


VALUE = Outer(rate=0.5, steps=3, on=True, kinds=("a",), inner=(Inner(path="it's"),))


def test_json_round_trip_has_no_apostrophe():
    assert "'" not in to_json(VALUE)
    assert from_json(Outer, to_json(VALUE)) == VALUE


def test_ints_that_kfp_made_floats_are_ints_again():
    assert from_json(Outer, to_json(VALUE), steps=4.0).steps == 4


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
        ("inner", '[{"where": 1}]', "valid ones: cap, path"),
    ],
)
def test_bad_text_is_named(name, text, said):
    with pytest.raises(ValueError, match=said) as error:
        parse(Outer, name, text)
    assert name in str(error.value)


def test_missing_unknown_and_wrong_fields_are_named():
    with pytest.raises(ValueError, match="needs the field 'path'"):
        from_dict(Inner, {})
    with pytest.raises(ValueError, match="no field 'x'"):
        from_dict(Inner, {"path": "p", "x": 1})
    with pytest.raises(ValueError, match="'many' is not a whole number"):
        from_dict(Inner, {"path": "p", "cap": "many"})
    with pytest.raises(ValueError, match="True is not a whole number"):
        from_dict(Inner, {"path": "p", "cap": True})


def test_check_reads_every_field():
    with pytest.raises(ValueError, match="steps: 0"):
        check(Outer(rate=0.5, steps=0, on=True, kinds=("a",), inner=()))
