r"""One notation for answers of the kind `math`: plain mathematics and the dialects of LaTeX become one LaTeX.

What is no mathematics (words, hedges) stays in the text, where `math_rules` refuses it.
"""

import re
import unicodedata
from fractions import Fraction

from components.lib.answers.markup import unwrapped

LONGEST = 300
"""Characters of an answer that is compared by more than its text; the longest of MATH-500 has 53."""

_SYMBOLS = {
    "−": "-", "–": "-", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/", "π": "\\pi ", "∞": "\\infty ",
    "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "∪": "\\cup ", "∈": "\\in ", "±": "\\pm ", "∓": "\\mp ", "°": "^\\circ ",
    "≈": "\\approx ", "θ": "\\theta ", "∅": "\\emptyset ", "²": "^{2}", "³": "^{3}",
    "⁴": "^{4}", "½": "\\frac{1}{2}",
    "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}", "…": "\\dots ",
    "≡": "\\equiv ", "ℝ": "\\mathbb{R}", "⟨": "\\langle ", "⟩": "\\rangle ", "∩": "\\cap ", "\u2044": "/",
    "√": "\\sqrt ",
}  # fmt: skip
_SAME = [
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits)(?![A-Za-z])\.?"), " "),
    (re.compile(r"\\[!]"), ""),
    (re.compile(r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])|(?<=[\w}])~(?=[\w\\])|(?<=\{)~(?=[A-Za-z])|&nbsp;"), " "),
    (re.compile(r"\\leq(?:slant)?(?![A-Za-z])|<="), r"\\le "),
    (re.compile(r"\\geq(?:slant)?(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\neq(?![A-Za-z])|!="), r"\\ne "),
    (re.compile(r"\\lt(?![A-Za-z])|&lt;"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])|&gt;"), ">"),
    (re.compile(r"\\(?:mbox|textrm|textbf|textit|textnormal|mathrm|mathbf|operatorname\*?)(?=\s*\{)"), r"\\text"),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z])"), r"^\\circ "),
    (re.compile(r"\\(?:arc)(sin|cos|tan)(?![A-Za-z])"), r"\\arc\1 "),
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), ","),
    (re.compile(r"\\(?:var)?(?:emptyset|nothing)(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\\\{\s*\\\}"), r"\\emptyset "),
    (re.compile(r"\\[lr]?vert(?![A-Za-z])"), "|"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"(?<![\\A-Za-z])(?:inf(?:inity)?|oo)(?![A-Za-z])", re.IGNORECASE), r"\\infty "),
    (re.compile(r"(?<=[)\]])\s*(?:U|union)\s*(?=[(\[])"), r"\\cup "),
    (re.compile(r"\\\\\["), r"\\\\ ["),
]
_PLAIN = [
    (re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\\sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\A-Za-z])sqrt(?=\s*[\d{])"), r"\\sqrt"),
    (re.compile(r"(\\sqrt\s*\[\w\])\s*(\w)"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*(\d+|[A-Za-z](?![A-Za-z]))"), r"\\sqrt{\1}"),
    (
        re.compile(r"(?<![\\A-Za-z])(sin|cos|tan|cot|sec|csc|ln|log|exp|pi|infty|theta|alpha|beta)(?![A-Za-z])"),
        r"\\\1 ",
    ),
    (re.compile(r"\^\s*(\d{2,})"), r"^{\1}"),
    (re.compile(r"\^\s*\(([^()]*)\)"), r"^{\1}"),
    (re.compile(r"\^\s*(-\d+)"), r"^{\1}"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\d)\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*(\d)"), r"\1{\2}"),
    (re.compile(r"(?<=[\d)])\s*\*\s*(?=[\w(\\])|(?<=[A-Za-z}])\s*\*\s*(?=[\w(\\])"), r" \\cdot "),
    (re.compile(r"(?<![\\A-Za-z])i(?![A-Za-z])"), r" \\imath "),
    (re.compile(r"_\s*(\d)"), r"_{\1}"),
    (re.compile(r"(?<=\d)[eE]([-+]?\d{1,2})(?!\w)"), r" \\cdot 10^{\1}"),
    (re.compile(r"(?<![\w.{^/])(\d+)/(\d+)\s+(?=[\\A-Za-z])"), r"\\frac{\1}{\2} "),
]
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the\s+)?(?:(?:final|correct)\s+)?answer\s*(?:is\b|:|=)|it\s+is\b)\s*:?\s*",
    re.IGNORECASE,
)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\s?\d{3})+(?![\d,])(?:\.\d+)?")
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s*\\?\$?(?:(?P<plain>\d+(?:\.\d*)?|\.\d+)|\\frac\{(?P<minus>-?)(?P<top>\d+)\}\{(?P<bottom>\d+)\}"
    r"|(?P<over>\d+)\s*/\s*(?P<under>\d+))"
)
_MIXED = re.compile(r"(?<![\d.^{_/}])(\d+)(?:\s*\\frac\{(\d+)\}\{(\d+)\}|\s+(\d+)/(\d+))(?![\d.])")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\overline\s*\{?(\d+)\}?")
_DECIMAL = re.compile(r"\d*\.\d+|\d+\.(?!\d)")
_BASE = re.compile(
    r"([0-9A-Za-z]+)\s*(?:_\s*\{?\s*(?:\\text\s*\{)?\s*(\d{1,2}|[a-z]+)\s*\}{0,2}"
    r"|(?:\\text\s*\{)?\s*\(?(?:in )?base[\s-]+(\d{1,2}|[a-z]+)\)?\s*\}?)"
)
_BASE_WORDS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def notation(text: str) -> str:
    r"""Write an answer in the one notation.

    >>> notation("$\\dfrac{1}{2}$.")
    '\\frac{1}{2}'
    """
    text = unicodedata.normalize("NFC", unwrapped(text))
    if lead := _LEAD.match(text):
        text = unwrapped(text[lead.end() :])
    if len(text) > LONGEST:
        return text
    for symbol, latex in _SYMBOLS.items():
        text = text.replace(symbol, latex)
    for pattern, latex in _SAME:
        text = pattern.sub(latex, text)
    text = re.sub(r"(?<!\\)\$", " ", text)
    return " ".join(text.split())


