"""What the tests of standardize share: rows of every schema, files of them, and a run over such files."""

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from components import recipes
from components.plan import Plan
from components.schema import Source
from components.standardize.standardize import standardize
from components.tiny.problems import rows

FILES = ("sft", "problems", "plateau", "gate", "evaluation", "rejects")
SETTINGS = recipes.QWEN.standardize
SCHEMA = {"chat": "chat", "thinking-solution": "thinking-solution", "prompt-completion": "prompt-completion",
          "gsm8k": "problems"}  # fmt: skip

Row = dict[str, Any]
Outputs = dict[str, list[Row]]


def good(adapter: str, count: int, seed: int = 0) -> list[Row]:
    """`count` sound rows for an adapter, each with its own question."""
    return json.loads(json.dumps(list(islice(rows(SCHEMA[adapter], seed), count))))


def evaluation(count: int = 5) -> list[Row]:
    """`count` evaluation rows."""
    return list(islice(rows("evaluation", 0), count))


def lines(found: Iterable[Row]) -> bytes:
    """Rows as JSON Lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in found)


def write(path: Path, found: Iterable[Row]) -> str:
    """Write rows as JSON Lines; returns the path as a source wants it."""
    path.write_bytes(lines(found))
    return str(path)


def run(folder: Path, *sources: Source, test: list[Row] | None = None, seed: int = 0, **settings: Any) -> Outputs:
    """Standardise `sources` with the settings of the qwen recipe, changed by `settings`; returns the rows of all files.

    No model is named: tokens are estimated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    test_file = write(folder / "test.jsonl", test or evaluation())
    plan = Plan(
        model="", revision="main", seed=seed, sources=sources,
        evaluation=(Source(path=test_file, name="test", adapter="gsm8k"),),
    )  # fmt: skip
    standardize(plan=plan, settings=replace(SETTINGS, **settings), out=folder / "out")
    return read(folder / "out")


def read(out: Path) -> Outputs:
    """The rows of every file."""
    found = {}
    for name in FILES:
        text = (out / f"{name}.jsonl").read_bytes().decode()
        found[name] = [json.loads(line) for line in text.split("\n")[:-1]]
    return found


def reasons(found: Outputs, source: str) -> dict[int, str]:
    """Index -> reason of a source's refused rows."""
    return {row["index"]: row["reason"] for row in found["rejects"] if row["source"] == source}


def kept(found: Outputs, source: str) -> set[int]:
    """The indices of a source's rows that were kept."""
    return {row["index"] for name in FILES[:-1] for row in found[name] if row["source"] == source}
