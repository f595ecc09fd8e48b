r"""Where a completion states its final answer: behind the last `####` (`marker`), or in the last `\boxed{}` (`boxed`).

Both are looked for outside the think block only. What stands there is text still; a kind says what it means.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from components.lib.answers.parser import THINK_CLOSE, THINK_OPEN

Form = Literal["marker", "boxed"]
FORMS: tuple[str, ...] = get_args(Form)

_MARKER = re.compile("#{4,}")
_LINE_END = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LINE_START = re.compile(r"(?:[\s>*_`$(]|</?[A-Za-z]{1,20}>|\\[(\[])*")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_JOINED = re.compile(
    r"[\s$,;*.]*(?:\\\)|\\\]|\\text\{)?[\s,]*(?:and|or)\b[\s}$]*(?:\\\(|\\\[|[a-z]\s*=)?[\s$]*|[\s$,;/]*"
)
_TAKEN_BACK = re.compile(
    r"(?:(?<!, )\bor|\b(?:not|never|either|maybe|perhaps|isn['’]t)|\\neq?|≠|[<>≤≥]|\\[lg]eq?)[\s$\\(\[*:]*$"
)
_ANOTHER = re.compile(r"[\s$*\\)\]}.,;]*(?:(?:or|to)\s+\$?[-\d\\]|\\pm(?![A-Za-z])|±|\?)")


@dataclass(frozen=True, slots=True)
class Final:
    """The text of a final answer; empty where there is none. `marked` tells whether it stands where it should."""

    text: str
    marked: bool


NOWHERE = Final("", False)


def answer_region(completion: str) -> str:
    """Return the text after the last `</think>`; all of it without tags, and nothing while a `<think>` is open."""
    close = completion.rfind(THINK_CLOSE)
    if completion.rfind(THINK_OPEN) > close:
        return ""
    return completion[close + len(THINK_CLOSE) :] if close >= 0 else completion


def final_answer(completion: str, form: Form) -> Final:
    r"""Find the last answer of a completion; of several the last counts, and boxes joined by "or" are none.

    >>> final_answer("<think>6 * 7</think>So it is $\\boxed{42}$.", "boxed")
    Final(text='42', marked=True)
    """
    region = answer_region(completion)
    return _marked(region) if form == "marker" else _boxed(region)


def boxes_as_markers(completion: str) -> str:
    """Write the boxes behind the reasoning as marker lines, so that the rules of the marker hold for them."""
    region = answer_region(completion)
    front = completion[: len(completion) - len(region)]
    found, parts, done = boxes(region), [], 0
    for start, end, content in found:
        parts += [region[done:start].replace("#", " "), "\n#### ", " ".join(content.split()), "\n"]
        done = end
    return "".join([front, *parts, region[done:].replace("#", " ")])


def boxes(text: str) -> list[tuple[int, int, str]]:
    """List start, end and content of the outermost boxes; one that stays open is the last, empty and to the end."""
    found: list[tuple[int, int, str]] = []
    match = _BOX.search(text)
    while match:
        depth, end = 1, len(text)
        for brace in _BRACE.finditer(text, match.end()):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if not depth:
                end = brace.end()
                break
        found.append((match.start(), end, "" if depth else text[match.end() : end - 1]))
        match = _BOX.search(text, end)
    return found


def _marked(region: str) -> Final:
    markers = list(_MARKER.finditer(region))
    if not markers:
        return NOWHERE
    last = markers[-1]
    line_end = _LINE_END.search(region, last.end())
    begin = max(region.rfind("\n", 0, last.start()), region.rfind("\r", 0, last.start())) + 1
    text = region[last.end() : line_end.start() if line_end else len(region)].strip()
    return Final(text, bool(text) and _LINE_START.fullmatch(region, begin, last.start()) is not None)


def _boxed(region: str) -> Final:
    found = boxes(region)
    if not found:
        return NOWHERE
    start, end, text = found[-1]
    text = text.strip()
    if len(found) > 1 and found[-2][2].strip() != text and _JOINED.fullmatch(region, found[-2][1], start):
        return NOWHERE
    if _TAKEN_BACK.search(region[max(0, start - 40) : start]) or _ANOTHER.match(region[end : end + 40]):
        return NOWHERE
    return Final(text, bool(text))
