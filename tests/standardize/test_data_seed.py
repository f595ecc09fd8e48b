"""The seed of the data, apart from that of the run: it alone decides rows and splits."""

import pytest

from components.evaluate import evaluate as stage
from components.lib.files import write_jsonl
from components.lib.recipe import recipes
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import from_dict, replace
from components.lib.registry.plan import Plan
from components.lib.tiny.problems import rows
from components.standardize.standardize import standardize

SPLITS = ("problems", "plateau", "gate")


def made(tmp_path, seed, data_seed):
    """The splits that these seeds give of 200 problems."""
    for name in ("problems", "evaluation"):
        write_jsonl(tmp_path / f"{name}.jsonl", [row for row, _ in zip(rows(name, 0), range(200), strict=False)])
    problems, evaluation = (Source(path=f"{tmp_path}/{n}.jsonl", adapter="gsm8k") for n in ("problems", "evaluation"))
    chat = recipes.TINY.sources[0]
    plan = Plan(
        model="", revision="", sources=(problems, replace(chat, cap=20)), evaluation=(evaluation,), seed=seed,
        data_seed=data_seed,
    )  # fmt: skip
    out = tmp_path / f"{seed} {data_seed}"
    standardize(plan=plan, settings=replace(recipes.TINY.standardize, gate_share=0.3, plateau_share=0.2), out=out)
    return [(out / f"{split}.jsonl").read_bytes() for split in SPLITS]


def test_the_data_seed_decides_rows_and_splits_and_is_the_runs_own_by_default(tmp_path):
    first = made(tmp_path, 0, -1)
    assert first == made(tmp_path, 5, 0) != made(tmp_path, 5, -1)
    older = {"model": "", "revision": "", "sources": [], "evaluation": [], "seed": 3}
    assert recipes.TINY.data_seed == -1 and from_dict(Plan, older).rows_seed == 3


def test_the_data_seed_chooses_the_exemplars(tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(stage, "_exemplars", lambda *given: chosen.append(given[-1]) or ({}, ["none"]))
    asked = [{"question": "?", "hash": "0", "id": "0", "gold": "1"}]
    for split in ("evaluation", "gate"):
        write_jsonl(tmp_path / f"{split}.jsonl", asked)
    for data_seed in (None, 0):
        with pytest.raises(ValueError, match="nothing is left to ask"):
            stage.plan_requests(None, "", tmp_path, 7, recipes.TINY.evaluate, data_seed)
    assert chosen == [7, 7, 7, 0, 0, 0]
