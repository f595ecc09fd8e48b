"""Adapters of conversations: messages of a system (or none), a user and an assistant that thinks first."""

from collections.abc import Mapping
from typing import Any

from components.lib.data.adapters import draft
from components.lib.data.adapters.draft import Draft, Row, visible
from components.lib.data.adapters.stated import trace
from components.lib.data.adapters.thinking import has_tag, joined_thinking, split_thinking
from components.lib.data.normal import clean
from components.lib.data.reasons import Refused

_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "model": "assistant", "bot": "assistant", "system": "system", "developer": "system",
}  # fmt: skip
_REASONING = ("reasoning_content", "reasoning")


def chat(row: Row) -> Draft:
    """{"messages": [{"role", "content"}, ...]}: system (optional), user, assistant with <thought> or <think>.

    `messages` may be JSON text, as CSV needs it. A field `gold` of the row, or a short `answer` or `ground_truth`, is
    its gold. Where the content does not think, what `reasoning_content` takes is read.
    """
    messages = _messages(row, "messages")
    last = messages[-1] if messages and isinstance(messages[-1], dict) else {}
    if any(last.get(name) for name in _REASONING) and not has_tag(str(last.get("content"))):
        return reasoning_content(row)
    question, assistant = _turns(messages, "messages")
    reasoning, answer = split_thinking(assistant)
    if not visible(reasoning):
        raise Refused("empty-think")
    if not visible(answer):
        raise Refused("no-answer")
    return Draft(clean(question), clean(reasoning), clean(answer), draft.gold_beside(row))


def prompt_completion(row: Row) -> Draft:
    """{"prompt", "completion"}: two texts, or two lists of messages; the completion holds the think block.

    What `chat` takes for a gold is one here, too.
    """
    prompt, completion = draft.field(row, "prompt", str | list), draft.field(row, "completion", str | list)
    if isinstance(prompt, str) and isinstance(completion, str):
        turns = [{"role": "user", "content": draft.text(row, "prompt")}]
        turns += [{"role": "assistant", "content": draft.text(row, "completion")}]
    elif isinstance(prompt, list) and isinstance(completion, list):
        turns = [*prompt, *completion]
    else:
        raise Refused("wrong-type", field="completion", why="prompt and completion are not of one kind")
    return chat({**row, "messages": turns})


def reasoning_content(row: Row) -> Draft:
    """{"messages": [..., {"role": "assistant", "reasoning_content", "content"}]}, as APIs give it.

    The reasoning may be called `reasoning` too, or stand in the content's think block; the content may be a list of
    parts {"type": "text", "text"}. A field `gold` of the row, or a short `answer` or `ground_truth`, is its gold.
    """
    return _conversation(row, _messages(row, "messages"), "messages")


def sharegpt(row: Row) -> Draft:
    """{"conversations": [{"from": "human", "value"}, {"from": "gpt", "value"}]}, the last with a think block.

    A turn of `system` may stand in front; `user` and `assistant`, and `role` and `content`, are read too, as is a
    list as JSON text. A field `gold` of the row, or a short `answer` or `ground_truth`, is its gold.
    """
    name = draft.first(row, "conversations", "conversation")
    return _conversation(row, _messages(row, name), name)


def openthoughts(row: Row) -> Draft:
    """ShareGPT's or `messages`' turns, whose assistant writes OpenThoughts' tags.

    <|begin_of_thought|> reasoning <|end_of_thought|> <|begin_of_solution|> answer <|end_of_solution|>
    """
    return reasoning_content(row) if row.get("messages") is not None else sharegpt(row)


def question_of(row: Row, name: str) -> str:
    """The question of a field: a text, also alone in a list, or messages of a system (or none) and a user, or JSON."""
    value = row.get(name)
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]
    row = {name: value}
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        value = _messages(row, name)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value) or not value:
        return draft.text(row, name)
    assistant = {"role": "assistant", "content": "."}
    return clean(_turns([*map(_as_message, value), assistant], name)[0])


def _conversation(row: Row, messages: list[Any], name: str) -> Draft:
    turns = list(map(_as_message, messages))
    last = turns[-1] if turns and isinstance(turns[-1], dict) else {}
    given = {key: draft.text_or_none(last, key) for key in _REASONING}
    reasoning = next(filter(None, given.values()), "")
    if len({" ".join(text.split()) for text in given.values() if text}) > 1:
        raise Refused("several-thinks", blocks=2)
    question, assistant = _turns(turns, name)
    split = joined_thinking(reasoning, assistant) if reasoning else split_thinking(assistant)
    return trace(question, *split, draft.gold_beside(row))


def _messages(row: Row, name: str) -> list[Any]:
    return draft.structure(row, name, list)


def _as_message(turn: Any) -> Any:
    """A turn with `role` and `content`, whatever it calls them; what is none stays as it is."""
    if not isinstance(turn, dict):
        return turn
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    return turn | {"role": _ROLES.get(role.lower(), role) if isinstance(role, str) else role, "content": content}


def _turns(messages: list[Mapping[str, Any]], name: str) -> tuple[str, str]:
    """(user, assistant) of a conversation of exactly one question."""
    if not messages:
        raise Refused("wrong-roles", roles=[])
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Refused("wrong-type", field=f"{name}[{number}]")
        for key in ("role", "content"):
            try:
                draft.field(message, key, str)
            except Refused as refused:
                raise Refused(refused.reason, field=f"{name}[{number}].{key}") from None
    roles = [message["role"] for message in messages]
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        raise Refused("wrong-roles", roles=roles)
    for number, message in enumerate(messages):
        # an empty system turn says nothing, and the normal form replaces it anyway
        if message["role"] != "system" and not visible(message["content"]):
            raise Refused("empty-field", field=f"{name}[{number}].content")
    return messages[-2]["content"], messages[-1]["content"]
