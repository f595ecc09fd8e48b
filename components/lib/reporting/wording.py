"""How numbers are written, the same in the terminal, in HTML and in Markdown."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
EN_DASH = "\N{EN DASH}"


def label(checkpoint: str) -> str:
    """How a checkpoint is called in a text: SFT and GRPO are abbreviations.

    >>> label("sft")
    'SFT'
    """
    return checkpoint.upper() if checkpoint in ("sft", "grpo") else checkpoint


def model_name(model: str) -> str:
    """A Hub id as it is, and of a directory the last two names: where it lay on some machine tells nobody anything.

    >>> model_name("Qwen/Qwen3.5-0.8B"), model_name("/data/run/sft/model")
    ('Qwen/Qwen3.5-0.8B', '.../sft/model')
    """
    names = [name for name in model.split("/") if name]
    return f".../{'/'.join(names[-2:])}" if len(names) > 2 else model


def about(row: Mapping[str, Any]) -> str:
    """What a row of results.json is about: the protocol, of the gate split, of one source.

    >>> about({"split": "gate", "protocol": "zero-shot", "source": "aqua"})
    'gate split, zero-shot, aqua'
    """
    gate = "gate split" if row.get("split") == "gate" else ""
    return ", ".join(filter(None, [gate, row["protocol"], row.get("source", "")]))


def slug(name: str) -> str:
    """A source's name as a part of a metric's name.

    >>> slug("HuggingFaceH4/MATH-500")
    'huggingfaceh4_math_500'
    """
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def p_text(p: float | None) -> str:
    """A p-value with two digits, or "<0.001".

    >>> p_text(0.0312), p_text(1e-9)
    ('0.031', '<0.001')
    """
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def percent(share: float) -> str:
    """A share as a percentage with one digit.

    >>> percent(0.5)
    '50.0'
    """
    return f"{100 * share:.1f}"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, signed, with a true minus."""
    if difference is None:
        return ""
    value = round(100 * difference, 1)
    return f"+{value:.1f}" if value > 0 else f"{MINUS}{-value:.1f}" if value < 0 else "0.0"


def interval(ends: list[float], between: str = f"{NBSP}{EN_DASH}{NBSP}") -> str:
    """Both ends of an interval of shares in percent.

    >>> interval([0.553, 0.606], " to ")
    '55.3 to 60.6'
    """
    return f"{percent(ends[0])}{between}{percent(ends[1])}"


def points_interval(ends: list[float] | None) -> str:
    """Both ends of an interval of differences in percentage points."""
    return "" if ends is None else f"{points(ends[0])} to {points(ends[1])}"


def thousands(number: float) -> str:
    """A number with commas.

    >>> thousands(1319)
    '1,319'
    """
    return f"{number:,}"


def moment(text: str) -> str:
    """A moment as a table shows it: UTC, to the minute.

    >>> moment("2026-03-01T04:05:06.789+00:00")
    '2026-03-01 04:05'
    """
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"


def clip(text: str, limit: int = 1500) -> str:
    """A text cut to `limit` characters in the middle, where it matters least."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n[... {len(text) - 2 * (limit // 2):,} characters ...]\n{text[-(limit // 2) :]}"
