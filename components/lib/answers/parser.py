"""The one answer parser: the GRPO reward, the gate, the evaluation and `pipeline.py score` all judge with it.

A completion is reasoning in `<think>...</think>` followed by an answer region whose last `#### ` line holds the
answer. Strict parsing pays only that line; `parse_lenient` looks further, for evaluation reports, and is never paid.
Arithmetic is exact (`Fraction`), nothing is evaluated, no completion raises, and time is linear in its length.
How a number is read from the answer's text: `components.lib.answers.numbers_in_text`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from components.lib.answers.headings import is_heading
from components.lib.answers.numbers_in_text import NOTHING, Reading, read_number

THINK_OPEN, THINK_CLOSE, MARKER = "<think>", "</think>", "####"
MOST_ANSWERS = 32
"""Different texts behind the markers of one completion that are read; a longer run of them is no answer."""

MARKERS = re.compile("#{4,}")
LINE_END = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LINE_START = re.compile(
    r"(?:[\s\u200b-\u200f\u2060\ufeff>*_`|$\"'~+\-•([]|\\(?:boxed|text\w{0,10})\s?\{|\\[(\[]|</?[A-Za-z]{1,20}>|<\|[^<>|]{0,60}\|>)*"
)
_VISIBLE = re.compile(
    "[^\\s\x00-\x1f\x7f-\xa0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff]"
)
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correct(?:ion|ed|ing)|sorry|oops|mistaken?|wrong|incorrect|scratch that|my bad|apolog\w+"
    r"|hold on|recalculat\w+|fix(?:ed|ing)?|should (?:be|have been)|error|on second thought|revis(?:ed|ing)|redo"
    r"|no(?=\s*[,.!;:\u2013—-]))\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"(?:\b(?:no|not|nothing|without|never|neither|nor|any)|n['\u2019]t)\s+(?:\w{1,12}\s+)?$",
    re.IGNORECASE,
)
ANSWER_IS = re.compile(r"\banswer\b[\s*_]{0,4}(?:is\b|:|=)[\s*_:]{0,4}", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.;!?](?=\s|$)")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one completion is worth; `text` is the canonical form of `answer`, such as '42' or '1/2'."""

    answer: Fraction | None
    text: str | None
    correct: bool
    think_ok: bool
    answer_marked: bool
    markers: int
    unparsed: bool


def judge(completion: str, gold: str, *, prefilled: bool = False) -> Judgement:
    r"""Judge `completion` against the number `gold`.

    `prefilled` says that the chat template ended the prompt with `<think>`, which is then put in front of the
    completion first. Raises ValueError if `gold` is not one number; no completion raises.

    >>> judge("<think>6 * 7</think>\n#### $42.00", "42").correct
    True
    """
    expected = parse_gold(gold)
    completion = THINK_OPEN + completion if prefilled else completion
    region = answer_region(completion)
    markers = _markers(region)
    last = _read_marked(region, markers)
    answer = _uncontested(region, markers, last)
    return Judgement(
        answer=answer,
        text=None if answer is None else format_answer(answer),
        correct=answer == expected,
        think_ok=_think_ok(completion, region),
        answer_marked=(last.lone or last.value is not None) and _starts_line(region, markers[-1][0]),
        markers=len(markers),
        unparsed=answer is None,
    )


def parse_strict(completion: str, *, prefilled: bool = False) -> Fraction | None:
    """Return the number on the line of the last `####` behind the reasoning, or None; what the reward pays for."""
    region = answer_region(THINK_OPEN + completion if prefilled else completion)
    markers = _markers(region)
    last = _read_marked(region, markers)
    return _uncontested(region, markers, last)


def parse_lenient(completion: str, *, prefilled: bool = False) -> Fraction | None:
    r"""Return the number a generous reader would find; for evaluation reports, never for a reward.

    In order: the last `####`, be it in a contested run, the last `\boxed{}`, the last "answer is", and a last line that
    holds one number.
    """
    region = answer_region(THINK_OPEN + completion if prefilled else completion)
    markers = _markers(region)
    last = _read_marked(region, markers)
    return last.value if last.value is not None else _read_unmarked(region)


@lru_cache(maxsize=32_768)
def parse_gold(gold: str) -> Fraction:
    """Return the exact value of a reference answer.

    It may be '72', '-3', '1,000', '$5', '0.5', '1/2', or a text that ends in `#### 72`. Raises ValueError if it is
    not one number.
    """
    value = read_number(gold.rsplit(MARKER, 1)[-1]).value
    if value is None:
        shown = gold if len(gold) <= 80 else gold[:77] + "..."
        raise ValueError(f"gold {shown!r} is not one number; write it like '42', '-3', '1,000', '0.5' or '1/2'")
    return value


