"""The gold of a problem with all that decides whether an answer is right."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from components.lib.answers import choice_answer, kinds, parser
from components.lib.answers.final import boxes_as_markers, final_answer
from components.lib.answers.kinds import Question
from components.lib.data.adapters import Draft
from components.lib.data.reasons import Refused
from components.lib.generation.prompts import assistant_text, shown_question
from components.lib.recipe.schema import FORMS, Form


@dataclass(frozen=True, slots=True)
class Gold:
    """A right answer: a number is written as `parser.format_answer` does, a choice as its capital letter."""

    answer: str
    kind: str
    form: Form
    options: tuple[str, ...] = ()
    checker: str = ""  # where the user's own code judges: its short hash, and what it gets of the problem:
    row: dict[str, Any] = field(default_factory=dict, hash=False)  # the source's own row
    asked: str = ""  # and the question

    @property
    def question(self) -> Question:
        """What a judge wants to know."""
        own = {**self.row, "question": self.asked, "gold": self.answer} if self.checker else {}
        return Question(self.answer, self.kind, self.form, self.options, checker=self.checker, row=own)

    def fields(self) -> dict[str, Any]:
        """The fields of a problem's row; options only where there are some."""
        found: dict[str, Any] = {"gold": self.answer, "answers": self.kind, "form": self.form}
        if self.checker:
            found |= {"checker": self.checker, "row": self.row}
        return found | {"options": list(self.options)} if self.options else found

    @staticmethod
    def of(row: Mapping[str, Any]) -> "Gold":
        """The gold of a problem's row."""
        found = Question.of(row, prefilled=False)
        own = (found.checker, row["row"], row["question"]) if found.checker else ()
        return Gold(found.gold, found.kind, found.form, tuple(found.options), *own)

    def text(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> "Gold":
        """The gold of `text`."""
        values = json.loads(text)
        return Gold(**values | {"options": tuple(values["options"])})


def problem_gold(draft: Draft, kind: str, form: Form) -> Gold:
    """The gold of a row that is to be a problem; `Refused` if it has none that is of its kind."""
    if draft.gold is not None or draft.checker:  # which may do without a gold
        return parsed_gold(draft.gold or "", draft, kind, form)
    text = assistant_text(draft.reasoning, draft.answer)
    if kind == "number":
        found = parser.parse_strict(text if parser.MARKER in draft.answer else boxes_as_markers(text))
        said = "" if found is None else parser.format_answer(found)
    else:
        order = sorted(FORMS, key=lambda one: one != form)  # the run's own form first
        said = next(filter(None, (final_answer(text, one).text for one in order)), "")
    if not said:
        raise Refused("no-gold")
    return parsed_gold(said, draft, kind, form)


def parsed_gold(gold: str, draft: Draft, kind: str, form: Form) -> Gold:
    """A gold as its kind writes it."""
    if draft.checker:
        asked = shown_question(draft.question, draft.options)
        return Gold(gold.strip(), kind, form, draft.options, draft.checker, draft.row or {}, asked)
    try:
        if kind == "number":
            return Gold(parser.format_answer(parser.parse_gold(gold)), kind, form)
        options = draft.options if kind == "choice" else ()
        if kind == "choice":
            return Gold(choice_answer.parse_gold(gold, options), kind, form, options)
        found = Gold(gold.strip(), kind, form)
        kinds.check_gold(found.question)
        return found
    except ValueError:
        raise Refused("bad-gold", gold=gold) from None
