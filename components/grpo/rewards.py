"""What a completion is paid for: pure functions from verdicts to a list of floats, one idea each.

The verdicts are those of the gate and the evaluation (lib/answers/kinds.py) and fail closed: a completion that
generation cut off at the length limit (`finished` False) earns nothing, and form is paid only where it holds an
answer of its kind. The weights of the sum lie in the recipe.
"""

from collections.abc import Sequence

from components.lib.answers.kinds import Judgement, Question, judge_all


def judgements(completions: Sequence[str], questions: Sequence[Question], finished: Sequence[bool]) -> list[Judgement]:
    """The verdict on each completion; one that was cut off is judged as if it were empty."""
    whole = [text if over else "" for text, over in zip(completions, finished, strict=True)]
    return judge_all(zip(whole, questions, strict=True))


def correctness(judged: Sequence[Judgement]) -> list[float]:
    r"""1 for the right answer in the form asked for, 0 for anything else; what a checker of the user's own gives.

    >>> asked = [Question("16", prefilled=True)] * 2
    >>> correctness(judgements(["7+9=16\n</think>\n\n#### 16", "16"], asked, [True, True]))
    [1.0, 0.0]
    """
    return [j.score for j in judged]


def think_format(judged: Sequence[Judgement]) -> list[float]:
    r"""1 for one closed think block with visible content before an answer that can be read, right or wrong.

    >>> asked = [Question("4", prefilled=True)] * 2
    >>> think_format(judgements(["2+2=5\n</think>\n#### 5", "\n</think>\n#### 4"], asked, [True, True]))
    [1.0, 0.0]
    """
    return [float(j.think_ok and not j.unparsed) for j in judged]


def answer_marker(judged: Sequence[Judgement]) -> list[float]:
    r"""1 for an answer that can be read where the form wants it, after a well-formed think block.

    >>> asked = [Question("4", prefilled=True)] * 2
    >>> answer_marker(judgements(["2+2=4\n</think>\n\n#### 4", "so #### 4"], asked, [True, True]))
    [1.0, 0.0]
    """
    return [float(j.answer_marked and j.think_ok and not j.unparsed) for j in judged]


def rates(judged: Sequence[Judgement], finished: Sequence[bool]) -> dict[str, float]:
    """Shares of a batch to watch.

    `correct`, `unparsed`, `timed_out`, `multi_marker`, `truncated`, `format_without_correct`.
    """
    count = len(judged)
    return {
        "correct": sum(j.correct for j in judged) / count,
        "unparsed": sum(j.unparsed for j in judged) / count,
        "timed_out": sum(j.timed_out for j in judged) / count,
        "multi_marker": sum(j.places > 1 for j in judged) / count,
        "truncated": sum(not whole for whole in finished) / count,
        "format_without_correct": sum(j.think_ok and j.answer_marked and not j.correct for j in judged) / count,
    }