def squeezed(text: str) -> str:
    """Return a notation without white space and superfluous braces, in which equal texts are equal answers."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(?<=[A-Za-z]) (?=[A-Za-z])|(?<=\d) (?=\d)", "\x00", text).replace(" ", "").replace("\x00", " ")
    return re.sub(r"([_^])\{([0-9A-Za-z])\}", r"\1\2", text)


def number(text: str) -> Fraction | None:
    """Return the value of a notation that is one plain number, None where it is anything else."""
    if _GROUPED.fullmatch(text.lstrip("-+ \\$")):
        text = text.replace(",", "").replace(" ", "")
    match = _NUMBER.fullmatch(text)
    if not match:
        return None
    sign = -1 if (match["sign"] == "-") != (match["minus"] == "-") else 1
    if match["plain"]:
        return sign * Fraction(match["plain"])
    top, bottom = match["top"] or match["over"], int(match["bottom"] or match["under"])
    return sign * Fraction(int(top), bottom) if bottom else None


def in_base(text: str) -> Fraction | None:
    """Return the value of digits with their base, such as 52_8; None where it is anything else."""
    match = _BASE.fullmatch(text)
    if not match:
        return None
    name = match[2] or match[3]
    base = _BASE_WORDS.index(name) + 2 if name in _BASE_WORDS else int(name) if name.isdecimal() else 0
    try:
        return Fraction(int(match[1], base)) if 2 <= base <= 36 else None
    except ValueError:
        return None


def spelled(text: str) -> str:
    r"""Return a notation as math-verify is to read it: functions with a backslash, decimals as exact fractions."""
    text = _GROUPED.sub(lambda m: m[0].replace(",", "").replace(" ", ""), text)
    for pattern, latex in _PLAIN:
        text = pattern.sub(latex, text)
    text = _REPEATING.sub(lambda m: _fraction(_repeating(*m.groups())), text)
    text = _MIXED.sub(_mixed, text)
    return _DECIMAL.sub(lambda m: _fraction(Fraction(m[0])), text)


def _fraction(value: Fraction) -> str:
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _repeating(whole: str, fixed: str, period: str) -> Fraction:
    nines = 10 ** len(fixed) * (10 ** len(period) - 1)
    return Fraction(int(whole or 0)) + Fraction(int(fixed + period) - int(fixed or 0), nines)


def _mixed(match: re.Match[str]) -> str:
    whole, top, bottom = int(match[1]), int(match[2] or match[4]), int(match[3] or match[5])
    if not whole or not 0 < top < bottom:
        return match[0]
    return _fraction(whole + Fraction(top, bottom))
