"""Publish the SFT conversations of a run, with a card of their own, to the registry and, if asked, to the Hub."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData

from components.lib import machine
from components.lib.answers.final import in_form
from components.lib.files import read_jsonl, sha256, write_json, write_text
from components.lib.model.names import from_hub
from components.lib.recipe.schema import Form, Recipe
from components.lib.recipe.settings import plain
from components.lib.registry.base import MANIFEST
from components.lib.registry.plan import Plan
from components.lib.registry.store import open_store
from components.lib.reporting import escape
from components.lib.reporting.table import markdown

BY_SOURCE = "by-source"  # the licence's name where the sources have their own
_TEXT = """
# SFT conversations of {title}

{rows} conversations that taught a model to reason before it answers, put into one form from the sources below.
Each row: `messages` (system, user, assistant with one `<think>` block and, where the answer is known, a last line
`{form}`), `gold` with its kind (`answers`), and where it comes from (`source`, `index`, `revision`, `licence`).

{sources}

Rows that were broken, too long, contradicted their gold answer, or overlap with the evaluation problems are left
out. Each source keeps its own licence; where one is unknown, ask its owner before you build on it.
"""


def push_dataset(*, data: Path, plan: Plan, registry: str, run_id: str, recipe: Recipe) -> dict[str, str]:
    """Publish data/sft.jsonl under datasets/<version>/ and to the data set of `recipe.hub_repos`, if there is one.

    `data` is what `standardize` wrote by the recipe. Returns "version", "location" and "url" (empty
    without a Hub repo). The version is derived from the rows, so pushing them again changes nothing. `ValueError` if
    there are no rows.
    """
    store, repo = open_store(registry), recipe.hub_repos.get("dataset", "")
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "dataset"
        made = plain(recipe.standardize)
        origin = {"run_id": run_id, "seed": plan.rows_seed, "settings": made, "commit": machine.commit()}
        version = build_dataset(tree, data=data, plan=plan, title=repo or run_id, origin=origin)
        prefix = f"datasets/{version}"
        if store.read_json(f"{prefix}/{MANIFEST}") is None:
            store.put_tree(prefix, tree)
        url = ""
        if repo:
            from components.push.hub import push_to_hub

            held = tree.with_name("held")
            store.get_tree(prefix, held)  # what another run of the same rows has pushed, if it was first
            private = recipe.push.private
            url = push_to_hub(held, repo=repo, kind="dataset", private=private, version=version, run_id=run_id)
    return {"version": version, "location": store.url(prefix), "url": url}


def build_dataset(out: Path, *, data: Path, plan: Plan, title: str, origin: Mapping[str, Any]) -> str:
    """Write sft.jsonl, README.md and provenance.json to the new directory `out`; returns the version.

    provenance.json says where the rows come from, `origin` how they were made, and the hash of every other file.
    """
    counts = Counter((row["source"], row["revision"], row["licence"]) for row in read_jsonl(data / "sft.jsonl"))
    if not counts:
        raise ValueError(f"{data / 'sft.jsonl'} is empty; there is nothing to push")
    out.mkdir(parents=True)
    shutil.copyfile(data / "sft.jsonl", out / "sft.jsonl")
    paths = {source.label: source.path for source in plan.sources}
    sources: list[dict[str, Any]] = [
        {"name": name, "path": paths.get(name, ""), "revision": revision, "licence": licence, "rows": count}
        for (name, revision, licence), count in counts.items()
    ]
    write_text(out / "README.md", _card(sources, title, plan.form))
    files = {path.name: sha256(path) for path in sorted(out.iterdir())}
    version = f"d{files['sft.jsonl'][:12]}"
    write_json(out / "provenance.json", {"version": version, "sources": sources, **origin, "files": files})
    return version


def _card(sources: list[dict[str, Any]], title: str, form: Form) -> str:
    licences = {source["licence"] for source in sources}
    licence = licences.pop() if len(licences) == 1 else "other"
    card = DatasetCardData(
        license=licence,
        license_name=BY_SOURCE if licence == "other" else None,
        language="en",
        task_categories=["text-generation"],
        source_datasets=sorted({s["path"] for s in sources if from_hub(s["path"], s["revision"])}) or None,
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "sft.jsonl"}]}],
    )
    head = ("source", "where", "revision", "licence", "rows")
    rows = [(s["name"], escape.code(s["path"]), escape.code(s["revision"]), s["licence"], s["rows"]) for s in sources]
    total = sum(s["rows"] for s in sources)
    text = _TEXT.format(
        title=escape.markdown(title), rows=total, sources=markdown("llllr", head, rows),
        form=in_form("ANSWER", form),
    )  # fmt: skip
    return f"---\n{card.to_yaml()}\n---\n{text}"