def format_answer(answer: Fraction) -> str:
    """Write a number in its canonical form: an integer in digits, anything else as a reduced fraction.

    >>> format_answer(Fraction("0.50"))
    '1/2'
    """
    return str(answer)


def answer_region(completion: str) -> str:
    """Return the text after the last `</think>`; all of it without tags, and nothing while a `<think>` is open."""
    close = completion.rfind(THINK_CLOSE)
    if completion.rfind(THINK_OPEN) > close:
        return ""
    return completion[close + len(THINK_CLOSE) :] if close >= 0 else completion


def _markers(region: str) -> list[tuple[int, int]]:
    """List start and end of each run of four or more `#`."""
    if MARKER not in region:
        return []
    return [match.span() for match in MARKERS.finditer(region)]


def _text_after(region: str, start: int, limit: int) -> str:
    """Return the rest of the line from `start`, up to `limit`."""
    line_end = LINE_END.search(region, start, limit)
    return region[start : line_end.start() if line_end else limit].strip()


def _read_marked(region: str, markers: list[tuple[int, int]]) -> Reading:
    """Read what follows the last marker on its line."""
    return read_number(_text_after(region, markers[-1][1], len(region))) if markers else NOTHING


def _uncontested(region: str, markers: list[tuple[int, int]], last: Reading) -> Fraction | None:
    """Return the last marker's value, or None if earlier ones give others that no explicit correction withdraws."""
    if len(markers) < 2 or last.value is None:
        return last.value
    seen: dict[str, Fraction | None] = {}
    later_value: Fraction | None = last.value
    later_start = markers[-1][0]
    for (start, end), (limit, _) in zip(markers[-2::-1], markers[:0:-1], strict=True):
        text = _text_after(region, end, limit)
        if not _is_answer(text):
            continue
        if text not in seen:
            if len(seen) == MOST_ANSWERS:
                return None
            seen[text] = read_number(text).value
        value = seen[text]
        if value != later_value and not _corrected(region, end, later_start):
            return None
        later_value, later_start = value, start
    return last.value


def _is_answer(text: str) -> bool:
    """Tell whether the text behind an earlier marker offers a value and is not a heading such as 'Step 1'."""
    return any(char.isnumeric() for char in text) and not is_heading(text)


def _corrected(region: str, start: int, end: int) -> bool:
    """Tell whether a word between two answers explicitly withdraws the first."""
    matches = _CORRECTION.finditer(region, start, end)
    return any(not _NEGATION.search(region[max(start, m.start() - 24) : m.start()]) for m in matches)


def _starts_line(region: str, marker: int) -> bool:
    """Tell whether only wrappers (markdown, quotes, LaTeX, tags) stand in front of the marker on its line."""
    begin = max(region.rfind("\n", 0, marker), region.rfind("\r", 0, marker)) + 1
    return _LINE_START.fullmatch(region, begin, marker) is not None


def _think_ok(completion: str, region: str) -> bool:
    """Check for one `<think>` and one `</think>`, in order, visible content between, and no lone answer in front."""
    if completion.count(THINK_OPEN) != 1 or completion.count(THINK_CLOSE) != 1:
        return False
    front, _, rest = completion.partition(THINK_OPEN)
    thought, close, _ = rest.partition(THINK_CLOSE)
    if not close or not _VISIBLE.search(thought):
        return False
    return not front.strip() or not _has_answer(front) or _has_answer(region)


def _has_answer(text: str) -> bool:
    """Tell whether the text holds a marked answer, or one that only a lenient reader finds."""
    return MARKER in text or _read_unmarked(text) is not None


def _read_unmarked(region: str) -> Fraction | None:
    """Return the first that is found of what `parse_lenient` lists beyond the marked answer."""
    value = None
    if (boxed := region.rfind("\\boxed")) >= 0:
        value = read_number(_braced(region, boxed)).value
    if value is None and (phrases := list(ANSWER_IS.finditer(region))):
        value = _read_sentence(_text_after(region, phrases[-1].end(), len(region)))
    if value is None and (lines := region.rstrip().splitlines()) and MARKER not in lines[-1]:
        value = read_number(lines[-1]).value
    return value


def _read_sentence(line: str) -> Fraction | None:
    """Read the number of a line, or of its first sentence."""
    end = SENTENCE_END.search(line)
    value = read_number(line).value
    return read_number(line[: end.start()]).value if value is None and end else value


def _braced(text: str, command: int) -> str:
    """Return the content of the first braces behind position `command`; the rest of the text if they stay open."""
    depth, start = 0, text.find("{", command)
    if start < 0:
        return ""
    for match in re.compile("[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return text[start + 1 : match.start()]
    return text[start + 1 :]
