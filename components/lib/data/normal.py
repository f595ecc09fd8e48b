"""Text in normal form, and the keys by which two texts count as the same."""

import hashlib
import re
import unicodedata

# What differs between copies of one text without meaning anything.
_SAME = str.maketrans(dict.fromkeys("‘’‛`´", "'") | dict.fromkeys("“”„‟", '"') | dict.fromkeys("‐‑‒–—−", "-"))
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_SPACES = re.compile(r"\s+")
_AROUND_SIGNS = re.compile(r" (?=[^\w\s])|(?<=[^\w\s]) ")
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def clean(text: str) -> str:
    r"""A text in normal form: Unicode NFC, `\n` as the only line end, no white space at either end."""
    text = unicodedata.normalize("NFC", text)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def same(text: str) -> str:
    """What two texts share that differ only in case, spacing, quotes, dashes or compatibility characters.

    >>> same("How many  Cards , Tom ?") == same("how many cards, Tom?")
    True
    """
    text = unicodedata.normalize("NFKC", text).translate(_SAME).casefold()
    text = _SPACES.sub(" ", _INVISIBLE.sub("", text)).strip()
    return _AROUND_SIGNS.sub("", text)


def words(same_text: str) -> list[str]:
    """The words and numbers of a text that went through `same`."""
    return _WORD.findall(same_text)


def numbers(same_text: str) -> list[str]:
    """The numbers of a text that went through `same`, sorted, without thousands commas."""
    return sorted(number.replace(",", "") for number in _NUMBER.findall(same_text))


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def share(seed: int, purpose: str, key: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments, so that other rows cannot move it."""
    head = hashlib.sha256(f"{seed}\n{purpose}\n{key}".encode()).digest()[:8]
    return int.from_bytes(head, "big") / 2**64
