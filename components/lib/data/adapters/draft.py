"""What every adapter gives, and how it takes values out of a row."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from components.lib.answers.choice_answer import letters
from components.lib.answers.numbers_in_text import read_number
from components.lib.answers.text_answer import MOST_WORDS, normalized
from components.lib.data.normal import clean
from components.lib.data.reasons import Refused

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """What an adapter found in a row: texts in normal form, `gold` as the row writes it, None if it names none.

    The question does not show the `options`, the texts of a choice; `reasoning` is empty where there is no trace.
    """

    question: str
    reasoning: str
    answer: str
    gold: str | None
    annotated: str = ""  # the worked solution with its <<...>>, where there is one
    options: tuple[str, ...] = ()
    solution: str = ""  # a worked solution beside the trace
    flaw: str = ""  # the reason for which the row is no conversation, though problem and gold stand
    checker: str = ""  # where the user's own code judges: its short hash,
    row: dict[str, Any] | None = None  # and the row itself, as JSON can hold it


def visible(text: str) -> bool:
    """Whether a text holds anything that can be seen."""
    return any(character.isprintable() and not character.isspace() for character in text)


def field(row: Row, name: str, kind: Any) -> Any:
    """The value of a field that must be there and of a kind; a truth value is no number."""
    if name not in row or row[name] is None:
        raise Refused("missing-field", field=name)
    if not isinstance(row[name], kind) or isinstance(row[name], bool):
        raise Refused("wrong-type", field=name, type=type(row[name]).__name__)
    return row[name]


def text(row: Row, name: str) -> str:
    """A text field in normal form that has something to be seen."""
    value = field(row, name, str)
    if not visible(value):
        raise Refused("empty-field", field=name)
    return clean(value)


def text_or_none(row: Row, name: str) -> str:
    """A text field in normal form, "" where it is missing or shows nothing."""
    value = row.get(name)
    if value is None or (isinstance(value, str) and not visible(value)):
        return ""
    return text(row, name)


def first(row: Row, *names: str) -> str:
    """The first of `names` that the row has with a value, the first of all if it has none."""
    return next((name for name in names if row.get(name) is not None), names[0])


def structure(row: Row, name: str, kind: Any) -> Any:
    """A list or mapping, also as JSON text, which is how CSV holds it."""
    value = field(row, name, kind | str)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise Refused("wrong-type", field=name, why=f"not JSON: {error}") from None
        return field({name: value}, name, kind)
    return value


def gold(row: Row, name: str) -> str:
    """A gold: text or number, also alone in a list; `Refused` if a list holds different ones."""
    value = row.get(name)
    if isinstance(value, str) and value.lstrip().startswith('["') and value.rstrip().endswith('"]'):
        value = structure(row, name, list)
    while isinstance(value, list) and value and all(one == value[0] for one in value):
        value = value[0]
    if isinstance(value, list) and value:
        raise Refused("several-answers", field=name, answers=[str(one) for one in value])
    value = field({name: None if value == [] else value}, name, str | int | float)
    if isinstance(value, float) and math.isnan(value):
        raise Refused("missing-field", field=name)
    if not visible(str(value)):
        raise Refused("empty-field", field=name)
    return clean(str(value))


def gold_beside(row: Row, taken: str = "") -> str | None:
    """The gold of a trace, where its row has one: `gold`, or another name of it beside `taken`, the trace's answer.

    Under the other names stand whole answers too: only a number or a text of one short line is a gold. `Refused` if
    two of them are different numbers.
    """
    found = [] if row.get("gold") is None else [gold(row, "gold")]
    for name in ("ground_truth", "final_answer", "expected_answer", "answer"):
        value = row.get(name)
        if name != taken and isinstance(value, str | int | float) and not isinstance(value, bool):
            if visible(str(value)) and "\n" not in str(value).strip() and len(str(value).split()) <= MOST_WORDS:
                found.append(gold(row, name))
    if len({value for one in found if (value := read_number(one).value) is not None}) > 1:
        raise Refused("several-answers", answers=found)
    return next(iter(found), None)


def options(row: Row, name: str) -> tuple[str, ...]:
    """The texts of a choice: a list, a mapping from letters, or {"label", "text"}, also as JSON text.

    `Refused` as bad-options if there are fewer than two, if one is empty, or if the letters are no A, B, ...
    """
    found = structure(row, name, list | dict)
    if isinstance(found, dict) and isinstance(found.get("text"), list):
        labels, texts = found.get("label", list(ascii_uppercase[: len(found["text"])])), found["text"]
    elif isinstance(found, dict):
        labels, texts = [str(key).strip("() .").upper() for key in found], list(found.values())
    else:
        labels, texts = list(ascii_uppercase[: len(found)]), found
    if labels != list(ascii_uppercase[: len(texts)]) or not 2 <= len(texts) <= len(ascii_uppercase):
        raise Refused("bad-options", field=name, options=texts)
    for number, one in enumerate(texts):
        field({f"{name}[{number}]": one}, f"{name}[{number}]", str | int | float)
    made = tuple(clean(str(one)) for one in texts)
    if not all(map(visible, letters(made).values())) or _mislabelled(made):
        raise Refused("bad-options", field=name, options=texts)
    return made


def letter(value: str, choices: tuple[str, ...], position: int | None = None) -> str:
    """The letter of the option that a gold names: by its letter of either case, its text, or its position from 0."""
    known = letters(choices)
    bare = value.strip().strip("()[]. ").upper()
    if bare in known:
        return bare
    said = normalized(value)
    pairs = list(zip(known, known.values(), choices, strict=True))
    found = {name for name, *texts in pairs if said in map(normalized, (*texts, f"{name}) {texts[0]}"))}
    if position is not None and 0 <= position < len(pairs):
        found.add(pairs[position][0])
    if len(found) != 1:
        raise Refused("bad-gold", gold=value, options=list(choices))
    return found.pop()


def _mislabelled(choices: tuple[str, ...]) -> bool:
    """Whether every option names a letter, but not A, B, ... in this order."""
    heads = [choice.lstrip("( ")[:2] for choice in choices]
    labelled = all(len(head) == 2 and head[0].upper() in ascii_uppercase and head[1] in ").:" for head in heads)
    return labelled and [head[0].upper() for head in heads] != list(ascii_uppercase[: len(choices)])
