"""What stands around a number: its sign, its scale, and the words and symbols that take the commitment away.

"42 apples" commits to 42; "not 42", "about 42", "at least 42", "42 or so", "42 pm", "42^2" do not. A word or a symbol
that is not known to change the number is a unit or a remark and does not matter.
"""

import re
import unicodedata
from string import ascii_letters

_SCALES = {
    "hundred": 2, "thousand": 3, "lakh": 5, "lac": 5, "million": 6, "crore": 7, "billion": 9, "trillion": 12,
    "quadrillion": 15,
}  # fmt: skip
_LETTER_SCALES = {"k": 3, "K": 3, "M": 6, "mn": 6, "mln": 6, "B": 9, "bn": 9, "tn": 12}
_SPACED_SCALES = {"mln": 6, "bn": 9}
_MONEY_SCALES = _LETTER_SCALES | {"m": 6, "b": 9, "t": 12, "T": 12, "mm": 6, "cr": 7, "L": 5}
_SCALE_WORD = re.compile(rf"[\s-]*({'|'.join(_SCALES)})s?\b(?!-)", re.IGNORECASE)
_SCALE_LETTERS = re.compile(r"(\s?)([A-Za-z]{1,3})(?![A-Za-z])")
_MONEY = re.compile(r"[$€£¥₹]\s*[-+\u2212]?\s*$")

_NUMBER_WORDS = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen"
    "|nineteen|twenty|thirty|forty|fourty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?|billions?"
    "|trillions?|quadrillions?|lakhs?|crores?|dozens?|half|halfs|halves|thirds|fourths|fifths|sixths|sevenths|eighths"
    "|ninths|tenths|hundredths?|thousandths?|millionths?"
    r"|(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)(?=\s+of\b|\W*$)"
)
_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
    "|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
)
_APOSTROPHE = "['\u2019\u00b4`\u02bc\u2018]"

# The patterns named ..._SMALL read lower-case text: IGNORECASE would make their long alternations slow.
_BEFORE_SMALL = re.compile(
    r"\b(?:not|never|neither|nor|none|cannot|(?:is|was|are|ai|does|did|ca|wo)nt|nope|hardly|scarcely|unequal|or|either"
    r"|wrong|incorrect|false|versus|vs|maybe|perhaps|possibly|probably|likely|might|could|guess|unsure|uncertain"
    r"|approx\w*|circa|estimat\w+|negative|minus|instead of|at least|at most|close to|anything but"
    r"|(?<!adds )(?<!add )(?<!sums )(?<!sum )up to|nicht|kein\w*|pas|не|nie)\b"
    rf"|n{_APOSTROPHE}t\b|[不非没~]"
)
_NEAR_SMALL = re.compile(
    rf"\b(?:no|without|except|excluding|unlike|double|twice|triple|thrice|quarter|root|{_NUMBER_WORDS}|zero)\b"
)
_HALF, _CLOCK = r"[ap]\.?\s?m\b", r"o\s?['\u2019]?\s?clock\b"
_HOUR = re.compile(rf"\s*(?:{_HALF}|{_CLOCK}(?:\s*{_HALF})?)", re.IGNORECASE)
_HOURS = re.compile("0?[1-9]|1[0-2]")
_BLOCKING_HOURS = frozenset("before after to".split())
_JOINING = frozenset("andAND&")
_PAIR = re.compile(
    r"\b(?:both|(?<!there )(?:are|were)|roots|zero(?:e?s)|solutions|answers|values|numbers"
    r"|points|sides|lengths|pair|order|respectively)\b|\b[a-z]\s*[:=]",
    re.IGNORECASE,
)
LABEL_END = re.compile(r"\w\s*[:=]|\b(?:is|are|was|were|equals)\b")
_BLOCKING_LAST_WORDS = frozenset(
    "about around roughly nearly almost near over under above below beyond past between than but from one plus times "
    "log ln exp sqrt x y z n".split()
)
_BLOCKING_MONTHS = frozenset(_MONTHS.split("|"))
_BLOCKING_END = re.compile(r"(?:[\u00d7÷·⋅%]\s{0,3}|[!¬/&^@A-Za-z\u00c0-\u024f,.])\Z")

