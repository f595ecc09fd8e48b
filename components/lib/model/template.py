"""A model's chat template, rendered by its files alone as transformers renders it.

`Template` has what `prompts.render` asks of a tokenizer, so that a prompt can be seen where no transformers is.
tests/lib/model holds both equal. Source: transformers 5.23, utils/chat_template_utils.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Template as Compiled
from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from components.lib.model.tokens import named_tokens, tokenizer_config

# What rendering may raise: a template is a program, and expects messages of its own kind.
RENDER_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
FILE, MORE = "chat_template.jinja", "additional_chat_templates"


class Template:
    """The chat template of a model directory; `chat_template` is its text, "" if there is none."""

    def __init__(self, directory: Path) -> None:
        self.chat_template = template_text(directory)
        self.tokens = named_tokens(directory)

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, Any]], *, tokenize: bool = False, add_generation_prompt: bool = False,
        **arguments: Any,
    ) -> str:  # fmt: skip
        """The text of a conversation; `jinja2.TemplateError` if the template refuses it or is broken."""
        assert not tokenize
        given: dict[str, Any] = {"tools": None, "documents": None, **self.tokens, **arguments}
        return _compiled(self.chat_template).render(
            messages=list(messages), add_generation_prompt=add_generation_prompt, **given
        )


def template_text(directory: Path) -> str:
    """The chat template that is used without tools; `ValueError` if there are several and none is the default."""
    if (directory / FILE).is_file():
        return (directory / FILE).read_text(encoding="utf-8")
    found = tokenizer_config(directory).get("chat_template") or ""
    named = {one["name"]: one["template"] for one in found} if isinstance(found, list) else {}
    named |= {path.stem: path.read_text(encoding="utf-8") for path in (directory / MORE).glob("*.jinja")}
    if not named:
        return str(found)
    if "default" not in named:
        raise ValueError(
            f"{directory} has the chat templates {', '.join(sorted(named))} and no default; write one to {FILE}"
        )
    return str(named["default"])


class _Generation(Extension):
    """The block `generation`, which marks what an assistant wrote and changes no text."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """The block's own body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=16)
def _compiled(text: str) -> Compiled:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _json
    own: dict[str, Callable[..., Any]] = {"raise_exception": _refuse, "strftime_now": _now}
    environment.globals.update(own)
    return environment.from_string(text)


def _json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
