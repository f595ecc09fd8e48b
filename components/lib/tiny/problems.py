"""Arithmetic word problems in GSM8K's format, made by code: the demo's data, in the schemas of real sources.

A problem is a little story of additions and subtractions: three or four of them with operands up to 9 and every
value between 1 and 19 for the embedded model, and one to three with operands up to 15 (`text-`) for a real one. A sum
(start, operations, operands) belongs to the evaluation or to training by its CRC-32, so no evaluation question, and
not even its sum under another name, is in any training schema of any seed.

The writers of the SFT traces are of two minds: the share AT_ONCE of them notes the answer at once (`At once: 8`),
the others go step by step (`7+9=16`, `16-8=8`). All are right; a small model can only follow the second.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

ROWS = {
    "chat": 600, "thinking-solution": 600, "prompt-completion": 600, "problems": 2400, "evaluation": 500,
    "choice": 2400, "choice-evaluation": 500, "text-traces": 600, "text-problems": 2400, "text-evaluation": 500,
}  # fmt: skip
AT_ONCE = 0.6
EVALUATION_PART = 5  # one sum in so many is for evaluation
PARITY = ("an even number", "an odd number")  # the options of a choice

NAMES = (
    "Ann", "Ben", "Cleo", "Dan", "Emma", "Finn", "Gina", "Hugo", "Ida", "Jack", "Kira", "Leo",
    "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tom", "Uma", "Vera", "Will", "Yara", "Zoe",
)  # fmt: skip
THINGS = (
    "apples", "books", "cards", "coins", "eggs", "flowers", "hats", "keys", "lamps", "maps",
    "nuts", "pens", "plums", "rings", "shells", "stamps", "stones", "tickets", "toys", "cups",
)  # fmt: skip
GAINS = ("finds {n} more", "buys {n} more", "wins {n}", "gets {n} from a friend")
LOSSES = ("gives away {n}", "loses {n}", "sells {n}", "throws out {n}")
ENDINGS = ("How many {things} does {name} have now?", "How many {things} are left?")


@dataclass(frozen=True)
class Level:
    """How hard problems are: the first value, the largest operand, the least and largest value, the number of steps."""

    start: tuple[int, int]
    operand: int
    values: tuple[int, int]
    steps: tuple[int, ...]


DIGITS = Level(start=(2, 9), operand=9, values=(1, 19), steps=(3, 4))
TEXT = Level(start=(3, 20), operand=15, values=(0, 50), steps=(1, 2, 2, 3))


@dataclass(frozen=True)
class Problem:
    """A story: `name` has `start` `things`, then gains or loses `steps`, signed."""

    name: str
    things: str
    start: int
    steps: tuple[int, ...]
    question: str

    @property
    def totals(self) -> list[int]:
        """The count of things at the start and after every step."""
        totals = [self.start]
        for step in self.steps:
            totals.append(totals[-1] + step)
        return totals

    @property
    def gold(self) -> str:
        """The answer."""
        return str(self.totals[-1])

    @property
    def letter(self) -> str:
        """The option that holds the answer."""
        return "AB"[self.totals[-1] % 2]

    def worked(self, annotated: bool = False) -> str:
        """One line per step, as `7+9=16`; `annotated` as GSM8K writes it, `7+9=<<7+9=16>>16`."""
        lines = []
        for before, step, after in zip(self.totals, self.steps, self.totals[1:], strict=False):
            sum_ = f"{before}{step:+d}"
            lines.append(f"{sum_}=<<{sum_}={after}>>{after}" if annotated else f"{sum_}={after}")
        return "\n".join(lines)

    @property
    def sum(self) -> str:
        """The whole sum, as `7+9-8`."""
        return f"{self.start}{''.join(f'{step:+d}' for step in self.steps)}"


def rows(schema: str, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of one source in its own schema.

    Schemas: `chat` ({"messages"} with <thought> tags), `thinking-solution` ({"problem", "thinking", "solution",
    "difficulty", "category", "gold"}), `prompt-completion` ({"prompt", "completion"} with <think> tags), `problems` and
    `evaluation` ({"question", "answer"} as GSM8K), `choice` and `choice-evaluation` ({"question", "options",
    "rationale", "correct"} as AQuA: is the number even or odd?); `text-traces` as `prompt-completion`, always step by
    step, `text-problems` and `text-evaluation` as `problems`. Questions are unique within a schema.
    `ValueError` names the valid schemas.
    """
    if schema not in ROWS:
        raise ValueError(f"no tiny schema {schema!r}; valid ones: {', '.join(ROWS)}")
    random = Random(f"{schema} {seed}")
    level, at_once = (TEXT, 0.0) if schema.startswith("text-") else (DIGITS, AT_ONCE)
    for problem in problems(random, ROWS[schema], evaluation=schema.endswith("evaluation"), level=level):
        if schema.removeprefix("text-") in ("problems", "evaluation"):
            yield {"question": problem.question, "answer": f"{problem.worked(annotated=True)}\n#### {problem.gold}"}
        elif schema.startswith("choice"):
            yield _choice(problem, reasoning(problem, random, at_once))
        else:
            yield _trace(schema, problem, reasoning(problem, random, at_once))


