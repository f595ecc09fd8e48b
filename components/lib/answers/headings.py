"""Headings behind `####`: "3. Add" and "Step 3: Add" number a step and state no answer, while "42." states one."""

import re

_NAMED = (
    r"(?:step|part|case|section|phase|stage|question|problem|example|method|approach|solution|exercise|task)"
    r"\s*#?[0-9]{1,2}\b"
)
_VERBS = "Add|Subtract|Multiply|Divide|Sum|Calculate|Compute|Find|Determine|Solve|Identify|Check|Verify|Convert"
_MAY_BE = re.compile(
    rf"[\s#>•-]*(?:(?i:{_NAMED})|(?:[0-9]{{1,2}}[a-z]?(?:\.[0-9]{{1,2}})*"
    rf"(?:[.)](?:[^\w(\[]|\([^()]*\)|\[[^\[\]]*\])*[^\W\d_]|\s?:\s*[^\W\d_]|\s[-\u2013\u2014]\s+[A-Z]|\s+(?:{_VERBS})\b(?!-))"
    r"|[(\[][0-9]{1,2}[)\]]\s*[A-Z]))"
)
_MARKUP = r"[\s*_`>]*"
_SURE = re.compile(
    rf"{_MARKUP}(?:{_NAMED}|calculat\w*|comput\w*|find\w*|determin\w*|understand\w*|set\s?up\b"
    rf"|(?P<number>1?[0-9]|20)[.)]{_MARKUP}(?=[^\W\d_]))",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"\b(?:answer|final)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?]\W{0,20}\Z")


def may_be_heading(text: str) -> bool:
    """Tell whether plain text may be a numbered heading, so that its number cannot be taken for an answer.

    >>> [may_be_heading(text) for text in ("3. Add", "Step 3", "42.", "42 apples")]
    [True, True, False, False]
    """
    return _MAY_BE.match(text) is not None


def is_heading(text: str) -> bool:
    """Tell whether a line is surely a heading, so that one in front of the answer offers no other answer."""
    match = _SURE.match(text)
    if not match or (match["number"] and _SENTENCE.search(text)):
        return False
    answer = _ANSWER.search(text, match.end())
    return not answer or not any(char.isnumeric() for char in text[answer.end() :])
