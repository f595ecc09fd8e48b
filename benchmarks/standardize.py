"""Peak memory and speed of standardize with near duplicates on: `python benchmarks/standardize.py 10000 1000000`.

For each count it generates that many rows, half problems and half conversations of about 45 and 150 words, one in a
hundred a near duplicate and one in a hundred an exact one, standardises them in a process of its own, and prints
rows, seconds, rows per second, peak resident memory in MiB and the reasons found.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from components.lib.recipe import recipes

WORDS = [a + b + c for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u") for c in ("n", "r", "s", "l", "m", "")]
DAMAGE = 100  # one row in so many is a copy, one a near copy


def main() -> None:
    """Measure each count that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="+")
    parser.add_argument("--folder", type=Path, help="where the files go, and stay")
    arguments = parser.parse_args()
    for count in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(count, arguments.folder or Path(folder))), flush=True)


def measure(count: int, folder: Path) -> dict[str, object]:
    """Generate `count` rows, standardise them, and say what it took."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "problems.jsonl", problems(count // 2, seed=1))
    _write(folder / "chat.jsonl", conversations(count - count // 2, seed=2))
    _write(folder / "test.jsonl", problems(1319, seed=3))
    sources = [
        {"name": "problems", "path": str(folder / "problems.jsonl"), "adapter": "gsm8k"},
        {"name": "chat", "path": str(folder / "chat.jsonl"), "adapter": "chat"},
    ]
    (folder / "sources.json").write_text(json.dumps(sources), encoding="utf-8")
    command = [
        sys.executable, "-m", "components.standardize", "--sources", str(folder / "sources.json"),
        "--evaluation", str(folder / "test.jsonl"), "--output", str(folder / "out"),
    ]  # fmt: skip
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=sys.stderr, env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)  # of this process alone, not the most of all before it
    if status:
        raise SystemExit(f"standardize ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.monotonic() - start
    summary = json.loads((folder / "out" / "summary.json").read_text("utf-8"))
    return {
        "rows": count, "seconds": round(seconds, 1), "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "rows_per_second": round(count / seconds), "peak_mib": round(used.ru_maxrss / 1024, 1),
        "similarity": recipes.QWEN.standardize.duplicate_similarity,
        "kept": summary["rows"], "refused": summary["refused"],
    }  # fmt: skip


def problems(count: int, seed: int) -> Iterator[dict[str, object]]:
    """Rows in GSM8K's schema."""
    source = random.Random(seed)
    question = ""
    for number in range(count):
        kind = number % DAMAGE
        if kind == 1:
            question = question.upper()
        elif kind == 2:
            question = f"{question} please"
        else:
            question = _text(source, 45)
        gold = source.randrange(10_000)
        yield {"question": question, "answer": f"{_text(source, 30)}\n<<{gold}+0={gold}>>{gold}\n#### {gold}"}


def conversations(count: int, seed: int) -> Iterator[dict[str, object]]:
    """Rows of chats with a think block."""
    source = random.Random(seed)
    question = trace = ""
    for number in range(count):
        kind = number % DAMAGE
        if kind == 2:
            trace = f"so {trace}"
        elif kind != 1:
            question, trace = _text(source, 40), _text(source, 150)
        assistant = f"<think>\n{trace}\n</think>\n\n#### {source.randrange(10_000) if kind > 2 else 7}"
        yield {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": assistant}]}


def _text(source: random.Random, words: int) -> str:
    length = source.randrange(words // 2, words * 3 // 2)
    chosen = source.choices(WORDS, k=length)
    for place in range(0, length, 12):
        chosen[place] = str(source.randrange(1, 1000))
    return " ".join(chosen)


def _write(path: Path, rows: Iterator[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
