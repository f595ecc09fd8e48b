r"""End tokens and turn markers in the texts of rows: of the run's own model, and those that are known of others.

A tokenizer reads such a text as the token itself: in a question it ends the turn, in a trace it teaches to end there or
to go on with a turn of somebody else. `### Instruction:` and the like are no markers: no tokenizer has them as a token,
and they are sound headings of Markdown.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from components.lib.data.adapters import has_tag
from components.lib.data.adapters.traces import ANSWERED
from components.lib.model.files import model_directory
from components.lib.model.tokens import special_tokens

_KNOWN = (
    # <|im_end|>, <|eot_id|>, DeepSeek's with wide bars; not OpenThoughts' tags, nor |x| between two signs
    r"<[|｜](?!(?:begin|end)_of_(?:thought|solution)\|)(?=[\w/▁.:-]{0,60}[^\W\d_]{2})[\w/▁.:-]{2,60}[|｜]>",
    r"</?s>|<(?:bos|eos|pad)>|<(?:start|end)_of_turn>",
    r"\[/?(?:INST|SYSTEM_PROMPT)\]|<</?SYS>>|\[\|(?:system|user|assistant|endofturn)\|\]",
    r"\n[^\S\n]*\n[^\S\n]*(?:Human|Assistant):",
)
_STRUCK = r"(?!\A)<s>[^\n<>\[\]]{1,200}</s>"  # struck out, as HTML writes it; the token <s> begins its text
_LEAST = 3  # characters of a token that ordinary text may not hold by chance
_LAST = frozenset({
    "messages", "conversations", "conversation", "content", "value", "text", "completion", "generations", "extra_info",
    "rationale", *ANSWERED,
})  # fmt: skip
"""Fields whose end is that of the last turn, or of a worked solution, in whatever schema."""


class Markers:
    """What is looked for: the known markers, and `own`, the special tokens of a model's tokenizer, but think tags."""

    def __init__(self, own: Collection[str] = ()) -> None:
        own = {token for token in own if len(token.strip()) >= _LEAST and not has_tag(token)}
        listed = [re.escape(token) for token in sorted(own, key=lambda token: (-len(token), token))]
        # A tokenizer that has the token reads neither quotes nor HTML.
        known, others = f"(?:{'|'.join(_KNOWN)})", "".join(f"(?!{token})" for token in listed)
        plain = [rf"([`'\"])(?={known}\1){others}{known}\1", *([] if {"<s>", "</s>"} & own else [_STRUCK])]
        first = re.escape("".join(sorted({*"<[\n`'\"", *(token[0] for token in own)})))  # for the speed
        marker = f"(?P<marker>{'|'.join([*listed, *_KNOWN])})"
        self._pattern = re.compile(f"(?=[{first}])(?:{'|'.join([*plain, marker])})")
        self._ends = {">", "]", ":", *(token.rstrip()[-1] for token in own)}

    @staticmethod
    def of(model: str, revision: str) -> "Markers":
        """Those of a model by its tokenizer's files, the known ones alone if `model` is empty."""
        return Markers(special_tokens(model_directory(model, revision, tokenizer_only=True)) if model else ())

    def first(self, text: str) -> str:
        """The first marker in a text, "" if there is none."""
        return next((found["marker"].strip() for found in self._pattern.finditer(text) if found["marker"]), "")

    def cut(self, text: str) -> tuple[str, str]:
        """The text without the markers, and the white space around them, at its very end; and the first of those."""
        end, first = len(text.rstrip()), ""
        if text[end - 1 : end] in self._ends:
            for found in reversed(list(self._pattern.finditer(text, 0, end))):
                if found.end() != end or not found["marker"]:
                    break
                end, first = len(text[: found.start()].rstrip()), found["marker"].strip()
        return (text[:end], first) if first else (text, "")

    def without_end(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """The row with its last turn or solution cut as `cut` does, and a marker that was; "" if none was."""
        cuts: list[str] = []

        def ended(value: Any) -> Any:
            if isinstance(value, str):
                listed = _listed(value)
                if listed is not None:
                    return ended(listed)
                text, marker = self.cut(value)
                cuts.extend([marker] if marker else [])
                return text
            if isinstance(value, Mapping):
                return {name: ended(one) if name in _LAST else one for name, one in value.items()}
            if isinstance(value, list) and value and isinstance(value[-1], Mapping):
                return [*value[:-1], ended(value[-1])]  # of turns, or of a turn's parts
            return [ended(one) for one in value] if isinstance(value, list) else value  # generations

        try:
            cut = ended(row)
        except RecursionError:  # so deep is no conversation
            return dict(row), ""
        if not _LAST & set(row) and "reasoning" in row:  # which then holds the answer, too
            cut["reasoning"] = ended(row["reasoning"])
        return (cut, cuts[0]) if cuts else (dict(row), "")


def _listed(text: str) -> list[Any] | None:
    """The list that is written as JSON text, as CSV needs it; None if it is none."""
    if text.lstrip()[:2] not in ("[{", '["'):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


KNOWN = Markers()
