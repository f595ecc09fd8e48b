"""The trial of a user's own checker on the first problems of a source, before a model is asked or trained."""

import json
from collections.abc import Sequence
from typing import Any

from components.lib.answers import kinds
from components.lib.answers.final import in_form
from components.lib.data.gold import Gold
from components.lib.data.tally import Tally
from components.lib.generation.prompts import assistant_text

TRIED = 32  # problems


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A source's row as JSON can hold it: dates and the like as text, numbers that are none as None."""
    return json.loads(json.dumps(row, default=str), parse_constant=lambda _: None)


def try_checker(tally: Tally, golds: Sequence[Gold]) -> None:
    """Ask the checker of the golds about each in its form, and about that of another; note and print what it says.

    That it never finds a gold right, or always another's, is said aloud: a reward would then teach nothing.
    """
    golds = [gold for gold in golds if gold.answer]
    pairs = [(gold, other) for gold in golds if (other := _another(gold, golds))]
    own = sum(_agrees(gold, gold) for gold in golds)
    others = sum(_agrees(gold, other) for gold, other in pairs)
    if not golds:
        return
    tally.notes["checker tried: its own gold right"] = own
    tally.notes["checker tried: its own gold wrong"] = len(golds) - own
    tally.notes["checker tried: another row's gold right"] = others
    tally.notes["checker tried: another row's gold wrong"] = len(pairs) - others
    name = f"{tally.source.name}: {golds[0].kind}"
    if not own:
        tally.notes["THE CHECKER NEVER AGREES WITH A GOLD"] = len(golds)
        print(f"standardize: {name} NEVER AGREES: it calls each of {len(golds)} golds wrong", flush=True)
    if pairs and others == len(pairs):
        tally.notes["THE CHECKER ALWAYS AGREES"] = others
        print(f"standardize: {name} ALWAYS AGREES: it calls each of {others} golds of other rows right", flush=True)


def _another(gold: Gold, golds: Sequence[Gold]) -> Gold | None:
    """The next gold in the round that is not the same."""
    at = next(place for place, one in enumerate(golds) if one is gold)
    return next((one for one in (*golds[at:], *golds[:at]) if one.answer != gold.answer), None)


def _agrees(gold: Gold, said: Gold) -> bool:
    text = assistant_text("Let me think.", in_form(said.answer, gold.form))
    return kinds.judge(text, gold.question).correct
