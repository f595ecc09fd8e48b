"""Text of data, models and users, written so that Markdown and Slack take none of it for markup.

HTML is escaped by its templates, those of Markdown by `markdown`, see page.py. What is markup on purpose is `Markup`.
"""

import re
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

# What Markdown sees anywhere in a line: addresses become links by themselves.
_SPECIAL = re.compile(r"[\\`*_\[\]~|$@]|(?<=:)//|(?<=www)\.", re.IGNORECASE)
# What it sees at the start of a line only: a heading, a list item, a rule; and a numbered item.
_START = re.compile(r"^(#{1,6}|[-+]|[-=]+)(?=\s|$)")
_NUMBER = re.compile(r"^\d+(?=[.)](\s|$))")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ADDRESS = "%/:?#@!$&'()*+,;=~"  # what an address keeps besides letters, digits and -._


def markdown(value: Any) -> Markup:
    r"""A value as one line of Markdown that shows its text, also in a table's cell; Markup stays as it is.

    >>> print(markdown("<img> *a*|b\n[x](https://y)"))
    &lt;img&gt; \*a\*\|b \[x\](https:\//y)
    """
    if isinstance(value, Markup):
        return value
    text = _SPECIAL.sub(r"\\\g<0>", _one_line(value))
    text = _NUMBER.sub(r"\g<0>\\", _START.sub(r"\\\g<0>", text))
    return Markup(_entities(text))


def code(value: Any) -> Markup:
    """A value in backticks, more than it holds itself; where it stands in a table, its bars are the table's matter.

    >>> print(code("a"), code("a`b"))
    `a` `` a`b ``
    """
    text = _one_line(value)
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * (text == "" or len(ticks) > 1)
    return Markup(f"{ticks}{space}{text}{space}{ticks}")


def slack(text: str) -> str:
    """What Slack wants escaped, and nothing else: no link and no mention is left."""
    return _entities(text)


def slack_code(text: str) -> str:
    """Text that stands between Slack's backticks, without any of its own."""
    return _entities(text.replace("`", "'"))


def address(link: str) -> str:
    """A web address of which nothing can end a link or a header."""
    return quote(link, safe=_ADDRESS)


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())


def _entities(text: str) -> str:
    return re.sub("[&<>]", lambda found: _ENTITIES[found[0]], text)
