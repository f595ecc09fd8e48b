"""Turn the markup around a number (LaTeX, tags, stop tokens, arrows, units with digits) into plain text.

All patterns are linear: none repeats over characters that its own continuation also accepts without a bound.
What cannot be translated safely keeps a backslash or an angle bracket, which number_context.py refuses.
"""

import re

NOISE_MASK = "\x00"
"""Stands for each character of a remark in brackets: neither space nor letter, so numbers do not join across it."""

_AS_WIDE_AS_SEEN = dict.fromkeys(map(ord, "\u2000\u2001\u2002\u2003\u3000"), "  ")
_AS_WIDE_AS_SEEN |= dict.fromkeys(map(ord, "\u00a0\u1680\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"), " ")
_NO_WIDTH = "[\u200b-\u200f\u202a-\u202c\u2060-\u2064\u2066-\u2069\ufeff]"
_INVISIBLE = re.compile(f"(?<!{_NO_WIDTH})(?:(?<![0-9]){_NO_WIDTH}++|{_NO_WIDTH}++(?![0-9]))")
_TAGS = re.compile(
    r"<<[^<>]*>>"  # GSM8K's calculator annotations
    r"|<[|\uff5c][^<>]{0,60}[|\uff5c]>"  # stop tokens: <|im_end|>
    r"|</?(?!(?:del|strike|not|sup|sub|sqrt)\b)[A-Za-z_-]{1,40}\s?/?>"  # </s>, <eos>, <b>, <answer>
)
_IN_ANGLES = re.compile(r"<([^<>A-Za-z]{1,60})>")
_SPACE_ENTITY = re.compile(r"&(?:nbsp|ensp|emsp|thinsp);")
_OTHER_ENTITY = re.compile(r"&#?\w{1,20};")
_ARROW = re.compile(r"(?<![<=-])[-=]{1,3}>|[→⇒⟶⟹➔➜∴]")
_UNEQUAL = re.compile(r"!=|=/=|/=|=\\=")
_EQUAL = re.compile(r":=|={2,3}")

_FRACTION = re.compile(
    r"\\(?:[dtc]?frac|sfrac|nicefrac)\s*(?:\{\s*([-\u2212]?[0-9,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9,]+)\s*\}|([0-9]))"
)
_DEGREE = re.compile(r"\^\s?\{?\s?\\(?:circ|degree)\b\s?\}?")
_COMMAND = re.compile(r"\\([A-Za-z]+|.|$)", re.DOTALL)
_SYMBOLS = dict.fromkeys(("times", "cdot", "ast"), "\u00d7") | dict.fromkeys(("dots", "ldots", "cdots"), "…")
_SYMBOLS |= {"div": "÷", "degree": "°"}
_SPACES = {",": " ", "!": "", "\\": " ", "(": " ", ")": " ", "[": " ", "]": " ", ";": " ", ":": " ", "": " "}
_WRAPPERS = frozenset(
    "boxed fbox framebox text textbf textit textrm texttt textsf textnormal emph underline mathrm mathbf mathit mathsf "
    "mathtt mathnormal mathbb mbox hbox bf rm it left right big Big bigl bigr Bigl Bigr displaystyle textstyle large "
    "Large LARGE huge quad qquad space ensuremath n t r par newline therefore because so implies to rightarrow "
    "Rightarrow longrightarrow Longrightarrow checkmark euro texteuro pounds textdollar cent dollar color textcolor "
    "colorbox blacksquare square Box qed".split()
)

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_TEN_TO_SUPERSCRIPT = re.compile(r"(?<![0-9.,])10\s?(⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})")
_SCIENTIFIC = re.compile(
    r"(?<![\w.,])([0-9]+(?:\.[0-9]+)?)\s?[\u00d7xX*·⋅]\s?10\s?(?:\^|\*\*)\s{0,2}([-+\u2212]?)\s?([0-9]{1,4})(?![0-9]|\.[0-9]|\s?\^)"
)
_CURRENCY = re.compile(
    r"(?<![A-Za-z])(?:(?:USD|EUR|GBP|INR|JPY|CNY|RMB|AUD|CAD|NZD|CHF|SGD|HKD|Rs|Rp|RM)\.?\s?\$?|(?:US|AU|CA|NZ|HK|A|C|R|S)\$)"
    r"(?=\s?[-+\u2212\u2013]?\s?[$.]?\s?[0-9])"
)
_UNIT_POWER = re.compile(r"((?<![A-Za-z])(?:[A-Za-z]{2,20}|[ms])\.?)(?:\s?\^\s{0,2}[-\u2212]?[0-9]{1,2}(?![0-9])|[²³])")
_ATTACHED_AREA = re.compile(r"(?<=[0-9])((?:mm|cm|dm|m|km|in|ft|yd|mi))[23](?!\w)")
_IDENTIFIER = re.compile(r"(?<![\w.])([A-Za-z]{1,20})(?:_\s?)?[0-9]{1,2}[A-Za-z]{0,20}(?![\w./:,-]{0,20}[0-9])")