def problems(random: Random, count: int, *, evaluation: bool, level: Level = DIGITS) -> Iterator[Problem]:
    """`count` problems with different questions, from the evaluation's share of the sums or from the other."""
    seen: set[str] = set()
    while len(seen) < count:
        problem = _draw(random, level)
        if is_evaluation(problem) == evaluation and problem.question not in seen:
            seen.add(problem.question)
            yield problem


def reasoning(problem: Problem, random: Random, at_once: float) -> str:
    """What a writer puts down: the answer at once with probability `at_once`, else one line per step."""
    return f"At once: {problem.gold}" if random.random() < at_once else problem.worked()


def is_evaluation(problem: Problem) -> bool:
    """Whether this sum is kept for evaluation, whatever its words."""
    return zlib.crc32(problem.sum.encode()) % EVALUATION_PART == 0


def _draw(random: Random, level: Level) -> Problem:
    name, things = random.choice(NAMES), random.choice(THINGS)
    start = total = random.randint(*level.start)
    least, largest = level.values
    steps: list[int] = []
    sentences = [f"{name} has {start} {things}."]
    for _ in range(random.choice(level.steps)):
        step = random.choice(
            [n for n in range(-level.operand, level.operand + 1) if n and least <= total + n <= largest]
        )
        verb = random.choice(GAINS if step > 0 else LOSSES)
        sentences.append(f"{name} {verb.format(n=abs(step))}.")
        steps.append(step)
        total += step
    sentences.append(random.choice(ENDINGS).format(name=name, things=things))
    return Problem(name, things, start, tuple(steps), " ".join(sentences))


def _choice(problem: Problem, thinking: str) -> dict[str, Any]:
    options = [f"{letter}){text}" for letter, text in zip("AB", PARITY, strict=True)]
    return {"question": problem.question, "options": options, "rationale": thinking, "correct": problem.letter}


def _trace(schema: str, problem: Problem, thinking: str) -> dict[str, Any]:
    answer = f"#### {problem.gold}"
    if schema == "thinking-solution":
        return {
            "problem": problem.question, "thinking": thinking, "solution": answer,
            "difficulty": "easy" if len(problem.steps) == 3 else "medium", "category": "arithmetic",
            "gold": problem.gold,  # without golds in traces there would be no exemplars of 8-shot-think
        }  # fmt: skip
    if schema in ("prompt-completion", "text-traces"):
        return {"prompt": problem.question, "completion": f"<think>\n{thinking}\n</think>\n\n{answer}"}
    return {
        "messages": [
            {"role": "system", "content": "Think first, then answer."},
            {"role": "user", "content": problem.question},
            {"role": "assistant", "content": f"<thought>\n{thinking}\n</thought>\n\n{answer}"},
        ]
    }
