"""What is said of a GPU's kernels before a model is loaded."""

import sys
from types import SimpleNamespace

import pytest
import torch

from components.compare.load import read_alarms
from components.lib import gpu
from components.lib.cluster import probe
from components.lib.files import write_json
from components.lib.generation.backends import Sampling, open_backend
from components.lib.model.files import model_directory
from components.lib.training import common
from tests.lib.training.runs import SFT, job

LINEAR = {"text_config": {"layer_types": ["linear_attention", "full_attention"]}}


@pytest.mark.parametrize(
    ("capability", "triton", "refused"),
    [
        ((9, 0), "3.3.1", False), ((9, 0), "3.4.0", True), ((9, 0), "3.6.0", True), ((9, 0), "3.7.0+git1a2b", True),
        ((9, 0), "3.7.1", False), ((9, 0), "4.0.0", False), ((12, 0), "3.6.0", False), ((8, 9), "3.6.0", False),
    ],
)  # fmt: skip
def test_where_the_backward_pass_is_refused(capability, triton, refused):
    assert bool(gpu.refusal(capability, triton)) is refused


@pytest.fixture
def hopper(monkeypatch):
    """A machine with an H100 and Triton 3.6, as far as anybody asks before a model is loaded."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_90"])
    monkeypatch.setattr(gpu, "version", lambda name: "3.6.0")


def installed(monkeypatch, *names):
    monkeypatch.setattr(gpu, "_is_there", lambda module: module in names)


def test_training_there_is_refused_and_evaluation_is_not(hopper, monkeypatch):
    installed(monkeypatch, "fla", "causal_conv1d")
    with pytest.raises(ValueError, match="refuses its backward pass on this GPU .sm_90. with Triton 3.6.0.*3.7.1"):
        gpu.check(LINEAR, training=True)
    (told,) = gpu.check(LINEAR, training=False)
    assert "tune themselves" in told
    assert gpu.check({"layer_types": ["full_attention"]}, training=True) == []
    (seen, kernels) = probe.gpu()
    assert seen.ok and not kernels.ok and "Triton 3.6.0" in kernels.detail and "full trainer image" in kernels.fix
    installed(monkeypatch, "fla")
    assert "Triton 3.6.0" in (told := [*probe.gpu()][1].detail) and "causal-conv1d is not installed" in told


def test_what_is_missing_is_said_with_its_cost_and_the_run_goes_on(hopper, monkeypatch):
    installed(monkeypatch)
    told = gpu.check(LINEAR, training=True)
    assert [line.split(" is not installed: ")[0] for line in told] == ["flash-linear-attention", "causal-conv1d"]
    assert "twice the bytes" in told[0] and "of 13.4 ms" in told[1]


def test_a_training_that_goes_without_them_says_so_in_its_report(hopper, monkeypatch, tmp_path, capsys):
    installed(monkeypatch)
    write_json(tmp_path / "model" / "config.json", {"hidden_size": 64, "vocab_size": 512, **LINEAR})
    monkeypatch.setattr(common, "model_directory", lambda model, revision: tmp_path / "model")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda n: SimpleNamespace(total_memory=80 * 2**30))
    monkeypatch.setattr(common.vram, "check", lambda *_: "it fits")
    work = job("sft", tmp_path, tmp_path / "training", SFT)
    for _ in range(2):  # as a training that is started again
        common.check_memory(work)
    told = read_alarms({"sft": tmp_path / "training" / "curves"})
    assert [line.split(" is not")[0] for line in told] == [
        "sft, step 0: flash-linear-attention", "sft, step 0: causal-conv1d"
    ]  # fmt: skip
    assert capsys.readouterr().out.count("ALARM at step 0: causal-conv1d is not installed") == 1


def test_without_a_gpu_nothing_is_said(capsys):
    assert gpu.check(LINEAR, training=True) == []
    sampling = Sampling(
        max_new_tokens=4, temperature=0.0, batch_size=1, batch_tokens=64, gpu_memory_utilization=0.5, graphs=True
    )
    open_backend("transformers", model_directory("tiny", ""), sampling)
    assert "kernel" not in capsys.readouterr().out


def test_a_module_that_is_hidden_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "fla", None)
    assert "flash-linear-attention" in gpu.missing()[0]
