"""What lm-eval 0.4.13 extracts and accepts on its `gsm8k` task, so that reports compare with published numbers.

Source: lm_eval/tasks/gsm8k/gsm8k.yaml (version 3.0), filters/extraction.py and `exact_match` in api/metrics.py.
These rules accept wrong answers and refuse right ones; nothing is paid by them.
"""

import re

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


def lm_eval_strict(completion: str) -> str | None:
    """Return the first match of the `strict-match` filter, None where lm-eval says `[invalid]`.

    >>> lm_eval_strict("#### 41 ... #### 42.")
    '41'
    """
    match = _STRICT.search(completion)
    return match[1] if match else None


def lm_eval_flexible(completion: str) -> str | None:
    """Return the last match of the `flexible-extract` filter, None where lm-eval says `[invalid]`.

    >>> lm_eval_flexible("between 41 and $42.")
    '$42.'
    """
    matches = _FLEXIBLE.findall(completion)
    return matches[-1][0] or matches[-1][1] if matches else None


def lm_eval_correct(extracted: str | None, gold: str) -> bool:
    """Apply lm-eval's `exact_match`; `gold` may be the number alone or GSM8K's whole reference text."""
    return extracted is not None and _normalized(extracted) == _normalized(gold)


def _normalized(text: str) -> str:
    """Drop what the task's `regexes_to_ignore` name, in their order, and the case.

    `(?s).*#### ` is done with `rpartition`, for re.sub is quadratic where it finds nothing.
    """
    text = text.replace(",", "").replace("$", "").rpartition("#### ")[2]
    return re.sub(r"\.$", "", text).lower()
