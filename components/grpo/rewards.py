"""What a completion is paid for: pure functions from verdicts to a list of floats, one idea each.

The verdicts are those of the gate and the evaluation (lib/answers/parser.py) and fail closed: a completion that
generation cut off at the length limit (`finished` False) earns nothing, and form is paid only where it holds a
parsed number. `prefilled` says whether the prompt ended with an opened `<think>`, which then counts as the
completion's first tag. The weights of the sum lie in the recipe.
"""

from collections.abc import Sequence

from components.lib.answers.parser import Judgement, judge


def judgements(
    completions: Sequence[str], golds: Sequence[str], finished: Sequence[bool], *, prefilled: bool
) -> list[Judgement]:
    """The verdict on each completion; one that was cut off is judged as if it were empty."""
    return [
        judge(text if whole else "", gold, prefilled=prefilled)
        for text, gold, whole in zip(completions, golds, finished, strict=True)
    ]


def correctness(judged: Sequence[Judgement]) -> list[float]:
    r"""1 for the gold answer after a single `####` line or a corrected one, 0 for anything else.

    >>> correctness(judgements(["7+9=16\n</think>\n\n#### 16", "16"], ["16", "16"], [True, True], prefilled=True))
    [1.0, 0.0]
    """
    return [float(j.correct) for j in judged]


def think_format(judged: Sequence[Judgement]) -> list[float]:
    r"""1 for one closed think block with visible content before a parsed number, right or wrong.

    >>> completions = ["2+2=5\n</think>\n#### 5", "\n</think>\n#### 4"]
    >>> think_format(judgements(completions, ["4", "4"], [True, True], prefilled=True))
    [1.0, 0.0]
    """
    return [float(j.think_ok and not j.unparsed) for j in judged]


def answer_marker(judged: Sequence[Judgement]) -> list[float]:
    r"""1 for an answer line that starts with `####` and holds one number, after a well-formed think block.

    >>> answer_marker(judgements(["2+2=4\n</think>\n\n#### 4", "so #### 4"], ["4", "4"], [True, True], prefilled=True))
    [1.0, 0.0]
    """
    return [float(j.answer_marked and j.think_ok and not j.unparsed) for j in judged]


def rates(judged: Sequence[Judgement], finished: Sequence[bool]) -> dict[str, float]:
    """Shares of a batch to watch: `correct`, `unparsed`, `multi_marker`, `truncated`, `format_without_correct`."""
    count = len(judged)
    return {
        "correct": sum(j.correct for j in judged) / count,
        "unparsed": sum(j.unparsed for j in judged) / count,
        "multi_marker": sum(j.markers > 1 for j in judged) / count,
        "truncated": sum(not whole for whole in finished) / count,
        "format_without_correct": sum(j.think_ok and j.answer_marked and not j.correct for j in judged) / count,
    }
