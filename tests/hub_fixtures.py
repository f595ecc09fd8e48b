"""The repositories that recipe qwen3.5-0.8b asks for, tiny but in their true layouts and schemas.

The model is a vision-language checkpoint (Qwen3_5ForConditionalGeneration), as Qwen/Qwen3.5-0.8B is: its text half
are the weights of the embedded tiny model under the names that they have inside the larger one.
"""

import io
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.models import model_directory
from components.tiny.problems import rows as tiny_rows
from tests.hub_server import HubServer, directory_files

MODEL = "Qwen/Qwen3.5-0.8B"
GSM8K = "openai/gsm8k"
CHAT = "celestialcreator/Qwen3.5-0.8B-GRPO-Math-Dataset"
OPUS_CHAT = "TeichAI/claude-4.5-opus-high-reasoning-250x"
OPUS_ROWS = "nohurry/Opus-4.6-Reasoning-3000x-filtered"

_GSM8K_CARD = """---
license:
- mit
language:
- en
configs:
- config_name: main
  default: true
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
- config_name: socratic
  data_files:
  - split: train
    path: socratic/train-*
  - split: test
    path: socratic/test-*
---

# GSM8K, a few rows in its schema
"""


def serve_true_schemas(server: HubServer, rows: int = 200) -> None:
    """Fill a server with the model and the four data sets of recipe qwen3.5-0.8b, each with about `rows` rows."""
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory) / "model")
        server.add_repo("model", MODEL, directory_files(Path(directory) / "model"))
    train, test = list(_take("problems", rows)), list(_take("evaluation", rows))
    tables = {"train": train, "test": test}
    server.add_repo(
        "dataset",
        GSM8K,
        {"README.md": _GSM8K_CARD.encode()}
        | {
            f"{config}/{split}-00000-of-00001.parquet": parquet(found)
            for config in ("main", "socratic")
            for split, found in tables.items()
        },
    )
    # As in the true data set, the first source's questions are GSM8K's, with other reasoning.
    asked = [_chat_of(row) for row in train]
    chat = list(_take("chat", rows))
    card = b"---\nlicense: apache-2.0\n---\n\n# A few rows in the true schema\n"
    server.add_repo(
        "dataset", CHAT, {"README.md": card, "sft_train.jsonl": jsonl(asked), "sft_combined.jsonl": jsonl(asked + chat)}
    )
    thinking = json.loads(json.dumps(chat).replace("<thought>", "<think>").replace("</thought>", "</think>"))
    server.add_repo("dataset", OPUS_CHAT, {"README.md": card, "claude-opus-4.5-250x.jsonl": jsonl(thinking)})
    solutions = [
        *_take("thinking-solution", rows),
        {"problem": "", "thinking": "", "solution": None, "difficulty": "", "category": ""},
    ]
    server.add_repo("dataset", OPUS_ROWS, {"README.md": card, "opus_reasoning.jsonl": jsonl(solutions)})


def _chat_of(row: dict[str, Any]) -> dict[str, Any]:
    worked, _, gold = re.sub(r"<<[^>]*>>", "", row["answer"]).rpartition("\n#### ")
    return {
        "messages": [
            {"role": "system", "content": "Reason in tags."},
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": f"<thought>\n{worked}\n</thought>\n\n#### {gold}"},
        ]
    }


def write_checkpoint(out: Path) -> None:
    """Save the embedded tiny model as the text half of a vision-language checkpoint with a tiny vision half."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3_5Config, Qwen3_5ForConditionalGeneration

    source = model_directory("tiny", "main")
    text: Any = AutoModelForCausalLM.from_pretrained(source)
    vision = {
        "depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "num_position_embeddings": 16,
        "out_hidden_size": text.config.hidden_size, "patch_size": 4, "in_channels": 3, "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }  # fmt: skip
    config = Qwen3_5Config(
        text_config=text.config.to_dict(), vision_config=vision, tie_word_embeddings=text.config.tie_word_embeddings,
        image_token_id=1, video_token_id=2, vision_start_token_id=3, vision_end_token_id=4,
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = Qwen3_5ForConditionalGeneration(config)
    model.to(text.dtype)
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.tie_weights()
    model.save_pretrained(out)
    for path in source.iterdir():
        if path.suffix != ".safetensors" and path.name != "config.json":
            shutil.copyfile(path, out / path.name)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a parquet file."""
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _take(schema: str, count: int) -> Iterator[dict[str, Any]]:
    return itertools.islice(tiny_rows(schema, seed=7), count)