_EMPHASIS = re.compile(
    r"`+|(?<![0-9])_|_(?![0-9])"  # an underscore is a letter to a regex
    r"|(?<!\*)(?:(?<![\w)\s])\*++|(?<=\s)\*++(?=\S)|\*++(?![\w(\s])|(?<=\S)\*++(?=\s))"  # not in 6*7 and 6 * 7
)
_BRACKET = re.compile(r"[()\[\]]")


def plain_text(text: str) -> str:
    """Translate the markup of one line into plain characters; the values and the order of its numbers stay."""
    if not text.isascii():
        # Two digits with something invisible between them stay apart.
        text = _INVISIBLE.sub("", text.translate(_AS_WIDE_AS_SEEN))
    if "<" in text:
        text = _IN_ANGLES.sub(r" \1 ", _TAGS.sub(" ", text))
    if "&" in text:
        text = _OTHER_ENTITY.sub("¬", _SPACE_ENTITY.sub(" ", text))
    if "\\" in text or "{" in text or "}" in text:
        text = _without_latex(text)
    if "=" in text or not text.isascii() or ">" in text:
        text = _EQUAL.sub("=", _UNEQUAL.sub("≠", _ARROW.sub(" ", text)))
    return _without_unit_digits(_CURRENCY.sub("$", text))


def _without_latex(text: str) -> str:
    """Unwrap known commands and braces; an unknown command leaves a backslash."""
    text = _FRACTION.sub(lambda m: f" {m[1] or m[2]}/{m[3] or m[4]} ", text)
    text = _COMMAND.sub(_command, _DEGREE.sub("°", text))
    return re.sub(r"[{}]", " ", text.replace("{,}", ","))


def _command(match: re.Match[str]) -> str:
    """Translate one LaTeX command, escape or lone backslash."""
    name = match[1]
    if name.isalpha():
        return " " if name in _WRAPPERS else _SYMBOLS.get(name, "\\")
    return _SPACES.get(name, name)


def _name(match: re.Match[str]) -> str:
    """Keep the letters of a unit or a name; a function, since `sub` parses a template at each call."""
    return match[1]


def _without_unit_digits(text: str) -> str:
    """Take away digits that are part of a unit or a name (m^2, cm², CO2, x_1); `2 x 10^3` becomes `2e3`."""
    if "10" in text:
        text = _TEN_TO_SUPERSCRIPT.sub(lambda m: "10^" + m[1].translate(_SUPERSCRIPT), text)
        text = _SCIENTIFIC.sub(r"\1e\2\3", text)
    text = _IDENTIFIER.sub(_name, _ATTACHED_AREA.sub(_name, _UNIT_POWER.sub(_name, text)))
    return _EMPHASIS.sub(" ", text) if "_" in text or "*" in text or "`" in text else text


def split_remarks(text: str) -> tuple[str, list[str]]:
    r"""Mask each outermost bracketed remark in place, and list their contents; an open one runs to the end.

    >>> split_remarks("12 (1 foot) long")
    ('12 \x00\x00\x00\x00\x00\x00\x00\x00 long', ['1 foot'])
    """
    if "(" not in text and "[" not in text:
        return text, []
    masked, remarks, depth, start, done = [], [], 0, 0, 0
    for match in _BRACKET.finditer(text):
        if match[0] in "([":
            start = start if depth else match.start()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                masked += [text[done:start], NOISE_MASK * (match.end() - start)]
                remarks.append(text[start + 1 : match.start()])
                done = match.end()
    if depth:
        masked += [text[done:start], NOISE_MASK * (len(text) - start)]
        remarks.append(text[start + 1 :])
        done = len(text)
    return "".join([*masked, text[done:]]), remarks
