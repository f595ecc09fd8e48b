"""Models of the true shape with random weights, so that speed and memory can be measured without any download."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Qwen3_5ForCausalLM, Qwen3_5TextConfig

from components.lib.model.files import model_directory


def qwen_config(layers: int = 24, vocabulary: int = 248_320) -> Qwen3_5TextConfig:
    """The text model of Qwen3.5-0.8B: three layers of gated DeltaNet to one of gated attention, 752 M weights."""
    return Qwen3_5TextConfig(
        vocab_size=vocabulary, hidden_size=1024, intermediate_size=3584, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=2, head_dim=256, linear_key_head_dim=128, linear_value_head_dim=128,
        linear_num_key_heads=16, linear_num_value_heads=16, tie_word_embeddings=True, max_position_embeddings=262_144,
        rope_parameters={
            "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25,
            "mrope_section": [11, 11, 10], "mrope_interleaved": True,
        },
    )  # fmt: skip


def save_random(directory: Path, config: Any) -> Path:
    """Save a model of this shape with random weights and the embedded model's tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_directory("tiny", "main"))
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    Qwen3_5ForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def machine() -> str:
    """What this was measured on: GPU or processor, and torch."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}"
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{name}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
