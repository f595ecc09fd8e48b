r"""When two answers of the kind `math` are equal: their structure by the rules here, the parts by math-verify.

A text becomes a list, set, tuple, interval, union, matrix, relation or a single expression. What is none of these, as
a hedge or a sentence is, equals only the same text. `math_process` runs this where it can be ended.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.lib.answers.math_text import in_base, notation, number, spelled, squeezed
from components.lib.answers.math_units import split_unit
from components.lib.answers.text_answer import normalized

MOST_PARTS = 40
LONGEST_PRODUCT = 3
"""Letters that may stand together and be variables; more of them are a word."""
DEEPEST = 12
MOST_STEPS = 6
"""Members of a chain of equations; a longer one is stuffed."""
Same = Callable[[str, str, str], bool]
"""Whether two expressions are mathematically the same: exactly, or up to a `positive` or `nonzero` factor."""

_RELATION = re.compile(r"=|<|>|\\(?:le|ge|ne|in|equiv|approx|sim|simeq)(?![A-Za-z])")
_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
_BRACKETED = re.compile(r"[(\[]\s*(\\begin\{(?:array|matrix)\}.*\\end\{(?:array|matrix)\})\s*[)\]]", re.DOTALL)
_UNION = re.compile(r"\\cup(?![A-Za-z])")
_OPEN, _CLOSE = ("(", "[", "\\{", "\\langle", "{", "\\begin"), (")", "]", "\\}", "\\rangle", "}", "\\end")
_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|.", re.DOTALL)
_OR = re.compile(r"\\text\s*\{\s*(?:and|or)\s*\}|(?<![\\A-Za-z])(?:and|or)(?![A-Za-z])")
_AND = re.compile(r"(?<![A-Za-z])and(?![A-Za-z])")
_ORDER = re.compile(r"<|>|\\(?:le|ge|ne|in)(?![A-Za-z])")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_NAME = re.compile(
    r"\\?[A-Za-z]+'?(?:_\{?\w+\}?)?(?:\s*\(\s*\\?\w\s*(?:,\s*\w\s*)*\))?|\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])+\s*\)"
)
_FUNCTIONS = frozenset(
    "frac sqrt pi infty sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp cdot times theta "
    "alpha beta gamma delta lambda mu omega phi pm mp le ge binom emptyset mathbb imath circ overline div".split()
)
_LETTERS = re.compile(r"\\?[A-Za-z]+")
_WILD = re.compile(
    r"\d{60}|\^\s*\{?\s*\(?-?\d{4,}|\d\s*\}?\)?\s*\^\s*\{?\s*\(?\d+\s*\)?\s*\^|\d{3,}\s*!|!\s*!|\)\s*!|\^[^^]*\^[^^]*\^|[\d})]\s*[!eE]\s*\d{3}|\}\s*!|binom\s*\{?\d{4}|(?:\|[^|]*){5}|\d\s+\d|\.\.|[:;?#@&~\"]"
)


@dataclass(frozen=True, slots=True)
class Node:
    """A structure: `kind` with its parts, or an expression with its unit."""

    kind: str
    parts: tuple["Node", ...] = ()
    text: str = ""
    unit: str = ""


def equal(gold: str, answer: str, same: Same) -> bool:
    """Tell whether `answer` is `gold`; `same` is asked for single expressions and may take its time."""
    gold, answer = notation(gold), notation(answer)
    if squeezed(gold) == squeezed(answer):
        return True
    if (text := _as_text(gold)) is not None:
        said = _as_text(answer)
        if text == (normalized(answer).strip("()") if said is None else said):
            return True
        if "\\text" in gold or len(text) > LONGEST_PRODUCT or set("eiou") & set(text):
            return False
    if not readable(answer, gold):
        return False
    try:
        return _equal(_read(gold), _read(answer), same)
    except Unreadable:
        return False


class Unreadable(ValueError):
    """A text has no structure that is known here."""


def readable(answer: str, gold: str) -> bool:
    """Tell whether an answer holds mathematics alone, and no more of it than can be compared."""
    if any(char.isnumeric() and not char.isascii() for char in answer):
        return False
    depth = deepest = 0
    for char in answer:
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(char, 0)
        deepest = max(deepest, depth)
    too_long = len(re.findall(r"[-+*/,^]|\\[a-z]", answer)) > MOST_PARTS + len(gold)
    return not too_long and deepest <= DEEPEST


def _as_text(text: str) -> str | None:
    r"""Return the words of a gold that is nothing else, such as \text{(B)} or \text{even}."""
    inner = _TEXT.sub(r"\1", text).strip()
    plain = inner.strip("() ")
    if re.fullmatch(r"[A-Za-z]{2,}(?:[ '-][A-Za-z]+)*", plain) and not _NAME_OF_FUNCTION.fullmatch(plain):
        return normalized(plain)
    return normalized(plain) if inner != text and re.fullmatch(r"[A-Za-z]", plain) else None


_NAME_OF_FUNCTION = re.compile("|".join(sorted(_FUNCTIONS)))


def _read(text: str) -> Node:
    """Return the structure of a notation; Unreadable if words or signs are in it that belong to none."""
    text = text.strip()
    if _AND.search(text) and _ORDER.search(text):
        raise Unreadable(text)
    joined = _split(_OR.sub(" , ", text), ",")
    joined = [part for part in joined if part.strip()] if _OR.search(text) else joined
    if len(joined) > 1 and not number_like(text):
        parts = tuple(_read(part) for part in _spread(joined))
        if _OR.search(text) and all(part.kind == "named" and part.text == parts[0].text for part in parts):
            return Node("named", (Node("union", tuple(part.parts[0] for part in parts)),), parts[0].text)
        return Node("list", parts)
    if "\\pm" in text or "\\mp" in text:
        spread = _spread([text])
        if len(spread) > 1:
            return Node("list", tuple(_read(part) for part in spread))
    return _read_one(text)


def number_like(text: str) -> bool:
    """Tell whether the commas of a text are those of thousands."""
    return number(text) is not None or number(split_unit(text)[0]) is not None


def _spread(parts: Sequence[str]) -> list[str]:
    """Write each part that is no bracket twice where it has a plus-minus: once with each sign."""
    found: list[str] = []
    for part in parts:
        if re.search(r"\\[pm][pm](?![A-Za-z])", part) and not part.strip().startswith(("(", "[", "\\{", "\\begin")):
            for plus, minus in (("+", "-"), ("-", "+")):
                found.append(re.sub(r"\\mp(?![A-Za-z])", minus, re.sub(r"\\pm(?![A-Za-z])", plus, part)).strip(" +"))
        else:
            found.append(part)
    return found


def _read_one(text: str) -> Node:
    if matrix := _MATRIX.fullmatch(_BRACKETED.sub(r"\1", text)):
        rows = [row for row in re.split(r"\\\\", matrix[2]) if row.strip()]
        return Node("matrix", tuple(Node("row", tuple(_read_one(c.strip()) for c in row.split("&"))) for row in rows))
    relations = _split(text, _RELATION)
    if len(relations) > 1:
        return _read_relation(text, [part.strip() for part in relations])
    if text.replace(" ", "") in ("\\mathbb{R}", "\\mathbbR"):
        return _read_one("(-\\infty,\\infty)")
    union = _split(text, _UNION)
    if len(union) > 1:
        return Node("union", tuple(_read_one(part.strip()) for part in union))
    if text.startswith("\\{") and text.endswith("\\}") and _whole(text, "\\{", "\\}"):
        return Node("set", tuple(_read(part) for part in _spread(_split(text[2:-2], ","))))
    if text.startswith("{") and text.endswith("}") and _whole(text, "{", "}") and len(_split(text[1:-1], ",")) > 1:
        return Node("set", tuple(_read(part) for part in _split(text[1:-1], ",")))
    if text and text[0] in "([" and text[-1] in ")]" and _whole(text, text[0], text[-1]):
        inner = _split(text[1:-1], ",")
        if len(inner) > 1:
            kind = "pair" if text[0] == "(" and text[-1] == ")" else "interval"
            if kind == "pair" and len(inner) == 2 and any("\\infty" in part for part in inner):
                kind = "interval"
            return Node(kind, tuple(_read(part) for part in inner), text[0] + text[-1])
    return _expression(text)


def _whole(text: str, opening: str, closing: str) -> bool:
    """Tell whether the first bracket of a text closes with its last."""
    depth = 0
    tokens = _TOKEN.findall(text)
    for place, token in enumerate(tokens):
        depth += (token in _OPEN) - (token in _CLOSE)
        if not depth:
            return place == len(tokens) - 1
    return False


def _split(text: str, separator: str | re.Pattern[str]) -> list[str]:
    """Split a text at a separator that stands in no bracket."""
    parts, depth, current = [], 0, ""
    for token in _TOKEN.findall(text):
        depth += (token in _OPEN) - (token in _CLOSE)
        found = token == separator if isinstance(separator, str) else separator.fullmatch(token)
        if found and not depth:
            parts.append(current)
            current = ""
        else:
            current += token
    return [*parts, current]


def _read_relation(text: str, parts: list[str]) -> Node:
    """Read a relation: a name's value, an interval written as an inequality, or an equation."""
    signs = [token for token in _top_signs(text)]
    if set(signs) <= {"="}:
        named, values = (parts[0], parts[1:]) if _NAME.fullmatch(parts[0]) else ("", parts)
        if named or len(parts) > 2 or not _LETTERS.search(re.sub(r"\\[A-Za-z]+", "", text)):
            nodes = tuple(_read(part) for part in values)
            return Node("value", nodes, named.replace(" ", ""))
        return Node("equation", tuple(_expression(part) for part in parts))
    if signs == ["\\in"] and _NAME.fullmatch(parts[0]):
        return Node("named", (_read(parts[1]),), parts[0].replace(" ", ""))
    if set(signs) <= {"<", "\\le"}:
        return _ordered(parts, signs)
    if set(signs) <= {">", "\\ge"}:
        return _ordered(parts[::-1], ["<" if sign == ">" else "\\le" for sign in signs[::-1]])
    if signs == ["\\ne"]:
        return Node("unequal", tuple(_expression(part) for part in parts))
    raise Unreadable(text)


