"""`inspect` shows what a source holds, and its lines of a recipe file do what it says."""

import subprocess
import sys
from pathlib import Path

from components.lib.recipe.files import read as read_recipe
from components.lib.recipe.schema import Source
from components.standardize.inspect import told
from tests.fixtures.rows import write
from tests.lib.data.formats import ASKED, THOUGHT

ROWS = [
    {"task": {"text": f"{ASKED} Of house {n * 7} in street {n}.", "keys": [str(n)]}, "cot": f"{THOUGHT} So {n}."}
    for n in range(20)
]  # fmt: skip


def recipe_of(lines: list[str], folder: Path) -> tuple[Source, ...]:
    start = next(number for number, line in enumerate(lines) if line == "sources:")
    path = folder / "recipe.yaml"
    path.write_text("\n".join(["base: tiny", *lines[start:]]), encoding="utf-8")
    return read_recipe(path).sources


def test_a_table_with_a_field_map(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0], {"task": {"text": "How many are none?", "keys": []}, "cot": ""}]
    source = Source(path=write(tmp_path / "rows.jsonl", rows),
                    fields={"question": "task.text", "gold": "task.keys.0", "reasoning": "cot"})  # fmt: skip
    lines = list(told(source))
    text = "\n".join(lines)
    assert "Adapter trace" in text and "Read for both, with answers of the kind number" in text
    assert "kept for problems: 20" in text and "refused for problems: 1 duplicate" in text
    assert '"place": "cot"' in text
    known = recipe_of(lines, tmp_path)[0]
    assert (known.adapter, known.use, known.answers, known.fields) == ("trace", "both", "number", source.fields)


def test_what_no_adapter_fits_gets_a_recipe_to_complete(tmp_path: Path) -> None:
    rows = [{"problem_text": ASKED, "label": 7, "other": None}] * 3
    lines = list(told(Source(path=write(tmp_path / "rows.jsonl", rows))))
    assert any("none of the first 3 rows has a schema that is known" in line for line in lines)
    assert recipe_of(lines, tmp_path)[0].fields == {"question": "problem_text", "gold": "label"}


def test_rows_for_a_checker_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def check(completion, row):\n    return row['tests'] in completion\n")
    rows = [{"question": f"{ASKED} And {n}?", "tests": str(n)} for n in range(5)]
    source = Source(path=write(tmp_path / "rows.jsonl", rows), answers=f"python:{tmp_path / 'own.py'}")
    text = "\n".join(told(source))
    assert "Adapter problem" in text and "kept for problems: 5" in text


def test_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    command = [sys.executable, "-m", "components.standardize", "inspect", path]
    done = subprocess.run(
        [*command, "--field", "question=task.text", "--field", "gold=task.keys.0"], capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr
    assert "kept for problems: 20" in done.stdout and "task" in done.stdout and "100%" in done.stdout

    done = subprocess.run([*command, "--field", "gold"], capture_output=True, text=True)
    assert done.returncode == 2 and "--field gold: write NAME=PLACE" in done.stderr
    done = subprocess.run([*command[:-1], str(tmp_path / "none.jsonl")], capture_output=True, text=True)
    assert done.returncode == 2 and "does not exist" in done.stderr and "Traceback" not in done.stderr
