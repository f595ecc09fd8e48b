"""What a source's first rows say of it where the recipe says nothing: the adapter, the use, and the kind of answers.

The schema that most of the first rows have decides. A row that has another is refused by the adapter, with its reason.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from components.lib.answers.numbers_in_text import read_number
from components.lib.answers.text_answer import MOST_WORDS
from components.lib.data import fields
from components.lib.data.adapters import ADAPTERS, Draft
from components.lib.data.adapters.stated import stated
from components.lib.data.adapters.thinking import has_open_thoughts
from components.lib.data.adapters.traces import ANSWERED, ASKED, THOUGHT
from components.lib.data.reasons import Refused
from components.lib.data.sources import records
from components.lib.generation.prompts import shown_question
from components.lib.recipe.schema import CHECKER, Adapter, Source, Use
from components.lib.recipe.settings import replace

ROWS = 1000
UNKNOWN = "no known schema"
ANSWERS: dict[str, str] = {
    "gsm8k": "number", "math": "math", "openr1": "math", "deepscaler": "math", "dapo": "math", "aqua": "choice"
}  # fmt: skip
"""Kind of an adapter's usual answers; of the others the golds decide."""

_NUMBERS = ("chat", "thinking-solution", "prompt-completion")  # unless most rows have a gold
_USUAL = "question and gold, problem and solution, messages, or conversations (docs/data.md lists them all)"
_MAP = "say which field is which, as in `fields: {question: ..., gold: ...}`"
_MOST = 0.9  # share of the golds that a kind must fit
_WORD = re.compile(r"(?<![\\A-Za-z])(?!sqrt|sin|cos|tan|log|ln|exp|pi|and|or|inf)[^\W\d_]{2,}")

Row = Mapping[str, Any]


@dataclass
class Found:
    """How many first rows were looked at, 0 where none had to be, and how many have which schema, in falling order."""

    schemas: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    def told(self, source: Source) -> str:
        """What was found, in words."""
        counts = ", ".join(f"{count:,} {name}" for name, count in self.schemas.items())
        return (
            f"the first {self.rows:,} rows{' are ' if counts else ''}{counts}: read as {source.adapter}, "
            f"for {source.use}, answers of the kind {source.answers}"
        )


def _has(*names: str) -> Callable[[Row], bool]:
    return lambda row: all(row.get(name) is not None for name in names)


def _turns(row: Row, *names: str) -> Iterator[Any]:
    for name in names:
        turns = row.get(name)
        yield from turns if isinstance(turns, list) else [turns]


def _tagged(row: Row) -> bool:
    return any(has_open_thoughts(str(turn)) for turn in _turns(row, "conversations", "messages"))


def _reasons(row: Row) -> bool:
    keys = ("reasoning_content", "reasoning")
    return any(turn.get(key) for turn in _turns(row, "messages") if isinstance(turn, dict) for key in keys) or (
        isinstance(row.get("messages"), str) and '"reasoning' in row["messages"]
    )


def _triple(row: Row) -> bool:
    asked, answered = [name for name in ASKED if name in row], [name for name in ANSWERED if name in row]
    return any(name in row for name in THOUGHT) and bool(asked) and len({*asked, *answered}) > 1


def _solved(row: Row) -> bool:
    """MATH and NuminaMath, not a table of answers whose solutions are plain text or missing."""
    return "problem" in row and "solution" in row and ("boxed" in str(row["solution"]) or row.get("answer") is None)


# The first that fits is a row's schema: those with more fields come first.
_SCHEMAS: tuple[tuple[Adapter, Callable[[Row], bool]], ...] = (
    ("openr1", lambda row: "generations" in row and "problem" in row),
    ("dapo", lambda row: "reward_model" in row and "prompt" in row),
    ("aqua", lambda row: "options" in row and "correct" in row),
    ("openthoughts", _tagged),
    ("sharegpt", lambda row: "conversations" in row or "conversation" in row),
    ("thinking-solution", lambda row: {"problem", "thinking", "solution"} <= set(row)),
    ("math", _solved),
    ("reasoning-content", _reasons),
    ("chat", lambda row: "messages" in row),
    ("metamath", lambda row: {"query", "response"} <= set(row)),
    ("trace", lambda row: "reasoning" in row and {"question", "gold"} <= set(row)),
    ("r1", _triple),
    ("r1", lambda row: "response" in row and "<think>" in str(row["response"])),
    ("prompt-completion", lambda row: {"prompt", "completion"} <= set(row)),
    ("alpaca", lambda row: {"instruction", "output"} <= set(row)),
    ("gsm8k", lambda row: "question" in row and "####" in str(row.get("answer", ""))),
    ("gsm8k", lambda row: {"question", "gold", "solution", "hash"} <= set(row)),
    ("deepscaler", lambda row: "problem" in row and ("answer" in row or "final_answer" in row)),
    ("problem", lambda row: "question" in row and bool({"gold", "answer", "answerKey"} & set(row))),
)


def schema_of(row: Row) -> str:
    """The adapter whose schema a row has, UNKNOWN if none."""
    return next((name for name, fits in _SCHEMAS if fits(row)), UNKNOWN)


def head(source: Source, seed: int) -> list[Row]:
    """Those of a source's first rows that are objects, as they are."""
    return [record.row for record in islice(records(source, seed), ROWS) if not record.refused]


