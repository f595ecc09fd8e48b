r"""What lm-eval 0.4.13 extracts and accepts on MATH, so that reports compare with published numbers.

Source: lm_eval/tasks/hendrycks_math/utils.py (tasks hendrycks_math and hendrycks_math500, version 1.0) and
lm_eval/tasks/minerva_math/utils.py (minerva_math and minerva_math500, version 3.1; its rules of writing are those of
Lewkowycz et al. 2022, appendix D). lm-eval takes the gold from the last box of a solution; here it is given. Its stop
sequences and prompts are not ours. These rules accept wrong answers and refuse right ones; nothing is paid by them.

Run as a module it is the process in which `math_process` has sympy and math-verify compare.
"""

import re
from typing import Any

from components.lib.answers import math_process

RULES = ("hendrycks_math", "minerva_math", "math_verify")
"""`exact_match` of hendrycks_math, then `exact_match` and `math_verify` of minerva_math."""
_MODULE = "components.lib.answers.lm_eval_math"

_PROMISE = "Final Answer: The final answer is"
_HOPE = re.compile(".(?= I hope it is correct.)")
_ALIKE = [("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""),
          ("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", "")]  # fmt: skip
_SUBSTITUTED = [("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), ("\\ ", ""), (" ", ""), ("mbox", "text"),
                (",\\text{and}", ","), ("\\text{and}", ","), ("\\text{m}", "\\text{}")]  # fmt: skip
# In this order: a word is removed as a word before the substitutions, and anywhere but in a command after them.
_REMOVED = [
    "square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", "\\ldots", "sue", "points",
    "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
    "childrentickets", "multiples", "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3", "\\text{\n}",
    "\\text{}", "\\mathrm{th}", "^\\circ", "^{\\circ}", "\\;", ",\\!", "{,}", '"', "\\dots",
]  # fmt: skip
_UNWRAPPED = [(r"(.*?)(\$)(.*?)(\$)(.*)", r"$\3$"), (r"(\\text\{)(.*?)(\})", r"\2"), (r"(\\textbf\{)(.*?)(\})", r"\2"),
              (r"(\\overline\{)(.*?)(\})", r"\2"), (r"(\\boxed\{)(.*)(\})", r"\2"),
              (r"(frac)([^{])(.)", r"frac{\2}{\3}"), (r"(sqrt)(\[[^\]]*\])(\w)", r"\1\2{\3}"),
              (r"(sqrt)(?!\[)([^{])", r"sqrt{\2}")]  # fmt: skip


def verdicts(completion: str, gold: str) -> dict[str, bool]:
    r"""What each of RULES says of a completion; false too where a comparison takes too long (`math_process`).

    >>> verdicts(r"Final Answer: The final answer is $\frac12$. I hope it is correct.", r"\frac{1}{2}")
    {'hendrycks_math': True, 'minerva_math': True, 'math_verify': True}
    """
    final = minerva_answer(completion)
    return {
        "hendrycks_math": hendrycks_correct(hendrycks_answer(completion), gold),
        "minerva_math": final is not None and _asked("minerva_math", final, gold),
        "math_verify": _asked("math_verify", completion, gold),
    }


def hendrycks_answer(completion: str) -> str:
    """Return what stands between the first and the last dollar sign; all of it where there are not two."""
    first, last = completion.find("$"), completion.rfind("$")
    return completion[first + 1 : last] if first < last else completion


def hendrycks_correct(answer: str, gold: str) -> bool:
    """Apply `is_equiv` of hendrycks_math: the same text after both are rewritten, or as it is where that fails."""
    try:
        return _rewritten(answer) == _rewritten(gold)
    except (IndexError, ValueError):
        return answer == gold


def minerva_answer(completion: str) -> str | None:
    """Return what stands in the sentence that minerva_math asks for, None where lm-eval says `[invalidanswer]`."""
    for line in (completion + "I hope it is correct.").split("\n"):
        start = line.find(_PROMISE)
        if start >= 0 and (end := _HOPE.search(line, start + len(_PROMISE))):
            return line[start + len(_PROMISE) : end.start()].strip()
    return None


def minerva_correct(answer: str, gold: str) -> bool:
    """Apply normalization and `is_equiv` of minerva_math without its limit of five seconds."""
    from sympy import simplify
    from sympy.parsing.latex import parse_latex

    one, other = _normalized(answer), _normalized(gold)
    if one and one == other:
        return True
    return bool(simplify(parse_latex(one) - parse_latex(other)) == 0)


def verify_correct(completion: str, gold: str) -> bool:
    """Apply `math_verify` of minerva_math, which reads the whole completion, without its limits of five seconds."""
    from math_verify import parse, verify

    one, other = (parse(text, parsing_timeout=None) for text in (f"$\\boxed{{{gold}}}$", completion))  # type: ignore[arg-type]
    return bool(verify(gold=one, target=other, timeout_seconds=None))


def _asked(rule: str, answer: str, gold: str) -> bool:
    return math_process.ask(_MODULE, rule, answer, gold) or False


def _rewritten(text: str) -> str:
    """Rewrite as hendrycks_math does; IndexError and ValueError where it stumbles."""
    for old, new in _ALIKE:
        text = text.replace(old, new)
    text, *units = text.split("\\text{ ")
    if len(units) > 1:
        raise ValueError("two units")
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    text = f"0{text}" if text.startswith(".") else text
    left, *right = text.split("=")
    text = right[0] if len(right) == 1 and len(left) <= 2 else text
    text = _braced_fractions(_braced_roots(text).replace(" ", ""))
    return _as_fraction("\\frac{1}{2}" if text == "0.5" else text)


def _braced_roots(text: str) -> str:
    head, *parts = text.split("\\sqrt")
    return "\\sqrt".join([head, *(part if part[0] == "{" else f"{{{part[0]}}}{part[1:]}" for part in parts)])


def _braced_fractions(text: str) -> str:
    head, *parts = text.split("\\frac")
    found = [head]
    for part in parts:
        if part[0] == "{":
            found.append(part)
        elif len(part) < 2:
            return text
        else:
            found.append(f"{{{part[0]}}}{part[1:]}" if part[1] == "{" else f"{{{part[0]}}}{{{part[1]}}}{part[2:]}")
    return "\\frac".join(found)


def _as_fraction(text: str) -> str:
    if text.count("/") != 1:
        return text
    top, bottom = (int(part) for part in text.split("/"))
    return f"\\frac{{{top}}}{{{bottom}}}" if text == f"{top}/{bottom}" else text


def _normalized(text: str) -> str:
    """Rewrite as minerva_math does."""
    text = text.split("=")[-1]
    for word in (each for each in _REMOVED if each.isalpha()):
        text = re.sub(rf"(?<!\\)\b{word}\b", "", text)
    for old, new in _SUBSTITUTED:
        text = text.replace(old, new)
    for removed in _REMOVED:
        if removed.isalpha():
            pieces = re.split(r"(\\[a-zA-Z]+)", text)
            pieces[::2] = [piece.replace(removed, "") for piece in pieces[::2]]
            text = "".join(pieces)
        else:
            text = text.replace(removed, "")
    for pattern, new in _UNWRAPPED:
        text = re.sub(pattern, new, text)
    text = text.replace("$", "")
    return text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+", text) else text


def _serve() -> None:
    from components.lib.answers import math_worker

    rules: dict[str, Any] = {"minerva_math": minerva_correct, "math_verify": verify_correct}

    def verdict(rule: str, answer: str, gold: str) -> bool:
        return rules[rule](answer, gold)

    def load() -> None:
        for rule in rules.values():
            rule("\\frac{1}{2}x", "x^{2}+1")

    math_worker.serve(verdict, load)


if __name__ == "__main__":
    _serve()
