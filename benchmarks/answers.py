"""Measure the answer parser: `python -m benchmarks.answers` prints µs per completion, worst ms and seconds per file.

No input but what is made here. Every figure is the best of several runs, in CPU time, on one core.
"""

import contextlib
import io
import json
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from components.lib.answers import kinds as every
from components.lib.answers import math_process
from components.lib.answers.parser import judge, parse_lenient
from components.lib.answers.score import score_file

LINES = 100_000
LENGTH = 10_000

ANSWERS = {
    "plain": "{}",
    "dollars": "${}.00",
    "unit": "{} apples per day.",
    "bold": "**{}**",
    "LaTeX": "$\\boxed{{{}\\text{{ km}}}}$",
    "equation": "{} - 0 = {}",
    "sentence": "The final answer is ${} (as shown above).",
    "two numbers": "{} or 43",
}

NASTY = {
    "#": ("", "#"), "digits": ("#### ", "9"), "digits, unit": ("#### m", "9"), "<think>": ("", "<think>"),
    "commas": ("#### 4", ","), "spaces": ("#### 4", " "), "braces": ("#### ", "{"), "\\boxed{": ("#### ", "\\boxed{"),
    "\\frac{": ("#### ", "\\frac{"), "fractions": ("#### ", "\\frac{1}{2}"), "(": ("#### 42", "("),
    "()": ("#### 42", "()"), "<": ("#### ", "<"), "1=": ("#### ", "1="), "1,234": ("#### 1", ",234"),
    "1 234": ("#### 1", " 234"), "-": ("#### ", "-"), "*": ("#### ", "*"), "letters": ("#### 42 ", "a"),
    "\\": ("#### ", "\\"), "½": ("#### ", "½"), "四": ("#### ", "四"), "&nbsp;": ("#### ", "&nbsp;"),
    "markers": ("", "####1a "), "corrections": ("#### 41", " no mistake"), "waits": ("", "#### 41 wait "),
    "newlines": ("", "\n"), "zero width": ("<think>", "\u200b"), "answer is": ("", "answer is "),
    "exponent": ("#### 1e", "9"),

}  # fmt: skip


def completions(answer: str, count: int) -> list[tuple[str, str]]:
    """Make ordinary completions, some 600 characters of reasoning and an answer line, each with its gold."""
    draw = random.Random(0)
    rows = []
    for _ in range(count):
        gold = draw.randrange(10_000)
        steps = "".join(
            f"She has {draw.randrange(99)} and buys {draw.randrange(99)} more at the shop.\n" for _ in range(14)
        )
        rows.append((f"<think>\n{steps}</think>\nSo it is clear.\n#### {answer.format(gold, gold)}", str(gold)))
    return rows


def best(work: Callable[[], object], runs: int) -> float:
    """Return the least CPU seconds of several runs."""
    times = []
    for _ in range(runs):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def judge_all(rows: list[tuple[str, str]]) -> None:
    """Judge every completion against its gold."""
    for text, gold in rows:
        judge(text, gold)


def ordinary() -> None:
    """Print µs per ordinary completion, for each kind of answer."""
    for name, answer in ANSWERS.items():
        rows = completions(answer, 1000)
        seconds = best(partial(judge_all, rows), 7)
        print(f"{name:12} {seconds * 1e6 / len(rows):6.1f} µs per completion of {len(rows[0][0])} characters")


def worst() -> None:
    """Print the slowest nasty inputs of 10,000 characters, judged and read leniently."""
    times = {}
    for name, (start, middle) in NASTY.items():
        text = (start + middle * LENGTH)[:LENGTH]
        times[name] = max(best(partial(judge, text, "42"), 5), best(partial(parse_lenient, text), 5))
    for name in sorted(times, key=lambda name: -times[name])[:5]:
        print(f"{name:12} {times[name] * 1e3:6.2f} ms for {LENGTH} characters")


KINDS: dict[str, tuple[str, str, str]] = {
    "number": ("number", "42", "42"),
    "math, number": ("math", "\\frac{1}{2}", "0.5"),
    "math, text": ("math", "3\\sqrt{13}", "$3 \\sqrt{13}$."),
    "math, proof": ("math", "2x+{0}", "{0}+x+x"),
    "math, wrong": ("math", "x^2+{0}", "x^2-{0}"),
    "choice": ("choice", "B", "(B)"),
    "text": ("text", "New York", "**new york**."),
}


def kinds() -> None:
    """Print µs of wall time per completion of each kind, on answers that were not seen before where `math` proves."""
    steps = "She has 7 and buys 5 more at the shop.\n" * 14
    every.judge("#### 2x", every.Question("x+x", "math"))  # starts the process
    for name, (kind, gold, answer) in KINDS.items():
        count = 100 if "{0}" in gold else 2_000
        begin = time.monotonic()
        for number in range(1, count + 1):
            said = f"<think>{steps}</think>\n#### {answer.replace('{0}', str(number))}"
            every.judge(said, every.Question(gold.replace("{0}", str(number)), kind))
        print(f"{name:12} {(time.monotonic() - begin) * 1e6 / count:8.1f} µs per completion")
    math_process.end()


def scoring() -> None:
    """Print the seconds that scoring a file takes."""
    kinds = list(ANSWERS.values())
    rows = [row for kind in kinds for row in completions(kind, LINES // len(kinds))]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as counts:
        source, out = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        lines = (json.dumps({"completion": text, "gold": gold}) + "\n" for text, gold in rows)
        source.write_text("".join(lines), encoding="utf-8")
        seconds = best(lambda: score_file(source, out), 2)
    print(
        f"{'file':12} {seconds:6.2f} s for {len(rows)} lines; {counts.getvalue().splitlines()[-1].partition(' ->')[0]}"
    )


if __name__ == "__main__":
    ordinary()
    worst()
    kinds()
    scoring()