def questions(source: Source, seed: int) -> list[str]:
    """The questions of a source's first rows as they are asked, with their options; none of rows that cannot be read.

    `ValueError` if no row has a known schema.
    """
    known = resolved(source, seed)[0]
    return [shown_question(draft.question, draft.options) for draft in _drafts(known, head(source, seed))]


def resolved(source: Source, seed: int, *, evaluation: bool = False) -> tuple[Source, Found]:
    """The source with adapter, use and answers filled in; its rows are read only where something is left to them.

    `ValueError` if no row has a known schema, or if a field map names what is not there.
    """
    found, rows = Found(), None
    if source.adapter == "auto" or source.fields:
        rows = head(source, seed)
        fields.check(source, rows)
        source, found = _with_adapter(source, rows) if source.adapter == "auto" else (source, found)
        fields.check(source, rows)
    use: Use = "problems" if evaluation else source.purpose
    answers = source.answers or ANSWERS.get(source.adapter, "")
    if not use or not answers:
        rows = head(source, seed) if rows is None else rows
        found, drafts = Found(found.schemas, len(rows)), _drafts(source, rows)
        without = source.adapter in _NUMBERS and not _have_golds(drafts)
        use, answers = use or _use(drafts), answers or ("number" if without else kind_of_golds(drafts))
    return replace(source, use=use, answers=answers), found


def fitting(source: Source, seed: int) -> str:
    """What the adapter of a source reads, which fields the first rows have, and which adapter would fit most of them.

    That is for a source of which no row fits; its rows are read once more.
    """
    rows = [fields.mapped(row, source.fields) for row in head(source, seed)]
    wanted = (ADAPTERS[source.adapter].__doc__ or "").splitlines()[0].rstrip(".")
    if not rows:
        return f"it reads {wanted}; none of the first {ROWS:,} is an object with fields"
    found = Counter(map(schema_of, rows))
    best = max((name for name in found if name != UNKNOWN), key=lambda name: found[name], default="")
    advice = {"": f"no adapter knows them; {_MAP}", source.adapter: "their fields are those, but not what they hold"}
    told = advice.get(best, f"the adapter {best!r} fits {found[best]:,} of the first {len(rows):,}")
    return f"it reads {wanted}; the rows have {_names(rows)}; {told}"


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(key for row in rows for key in row))[:400]


def _with_adapter(source: Source, rows: list[Row]) -> tuple[Source, Found]:
    """The source with the adapter that most of its rows fit."""
    if "question" in source.fields:
        adapter: Adapter = "trace" if "reasoning" in source.fields else "problem"
        asked = sum(fields.found(row, source.fields["question"]) is not None for row in rows)
        schemas = +Counter({adapter: asked, UNKNOWN: len(rows) - asked})
        return replace(source, adapter=adapter), Found(schemas, len(rows))
    counted = Counter(schema_of(fields.mapped(row, source.fields)) for row in rows)
    order = [*(name for name, _ in _SCHEMAS), UNKNOWN]  # decides between schemas of as many rows
    schemas = Counter(dict(sorted(counted.items(), key=lambda one: (-one[1], order.index(one[0])))))
    known = [name for name in schemas if name != UNKNOWN]
    if rows and not known and not source.optional and not source.answers.startswith(CHECKER):
        raise ValueError(
            f"source {source.told}: none of the first {len(rows):,} rows has a schema that is known; they have "
            f"{_names(rows)}; known are {_USUAL}; {_MAP}"
        )
    return replace(source, adapter=known[0] if known else "problem"), Found(schemas, len(rows))


def _drafts(source: Source, rows: list[Row]) -> list[Draft]:
    read, drafts = fields.reader(source), []
    for row in rows:
        try:
            drafts.append(read(dict(row)))
        except Refused:
            continue
    return drafts


def _use(drafts: list[Draft]) -> Use:
    """Problems where most rows have a gold, SFT where most have a trace, both where both."""
    golds = _have_golds(drafts)
    traces = sum(bool(draft.reasoning) for draft in drafts) * 2 >= max(1, len(drafts))
    return "both" if golds and traces else "sft" if traces else "problems"


def _have_golds(drafts: list[Draft]) -> bool:
    return sum(draft.gold is not None for draft in drafts) * 2 >= max(1, len(drafts))


def kind_of_golds(drafts: list[Draft]) -> str:
    """The first of choice, number, math and text that nine of ten golds are; number where there are none.

    Of a trace without a gold the answer that it states counts.
    """
    said = [draft.gold if draft.gold is not None else next(reversed(stated(draft.answer)), None) for draft in drafts]
    golds = [gold for gold in said if gold]
    if not golds:
        return "number"
    if sum(bool(draft.options) for draft in drafts) >= _MOST * len(drafts):
        return "choice"
    # what no kind could take does not vote
    short = [gold for gold in golds if len(gold.split()) <= MOST_WORDS and "\n" not in gold] or golds
    numbers = [gold for gold in short if read_number(gold).value is not None]
    if len(numbers) >= _MOST * len(short):
        return "number"
    math = [gold for gold in short if gold in numbers or "\\" in gold or not _WORD.search(gold)]
    return "math" if len(math) >= _MOST * len(short) else "text"
