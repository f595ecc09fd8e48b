"""Where an assistant's text thinks and where it answers: think blocks, thought blocks, and OpenThoughts' tags."""

import re
from collections.abc import Sequence

from components.lib.data.adapters.draft import visible
from components.lib.data.reasons import Refused

_TAG = re.compile(r"<\s*(/?)\s*(think|thought)\b[^<>]*>", re.IGNORECASE)
_EXACT_TAGS = frozenset({"<think>", "</think>", "<thought>", "</thought>"})
_OPEN_THOUGHTS = re.compile(r"<\|(begin|end)_of_(thought|solution)\|>")


def split_thinking(assistant: str) -> tuple[str, str]:
    """(reasoning, answer) of an assistant's text with exactly one closed, non-empty think or thought block.

    OpenThoughts writes them as <|begin_of_thought|>...<|end_of_thought|>, then <|begin_of_solution|>...
    """
    assistant = _plain_tags(assistant)
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


def joined_thinking(reasoning: str, answer: str) -> tuple[str, str]:
    """(reasoning, answer) of a text beside which its reasoning stands in a field of its own.

    The reasoning may stand in think tags, and the answer may have it once more in front, or alone.
    """
    if has_tag(reasoning):
        reasoning, rest = split_thinking(reasoning)
        if visible(rest) and visible(answer):
            raise Refused("several-thinks", blocks=1)
        answer = answer if visible(answer) else rest
    if has_tag(answer):
        inner, answer = split_thinking(answer)
        if visible(reasoning) and inner.split() != reasoning.split():
            raise Refused("several-thinks", blocks=2)
        reasoning = inner
    return reasoning, answer


def has_tag(text: str) -> bool:
    """Whether a text holds something like a think tag."""
    return _TAG.search(text) is not None or has_open_thoughts(text)


def has_open_thoughts(text: str) -> bool:
    """Whether a text holds one of OpenThoughts' tags."""
    return _OPEN_THOUGHTS.search(text) is not None


def _plain_tags(text: str) -> str:
    """The text with OpenThoughts' tags as think tags, those of the solution taken away; they must pair."""
    found = [(match[1], match[2]) for match in _OPEN_THOUGHTS.finditer(text)]
    if not found:
        return text
    solution = [side for side, what in found if what == "solution"]
    if solution not in ([], ["begin", "end"]) or (solution and [what for _, what in found[-2:]] != ["solution"] * 2):
        raise Refused("broken-tag", tag="<|begin_of_solution|>")
    tags = {("begin", "thought"): "<think>", ("end", "thought"): "</think>"}
    return _OPEN_THOUGHTS.sub(lambda match: tags.get((match[1], match[2]), ""), text)


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
