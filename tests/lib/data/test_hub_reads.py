"""What the pipeline reads from the Hub, read by the real libraries in a fresh process from the local server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.hub_rows import CHAT, GSM8K, MODEL, OPUS_CHAT, OPUS_ROWS, serve_true_schemas
from tests.fixtures.hub_server import Fault, HubServer

READ = f"""
import json
from datasets import load_dataset
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

api = HfApi()
commit = api.dataset_info("{GSM8K}", revision="main").sha
test = load_dataset("{GSM8K}", "main", split="test", revision=commit)
chat = load_dataset("{CHAT}", data_files="sft_train.jsonl", split="train")
opus = load_dataset("{OPUS_CHAT}", split="train")
rows = load_dataset("{OPUS_ROWS}", split="train")
file = hf_hub_download("{CHAT}", "sft_train.jsonl", repo_type="dataset")
directory = snapshot_download("{MODEL}", allow_patterns=["*.json", "*.jinja", "*.safetensors"])
print(json.dumps({{
    "sizes": [len(test), len(chat), len(opus), len(rows), len(open(file).readlines())],
    "test": test.column_names, "chat": chat.column_names, "rows": rows.column_names,
    "tags": [chat[0]["messages"][2]["content"][:9], opus[0]["messages"][2]["content"][:7]],
    "directory": directory, "commit": api.model_info("{MODEL}").sha,
}}))
"""


def read(hub: HubServer, home: Path, code: str) -> Any:
    environment = os.environ | hub.environment(home) | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_model_and_data_sets_are_read_as_from_the_hub_despite_faults(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: the checkpoint of the test Hub is not made")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with HubServer() as hub:
        serve_true_schemas(hub, rows=20)
        hub.faults += [
            Fault("HEAD .*/resolve/.*parquet", status=429, headers={"Retry-After": "0"}),
            Fault("GET .*/resolve/.*test-.*parquet", "cut"),
        ]
        found = read(hub, tmp_path, READ)
        assert [fault.times for fault in hub.faults] == [0, 0], "both faults have happened"
        assert found["commit"] == hub.repos["model", MODEL].branches["main"]
    assert found["sizes"] == [20, 20, 20, 21, 20]
    assert found["test"] == ["question", "answer"] and found["chat"] == ["messages"]
    assert found["rows"] == ["problem", "thinking", "solution", "difficulty", "category", "gold"]
    assert found["tags"] == ["<thought>", "<think>"]
    directory = found["directory"]
    assert AutoConfig.from_pretrained(directory).architectures == ["Qwen3_5ForConditionalGeneration"]
    loaded: Any = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    model, info = loaded
    assert type(model).__name__ == "Qwen3_5ForCausalLM" and not info["missing_keys"]
    assert "enable_thinking" in AutoTokenizer.from_pretrained(directory).chat_template
