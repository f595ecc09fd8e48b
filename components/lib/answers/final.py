r"""Where a completion states its final answer: behind the last `####` (`marker`), or in the last `\boxed{}` (`boxed`).

Both are looked for outside the think block only. What stands there is text still; a kind says what it means.
"""

import re
from dataclasses import dataclass

from components.lib.answers.headings import is_heading, may_be_heading
from components.lib.answers.parser import ANSWER_IS, LINE_END, MARKERS, SENTENCE_END, answer_region
from components.lib.recipe.schema import Form

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
    places: int = 1  # how many markers or boxes there are


def in_form(answer: str, form: Form) -> str:
    r"""Write an answer as the form wants it.

    >>> in_form("42", "boxed")
    '\\boxed{42}'
    """
    return f"#### {answer}" if form == "marker" else f"\\boxed{{{answer}}}"


def states_answer(line: str, form: Form, *, digits: bool) -> bool:
    """Tell whether a whole line outside the think block gives a final answer; `digits`: one that must hold a number."""
    if form == "marker":
        line = line.lstrip(" *_`")
        said = [line.lstrip("#").strip(" *_`")] if line.startswith("####") else []
    else:
        said = [content for _, _, content in boxes(line) if content.strip()]
    if digits:
        return any(any(map(str.isdigit, text)) and not may_be_heading(text) for text in said)
    return any(text and not is_heading(text) for text in said)


def final_answer(completion: str, form: Form) -> Final:
    r"""Find the last answer of a completion; of several the last counts, and boxes joined by "or" are none.

    >>> final_answer("<think>6 * 7</think>So it is $\\boxed{42}$.", "boxed")
    Final(text='42', marked=True, places=1)
    """
    region = answer_region(completion)
    return _marked(region) if form == "marker" else _boxed(region)


def anywhere(completion: str, form: Form) -> list[str]:
    """List what a generous reader may take for the answer, best first; for reports, never for a reward.

    In order: the final answer in the form asked for, that in the other one, what follows the last "answer is" on its
    line or in its sentence, and the last line.
    """
    region = answer_region(completion)
    found = [_marked(region).text, _boxed(region).text]
    found = found if form == "marker" else found[::-1]
    if phrases := list(ANSWER_IS.finditer(region)):
        rest = region[phrases[-1].end() :].splitlines()[:1]
        found += [part for line in rest for part in (line, SENTENCE_END.split(line, maxsplit=1)[0])]
    return [text.strip() for text in [*found, *region.rstrip().splitlines()[-1:]] if text.strip()]


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
    markers = list(MARKERS.finditer(region))
    if not markers:
        return Final("", False, 0)
    last = markers[-1]
    line_end = LINE_END.search(region, last.end())
    begin = max(region.rfind("\n", 0, last.start()), region.rfind("\r", 0, last.start())) + 1
    text = region[last.end() : line_end.start() if line_end else len(region)].strip()
    starts = _LINE_START.fullmatch(region, begin, last.start()) is not None
    return Final(text, bool(text) and starts, len(markers))


def _boxed(region: str) -> Final:
    found = boxes(region)
    nowhere = Final("", False, len(found))
    if not found:
        return nowhere
    start, end, text = found[-1]
    text = text.strip()
    if len(found) > 1 and found[-2][2].strip() != text and _JOINED.fullmatch(region, found[-2][1], start):
        return nowhere
    if _TAKEN_BACK.search(region[max(0, start - 40) : start]) or _ANOTHER.match(region[end : end + 40]):
        return nowhere
    return Final(text, bool(text), len(found))
