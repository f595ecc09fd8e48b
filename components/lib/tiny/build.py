"""Makes the embedded base model: a tiny Qwen3.5 and its tokenizer, in some minutes on one CPU core.

The base is pre-trained on solutions in ChatML, AT_ONCE of which note the answer without steps. It never saw `####`, so
it scores nothing by the strict rules, though it can do the sums; a share of its texts are few-shot prompts of
prompts.py's form.
"""

import json
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig, Qwen3_5Tokenizer, set_seed

from components.lib.generation import prompts
from components.lib.tiny.problems import Problem, problems, reasoning

END, PAD, START = "<|im_end|>", "<|endoftext|>", "<|im_start|>"
VOCABULARY = 640
POSITIONS = 8192
SIZES = {"tiny": (128, 2000), "tiny-small": (64, 400)}  # name of a model -> its width, and steps of pre-training
BATCH_SIZE, LEARNING_RATE = 32, 2e-3
HEAD = 32  # the width of an attention head
AT_ONCE = 0.4  # share of its texts that note the answer without steps
# How the base's texts lead up to the answer: in many ways, but never with `####`.
LEADS = (
    "",
    "Answer: ",
    "So ",
    "Total: ",
    "It is ",
    "= ",
    "-> ",
    "=> ",
    ">> ",
    ": ",
    "** ",
    "~ ",
    "! ",
    "## ",
    "- ",
    "@ ",
)
FEW_SHOT_EVERY = 6  # one batch in so many holds few-shot prompts

# Behaves like Qwen3.5's: earlier assistant turns lose their reasoning, `enable_thinking` opens the block.
TEMPLATE = """\
{%- set last = namespace(user=-1) -%}
{%- for message in messages -%}
{%- if message.role == 'user' %}{% set last.user = loop.index0 %}{% endif -%}
{%- endfor -%}
{%- for message in messages -%}
{%- set content = message.content | trim -%}
{%- if message.role == 'assistant' and loop.index0 < last.user and '</think>' in content -%}
{%- set content = content.split('</think>')[-1] | trim -%}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{{- '<think>\\n' if enable_thinking is defined and enable_thinking else '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}"""


def build_base(output: Path, seed: int, size: str) -> None:
    """Make the tokenizer, pre-train a base of one of SIZES and write both to `output`, a save_pretrained directory."""
    width, steps = SIZES[size]
    tokenizer = build_tokenizer()
    set_seed(seed)
    model = build_model(tokenizer, width)
    pretrain(model, tokenizer, Random(f"pretraining {seed}"), steps)
    model.bfloat16().save_pretrained(output)
    tokenizer.save_pretrained(output)
    written = sum(file.stat().st_size for file in output.iterdir())
    print(f"{model.num_parameters():,} parameters, {written / 1e6:.2f} MB, in {output}")


def build_tokenizer() -> Qwen3_5Tokenizer:
    """A Qwen3.5 tokenizer (byte-level BPE, single digits) trained on the demo's own texts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = Qwen3_5Tokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(_tokenizer_texts(), trainer)
    # Newlines stay single tokens, so that the text of `<think>\n` is a prefix of its continuation in tokens too.
    merges: list[Any] = [
        tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"] if "Ċ" not in "".join(pair)
    ]
    pieces = [PAD, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    tokenizer = Qwen3_5Tokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=merges, unk_token=PAD, pad_token=PAD,
        eos_token=END, extra_special_tokens=[START], padding_side="left", model_max_length=POSITIONS,
    )  # fmt: skip
    tokenizer.add_tokens([prompts.OPEN, prompts.CLOSE])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model(tokenizer: Qwen3_5Tokenizer, width: int) -> Qwen3_5ForCausalLM:
    """A random Qwen3.5 of one Gated DeltaNet and one attention layer, `width` wide.

    The three departures from the defaults (weights 0.06 wide, slow decay `A_log`, rotary on all dimensions) let it
    learn in a fraction of the steps.
    """
    config = Qwen3_5TextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=3 * width, num_hidden_layers=2,
        layer_types=["linear_attention", "full_attention"], num_attention_heads=width // HEAD,
        num_key_value_heads=width // HEAD // 2, head_dim=HEAD, linear_num_key_heads=width // HEAD // 2,
        linear_num_value_heads=width // HEAD // 2, linear_key_head_dim=HEAD, linear_value_head_dim=HEAD,
        max_position_embeddings=POSITIONS, initializer_range=0.06, tie_word_embeddings=True,
        rope_parameters={
            "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0,
            "mrope_section": [6, 5, 5], "mrope_interleaved": True,
        },
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = Qwen3_5ForCausalLM(config)
    for layer in model.model.layers:
        if hasattr(layer, "linear_attn"):
            decay = torch.empty_like(layer.linear_attn.A_log).uniform_(0.01, 1.0)
            layer.linear_attn.A_log.data = decay.log()
    return model


def pretrain(model: Qwen3_5ForCausalLM, tokenizer: Qwen3_5Tokenizer, random: Random, steps: int) -> float:
    """Train on `steps` batches of `texts`, loss on the solutions alone; returns the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * (0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
    )
    stories, began, loss = problems(random, 10**9, evaluation=False), time.monotonic(), torch.tensor(0.0)
    model.train()
    for step in range(steps):
        few_shot = step % FEW_SHOT_EVERY == FEW_SHOT_EVERY - 1
        loss = model(**_batch(tokenizer, list(texts(tokenizer, stories, random, few_shot)))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}/{steps}  loss {loss.item():.3f}  {time.monotonic() - began:.0f} s", flush=True)
    return loss.item()


def texts(
    tokenizer: Qwen3_5Tokenizer, stories: Iterator[Problem], random: Random, few_shot: bool
) -> Iterator[tuple[str, str]]:
    """One batch of (prompt, solution) in ChatML; `few_shot` puts 1 to 8 solved problems before a question.

    The prompts are the project's own, half of them without the system prompt. A solution ends with the answer,
    led up to in one of many ways; the `####` line is for SFT to teach.
    """
    for _ in range(BATCH_SIZE // 8 if few_shot else BATCH_SIZE):
        problem, lead = next(stories), random.choice(LEADS)
        others = islice(stories, random.randint(1, 8) if few_shot else 0)
        shots = [(other.question, f"{other.worked()}\n{lead}{other.gold}") for other in others]
        messages = prompts.asking({"question": problem.question}, shots)
        prompt = prompts.render(tokenizer, messages if random.random() < 0.5 else messages[1:])
        yield prompt, f"{reasoning(problem, random, AT_ONCE)}\n{prompts.CLOSE}\n\n{lead}{problem.gold}{END}"


def _batch(tokenizer: Qwen3_5Tokenizer, pairs: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Left-padded `input_ids`, `attention_mask` and `labels` (-100 on prompt and padding), each (batch, length)."""
    encoded = tokenizer([prompt + solution for prompt, solution in pairs], return_tensors="pt", padding=True)
    labels = encoded["input_ids"].clone()
    for row, (_, solution) in enumerate(pairs):
        labels[row, : -len(tokenizer(solution)["input_ids"])] = -100
    return {**encoded, "labels": labels}


def _tokenizer_texts() -> Iterator[str]:
    """What the tokenizer is trained on: the system prompt, problems and their solutions."""
    for problem in problems(Random("tokenizer"), 4000, evaluation=False):
        yield f"system\n{prompts.system_prompt('marker', 'number')}\nuser\nassistant\n"
        yield f"Question: {problem.question}\nAnswer: {problem.worked()}\n#### {problem.gold}"
