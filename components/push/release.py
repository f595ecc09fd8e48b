"""The release tree: the files that a registry and a Hub repository hold of one model, in one layout.

```
*.safetensors                 weights in bfloat16
config.json, tokenizer*, chat_template.jinja, generation_config.json
README.md, .eval_results/     model card and scores
evaluation/items.jsonl        every answer of the released checkpoint
evaluation/gate.jsonl         those of the gate split, which the next candidate is compared with
results.json                  accuracy of all checkpoints
provenance.json               revisions, settings, decision, machines, packages, seed, hash of every other file
```
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from components.lib.answers.kinds import answers_of
from components.lib.files import read_jsonl, read_object, sha256, write_json, write_jsonl
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import plain
from components.lib.registry.plan import Plan
from components.push.card import write_card
from components.push.weights import convert_weights

MODEL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")  # besides the weights
NOT_RELEASED = ("model.safetensors.index.json", "trainer_state.json")  # the first is written with the weights
GATE_ITEMS = "evaluation/gate.jsonl"


def build_release(
    out: Path, *, model: Path, evaluation: Path, results: Path, plan: Plan, recipe: Recipe, fingerprint: str,
    run_id: str, origin: dict[str, Any], data_url: str,
) -> str:  # fmt: skip
    """Write the release tree of `model` to the new directory `out`; returns its version.

    `model` is a save_pretrained directory, `evaluation` what `evaluate` wrote of it, `results` the directory that
    `compare` wrote (or its results.json), `origin` is added to the provenance. The version is `v` and the first
    12 digits of a hash over the model's own files, so that the same weights are always the same version.
    `ValueError` says what is missing.
    """
    out.mkdir(parents=True)
    copy_model(model, out)
    version = version_of(out)
    found = read_object(results / "results.json" if results.is_dir() else results)
    scores = found["results"] + [row for row in found.get("sources", []) if row["split"] == "evaluation"]
    items = list(read_jsonl(evaluation / "items.jsonl"))
    if not items:
        raise ValueError(f"{evaluation / 'items.jsonl'} is empty; evaluate the model before it is pushed")
    candidate = items[0]["checkpoint"]
    if not any(entry["checkpoint"] == candidate for entry in scores):
        raise ValueError(f"{results} has no entry of checkpoint {candidate!r}; compare the same run's evaluations")
    write_jsonl(out / "evaluation" / "items.jsonl", items)
    write_jsonl(out / GATE_ITEMS, (row for row in items if row["split"] == "gate"))
    write_json(out / "results.json", {"results": scores})
    write_card(
        out, plan=plan, recipe=recipe,
        results=scores, candidate=candidate, run_id=run_id, origin=origin, data_url=data_url,
        instruction=read_object(evaluation / "summary.json").get("instruction", "system turn"),
        kinds=list(dict.fromkeys(map(answers_of, items))), handed_on=found.get("handed_on", ""),
    )  # fmt: skip
    write_json(out / "provenance.json", provenance(out, plan, recipe, fingerprint, run_id, version) | origin)
    return version


def copy_model(model: Path, out: Path) -> None:
    """Copy a model's files to `out`, the weights in bfloat16; `ValueError` if one that it needs is missing."""
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if not (model / name).is_file():
            raise ValueError(f"{model} has no {name}; save model and tokenizer with save_pretrained")
    if not (model / "chat_template.jinja").is_file() and "chat_template" not in read_object(
        model / "tokenizer_config.json"
    ):
        raise ValueError(f"{model} has no chat template; save the tokenizer that the model was trained with")
    convert_weights(model, out)
    for pattern in MODEL_FILES:
        for path in sorted(model.glob(pattern)):
            if path.name not in NOT_RELEASED:
                shutil.copyfile(path, out / path.name)
    write_json(out / "config.json", _in_bfloat16(read_object(model / "config.json")))


def version_of(tree: Path) -> str:
    """The version of the model files in a directory."""
    lines = [f"{path.name} {sha256(path)}\n" for path in sorted(tree.iterdir()) if path.is_file()]
    return "v" + hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def provenance(tree: Path, plan: Plan, recipe: Recipe, fingerprint: str, run_id: str, version: str) -> dict[str, Any]:
    """Where a release comes from: inputs at their revisions, settings, seed, and the hash of every file so far."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    return {
        "version": version,
        "run_id": run_id,
        "fingerprint": fingerprint,
        "seed": plan.seed,
        "plan": _plain(plan.hashed()),
        "recipe": _plain(recipe),
        "files": {path.relative_to(tree).as_posix(): sha256(path) for path in files},
    }


def _in_bfloat16(config: dict[str, Any]) -> dict[str, Any]:
    """A model's config with its dtype, and that of the configs inside it, set to bfloat16."""
    changed = {key: _in_bfloat16(value) if isinstance(value, dict) else value for key, value in config.items()}
    for name in ("dtype", "torch_dtype"):
        if name in changed:
            changed[name] = "bfloat16"
    if "model_type" in config and "torch_dtype" not in config:
        changed["dtype"] = "bfloat16"
    return changed


def _plain(settings: Any) -> Any:
    return plain(settings)
