"""What trainings on a CPU take: `python -m tests.lib.training.peak DIRECTORY STAGE:WIDTH ...`, a line of JSON for each.

Each one is trained in a process of its own, forked when everything is imported: {"above", "counted"}, the bytes by
which its resident memory rose at its peak, and those of the estimate, both without what the libraries take by
themselves before it begins.
"""

import json
import os
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from components.grpo.train import train as train_grpo
from components.lib.files import read_json, write_jsonl
from components.lib.generation import prompts
from components.lib.model.files import model_directory
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace
from components.lib.training import vram
from components.sft.train import tokenize
from components.sft.train import train as train_sft
from tests.fixtures.memory import own
from tests.lib.training.runs import job

TOKENS, ROWS, LAYERS, VOCABULARY = 256, 4, 3, 16_000
SETTINGS = {
    "sft": replace(TINY.sft, max_steps=2, batch_size=ROWS, micro_batch_size=ROWS, max_tokens=TOKENS, warmup_steps=0),
    "grpo": replace(
        TINY.grpo, max_steps=2, prompts_per_step=1, generations=4 * ROWS, micro_batch_size=4 * ROWS, warmup_steps=0,
        max_new_tokens=TOKENS // 2, loss_type="grpo",  # which leaves out no completion
    ),
}  # fmt: skip


def main(directory: Path, wanted: list[str]) -> None:
    """Measure and print."""
    for name in wanted:
        stage, _, width = name.partition(":")
        if child := os.fork():
            rose = os.wait4(child, 0)[2].ru_maxrss << 10
            told = read_json(directory / name / "told.json")
            context = vram.CPU.context_gib * vram.GIB
            print(json.dumps({"above": rose - told["before"], "counted": told["total"] - context}), flush=True)
        else:
            train(directory / name, stage, int(width))
            os._exit(0)


def train(directory: Path, stage: str, width: int) -> None:
    """Two steps of a model of this hidden size, every row as long as it may be."""
    tokenizer = AutoTokenizer.from_pretrained(model_directory("tiny", "main"))
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=LAYERS,
        num_attention_heads=width // 64, num_key_value_heads=width // 128, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory / "model")
    tokenizer.save_pretrained(directory / "model")
    question = prompts.question_messages("How many?")
    rows = ([*question, {"role": "assistant", "content": "1 " * n}] for n in range(TOKENS, 0, -1))
    messages = next(row for row in rows if len(tokenize(tokenizer, row, "<|im_end|>")["input_ids"]) <= TOKENS)
    write_jsonl(directory / "sft.jsonl", [{"messages": messages}] * 8)
    write_jsonl(directory / "problems.jsonl", [{"id": f"p/{n}", "question": "How many?", "gold": "7"} for n in (1, 2)])
    settings = SETTINGS[stage]
    shape = vram.shape_of(read_json(directory / "model" / "config.json"))
    total = vram.estimate(shape, settings, TINY.scale, vram.CPU)["total"]
    (directory / "told.json").write_text(json.dumps({"before": own("VmRSS"), "total": total}))
    work = job(stage, directory, directory / "work", settings, directory / "model")
    {"sft": train_sft, "grpo": train_grpo}[stage](work)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(Path(sys.argv[1]), sys.argv[2:])
