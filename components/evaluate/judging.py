"""From a completion to its verdicts."""

from fractions import Fraction
from typing import Any

from components import answers


def judge_item(item: dict[str, Any]) -> dict[str, Any]:
    """An item with its verdicts; takes "completion", "gold", "prefilled" and "finish_reason".

    A completion that hit the length limit is never `correct`.
    """
    text, gold, prefilled = item["completion"], item["gold"], item["prefilled"]
    verdict = answers.judge(text, gold, prefilled=prefilled)
    lenient = answers.parse_lenient(text, prefilled=prefilled)
    return item | {
        "answer": _format(verdict.answer),
        "lenient": _format(lenient),
        "correct": verdict.correct and item["finish_reason"] == "stop",
        "correct_lenient": lenient is not None and lenient == answers.parse_gold(gold),
        "lm_eval_strict": answers.lm_eval_correct(answers.lm_eval_strict(text), gold),
        "lm_eval_flexible": answers.lm_eval_correct(answers.lm_eval_flexible(text), gold),
        "think_ok": verdict.think_ok,
        "answer_marked": verdict.answer_marked,
        "unparsed": verdict.unparsed,
    }


def _format(value: Fraction | None) -> str | None:
    return None if value is None else answers.format_answer(value)
