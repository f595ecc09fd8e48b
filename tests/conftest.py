"""Fixtures that several test files share: tiny models and data, made here, no network."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.volume import Volume

pytest_plugins = ("tests.session", "tests.faults")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a test, or a program that it calls in this process, sets in the environment is gone after it."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved Qwen3.5 of four layers with random weights; its tokenizer is byte-level and its template thinks."""
    torch = pytest.importorskip("torch", reason="needs torch: no model is run")
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    directory = tmp_path_factory.mktemp("random-model")
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = Qwen3_5TextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2,
        linear_num_value_heads=2, initializer_range=0.2, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        rope_parameters={
            "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.5,
            "mrope_section": [2, 1, 1], "mrope_interleaved": True,
        },
    )  # fmt: skip
    Qwen3_5ForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def make_tokenizer():
    """A byte-level tokenizer with chat tokens, thinking template included; the think tags are special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    inner.train_from_iterator(["Tom has 7 cards. How many cards now?\n#### 7\n"] * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left",
        chat_template=TEMPLATE,
    )  # fmt: skip


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Standardised files with a few rows each."""
    from components.lib.files import write_jsonl
    from components.lib.generation import prompts
    from components.lib.tiny.problems import rows

    def standard(messages):
        thinking, answer = messages[2]["content"].removeprefix("<thought>").split("</thought>")
        asked = prompts.question_messages(messages[1]["content"])
        return [*asked, {"role": "assistant", "content": prompts.assistant_text(thinking, answer)}]

    out = tmp_path_factory.mktemp("data")
    chat = [row["messages"] for row, _ in zip(rows("chat", 0), range(128), strict=False)]
    write_jsonl(out / "sft.jsonl", ({"messages": standard(messages)} for messages in chat))
    problems = [row for row, _ in zip(rows("problems", 0), range(48), strict=False)]
    problems = [
        {"id": f"problems/{n}", "question": row["question"], "gold": row["answer"].split("#### ")[1]}
        for n, row in enumerate(problems)
    ]
    write_jsonl(out / "problems.jsonl", problems[:32])
    write_jsonl(out / "plateau.jsonl", problems[32:])
    return out


@pytest.fixture(scope="session")
def sft(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """Forty small steps of SFT, trained once for all of xdist's processes: (directory, numbers)."""
    from components.lib.files import read_json, write_json
    from tests.lib.training.runs import SFT, run_sft

    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "sft"
    with open(f"{out}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "numbers.json").exists():
            write_json(out / "numbers.json", run_sft(data, out, SFT))
    return out, read_json(out / "numbers.json")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    """An empty file system of its own, of 8 MiB."""
    path = tmp_path / "volume"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system (root): no volume is filled or closed")
    yield Volume(path)
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def evaluations(tmp_path: Path) -> dict[str, Path]:
    """Saved evaluations of base, SFT and GRPO: 40 problems, zero-shot and 8-shot, 20 gate problems, no model needed.

    Problem k is right for base when k < 10, for SFT when 5 <= k < 25, for GRPO when k < 30; of the wrong ones every
    fourth was cut off, every third gives its number in the wrong form, every other ones a wrong answer.
    """
    from components.lib.files import write_json, write_jsonl

    right = {"base": range(10), "sft": range(5, 25), "grpo": range(30)}
    groups = (("evaluation", "zero-shot", 40), ("evaluation", "8-shot", 40), ("gate", "zero-shot", 20))
    for checkpoint, solved in right.items():
        items = [
            saved_item(checkpoint, split, protocol, number, number in solved)
            for split, protocol, count in groups
            for number in range(count)
        ]
        write_jsonl(tmp_path / checkpoint / "items.jsonl", items)
        about = {"checkpoint": checkpoint, "model": checkpoint, "revision": "main", "model_sha256": "ab" * 32,
                 "template_sha256": "cd" * 32, "seed": 0, "settings": {"samples": 1}, "results": []}  # fmt: skip
        write_json(tmp_path / checkpoint / "summary.json", about)
    return {checkpoint: tmp_path / checkpoint for checkpoint in right}


@pytest.fixture
def mixed(evaluations: dict[str, Path]) -> dict[str, Path]:
    """The same of three sources, every third problem each; those of "words" were not asked 8-shot."""
    from components.lib.files import read_jsonl, write_jsonl

    names = ("gsm8k", "math", "words")
    for path in evaluations.values():
        rows = [row | {"source": names[int(row["id"][-3:]) % 3]} for row in read_jsonl(path / "items.jsonl")]
        write_jsonl(path / "items.jsonl", [r for r in rows if (r["source"], r["protocol"]) != ("words", "8-shot")])
    return evaluations


def saved_item(checkpoint: str, split: str, protocol: str, number: int, right: bool, sample: int = 0) -> dict:
    """One row of items.jsonl; wrong ones are cut off, in the wrong form, or simply wrong, by their number."""
    kind = "right" if right else "cut" if number % 4 == 0 else "elsewhere" if number % 3 == 0 else "wrong"
    text = {"right": "2+2=4\n</think>\n\n#### 4", "cut": "2+2=", "elsewhere": "2+2\n</think>\n\nThe answer is 4",
            "wrong": "2+2=5\n</think>\n\n#### 5"}[kind]  # fmt: skip
    return {
        "checkpoint": checkpoint, "split": split, "protocol": protocol, "id": f"{split}/{number:03}", "sample": sample,
        "prompt_sha256": f"{protocol}{number}", "question": f"Case {number}: <b>2+2</b> & more?", "gold": "4",
        "completion": text, "prefilled": True, "tokens": 10 + number,
        "finish_reason": "length" if kind == "cut" else "stop", "sampling": "greedy",
        "stopped_at_answer": False, "answer": {"right": "4", "wrong": "5"}.get(kind),
        "lenient": {"cut": None, "wrong": "5"}.get(kind, "4"), "correct": right,
        "correct_lenient": kind in ("right", "elsewhere"),
        "lm_eval": {"strict": right, "flexible": kind in ("right", "elsewhere")}, "think_ok": kind != "cut",
        "answer_marked": kind in ("right", "wrong"), "unparsed": kind in ("cut", "elsewhere"),
    }  # fmt: skip
