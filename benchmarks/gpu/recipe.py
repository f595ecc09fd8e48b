"""The tiny recipe on this device, by the steps' own commands."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.child import Place
from components.lib.files import read_json

DRY = {
    "sft": ("max_steps=1",), "grpo": ("max_steps=1", "max_new_tokens=4"),
    "evaluate": ("problems=4", "gate_problems=4", "max_new_tokens=4"),
}  # fmt: skip


def recipe(place: Place) -> Iterator[dict[str, Any]]:
    """Seconds of each step, and the accuracy before and after GRPO."""
    where = place.directory / "recipe"
    for step, told in commands(where).items():
        began = time.perf_counter()
        name = step.partition(" ")[0]
        command = [sys.executable, "-m", f"components.{name}", "--recipe", "tiny", "--seed", "0", *told]
        for change in place.of((), DRY.get(name, ())):
            command += ["--set", change]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        print(done.stdout, flush=True)
        if done.returncode:
            raise SystemExit(f"{step} ended with status {done.returncode}: {done.stdout.strip().splitlines()[-1:]}")
        row = {"what": step, "s": round(time.perf_counter() - began, 1)}
        yield row | (accuracy(where / step.replace(" ", "-")) if step.startswith("evaluate") else {})


def commands(where: Any) -> dict[str, list[str]]:
    """The flags of each step: SFT, GRPO, and the evaluation of both results."""
    data = ["--data", str(where / "data")]
    found = {"standardize": ["--model", "tiny", "--output", str(where / "data")]}
    for stage, model in (("sft", "tiny"), ("grpo", str(where / "sft"))):
        found[stage] = [*data, "--model", model, "--revision", "main", "--model-out", str(where / stage)]
        found[stage] += ["--curves-out", str(where / f"{stage}-curves")]
    for stage in ("sft", "grpo"):
        told = ["--model", str(where / stage), "--revision", "main", "--checkpoint", stage]
        found[f"evaluate {stage}"] = [*data, *told, "--out", str(where / f"evaluate-{stage}")]
    return found


def accuracy(out: Any) -> dict[str, Any]:
    """The accuracies that an evaluation has written down, by split and protocol."""
    results = read_json(out / "summary.json")["results"]
    return {f"{one['split']}/{one['protocol']}": round(one["accuracy"], 3) for one in results}
