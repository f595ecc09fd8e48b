"""Every family goes the whole way: SFT, GRPO, evaluation, export, and loaded again by transformers alone."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: no model is made")
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.evaluate.evaluate import evaluate
from components.lib.data.tokens import Tokens
from components.lib.files import read_json, read_jsonl, write_jsonl
from components.lib.generation import prompts
from components.lib.generation.decode import Decoder, Row
from components.lib.generation.fit import fit
from components.lib.generation.loading import check_cache, load_model, load_tokenizer
from components.lib.model.ends import ends_of
from components.lib.model.tokens import added_ids
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace
from components.push.weights import convert_weights
from components.sft.train import tokenize
from tests.fixtures.families import FAMILIES, STATEFUL
from tests.lib.training.runs import run_grpo, run_sft

SFT = replace(
    TINY.sft, max_steps=2, batch_size=4, micro_batch_size=2, warmup_steps=1, learning_rate=1e-2, max_tokens=1024
)
GRPO = replace(
    TINY.grpo, max_steps=1, prompts_per_step=2, generations=2, micro_batch_size=2, max_new_tokens=8, warmup_steps=0,
    plateau_steps=0, beta=0.0, learning_rate=1e-2, scale_rewards="none", think_weight=1.0,
)  # fmt: skip
EVALUATE = replace(TINY.evaluate, protocols=("zero-shot",), problems=3, gate_problems=2, max_new_tokens=8)
EAGER = {"bloom", "gemma2", "gpt_oss", "mamba2"}  # whose classes have no sdpa


@pytest.fixture(scope="module")
def small(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the shared rows, with problems to evaluate."""
    out = tmp_path_factory.mktemp("families-data")
    write_jsonl(out / "sft.jsonl", list(read_jsonl(data / "sft.jsonl"))[:8])
    problems = [row | {"hash": row["id"]} for row in read_jsonl(data / "problems.jsonl")]
    for number, name in enumerate(("problems", "plateau", "evaluation", "gate")):
        write_jsonl(out / f"{name}.jsonl", problems[4 * number : 4 * number + 4])
    return out


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_goes_the_whole_way(family, small, tmp_path, capfd):
    base = family.build(tmp_path / "base")
    found = fit(base, family.name, [prompts.system_prompt("marker", "number")])
    names = {number: token for token, number in added_ids(base).items()}
    assert found.ends.taught == family.taught and {names[number] for number in found.ends.ids} == family.ends
    assert bool(found.system) is not family.system and found.prefilled is family.prefilled
    assert bool(found.ends.ignored) is (family.name in ("mistral", "olmo2", "glm4"))

    rows, tokenizer = [row["messages"] for row in read_jsonl(small / "sft.jsonl")], load_tokenizer(base)
    taught = [len(tokenize(tokenizer, messages, family.taught)["input_ids"]) for messages in rows]
    assert [sum(pair) for pair in Tokens(str(base), "").count(rows)] == taught, "standardize counts what SFT trains on"

    numbers = run_sft(small, tmp_path / "sft", SFT, base)
    assert numbers["steps"] == 2 and numbers["conversations"] == 8
    said = capfd.readouterr().out
    assert ("has no sdpa attention" in said) is (family.name in EAGER)
    sft = tmp_path / "sft" / "model"
    assert run_grpo(small, tmp_path / "grpo", GRPO, sft)["steps"] == 1
    grpo = tmp_path / "grpo" / "model"

    base_ends = ends_of(base)
    for checkpoint, model in (("base", base), ("sft", sft), ("grpo", grpo)):
        assert set(ends_of(model).ids) == set(base_ends.ids), "one rule for all checkpoints of a run"
        out = tmp_path / f"{checkpoint}-items"
        evaluate(model=str(model), revision="", checkpoint=checkpoint, data=small, out=out, checkpoints=None, seed=0,
                 settings=EVALUATE)  # fmt: skip
        assert len(list(read_jsonl(out / "items.jsonl"))) == 5
    assert set(read_json(grpo / "generation_config.json")["eos_token_id"]) == set(base_ends.ids)

    exported = tmp_path / "exported"
    exported.mkdir()
    convert_weights(grpo, exported)
    for path in grpo.iterdir():
        if path.suffix != ".safetensors":
            (exported / path.name).write_bytes(path.read_bytes())
    _speaks_alike(grpo, exported)
    _decodes_as_transformers_does(grpo)


@pytest.mark.parametrize("family", STATEFUL, ids=lambda family: family.name)
def test_what_cannot_go_on_from_a_cache_is_refused(family, small, tmp_path):
    base = family.build(tmp_path / "base")
    for train, settings in ((run_sft, SFT), (run_grpo, GRPO)):
        with pytest.raises(ValueError, match=r"cannot be decoded token by token|not compatible with `past_key_values`"):
            train(small, tmp_path / train.__name__, settings, base)


def test_a_cache_that_is_not_read_is_found(tmp_path):
    """As of a model type that takes the argument and forgets it."""
    model = load_model(FAMILIES[0].build(tmp_path / "base"), torch.float32)
    check_cache(model)
    honest = model.forward

    def forgetful(input_ids=None, past_key_values=None, use_cache=None, **others):
        return honest(input_ids=input_ids, **others)

    model.forward = forgetful
    with pytest.raises(ValueError, match=r"LlamaForCausalLM gives other scores when it goes on from its cache"):
        check_cache(model)


def _decodes_as_transformers_does(directory: Path) -> None:
    """Greedy completions of prompts of several lengths together, token by token."""
    model, tokenizer = load_model(directory, torch.float32).eval(), load_tokenizer(directory)
    texts = ["Tom has 7 cards.", "Tom has 7 cards. How many cards now?", "#### 7"]
    rows = [Row(tokenizer(text, add_special_tokens=False)["input_ids"], lambda written: "") for text in texts]
    Decoder(limit=8, temperature=0.0).decode(model, rows, torch.Generator())
    model.generation_config.eos_token_id = None
    for row in rows:
        made = model.generate(torch.tensor([row.prompt]), max_new_tokens=8, pad_token_id=0)
        assert made[0, len(row.prompt) :].tolist() == row.written


def _speaks_alike(trained: Path, exported: Path) -> None:
    """Both give nearly the same scores, and the exported one stops by itself at any of its ends."""
    tokenizer = AutoTokenizer.from_pretrained(exported)
    ids = tokenizer("Tom has 7 cards.", return_tensors="pt")["input_ids"]
    models = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval() for path in (trained, exported)]
    with torch.no_grad():
        one, other = (model(ids).logits for model in models)
    assert torch.allclose(one, other, atol=0.1), (one - other).abs().max()
    model, last = models[1], models[1].generation_config.eos_token_id[-1]

    def only_the_last_end(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, -1.0).index_fill(1, torch.tensor([last]), 1.0)

    made = model.generate(ids, max_new_tokens=4, logits_processor=[only_the_last_end])
    assert made[0, ids.shape[1] :].tolist() == [last]
