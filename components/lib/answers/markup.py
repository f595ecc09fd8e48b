r"""Take the markup around a whole answer away: quotes, emphasis, `$`, `\text{}`, `\boxed{}`, tags and stop tokens."""

import re

_TAGS = re.compile(r"<[|｜][^<>]{0,60}[|｜]>|</?[A-Za-z_-]{1,40}\s?/?>")
_PAIRS = [("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), ("$$", "$$"), ("$", "$")]
_PAIRS += [("\\(", "\\)"), ("\\[", "\\]"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("„", "“")]
_COMMAND = re.compile(
    r"\\(?:boxed|fbox|text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox|emph|underline)\s*\{"
)
_MOST_LAYERS = 12


def unwrapped(text: str) -> str:
    r"""Return `text` without what surrounds all of it, and without one trailing stop.

    >>> unwrapped("**$\\text{Paris}$.**")
    'Paris'
    """
    text, stops = _TAGS.sub(" ", text).strip(), 1
    for _ in range(_MOST_LAYERS):
        inner = _without_layer(text)
        if inner is None and stops and text.endswith(".") and not text.endswith(".."):
            stops, inner = 0, text[:-1]
        if inner is None or not inner.strip():
            return text
        text = inner.strip()
    return text


def _without_layer(text: str) -> str | None:
    for opening, closing in _PAIRS:
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            if opening not in inner and closing not in inner:
                return inner
    match = _COMMAND.match(text)
    if match and text.endswith("}") and closes_at_end(text, match.end()):
        return text[match.end() : -1]
    return None


def closes_at_end(text: str, start: int) -> bool:
    """Tell whether the brace that opens in front of `start` closes with the last character."""
    depth = 1
    for place in range(start, len(text)):
        if text[place - 1] != "\\":
            depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place == len(text) - 1
    return False
