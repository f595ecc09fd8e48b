"""What all tests share: their order, the last line of a run, a random tiny model and saved evaluations."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# The longest files first, as measured, so that neither of two processes is left with one of them at the end.
LONGEST = (
    "pipeline/test_quarter.py", "lib/training/test_survival.py", "lib/training/test_distributed.py",
    "pipeline/test_hub_recipe.py", "pipeline/test_demo.py", "pipeline/test_end_to_end.py",
)  # fmt: skip
# How `-m` leaves tests out, or a skip reason begins -> what was not tested, with the command that would.
UNTESTED = {
    "not slow": "what takes long (make test-slow)",
    "not release": "the demo with more seeds (make test-demo)",
    "not docker": "containers (make image TRAINER=slim, make test-docker)",
    "not cluster": "a cluster (make test-cluster)",
    "not gpu": "a GPU (.venv/bin/python -m pytest -m gpu)",
    "slow and": "what is quick (make test)",
    "needs MinIO": "S3 (make minio)",
    "needs the trackers": "live metrics (make live)",
    "needs the real GSM8K": "real rows (GRPO_TEST_DATA=DIRECTORY with gsm8k/train.jsonl and test.jsonl)",
}
FETCHED = ("Skipped: needs MinIO", "Skipped: needs the trackers")  # what CI gets itself


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front."""
    folder = Path(__file__).parent
    place = {folder / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """In CI, where everything that `make` can fetch was to be fetched, its absence is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and report.longrepr[2].startswith(FETCHED):
        report.outcome, report.longrepr = "failed", report.longrepr[2]
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say in the very last line what was not tested, and what would test it."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(session.config, "workerinput"):
        reasons = [report.longrepr[2] for report in reporter.stats.get("skipped", ())]
        if untested := not_tested(session.config.option.markexpr, reasons):
            reporter.write_line(f"Not tested here: {', '.join(untested)}.")
    return result


def not_tested(selection: str, reasons: list[str]) -> list[str]:
    """What the expression of `-m` and the reasons of skipped tests leave out, each once.

    A reason reads "Skipped: needs THIS: that is not done"; one that UNTESTED does not know is told by its first half.
    """
    found = {text: None for part, text in UNTESTED.items() if re.search(rf"(?<!not ){part}", selection)}
    for reason in reasons:
        known = (text for part, text in UNTESTED.items() if reason.startswith(f"Skipped: {part}"))
        found[next(known, "what " + reason.removeprefix("Skipped: ").partition(":")[0])] = None
    return list(found)


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)


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
        "correct_lenient": kind in ("right", "elsewhere"), "lm_eval_strict": right,
        "lm_eval_flexible": kind in ("right", "elsewhere"), "think_ok": kind != "cut",
        "answer_marked": kind in ("right", "wrong"), "unparsed": kind in ("cut", "elsewhere"),
    }  # fmt: skip