def _top_signs(text: str) -> list[str]:
    depth, found = 0, []
    for token in _TOKEN.findall(text):
        depth += (token in _OPEN) - (token in _CLOSE)
        if not depth and _RELATION.fullmatch(token):
            found.append(token)
    return found


def _ordered(parts: list[str], signs: list[str]) -> Node:
    """Read a chain of `<` as the interval of its one name where it is that, else as an inequality."""
    bound = {"<": "()", "\\le": "[]"}
    if len(parts) == 3 and _NAME.fullmatch(parts[1]):
        ends, name, brackets = (parts[0], parts[2]), parts[1], bound[signs[0]][0] + bound[signs[1]][1]
    elif len(parts) == 2 and _NAME.fullmatch(parts[0]):
        ends, name, brackets = ("-\\infty", parts[1]), parts[0], "(" + bound[signs[0]][1]
    elif len(parts) == 2 and _NAME.fullmatch(parts[1]):
        ends, name, brackets = (parts[0], "\\infty"), parts[1], bound[signs[0]][0] + ")"
    else:
        return Node("inequality", tuple(_expression(part) for part in parts), " ".join(signs))
    interval = Node("interval", tuple(_expression(end) for end in ends), brackets)
    return Node("named", (interval,), name.replace(" ", ""))


