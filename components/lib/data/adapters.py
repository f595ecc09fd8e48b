"""Adapters: how a row of each schema is read. A new one is a function and one line in ADAPTERS.

An adapter takes the row, a dict, and returns a `Draft`, or raises `Refused`. Texts come out in normal form.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from components.lib.answers.parser import MARKER
from components.lib.data.normal import clean
from components.lib.data.reasons import Refused

_TAG = re.compile(r"<\s*(/?)\s*(think|thought)\b[^<>]*>", re.IGNORECASE)
_EXACT_TAGS = frozenset({"<think>", "</think>", "<thought>", "</thought>"})
_ANNOTATION = re.compile(r"<<[^<>]*>>")


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


def chat(row: dict[str, Any]) -> Draft:
    """{"messages": [{"role", "content"}, ...]}: system (optional), user, assistant with <thought> or <think>.

    `messages` may be JSON text, as CSV needs it. A field `gold` of the row, where there is one, is its gold.
    """
    messages = _field(row, "messages", list | str)
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except ValueError as error:
            raise Refused("wrong-type", field="messages", why=f"not JSON: {error}") from None
    question, assistant = _turns(messages)
    return _draft(question, *split_thinking(assistant), gold=_gold(row))


def thinking_solution(row: dict[str, Any]) -> Draft:
    """{"problem", "thinking", "solution", "difficulty", "category"}: the reasoning and the answer as two texts."""
    return _draft(_text(row, "problem"), _text(row, "thinking"), _text(row, "solution"), gold=_gold(row))


def gsm8k(row: dict[str, Any]) -> Draft:
    """{"question", "answer"}: a worked solution with <<...>> annotations and a last line `#### N`.

    The reasoning is the solution without annotations. Rows of this project's own problems.jsonl, {"question",
    "gold", "solution"}, are read too.
    """
    question = _text(row, "question")
    if "answer" not in row and "gold" in row:
        gold = clean(str(_field(row, "gold", str | int | float)))
        return Draft(question, clean(_field(row, "solution", str)), f"{MARKER} {gold}", gold)
    worked, *golds = _text(row, "answer").split(MARKER)
    if not golds:
        raise Refused("no-answer", field="answer")
    if len(golds) > 1:
        raise Refused("several-answers", field="answer", answers=[gold.strip() for gold in golds])
    plain = _ANNOTATION.sub("", worked)
    if "<<" in plain or ">>" in plain:
        raise Refused("bad-annotation", field="answer")
    gold = golds[0].strip()
    if not gold:
        raise Refused("no-answer", field="answer")
    return Draft(question, clean(plain), f"{MARKER} {gold}", gold, annotated=worked)


def prompt_completion(row: dict[str, Any]) -> Draft:
    """{"prompt", "completion"}: two texts, or two lists of messages; the completion holds the think block."""
    prompt, completion = _field(row, "prompt", str | list), _field(row, "completion", str | list)
    if isinstance(prompt, str) and isinstance(completion, str):
        question, assistant = _text(row, "prompt"), _text(row, "completion")
    elif isinstance(prompt, list) and isinstance(completion, list):
        question, assistant = _turns([*prompt, *completion])
    else:
        raise Refused("wrong-type", field="completion", why="prompt and completion are not of one kind")
    return _draft(question, *split_thinking(assistant), gold=_gold(row))


ADAPTERS: dict[str, Callable[[dict[str, Any]], Draft]] = {
    "chat": chat,
    "thinking-solution": thinking_solution,
    "gsm8k": gsm8k,
    "prompt-completion": prompt_completion,
}


def split_thinking(assistant: str) -> tuple[str, str]:
    """(reasoning, answer) of an assistant's text with exactly one closed, non-empty think or thought block."""
    tags = list(_TAG.finditer(assistant))
    if not tags:
        raise Refused("no-think")
    if broken := [tag[0] for tag in tags if tag[0] not in _EXACT_TAGS]:
        raise Refused("broken-tag", tag=broken[0])
    _check_nesting(["close" if tag[1] else "open" for tag in tags])
    first, last = tags
    if first[2] != last[2]:
        raise Refused("broken-tag", tag=last[0])
    if visible(assistant[: first.start()]):
        raise Refused("text-before-think")
    return assistant[first.end() : last.start()], assistant[last.end() :]


def visible(text: str) -> bool:
    """Whether a text holds anything that can be seen."""
    return any(character.isprintable() and not character.isspace() for character in text)


def has_tag(text: str) -> bool:
    """Whether a text holds something like a think tag."""
    return _TAG.search(text) is not None


def _check_nesting(kinds: Sequence[str]) -> None:
    depth = 0
    for kind in kinds:
        depth += 1 if kind == "open" else -1
        if depth < 0:
            raise Refused("unopened-think")
        if depth > 1:
            closed = kinds.count("close") >= kinds.count("open")
            raise Refused("nested-think" if closed else "unclosed-think")
    if depth:
        raise Refused("unclosed-think")
    if len(kinds) > 2:
        raise Refused("several-thinks", blocks=len(kinds) // 2)


def _draft(question: str, reasoning: str, answer: str, *, gold: str | None) -> Draft:
    if not visible(reasoning):
        raise Refused("empty-think")
    if not visible(answer):
        raise Refused("no-answer")
    return Draft(clean(question), clean(reasoning), clean(answer), gold)


def _turns(messages: Any) -> tuple[str, str]:
    """(user, assistant) of a conversation of exactly one question."""
    if not isinstance(messages, list) or not messages:
        raise Refused("wrong-roles", roles=[])
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Refused("wrong-type", field=f"messages[{number}]")
        for field in ("role", "content"):
            try:
                _field(message, field, str)
            except Refused as refused:
                raise Refused(refused.reason, field=f"messages[{number}].{field}") from None
    roles = [message["role"] for message in messages]
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        raise Refused("wrong-roles", roles=roles)
    for number, message in enumerate(messages):
        # an empty system turn says nothing, and the normal form replaces it anyway
        if message["role"] != "system" and not visible(message["content"]):
            raise Refused("empty-field", field=f"messages[{number}].content")
    return messages[-2]["content"], messages[-1]["content"]


def _gold(row: dict[str, Any]) -> str | None:
    if row.get("gold") is None:
        return None
    return clean(str(_field(row, "gold", str | int | float)))


def _text(row: dict[str, Any], name: str) -> str:
    """A text field in normal form that has something to be seen."""
    text = _field(row, name, str)
    if not visible(text):
        raise Refused("empty-field", field=name)
    return clean(text)


def _field(row: dict[str, Any], name: str, kind: Any) -> Any:
    if name not in row or row[name] is None:
        raise Refused("missing-field", field=name)
    if not isinstance(row[name], kind) or isinstance(row[name], bool):
        raise Refused("wrong-type", field=name, type=type(row[name]).__name__)
    return row[name]
