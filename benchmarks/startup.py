"""How long a training's worker and an evaluation take to begin and to end, with and without Python's garbage collector.

Run `OMP_NUM_THREADS=1 python benchmarks/startup.py --output benchmarks/startup.md`. Each figure is the wall time of a
process of its own that imports what such a process imports and ends; both kinds take turns, and the fastest counts.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.grpo import commit
from benchmarks.shapes import machine
from components.lib.files import write_text

ROOT, ROUNDS = Path(__file__).parents[1], 8
QWEN = "import transformers.models.qwen3_5.modeling_qwen3_5"
# What is imported -> the same, as the product does it.
PROCESSES = {
    "a training's worker": (
        "import components.lib.training.worker, components.sft.train",
        "from components.lib import ending\nfrom components.lib.uncollected import uncollected\n"
        "with uncollected(): import components.lib.training.worker, components.sft.train",
    ),
    "an evaluation": (
        f"import components.evaluate.evaluate\n{QWEN}",
        f"from components.lib import ending\nimport components.evaluate.evaluate\n{QWEN}",
    ),
}
AS_PYTHON = "import atexit, gc\natexit.unregister(gc.freeze)\n"  # of what imports lib/ending.py


def main() -> None:
    """Measure, print the table in Markdown, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    asked = parser.parse_args()
    text = report()
    print(text)
    if asked.output:
        write_text(asked.output, text)


def report() -> str:
    """The table, with what it was measured on."""
    lines = [
        "# To begin and to end", "",
        "Seconds of a process that imports what it needs and ends, as Python does it and without its garbage collector "
        f"(lib/uncollected.py, lib/ending.py); the fastest of {ROUNDS} each, in turn. {machine()}, commit "
        f"{commit()}. `OMP_NUM_THREADS=1 python benchmarks/startup.py`", "",
        "| | as Python does it | without the collector | saved |", "|---|---:|---:|---:|",
    ]  # fmt: skip
    for name, (plain, ours) in PROCESSES.items():
        before, after = fastest(plain + "\n" + AS_PYTHON, ours)
        lines.append(f"| {name} | {before:.2f} | {after:.2f} | {1 - after / before:.0%} |")
    return "\n".join([*lines, ""])


def fastest(*programs: str) -> list[float]:
    """Seconds of the fastest run of each program."""
    found = [[seconds(program) for program in programs] for _ in range(ROUNDS)]
    return [min(column) for column in zip(*found, strict=True)]


def seconds(program: str) -> float:
    """Seconds of a process that runs this program."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
