"""A finished run, small and without training: what `push` takes, made of the embedded tiny model or a fake one."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from components import recipes
from components.files import write_json, write_jsonl
from components.models import model_directory
from components.plan import Plan
from components.settings import to_json

HUB_REPO = "tester/reasoner"


def make_run(
    directory: Path, *, registry: str, hub_repo: str = "", seed: int = 0, model: Path | None = None
) -> dict[str, Any]:
    """The keyword arguments of a `push` by hand for a run of recipe qwen3.5-0.8b whose files lie in `directory`."""
    if model is None:
        model = directory / "model"
        write_model(model, seed)
    write_evaluation(directory / "evaluation")
    write_json(directory / "results" / "results.json", {"results": [entry("base", 0.2), entry("grpo", 0.6)]})
    settings = replace(recipes.QWEN.push, hub_repo=hub_repo)
    recipe = replace(recipes.QWEN, push=settings)
    plan = Plan(
        model=recipe.model, revision="b" * 40, seed=seed,
        sources=tuple(replace(source, revision="c" * 40) for source in recipe.sources),
        evaluation=tuple(replace(source, revision="d" * 40) for source in recipe.evaluation),
    )  # fmt: skip
    return {
        "model": model, "evaluation": directory / "evaluation", "results": directory / "results", "plan": plan,
        "data": None, "decision": None,
        "recipe": to_json(recipe), "fingerprint": f"fingerprint-{seed}", "registry": registry,
        "run_id": f"run-{seed}", "settings": settings, "by_hand": True,
    }  # fmt: skip


def write_model(out: Path, seed: int) -> None:
    """A model directory with the tiny model's tokenizer and configs, and random float32 weights in two shards."""
    shutil.copytree(
        model_directory("tiny", "main"), out, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True
    )
    random = np.random.default_rng(seed)
    weights = {name: random.normal(size=(64, 64)).astype(np.float32) for name in ("first", "second", "third")}
    ids = np.arange(7, dtype=np.int64)
    save_file({"first": weights["first"], "ids": ids}, out / "model-00001-of-00002.safetensors", {"format": "pt"})
    save_file({name: weights[name] for name in ("second", "third")}, out / "model-00002-of-00002.safetensors")
    index = {"first": 1, "ids": 1, "second": 2, "third": 2}
    write_json(
        out / "model.safetensors.index.json",
        {
            "metadata": {"total_size": 1},
            "weight_map": {k: f"model-0000{v}-of-00002.safetensors" for k, v in index.items()},
        },
    )
    write_json(out / "trainer_state.json", {"not": "released"})


def write_evaluation(out: Path, right: int = 60) -> None:
    """What `evaluate` writes of a model that solves the first `right` of 100 problems of each split."""
    rows = [
        {
            "checkpoint": "grpo", "split": split, "protocol": "zero-shot", "id": f"{split}{number}", "sample": 0,
            "prompt_sha256": f"{number}", "question": "?", "gold": "42", "completion": "#### 42", "prefilled": True,
            "tokens": 3, "finish_reason": "stop", "sampling": "greedy", "answer": "42",
            "correct": number < right, "think_ok": True, "answer_marked": True, "unparsed": False,
        }
        for split in ("evaluation", "gate")
        for number in range(100)
    ]  # fmt: skip
    write_jsonl(out / "items.jsonl", rows)
    write_json(out / "summary.json", {"results": []})


def entry(checkpoint: str, accuracy: float) -> dict[str, Any]:
    """One entry of results.json."""
    return {
        "checkpoint": checkpoint, "protocol": "zero-shot", "n": 100, "correct": round(accuracy * 100),
        "accuracy": accuracy, "interval": [accuracy - 0.1, accuracy + 0.1],
        "p_value": None if checkpoint == "base" else 1e-6,
    }  # fmt: skip
