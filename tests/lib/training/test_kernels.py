"""The check of the kernels: it passes the torch path in bf16 and catches kernels that are wrong in one way each."""

import copy
import functools

import pytest

torch = pytest.importorskip("torch", reason="needs torch: no kernel is checked")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402
from transformers.models.qwen3_5 import modeling_qwen3_5 as module  # noqa: E402

from components.lib.recipe import recipes  # noqa: E402
from components.lib.training import common, kernels  # noqa: E402

SMALL = kernels.Used(rows=3, tokens=130, decoded=5)  # more than two chunks of 64, the last one not whole


@pytest.fixture(scope="module")
def model():
    return common.load_model("tiny", "main")


def test_the_torch_path_agrees_with_itself(model):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    said = kernels.check_kernels(model, model.device, SMALL)
    assert said.startswith("the kernels of Qwen3_5GatedDeltaNet agree")
    assert all(torch.equal(before[name], p) and p.grad is None for name, p in model.named_parameters())


def test_the_shapes_are_those_that_the_training_uses(model, monkeypatch, capsys):
    used = kernels.Used.by(recipes.QWEN.grpo, 1)
    assert used == kernels.Used(rows=16, tokens=1280, decoded=256)
    assert kernels.Used.by(recipes.QWEN.grpo, 64).rows == kernels.Used.by(recipes.QWEN.grpo, 64).decoded == 4
    assert kernels.Used.by(recipes.QWEN.sft, 1) == kernels.Used(rows=2, tokens=1280, decoded=2)
    seen = []
    for name in kernels.KERNELS:
        kernel = wrong(getattr(module, name), lambda out, name=name: seen.append((name, shape_of(out))) or out)
        monkeypatch.setattr(module, name, kernel)
    kernels.check_kernels(model, model.device, SMALL)
    shapes = {name: {shape for other, shape in seen if other == name} for name in kernels.KERNELS}
    assert (3, 130) in shapes["torch_chunk_gated_delta_rule"] and (3, 98) in shapes["torch_chunk_gated_delta_rule"]
    assert shapes["torch_recurrent_gated_delta_rule"] == {(5, 1)}
    assert "passes of 3 x 130 tokens and decoding of 5 rows" in capsys.readouterr().out


def shape_of(out):
    return tuple((out[0] if isinstance(out, tuple) else out).shape[:2])


def wrong(function, change):
    @functools.wraps(function.__wrapped__)
    def kernel(*arguments, **named):
        return change(function(*arguments, **named))

    return kernel


class Crooked(torch.autograd.Function):
    """The right output with a gradient that is a tenth too large."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 1.1 * gradient


class Against(Crooked):
    """The right state, whose gradient goes the wrong way."""

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def scaled(state, by):
    """The state after a text, which is None where nobody goes on from it."""
    return None if state is None else by * state


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("causal_conv1d_fn", lambda out: out.roll(1, dims=-1), "the output differs"),
        ("torch_chunk_gated_delta_rule", lambda out: (out[0] * 1.2, out[1]), "the output differs"),
        ("torch_chunk_gated_delta_rule", lambda out: (Crooked.apply(out[0]), out[1]), "the gradient of "),
        ("torch_recurrent_gated_delta_rule", lambda out: (out[0] * 1.2, out[1]), "the output of a decoding step"),
        ("causal_conv1d_update", lambda out: out.flip(1), "the output of a decoding step"),
        ("torch_chunk_gated_delta_rule", lambda out: (out[0] * float("nan"), out[1]), "by nan of its size"),
        (
            "torch_chunk_gated_delta_rule",
            lambda out: (out[0], scaled(out[1], -1)),
            "the output, in two parts, differs",
        ),
        (
            "torch_chunk_gated_delta_rule",
            lambda out: (out[0], out[1] if out[1] is None else Against.apply(out[1])),
            "in two parts, differs",
        ),
    ],
)
def test_a_wrong_kernel_stops_the_run(model, monkeypatch, name, change, said):
    monkeypatch.setattr(module, name, wrong(getattr(module, name), change))
    with pytest.raises(ValueError, match=r"the fast kernels are wrong on this device: the ") as caught:
        kernels.check_kernels(model, model.device, SMALL)
    assert said in str(caught.value) and "CUDA_ARCHITECTURES" in str(caught.value)


def test_frozen_layers_as_with_lora_are_checked_too_and_the_seed_is_left_alone(model):
    frozen = copy.deepcopy(model).requires_grad_(False)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    assert "agree with the torch path" in kernels.check_kernels(frozen, frozen.device, SMALL)
    assert torch.rand(1) == expected and not any(p.requires_grad for p in frozen.parameters())


def test_a_model_without_such_layers_passes():
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    llama = LlamaForCausalLM(config)
    assert kernels.check_kernels(llama, llama.device, SMALL) == "the model has no kernels to check"


@pytest.mark.gpu
def test_the_kernels_of_this_machine_are_right():
    """On a GPU with the packages, layers of the true width."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: the real kernels are not compared")
    from transformers import Qwen3_5ForCausalLM

    from benchmarks.shapes import qwen_config

    torch.set_default_device("cuda")
    try:
        used = kernels.Used.by(recipes.QWEN.grpo, 1)
        print(kernels.check_kernels(Qwen3_5ForCausalLM(qwen_config(layers=1)), torch.device("cuda"), used))
    finally:
        torch.set_default_device("cpu")
