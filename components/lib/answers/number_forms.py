"""How one number is written (1,234.5, 1'234, 1,23,456, 2 1/2, 2 and 1/2, ½, 1e3), and its exact value."""

import re
import unicodedata
from fractions import Fraction

MOST_DIGITS = 1_000
"""Digits of one part of a number; `int` refuses more than 4,300, and products of parts must stay below that."""

VULGAR = {
    char: Fraction(int(top), int(bottom))
    for char in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
    for top, bottom in [unicodedata.normalize("NFKC", char).split("\u2044")]
}
HAS_NUMBER = re.compile(f"[0-9{''.join(VULGAR)}]")
APOSTROPHES = "'\u2019\u02bc"
_GROUPED = (
    rf"[1-9][0-9]{{0,2}}+(?=[,_{APOSTROPHES}])(?:(?:,[0-9]{{3}})++|(?:[{APOSTROPHES}][0-9]{{3}})++|(?:_[0-9]{{3}})++"
    r"|(?<![0-9]{3})(?:,[0-9]{2}(?=,))++,[0-9]{3})(?![0-9])"  # the last of them reads 1,23,45,678
)
_SPACED = r"[1-9][0-9]{0,2}+(?: [0-9]{3})++(?![0-9])"
_AND = r"(?:(?i:and|&)\s+)?"
_INT = f"(?:{_GROUPED}|[0-9]+)"
_WHOLE = f"(?:{_GROUPED}|{_SPACED}|[0-9]+)"
NUMBER = re.compile(
    rf"(?=[.0-9{''.join(VULGAR)}])(?:"
    rf"(?:(?P<whole>{_WHOLE})\s+{_AND})?(?P<top>{_INT})\s?[/\u2044\u2215]\s?(?P<bottom>{_INT})"
    rf"|(?:(?P<count>{_WHOLE})\s?{_AND})?(?P<vulgar>[{''.join(VULGAR)}])"
    rf"|(?P<plain>{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)(?:[eE](?P<exponent>[-+\u2212]?[0-9]+)(?!\.?[0-9]))?)"
)
PLAIN = re.compile(rf"(?P<sign>[-\u2212]?)\$?(?P<plain>{_INT}(?:\.[0-9]+)?)\.?")
_NOT_DIGITS = re.compile(f"[, _{APOSTROPHES}]")


def number_value(match: re.Match[str]) -> Fraction | None:
    """Return the value of one match of `NUMBER`, without sign and scale; None if it is too long or is no number."""
    if match["plain"]:
        return decimal_value(match["plain"], match["exponent"])
    if match["vulgar"]:
        whole, part = _integer(match["count"] or "0"), VULGAR[match["vulgar"]]
        return None if whole is None else whole + part
    whole, top, bottom = _integer(match["whole"] or "0"), _integer(match["top"]), _integer(match["bottom"])
    if whole is None or top is None or not bottom or (match["whole"] and top >= bottom):
        return None
    return whole + Fraction(top, bottom)


def _integer(text: str) -> int | None:
    """Return the value of digits with thousands separators, or None if they are too many."""
    digits = _NOT_DIGITS.sub("", text)
    return int(digits) if len(digits) <= MOST_DIGITS else None


def decimal_value(text: str, exponent: str | None) -> Fraction | None:
    """Return the exact value of a decimal number with an optional exponent, or None if it would be too long."""
    digits, _, decimals = _NOT_DIGITS.sub("", text).partition(".")
    if len(digits) + len(decimals) > MOST_DIGITS or len(exponent or "") > 5:
        return None
    if not decimals and not exponent:
        return Fraction(int(digits))
    power = int((exponent or "0").replace("\u2212", "-")) - len(decimals)
    if abs(power) > MOST_DIGITS:
        return None
    number = int(digits + decimals)
    return Fraction(number * 10**power) if power >= 0 else Fraction(number, 10**-power)