_CLOSERS = re.compile(r"(?:\*{2,3})?[\s$€£¥₹_\"'“”\u2018\u2019«»]*")
_AFTER_START = re.compile(
    r"\s*[\u00d7÷·⋅^]|\s*\*\s*\w|\s*[-\u2212\u2013+]\s*[b-zB-HJ-Z]\b(?!['\u2019])|\s*/\s*[xyzn]\b"
    r"|(?:[xXyznieEGT]|MM|pi|kk|mil|mio)\b|\s+(?:[xyznikKMB]|e(?!\.)|pi)\b(?!['\u2019])"
    rf"|(?:st|nd|rd|th)?[\s,]*(?:of\s+)?(?:{_MONTHS})\b|[mbt]\s*[$€£]"
)
_AFTER_START_SMALL = re.compile(
    rf"[\s/:,;&|=\u2013-]*(?:and\s+)?(?:an?\s+)?(?:{_NUMBER_WORDS}|one|zero)\b"
    rf"|\s*(?:{_HALF}|{_CLOCK}|cr\b)|\s+[mt]n\b|-?ish\b|[mbt]\s*(?:dollars?|usd|euros?|eur|pounds)"
    r"|\s*(?:π|mille|mil|mio|mrd|milli(?:on(?:en|es)?|ard\w*)|grand|тыс|млн|млрд)\b"
)
_AFTER_SMALL = re.compile(
    r"\b(?:or|nor|either|versus|vs|wrong|incorrect|false|wait|oops|sorry|mistake\w*|maybe|perhaps|possibly|probably"
    r"|approx\w*|roughly|guess|at (?:the )?(?:least|most|latest|earliest)"
    r"|squared|cubed|factorial|repeating|recurring|plus|minus|cannot"
    r"|(?:is|was|ai)nt|below zero|give or take|not(?! (?:counting|including|considering|included))"
    rf"|nicht|не|no(?=\W*(?:$|wait\b|that\b|it\b)))\b|n{_APOSTROPHE}t\b|[+不非没]"
    rf"|\b(?:or|and|to|of|by|over|through|times)\s+(?:an?\s+)?(?:{_NUMBER_WORDS})\b|\b(?:to|in)\s+one\s*[.!]?$"
)
_ODD = re.compile(r"[\u202d\u202e<>≤≥≈≠±∓√∛∞¬\u223c≃≅∝≲≳⩽⩾‰‱\\^⁰¹²³⁴⁵⁶⁷⁸⁹⁻⟨⟩∉∌∑∏∫⌊⌈✗✘❌✖🚫⛔]")
_DOTS = re.compile(r"\.{2,}|…|\s?\.{3}")
_MINUS_WORD = re.compile(r"(?:^|(?<=[\s:=]))(?:minus|negative)[\s$]*$", re.IGNORECASE)
_TIGHT = frozenset(" \t$€£¥₹*_`\"'“”#")
_MINUS = frozenset("-\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d")
_OTHER_DASHES = frozenset("\u2014\u2015\u2796\u02d7\u2043\u2500\u2501\u30fc\u23af\u208b\u2e3a\u2e3b\u00ad|")


def sign_before(before: str) -> int:
    """Return the sign, 1 or -1, of the number behind `before`; 0 where it cannot be told ("total - 42", "--42")."""
    if not before:
        return 1
    if _MINUS_WORD.search(before):
        return -1
    lead = _trailing_symbols(before)
    signs = [i for i, char in enumerate(lead) if char in _MINUS or char in _OTHER_DASHES or char == "+"]
    if not any(lead[i] != "|" for i in signs):
        return 1
    place = signs[0]
    if len(signs) > 1 or lead[place] in _OTHER_DASHES or any(char not in _TIGHT for char in lead[place + 1 :]):
        return 0
    if len(lead) < len(before) and (place == 0 or (lead[:place].isspace() and lead[place + 1 :].startswith(" "))):
        return 0
    return 1 if lead[place] == "+" else -1


