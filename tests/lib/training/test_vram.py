"""The memory estimate: shapes from configs, what the parts are, and what it tells a user to change."""

import json
import subprocess
import sys

import pytest

from components.lib.model.files import config_of
from components.lib.recipe.recipes import QWEN, TINY
from components.lib.recipe.settings import replace
from components.lib.training import vram
from tests import ROOT

CONFIG = {
    "text_config": {
        "hidden_size": 1024, "intermediate_size": 3584, "num_hidden_layers": 24, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 248_320, "linear_num_key_heads": 16,
        "linear_num_value_heads": 16, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 6, "tie_word_embeddings": True,
    },
    "vision_config": {"hidden_size": 768},
}  # fmt: skip
GRPO, SFT, ONE = QWEN.grpo, QWEN.sft, QWEN.scale
TWO = replace(ONE, processes=2)


def test_the_shape_of_qwen_has_its_752_million_weights():
    assert vram.shape_of(CONFIG).parameters == pytest.approx(752e6, rel=0.01)


@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_the_shape_counts_the_weights_of_a_real_model(kind):
    pytest.importorskip("torch", reason="needs torch: no model is counted")
    from transformers import LlamaConfig, LlamaForCausalLM

    from components.lib.training import common

    if kind == "qwen":
        model = common.load_model("tiny", "main")
    else:
        config = LlamaConfig(
            vocab_size=500, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
    counted = sum(p.numel() for p in model.parameters())
    assert vram.shape_of(model.config.to_dict()).parameters == pytest.approx(counted, rel=0.02)


def test_a_layer_of_the_true_width_saves_what_is_counted(monkeypatch):
    """What autograd really keeps of attention and MLP; DeltaNet's count is of kernels that need a GPU."""
    pytest.importorskip("torch", reason="needs torch: nothing is saved")
    from benchmarks import vram as measured

    monkeypatch.setattr(measured, "LENGTHS", (64, 192))
    saved, counted = (of("full_attention") for of in (measured.saved_per_token, measured.counted_per_token))
    assert counted == pytest.approx(saved, rel=0.05)


def test_what_does_not_fit_is_refused_with_the_knobs_that_help():
    with pytest.raises(ValueError, match="grpo needs about .* GiB of GPU memory and can have 30.8 of 31.8") as caught:
        vram.check(CONFIG, "grpo", replace(GRPO, gradient_checkpointing=False, micro_batch_size=32), 31.8, ONE)
    text = str(caught.value)
    assert "optimizer 5.6" in text and "while training" in text
    for knob in text.partition("one of these would fit: ")[2].split(", "):
        name, _, value = knob.removeprefix("grpo_").partition("=")
        changed = replace(GRPO, gradient_checkpointing=False, micro_batch_size=32)
        kind = type(getattr(changed, name))
        vram.check(
            CONFIG, "grpo", replace(changed, **{name: value == "true" if kind is bool else kind(value)}), 31.8, ONE
        )
    assert "grpo_gradient_checkpointing=true" in text and "grpo_micro_batch_size=4" in text


def test_what_no_single_change_fixes_says_so():
    with pytest.raises(ValueError, match="no single change of grpo_"):
        vram.check(CONFIG, "grpo", GRPO, 4.0, ONE)


def test_each_knob_moves_its_part():
    shape = vram.shape_of(CONFIG)
    base = vram.estimate(shape, GRPO, ONE)
    assert vram.estimate(shape, replace(GRPO, beta=0.04), ONE)["reference model"] == base["weights"] > 0
    assert vram.estimate(shape, replace(GRPO, lora_rank=16), ONE)["optimizer"] < 0.05 * base["optimizer"]
    assert vram.estimate(shape, replace(GRPO, rollouts="vllm"), ONE)["while writing rollouts"] == 0
    half = vram.estimate(shape, replace(GRPO, rollout_batch_size=128), ONE)
    assert half["while writing rollouts"] == base["while writing rollouts"] / 2
    assert vram.estimate(shape, GRPO, TWO)["gradient buckets"] == base["gradient"]
    halves = vram.estimate(shape, GRPO, replace(TWO, sharding="full"))
    assert all(halves[name] == base[name] / 2 for name in ("weights", "gradient", "optimizer"))
    assert vram.estimate(shape, GRPO, replace(TWO, sharding="optimizer"))["weights"] == base["weights"]
    longer = replace(GRPO, max_new_tokens=2048)
    assert vram.estimate(shape, longer, ONE)["while training"] > 1.5 * base["while training"]


def test_vllm_leaves_the_rest_to_the_training():
    with pytest.raises(ValueError, match="can have 11.8 of 31.8"):
        vram.check(CONFIG, "grpo", replace(GRPO, rollouts="vllm", vllm_memory_share=0.6), 31.8, ONE)


def test_without_a_gpu_the_machines_memory_counts():
    """In fp32, with no CUDA context, no copies in bf16; its processes share it."""
    settings = replace(GRPO, gradient_checkpointing=False, micro_batch_size=4, max_new_tokens=256)
    with pytest.raises(ValueError, match=r"grpo needs about 22.7 GiB of memory and can have 20.0 of 20.0") as caught:
        vram.check(CONFIG, "grpo", settings, 20.0, ONE, vram.CPU)
    assert "one of these would fit: grpo_max_new_tokens=128, grpo_lora_rank=32" in str(caught.value)
    assert "bf16" not in str(caught.value) and "are needed" in vram.check(
        CONFIG, "grpo", replace(settings, lora_rank=32), 20.0, ONE, vram.CPU
    )
    with pytest.raises(ValueError, match="can have 16.0 of 16.0"):
        vram.check(CONFIG, "grpo", settings, 32.0, TWO, vram.CPU)
    with pytest.raises(ValueError, match="no single change of grpo_.* a machine with more memory"):
        vram.check(CONFIG, "grpo", settings, 4.0, ONE, vram.CPU)


def test_a_tiny_model_is_never_refused():
    config = config_of("tiny", "main")
    for stage in ("sft", "grpo"):
        assert "are needed" in vram.check(config, stage, getattr(TINY, stage), 0.01, ONE, vram.CPU)


@pytest.mark.slow
def test_the_estimate_is_near_the_peak_of_a_cpu(tmp_path):
    """Within a quarter of what the resident memory rises by, at three sizes of SFT and one of GRPO."""
    pytest.importorskip("torch", reason="needs torch: nothing is trained")
    command = [sys.executable, "-m", "tests.lib.training.peak", tmp_path, "sft:256", "sft:512", "sft:768", "grpo:256"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) == 4 and found[2]["above"] > 1.5 * found[0]["above"]
    for row in found:
        assert 0.8 < row["counted"] / row["above"] < 1.25, found


def test_no_more_rows_count_than_a_step_has():
    shape = vram.shape_of(CONFIG)
    for settings in (
        replace(SFT, batch_size=8, micro_batch_size=8),
        replace(GRPO, micro_batch_size=GRPO.rows_per_step),
    ):
        more = replace(settings, micro_batch_size=4096)
        assert vram.estimate(shape, more, ONE) == vram.estimate(shape, settings, ONE)
    names = [name for name, _ in vram._changes(replace(SFT, batch_size=12, micro_batch_size=5), ONE)]
    assert names[:4] == [f"micro_batch_size={n}" for n in (4, 3, 2, 1)], "they divide the rows of a step"


def test_a_config_with_other_names_is_not_judged():
    assert "not estimated" in vram.check({"n_embd": 768, "n_layer": 12}, "sft", SFT, 1.0, ONE)


def test_decoding_on_a_gpu_was_measured_once():
    """On an H200, without graphs: 256 rows of 192 + 230 tokens, a peak of 14.8 GiB with the weights in bf16."""
    shape = vram.shape_of(CONFIG)
    settings = replace(GRPO, decode_graphs=False, max_new_tokens=192 + 230 - vram.PROMPT_TOKENS)
    writing = vram.estimate(shape, settings, ONE)["while writing rollouts"]
    counted = (writing + vram.BF16 * shape.parameters + vram.GPU.context_gib * vram.GIB) / vram.GIB
    assert counted == pytest.approx(14.8, rel=0.1)
