"""From end to end with other answers than numbers, by recipe files of at most 15 lines."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from components.lib.files import read_jsonl, write_jsonl
from tests import ROOT

SMALL = """
standardize: {max_tokens: 4096}
sft: {max_steps: 2, batch_size: 4, micro_batch_size: 4, max_tokens: 1024}
grpo: {max_steps: 2, prompts_per_step: 2, generations: 4, micro_batch_size: 8}
evaluate: {protocols: [zero-shot], problems: 12, gate_problems: 6}
"""
TASKS = ROOT.parent / "shared" / "tasks"


def run(folder: Path, recipe: str) -> dict:
    """The summary of a run of a recipe file in `folder`."""
    recipe = recipe.strip() + SMALL
    assert recipe.count("\n") <= 15
    (folder / "mine.yaml").write_text(recipe)
    command = [sys.executable, "pipeline.py", "run", "--recipe", folder / "mine.yaml", "--output", folder / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "out" / "summary.json").read_text())


def items(folder: Path, checkpoint: str) -> list[dict]:
    """The judged answers of a checkpoint."""
    found = [list(read_jsonl(path)) for path in (folder / "out" / "artifacts").glob("*/evaluate*/items/items.jsonl")]
    return next(rows for rows in found if rows[0]["checkpoint"] == checkpoint)


def fractions(start: int, stop: int) -> list[dict]:
    """Problems in the form of MATH."""
    return [
        {"problem": f"Tom cuts {n} equal ribbons of one metre into {n + 1} pieces. How long is each, in metres?",
         "solution": f"Each is ${n} / {n + 1}$, which is $\\boxed{{\\frac{{{n}}}{{{n + 1}}}}}$."}
        for n in range(start, stop)
    ]  # fmt: skip


@pytest.mark.slow
def test_three_kinds_in_one_run(tmp_path):
    """Mathematics, letters, and what a function of the user's own accepts, of which each row carries its own limit."""
    write_jsonl(tmp_path / "math.jsonl", fractions(2, 42))
    write_jsonl(tmp_path / "test.jsonl", fractions(60, 72))
    asked = ({"question": f"Write a plan of {n} words or less for the day number {n} of our journey.", "most": n}
             for n in range(5, 25))  # fmt: skip
    write_jsonl(tmp_path / "plans.jsonl", asked)
    (tmp_path / "short.py").write_text(
        "def check(completion, row):\n"
        "    words = len(completion.rpartition('</think>')[2].split())\n"
        "    return {'score': min(1.0, row['most'] / max(1, words)), 'answer': str(words)}\n"
    )
    summary = run(tmp_path, """
base: tiny
form: boxed
sources:
  - {path: math.jsonl, use: both}
  - {path: "tiny:choice", cap: 40}
  - {path: plans.jsonl, adapter: problem, answers: "python:short.py", use: problems}
evaluation:
  - {path: test.jsonl, name: fractions}
  - {path: "tiny:choice-evaluation", name: letters, cap: 12}
""")  # fmt: skip
    assert summary["ending"] in ("promoted", "rejected")
    found = items(tmp_path, "grpo")
    assert {row["answers"] for row in found if row["split"] == "evaluation"} == {"math", "choice"}
    assert {row["source"] for row in found if row["split"] == "evaluation"} == {"fractions", "letters"}
    assert {row["form"] for row in found} == {"boxed"}
    results = json.loads(next((tmp_path / "out" / "artifacts").glob("*/compare/results/results.json")).read_text())
    of = {row["source"] for row in results["sources"] if row["split"] == "evaluation"}
    assert of == {"fractions", "letters"} and all(row["macro"] is not None for row in results["results"])
    problems = list(read_jsonl(next((tmp_path / "out" / "artifacts").glob("*/standardize/data/problems.jsonl"))))
    assert {row["answers"] for row in problems} == {"math", "choice", "python:short.py"}
    assert {row["row"]["most"] for row in problems if "checker" in row} <= set(range(5, 25))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "test", "kind"), [("math500", "math500", "math"), ("aqua_dev", "aqua_test", "choice")]
)
def test_public_tasks(tmp_path, train, test, kind):
    """A recipe trains on rows of MATH-500 and evaluates on others, another on AQuA."""
    if not TASKS.is_dir():
        pytest.skip(f"needs MATH-500 and AQuA in {TASKS}: no run with real problems of mathematics or letters")
    rows = list(read_jsonl(TASKS / f"{train}.jsonl"))
    write_jsonl(tmp_path / "train.jsonl", rows[:200])
    write_jsonl(tmp_path / "test.jsonl", islice(reversed(list(read_jsonl(TASKS / f"{test}.jsonl"))), 50))
    summary = run(
        tmp_path,
        """
base: tiny
sources: [{path: train.jsonl, use: both}]
evaluation: [{path: test.jsonl}]
""",
    )
    assert summary["ending"] in ("promoted", "rejected")
    assert {row["answers"] for row in items(tmp_path, "grpo")} == {kind}
