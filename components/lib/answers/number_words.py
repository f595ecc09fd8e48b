"""English number words, read only to compare them with digits that stand beside them: "twelve (12)"."""

import re
from fractions import Fraction

_SMALL = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}
_SMALL |= {
    word: 10 * value
    for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
_SIZES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    name: value
    for value, names in enumerate(
        "half halves|third thirds|quarter quarters fourth fourths|fifth fifths|sixth sixths|seventh sevenths"
        "|eighth eighths|ninth ninths|tenth tenths".split("|"),
        start=2,
    )
    for name in names.split()
}
_WORD = f"(?:an?[\\s-]+)?(?:{'|'.join([*_SMALL, 'hundred', 'dozen', *_SIZES, *_PARTS])})\\b"
NUMBER_WORDS = re.compile(rf"\b{_WORD}(?:[\s,-]+(?:and[\s-]+)?{_WORD})*", re.IGNORECASE)
"""A run of number words; `words_value` says whether it is one number."""


def words_value(text: str) -> Fraction | None:
    """Return the value of a run of number words, None if they are not one well-formed number.

    >>> [str(words_value(text)) for text in ("one hundred and five", "two and a half", "five twelve")]
    ['105', '5/2', 'None']
    """
    words = re.findall("[a-z]+", text.lower())
    if words[-1] not in _PARTS:
        value = _cardinal([word for word in words if word != "and"])
        return None if value is None else Fraction(value)
    bottom, front = _PARTS[words[-1]], words[:-1]
    cut = len(front) - 1 - front[::-1].index("and") if "and" in front else -1
    whole = _cardinal(front[:cut]) if cut >= 0 else 0
    top = _cardinal(front[cut + 1 :]) if front[cut + 1 :] else 1
    if whole is None or top is None or (cut >= 0 and top >= bottom):
        return None
    return whole + Fraction(top, bottom)


def _cardinal(words: list[str]) -> int | None:
    """Return the integer that the words name, None unless each word may follow the one in front of it."""
    total, group, room, largest = 0, 0, 100, 10**15
    if words == ["zero"]:
        return 0
    for place, word in enumerate(words):
        value = 1 if place == 0 and word in ("a", "an") else _SMALL.get(word, 0)
        if 0 < value < room:
            group, room = group + value, 10 if value >= 20 else 0
        elif word == "hundred" and 0 < group < 100:
            group, room = group * 100, 100
        elif word == "dozen" and 0 < group < 100:
            group, room = group * 12, 0
        elif group and (size := _SIZES.get(word, largest)) < largest:
            total, group, room, largest = total + group * size, 0, 100, size
        else:
            return None
    return total + group or None
