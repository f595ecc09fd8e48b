r"""Answers of the kind `choice`: a letter, of either case, alone, in brackets or at the head of its option."""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from components.lib.answers.markup import unwrapped
from components.lib.answers.text_answer import normalized

_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:(?:final|correct|right|best)\s+)*"
    r"(?:answer|option|choice)\s*(?:is\b|:)?\s*(?:(?:option|choice)\s+)?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?:\(\s*([A-Za-z])\s*\)|\[\s*([A-Za-z])\s*\]|\{\s*([A-Za-z])\s*\}|([A-Za-z])(?![^\W_]))")
_LABEL = re.compile(r"\s*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\s*[).:])\s*")
_DELIMITER = re.compile(r"\s*(?:[).:]|[-–—=](?=\s))\s*")
_UNSURE = re.compile(
    r"\b(?:or|nor|not|and|either|neither|maybe|perhaps|possibly|probably|unsure|guess|wait|actually|also|both|wrong"
    r"|incorrect|instead|but)\b|[?&/]|n['’]t\b|(?<![^\W_])[A-Z](?![^\W_]|['’])|\([A-Za-z]\)",
)


def letters(options: Sequence[str]) -> dict[str, str]:
    """Return each option's text by its capital letter: the one it begins with if all do, else by its place.

    >>> letters(["A)324", "B)6"])
    {'A': '324', 'B': '6'}
    """
    labels = [_LABEL.match(option) for option in options]
    names = [(label[1] or label[2] or label[3]).upper() for label in labels if label]
    if len(names) == len(options) and names == list(ascii_uppercase[: len(names)]):
        return {
            name: option[label.end() :] for name, option, label in zip(names, options, labels, strict=True) if label
        }
    return dict(zip(ascii_uppercase, options, strict=False))


def read_letter(text: str, options: Sequence[str] = ()) -> str | None:
    """Return the capital letter that `text` commits to; None where it is none, or none of the options.

    >>> read_letter("**(b)** 6 km", ["5 km", "6 km"])
    'B'
    """
    text = unwrapped(text)
    if lead := _LEAD.match(text):
        text = unwrapped(text[lead.end() :])
    text = text.replace("**", "").strip()
    match = _LETTER.match(text)
    if not match:
        return None
    letter = next(filter(None, match.groups())).upper()
    known = letters(options)
    if known and letter not in known:
        return None
    rest, bracketed = text[match.end() :], match[4] is None
    if delimiter := _DELIMITER.match(rest):
        rest, bracketed = rest[delimiter.end() :], True
    rest = unwrapped(rest).strip()
    return letter if _belongs(rest, letter, known, bracketed) else None


def _belongs(rest: str, letter: str, known: dict[str, str], bracketed: bool) -> bool:
    """Tell whether what follows a letter is nothing, its option, or at least nothing that takes it back."""
    if not rest:
        return True
    said = normalized(rest)
    if letter in known and said in (own := normalized(known[letter]), f"({own})"):
        return True
    others = {normalized(option) for name, option in known.items() if name != letter}
    return bracketed and said not in others and not _UNSURE.search(rest)


def parse_gold(gold: str, options: Sequence[str] = ()) -> str:
    """Return the letter of a reference answer; ValueError if it is none, or none of the options."""
    letter = read_letter(gold, options)
    if letter is None:
        valid = ", ".join(letters(options)) or "A, B, ..."
        raise ValueError(f"gold {gold[:80]!r} is not one letter of {valid}; write the letter of the right option")
    return letter
