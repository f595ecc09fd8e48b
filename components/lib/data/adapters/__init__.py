"""Adapters: how a row of each schema is read. A new one is a function and one line in ADAPTERS and in `detect`.

An adapter takes the row, a dict, and returns a `Draft`, or raises `Refused`: its docstring has the schema. Texts come
out in normal form. A row that contradicts itself is refused, unless its gold is beyond doubt.
"""

from collections.abc import Callable
from typing import Any

from components.lib.data.adapters.conversations import (
    chat,
    openthoughts,
    prompt_completion,
    reasoning_content,
    sharegpt,
)
from components.lib.data.adapters.draft import Draft, visible
from components.lib.data.adapters.problems import alpaca, answered, aqua, dapo, gsm8k, mathematics, metamath, problem
from components.lib.data.adapters.thinking import has_tag, split_thinking
from components.lib.data.adapters.traces import openr1, r1, thinking_solution, trace_rows

__all__ = ["ADAPTERS", "Draft", "chat", "has_tag", "split_thinking", "visible"]

ADAPTERS: dict[str, Callable[[dict[str, Any]], Draft]] = {
    "chat": chat,
    "thinking-solution": thinking_solution,
    "gsm8k": gsm8k,
    "prompt-completion": prompt_completion,
    "problem": problem,
    "trace": trace_rows,
    "sharegpt": sharegpt,
    "reasoning-content": reasoning_content,
    "openthoughts": openthoughts,
    "math": mathematics,
    "openr1": openr1,
    "metamath": metamath,
    "deepscaler": answered,
    "dapo": dapo,
    "aqua": aqua,
    "alpaca": alpaca,
    "r1": r1,
}