def _trailing_symbols(text: str) -> str:
    """Return the end of `text` that holds neither letters nor digits."""
    end = len(text)
    while end and not text[end - 1].isalnum():
        end -= 1
    return text[end:]


def without_closers(after: str) -> str:
    """Drop the quotes, currency and emphasis that close around a number, so that what qualifies it comes first."""
    run = _CLOSERS.match(after)
    if not run or not run[0].strip():
        return after
    return " " * any(char.isspace() for char in run[0]) + after[run.end() :]


def is_money(before: str, after: str) -> bool:
    """Tell whether a sign of currency stands in front of a number; two `$` are LaTeX's."""
    return "$" not in after and _MONEY.search(before) is not None


def scale_after(after: str, money: bool) -> tuple[int, str]:
    """Return the factor named directly after a number, 1 if none, and the text that remains behind it."""
    total = largest = 0
    # "2 hundred million": each size is as large as the one in front of it, or larger.
    while (match := _SCALE_WORD.match(after)) and (power := _SCALES[match[1].lower()]) >= largest:
        total, largest, after = total + power, power, after[match.end() :]
    if not total and (match := _SCALE_LETTERS.match(after)):
        scales = _MONEY_SCALES if money else _SPACED_SCALES if match[1] else _LETTER_SCALES
        name = match[2] if len(match[2]) == 1 else match[2].lower()
        if power := scales.get(name, 0):
            return 10**power, after[match.end() :]
    return 10**total, after


def without_hour(before: str, number: str, after: str) -> str:
    """Drop the "PM" or "o'clock" behind a full hour; where it stays, it takes the commitment away."""
    match = _HOUR.match(after)
    if not match or not _HOURS.fullmatch(number) or _last_word(before).lower() in _BLOCKING_HOURS:
        return after
    return after[match.end() :]


def is_pair(number: str, text: str) -> bool:
    """Tell whether "2 and 1/2" may be two numbers in this text, as in "the roots are 2 and 1/2", and not 5/2."""
    return not _JOINING.isdisjoint(number) and _PAIR.search(text) is not None


def commits(before: str, after: str, decimal: bool) -> bool:
    """Tell whether the text around a number, its sign and scale apart, leaves it the one committed value."""
    if before and not _front_commits(_MINUS_WORD.sub("", before)):
        return False
    return not after or _back_commits(after, decimal)


def _front_commits(before: str) -> bool:
    """Tell whether nothing in front of a number denies, bounds, multiplies or joins it."""
    if _BLOCKING_END.search(before[-4:]) or _ODD.search(before):
        return False
    small = before.lower()
    if _BEFORE_SMALL.search(small):
        return False
    last = _last_word(before)
    if last in _BLOCKING_MONTHS or last.lower() in _BLOCKING_LAST_WORDS:
        return False
    near = [match.end() for match in _NEAR_SMALL.finditer(small)]
    # A number's word in a label of its own ("Three days: 42") does no harm.
    return not near or LABEL_END.search(small, near[-1]) is not None


def _last_word(text: str) -> str:
    """Return the ASCII letters at the end of a text, signs and spaces behind them apart."""
    text = text.rstrip(" .$€£*\"'“\t\u00a0")
    return text[len(text.rstrip(ascii_letters)) :]


def _back_commits(after: str, decimal: bool) -> bool:
    """Tell whether nothing behind a number does so, and nothing continues it."""
    if _AFTER_START.match(after) or _ODD.search(after) or (decimal and _DOTS.match(after)):
        return False
    small = after.lower()
    if _AFTER_START_SMALL.match(small) or _AFTER_SMALL.search(small):
        return False
    return not unicodedata.category(after[0]).startswith("M")
