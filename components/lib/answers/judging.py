"""From a completion to its verdicts, and whether the judged items of two models can be paired."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from components.lib.answers import parser
from components.lib.answers.lm_eval_match import lm_eval_correct, lm_eval_flexible, lm_eval_strict
from components.lib.files import read_jsonl

MEASURED = "champion"  # in a candidate's evaluation: the champion's, where it had to be measured anew
DECIDING = "zero-shot"  # the protocol in which models are compared
Items = dict[str, dict[str, Any]]  # problem id -> row of items.jsonl
_WORDS = {"gold": "golds", "prompt_sha256": "prompts", "sampling": "ways of sampling"}


def judge_item(item: dict[str, Any]) -> dict[str, Any]:
    """An item with its verdicts; takes "completion", "gold", "prefilled" and "finish_reason".

    A completion that hit the length limit is never `correct`.
    """
    text, gold, prefilled = item["completion"], item["gold"], item["prefilled"]
    verdict = parser.judge(text, gold, prefilled=prefilled)
    lenient = parser.parse_lenient(text, prefilled=prefilled)
    return item | {
        "answer": _format(verdict.answer),
        "lenient": _format(lenient),
        "correct": verdict.correct and item["finish_reason"] == "stop",
        "correct_lenient": lenient is not None and lenient == parser.parse_gold(gold),
        "lm_eval_strict": lm_eval_correct(lm_eval_strict(text), gold),
        "lm_eval_flexible": lm_eval_correct(lm_eval_flexible(text), gold),
        "think_ok": verdict.think_ok,
        "answer_marked": verdict.answer_marked,
        "unparsed": verdict.unparsed,
    }


def _format(value: Fraction | None) -> str | None:
    return None if value is None else parser.format_answer(value)


def champion_mismatch(evaluation: Path, champion: Path) -> str:
    """Why the champion's items cannot be paired with an evaluation's; empty if they can.

    Both are an items.jsonl or the directory that holds it.
    """
    return mismatch(read_items(evaluation), read_items(champion), ("gold", "prompt_sha256", "sampling"))


def rejudged(items: Items) -> Items:
    """Kept answers with the verdicts of today's parser."""
    return {key: judge_item(row) for key, row in items.items()}


def read_items(path: Path, protocol: str = DECIDING) -> Items:
    """The rows of the gate split by problem id; `ValueError` if there are none or one comes twice."""
    path = path / "items.jsonl" if path.is_dir() else path
    items: Items = {}
    for row in read_jsonl(path):
        if row["split"] == "gate" and row["protocol"] == protocol and row["sample"] == 0:
            if row["id"] in items:
                raise ValueError(f"{path}: problem {row['id']} is there twice in the gate split; evaluate anew")
            items[row["id"]] = row
    if not items:
        raise ValueError(f"{path} has no {protocol} rows of the gate split; raise standardize_gate_share and rerun")
    return items


def mismatch(candidate: Items, other: Items, fields: tuple[str, ...]) -> str:
    """Why two sets of items cannot be paired; empty if they can."""
    if only := set(candidate) ^ set(other):
        return f"{len(only)} problems are in one of them only, such as {min(only)}"
    for name in fields:
        differing = sum(row[name] != other[key][name] for key, row in candidate.items())
        if differing:
            return f"{differing} of {len(candidate)} {_WORDS[name]} differ"
    return ""
