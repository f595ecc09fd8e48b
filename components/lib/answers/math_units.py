r"""Units behind a value of the kind `math`: dropped where one side names none, and equal under any of their names."""

import re

_NAMES = """
cm centimeter centimeters centimetre centimetres|m meter meters metre metres
km kilometer kilometers kilometre kilometres|mm millimeter millimeters|in inch inches|ft foot feet|yd yard yards
mi mile miles|s sec second seconds|min minute minutes|h hr hour hours|day days|week weeks|month months|year years
g gram grams|kg kilogram kilograms|lb lbs pound pounds
l liter liters litre litres|ml milliliter milliliters|deg degree degrees ^\\circ|rad radian radians|cent cents
dollar dollars usd \\$|euro euros|% \\% percent|unit units|oz ounce ounces|gallon gallons|ton tons|hz hertz
n newton newtons|j joule joules|w watt watts|people person persons|student students|way ways|apple apples|point points
integer integers|triangle triangles|digit digits|page pages|step steps|coin coins|ticket tickets|number numbers|egg eggs
solution solutions|book books|game games|car cars|piece pieces|item items|ball balls|box boxes|card cards|marble marbles
"""
_UNITS = {
    name: names.split()[0]
    for names in re.split(r"[|\n]", _NAMES.replace("\\\\", "\\"))
    if names
    for name in names.split()
}
_WORD = r"(?:[A-Za-z]{1,14}|\\?%|\^\\circ)"
_SQUARE = re.compile(r"\b(?:sq(?:uare)?\.?)\s+([A-Za-z]+)|\b(?:cu(?:bic)?\.?)\s+([A-Za-z]+)")
_PART = re.compile(rf"\s*({_WORD})\.?(?:\s*\^\s*\{{?\s*(-?\d)\s*\}}?)?\s*")
_TAIL = re.compile(
    r"(?P<value>.*?[\d)}\]A-Za-z])\s*(?P<unit>(?:\\text\s*\{[^{}]*\}(?:\s*\^\s*\{?\d\}?)?|\^\\circ(?:\s*[A-Z])?|\\?%"
    r"|(?<=[\d\s})])[A-Za-z][A-Za-z./ ]{0,40}(?:\s*\^\s*\{?\d\}?)?)(?:\s*\^\\circ)?)\s*\.?",
    re.DOTALL,
)
_COMMAND_END = re.compile(r"\\[A-Za-z]+$")


def split_unit(text: str) -> tuple[str, str]:
    r"""Return a value and its unit in one name; the unit is empty where there is none that is known.

    >>> split_unit("864 \\text{ inches}^2")
    ('864', 'in^2')
    """
    if money := re.match(r"(-?)\s*\\\$\s*", text):
        return money[1] + text[money.end() :], "dollar"
    match = _TAIL.fullmatch(text)
    if not match or _COMMAND_END.search(text[: match.end("value")]):
        return text, ""
    unit = named(match["unit"])
    return (match["value"].strip(), unit) if unit else (text, "")


def named(unit: str) -> str:
    """Return a unit under one name, empty where a part of it is unknown."""
    quoted = "\\text" in unit
    unit = (
        re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", unit)
        .replace(" per ", "/")
        .replace("mph", "mi/h")
        .replace("kph", "km/h")
        .strip()
    )
    unit = _SQUARE.sub(lambda m: f"{m[1]}^2" if m[1] else f"{m[2]}^3", unit)
    if not unit:
        return ""
    names = []
    for part in unit.split("/"):
        place, product = 0, []
        while place < len(part):
            match = _PART.match(part, place)
            if not match:
                return ""
            word = match[1] if match[1] in _UNITS else match[1].lower()
            # One letter behind a number is a variable, unless \text says that it is a unit.
            if word not in _UNITS or (len(word) == 1 and not quoted and word.isalpha() and "/" not in unit):
                return ""
            product.append(_UNITS[word] + (f"^{match[2]}" if match[2] else ""))
            place = match.end()
        if not product or (len(product) > 1 and len(unit.split("/")) == 1 and product[1] != "deg"):
            return ""
        names.append("*".join(product))
    return "/".join(names)
