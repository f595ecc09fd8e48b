"""Whether prompts and what is written after them have room in a model's context, before the model is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.lib.files import read_json
from components.lib.model.config import context_of
from components.lib.model.tokens import Counter

# What standardize's summary calls the lengths of what SFT teaches to write, and of the worked answers of problems.
REPLIES, SOLUTIONS = "replies", "solutions"
TAUGHT = {REPLIES: "replies that SFT teaches", SOLUTIONS: "problems' gold solutions"}


def check_prompts(directory: Path, asked: Mapping[str, str], new_tokens: int, setting: str) -> None:
    """Refuse prompts that leave no room for `new_tokens` in the context of the model in `directory`.

    `asked` says of each rendered prompt what it is, as "zero-shot problem 17"; `setting` is the name of what
    `new_tokens` comes from. `ValueError` names the longest prompt and what to change: the setting, unless the prompts
    that are too long are all few-shot ones.
    """
    limit = context_of(read_json(directory / "config.json"))
    if limit is None or not asked:
        return
    counts = dict(zip(asked, Counter(directory).count(list(asked)), strict=True))
    over = {prompt: count for prompt, count in counts.items() if count + new_tokens > limit}
    if not over:
        return
    longest = max(over, key=over.__getitem__)
    if all("8-shot" in asked[prompt] for prompt in over):
        advice = (
            f"leave the few-shot protocols out of evaluate_protocols and evaluate_gate_protocols, or lower {setting}"
        )
    elif limit > over[longest]:
        advice = f"set {setting} to {limit - over[longest]} at most, or leave that problem out"
    else:
        advice = "leave that problem out, or take a model with a longer context"
    raise ValueError(
        f"{asked[longest]} has a prompt of {over[longest]:,} tokens; with {setting}={new_tokens} it exceeds the "
        f"model's context of {limit:,}, as {len(over):,} of {len(asked):,} prompts do; {advice}"
    )


def check_conversations(directory: Path, max_tokens: int) -> None:
    """Refuse conversations of up to `max_tokens` tokens where the model has fewer positions; `ValueError` says so."""
    limit = context_of(read_json(directory / "config.json"))
    if limit is not None and max_tokens > limit:
        raise ValueError(
            f"sft_max_tokens={max_tokens} exceeds the model's context of {limit:,}: positions beyond it were never "
            f"trained; set sft_max_tokens={limit}"
        )


def cut_replies(data: Path, limits: Mapping[str, float]) -> list[str]:
    """A sentence for each limit on a completion, by its setting, that is below the lengths in the data.

    `data` is what standardize wrote: what SFT teaches to write counts, and where it teaches nothing the problems' gold
    solutions. A limit of 0 is none; one on the mean is held against the median, others against the length that 95 % do
    not exceed.
    """
    path = data / "summary.json"
    found = read_json(path).get("lengths", {}) if path.is_file() else {}
    title = next((title for title in TAUGHT if title in found), None)
    if title is None:
        return []
    needed = {setting: found[title]["median" if "mean" in setting else "p95"] for setting in limits}
    return [
        f"{spread(title, found[title])}: {setting}={limits[setting]:g} is less; set it to {tokens} or more"
        for setting, tokens in needed.items()
        if 0 < limits[setting] < tokens
    ]


def spread(title: str, found: Mapping[str, Any]) -> str:
    """The lengths of one of TAUGHT in words, by its "median" and "p95"."""
    return f"half of the {TAUGHT[title]} have up to {found['median']:,} tokens, 95 % up to {found['p95']:,}"
