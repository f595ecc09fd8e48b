"""Answers of the kind `text`: equal after NFC, case folding, white space, one trailing stop and markup around it."""

import unicodedata

from components.lib.answers.markup import unwrapped

MOST_WORDS = 12


def normalized(text: str) -> str:
    """Return what two texts must have in common to be equal.

    >>> normalized('"New  York."') == normalized("new york")
    True
    """
    return unicodedata.normalize("NFC", " ".join(unwrapped(unicodedata.normalize("NFC", text)).split()).casefold())


def check_gold(gold: str) -> None:
    """Raise ValueError unless `gold` is one line of one to `MOST_WORDS` words."""
    words = len(gold.split())
    if not 1 <= words <= MOST_WORDS or len(gold.strip().splitlines()) != 1:
        shown = gold if len(gold) <= 80 else gold[:77] + "..."
        raise ValueError(
            f"gold {shown!r} is not one line of 1 to {MOST_WORDS} words; shorten it, or judge it otherwise"
        )