def _expression(text: str) -> Node:
    """Read a single expression with its unit; Unreadable if there is a word or a sign in it that is no mathematics."""
    text = text.strip()
    value, unit = split_unit(text)
    if (based := in_base(value)) is not None:
        return Node("expression", (), f"\\frac{{{based.numerator}}}{{{based.denominator}}}", unit)
    value = spelled(value)
    if not value or _WILD.search(value):
        raise Unreadable(text)
    for word in _LETTERS.findall(value):
        if (word.startswith("\\") and word[1:] not in _FUNCTIONS) or (
            not word.startswith("\\") and len(word) > LONGEST_PRODUCT
        ):
            raise Unreadable(text)
    if value.count("{") != value.count("}") or value.count("(") != value.count(")"):
        raise Unreadable(text)
    return Node("expression", (), value, unit)


def _equal(gold: Node, answer: Node, same: Same) -> bool:
    """Compare two structures."""
    if {gold.kind, answer.kind} == {"value", "equation"}:
        gold, answer = _as_equation(gold), _as_equation(answer)
    if answer.kind == "value":
        return _equal_value(gold, answer, same)
    if gold.kind in ("value", "named") and gold.kind != answer.kind and len(gold.parts) == 1:
        return gold.text != "" and _equal(gold.parts[0], answer, same)
    if answer.kind == "named" and gold.kind != "named":
        return _equal(gold, answer.parts[0], same)
    if {gold.kind, answer.kind} == {"list", "set"} or gold.kind == answer.kind in ("list", "set", "union"):
        return _equal_unordered(gold.parts, answer.parts, same)
    if {gold.kind, answer.kind} in ({"pair", "interval"}, {"pair"}, {"interval"}):
        return gold.text == answer.text and _equal_each(gold.parts, answer.parts, same)
    if gold.kind != answer.kind or (gold.text != answer.text and gold.kind != "expression"):
        return False
    if gold.kind == "expression":
        return _equal_expression(gold, answer, same)
    if gold.kind in ("equation", "unequal", "inequality"):
        return _equal_relation(gold, answer, same)
    return _equal_each(gold.parts, answer.parts, same)


