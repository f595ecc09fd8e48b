"""The main job at its true size on this GPU, in minutes: `python -m benchmarks.gpu --output FILE`.

Each part is a process of its own with a time limit, and prints one JSON line as it ends; a Markdown table comes last.
On a machine that has torch and little else, the rest comes from build/gpu (benchmarks/gpu/packages.py). Weights are
made on the device at random. `--device cpu` runs every part on the embedded model, to see that it runs.
"""

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu import packages
from benchmarks.gpu.child import work

LEAST_S = 15  # a part is not begun with less


@dataclass(frozen=True)
class Part:
    """A function of benchmarks/gpu, its limit, and whether it makes fla's backward pass."""

    name: str
    module: str
    limit_s: int
    backward: bool = False


# In the order of their value: what does not fit the minutes is left out.
PARTS = (
    Part("weights", "decoding", 60), Part("kernels", "kernels", 120, True), Part("decoding", "decoding", 150),
    Part("step", "training", 150, True), Part("passes", "training", 90, True), Part("recipe", "recipe", 150, True),
    Part("precision", "decoding", 45), Part("capped", "training", 90, True), Part("reference", "training", 100, True),
)  # fmt: skip


@dataclass
class Result:
    """How a part ended, and the rows that it measured: `what`, and values by name."""

    part: str
    status: str = "not run"  # done, failed, out of time
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    remark: str = ""


def main() -> int:
    """Run the parts, print the table, and write it if asked; status 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts (default: 8)")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="these parts alone")
    parser.add_argument("--packages", type=Path, default=packages.FOLDER, help="folder (default: build/gpu)")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    asked = parser.parse_args()
    if asked.output:
        asked.output.parent.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * asked.minutes
    with TemporaryDirectory() as scratch:
        site = Path(scratch) / "site-packages"  # dill, which datasets uses, takes no other name for one
        if asked.device == "cuda":  # the dry run is for the environment at hand
            packages.unpack(asked.packages, site)
        os.environ.setdefault("TRITON_CACHE_DIR", f"{scratch}/triton")
        os.environ["HF_HUB_OFFLINE"] = "1"
        path = [str(site), *sys.path]
        # With a GPU a process must not be a fork of one that has looked at it; without, the libraries are read once.
        context = multiprocessing.get_context("spawn" if asked.device == "cuda" else "forkserver")
        if asked.device == "cpu":
            context.set_forkserver_preload(["benchmarks.gpu.training"])
        run = Run(context, asked.device, Path(scratch))
        machine = run.part(Part("machine", "machine", 120), path, ends)
        found = machine.rows[0] if machine.rows else {}
        timing_only = bool(found.get("fla_refuses"))
        if timing_only:
            packages.without_check(site, Path(scratch) / "timing-only")
        wanted = [part for part in PARTS if part.name in (asked.only or [part.name]) and found]
        results = [machine]
        for part in wanted:
            first = [f"{scratch}/timing-only"] if timing_only and part.backward else []
            results.append(run.part(part, [*first, *path], ends, "timing only" if first else ""))
    text = table(results, found)
    print(text, flush=True)
    if asked.output:
        asked.output.write_text(text, "utf-8")
    return int(any(result.status in ("failed", "out of time") for result in results))


@dataclass
class Run:
    """What the parts of one run share."""

    context: Any
    device: str
    scratch: Path

    def part(self, part: Part, path: list[str], ends: float, remark: str = "") -> Result:
        """Run one part in a process of its own, and print its line."""
        began, result = time.monotonic(), Result(part.name, remark=remark)
        if ends - began >= LEAST_S:
            rows, log = self.scratch / f"{part.name}.jsonl", self.scratch / f"{part.name}.log"
            sys.path[:] = path
            os.environ["PYTHONPATH"] = os.pathsep.join(path)
            arguments = (part.module, part.name, self.device, self.scratch, path)
            process = self.context.Process(target=work, args=arguments)
            process.start()
            try:
                process.join(min(part.limit_s, ends - began))
                result.status = {None: "out of time", 0: "done"}.get(process.exitcode, "failed")
            finally:
                end(process)
            if rows.exists():
                result.rows = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
            lines = log.read_text("utf-8", errors="replace").split("\n") if log.exists() else []
            if result.status != "done":
                result.error = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")[:400]
                result.error = f"{result.error} (status {process.exitcode})"
        result.seconds = round(time.monotonic() - began, 1)
        print(json.dumps(asdict(result)), flush=True)
        return result


def end(process: Any) -> None:
    """End a part with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()  # it has not yet made a group of its own, or has ended
    process.join()


def table(results: list[Result], machine: dict[str, Any]) -> str:
    """The results in Markdown, with what they were measured on."""
    where = ", ".join(f"{machine.get(name, '?')}" for name in ("card", "torch", "triton", "kernels"))
    lines = [
        f"{where}, commit {commit()}. Random weights; `python -m benchmarks.gpu`.", "",
        "| part | what | measured | remark |", "|---|---|---|---|",
    ]  # fmt: skip
    for result in results:
        if result.part == "machine" and result.status == "done":
            continue
        for row in result.rows:
            values = ", ".join(f"{name} {value}" for name, value in row.items() if name != "what")
            lines.append(f"| {result.part} | {row['what']} | {values} | {result.remark} |")
        if result.status != "done":
            error = result.error.replace("|", "/")
            lines.append(f"| {result.part} | | {result.status} | {error} |")
    seconds = ", ".join(f"{result.part} {result.seconds:.0f}" for result in results if result.status != "not run")
    return "\n".join([*lines, "", f"Seconds of the parts, with start and tuning: {seconds}.", ""])


def commit() -> str:
    """The commit, from the variable that images have, else from git."""
    if told := os.environ.get("GRPO_COMMIT"):
        return told
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=packages.ROOT, capture_output=True, encoding="utf-8")
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