def _as_equation(node: Node) -> Node:
    """Write the value of a name as an equation, where it depends on other names: a line's y = 2x + 3."""
    if node.kind == "value" and len(node.text) == 1 and len(node.parts) == 1 and _variables(node.parts[0].text):
        return Node("equation", (Node("expression", (), node.text), node.parts[0]))
    return node


def _equal_value(gold: Node, answer: Node, same: Same) -> bool:
    """Compare a value in a chain of equations, all of whose members must be the same."""
    if gold.kind == "value" and gold.text and answer.text and gold.text != answer.text:
        return False
    expected = gold.parts[-1] if gold.kind == "value" else gold
    if gold.kind in ("named", "equation") or len(answer.parts) > MOST_STEPS:
        return False
    last = answer.parts[-1]
    # The unit may stand behind the last member only.
    steps = [Node(part.kind, part.parts, part.text, part.unit or last.unit) for part in answer.parts[:-1]]
    return _equal(expected, last, same) and all(_equal(last, step, same) for step in steps)


def _equal_each(gold: Sequence[Node], answer: Sequence[Node], same: Same) -> bool:
    return len(gold) == len(answer) and all(_equal(one, other, same) for one, other in zip(gold, answer, strict=True))


def _equal_unordered(gold: Sequence[Node], answer: Sequence[Node], same: Same) -> bool:
    """Compare the members of two lists, each with one of the other."""
    left = list(answer)
    if len(gold) != len(left):
        return False
    for one in gold:
        found = next((other for other in left if _equal(one, other, same)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _equal_expression(gold: Node, answer: Node, same: Same) -> bool:
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    one, other = number(gold.text), number(answer.text)
    if one is not None and other is not None:
        return one == other
    if squeezed(gold.text) == squeezed(answer.text):
        return True
    return _variables(gold.text) == _variables(answer.text) and same(gold.text, answer.text, "")


def _variables(text: str) -> set[str]:
    """Return the letters of a text that belong to no command; "not 0" is no product of theirs with 0."""
    return {letter for run in _LETTERS.findall(text) if not run.startswith("\\") for letter in run} - {"e", "i"}


def _equal_relation(gold: Node, answer: Node, same: Same) -> bool:
    """Compare two relations: the difference of the sides is the same but for a factor, positive if they are ordered."""
    if len(gold.parts) != 2 or len(answer.parts) != 2:
        return _equal_each(gold.parts, answer.parts, same)
    one, other = (f"({node.parts[0].text})-({node.parts[1].text})" for node in (gold, answer))
    if _variables(one) != _variables(other):
        return False
    return same(one, other, "positive" if gold.kind == "inequality" else "nonzero")
